"""Nodes, quotes and events beside usage; parts of an accelerator."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("usage") as usage:
        usage.alter_column(
            "accelerator_count",
            existing_type=sa.Integer,
            type_=sa.Float,
            existing_nullable=False,
        )
        usage.create_index("usage_pod", ["pod_uid"])
        usage.create_index("usage_stop", ["stop_microseconds"])
    op.create_table(
        "nodes",
        sa.Column("node_life_id", sa.String(36), primary_key=True),
        sa.Column("node_uid", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("machine_type", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("spot", sa.Boolean, nullable=False),
        sa.Column("start_microseconds", sa.BigInteger, nullable=False),
        sa.Column("end_microseconds", sa.BigInteger),
        sa.Column("heartbeat_at_microseconds", sa.BigInteger, nullable=False),
        sa.Column("cpu_capacity_cores", sa.Float, nullable=False),
        sa.Column("cpu_allocatable_cores", sa.Float, nullable=False),
        sa.Column("memory_capacity_bytes", sa.BigInteger, nullable=False),
        sa.Column("memory_allocatable_bytes", sa.BigInteger, nullable=False),
        sa.Column("accelerator", sa.Text, nullable=False),
        sa.Column("accelerator_capacity", sa.Float, nullable=False),
        sa.Column("cpu_share", sa.Float, nullable=False),
        sa.Column("memory_share", sa.Float, nullable=False),
        sa.Column("accelerator_share", sa.Float, nullable=False),
        sa.Column("price_usd_per_hour", sa.Float, nullable=False),
        sa.Column("software_usd_per_hour", sa.Float, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("catalogue_version", sa.Text, nullable=False),
        sa.Column("stop_microseconds", sa.BigInteger, nullable=False),
    )
    op.create_index("nodes_stop", "nodes", ["stop_microseconds", "node_uid"])
    op.create_table(
        "quotes",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("made_at_microseconds", sa.BigInteger, nullable=False),
        sa.Column("low_usd", sa.Float, nullable=False),
        sa.Column("expected_usd", sa.Float, nullable=False),
        sa.Column("high_usd", sa.Float, nullable=False),
        sa.Column("budget_usd", sa.Float),
        sa.Column("document", sa.JSON, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("event_id", sa.String(36), primary_key=True),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("at_microseconds", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
    )
    op.create_index("events_run", "events", ["run_id", "at_microseconds"])

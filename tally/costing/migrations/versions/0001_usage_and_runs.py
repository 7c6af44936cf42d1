"""Usage and runs: the first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "usage",
        sa.Column("usage_id", sa.String(36), primary_key=True),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("pipeline", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("pod_uid", sa.Text, nullable=False),
        sa.Column("node_uid", sa.Text, nullable=False),
        sa.Column("container", sa.Text, nullable=False),
        sa.Column("machine_type", sa.Text, nullable=False),
        sa.Column("spot", sa.Boolean, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("start_microseconds", sa.BigInteger, nullable=False),
        sa.Column("end_microseconds", sa.BigInteger),
        sa.Column("heartbeat_at_microseconds", sa.BigInteger, nullable=False),
        sa.Column("cpu_request_cores", sa.Float, nullable=False),
        sa.Column("cpu_used_core_seconds", sa.Float, nullable=False),
        sa.Column("memory_request_bytes", sa.BigInteger, nullable=False),
        sa.Column("memory_used_byte_seconds", sa.Float, nullable=False),
        sa.Column("accelerator", sa.Text, nullable=False),
        sa.Column("accelerator_count", sa.Integer, nullable=False),
        sa.Column("wait_seconds", sa.Float, nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("confirmed", sa.Boolean, nullable=False),
        sa.Column("price_usd_per_hour", sa.Float, nullable=False),
        sa.Column("software_usd_per_hour", sa.Float, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("catalogue_version", sa.Text, nullable=False),
        sa.Column("stop_microseconds", sa.BigInteger, nullable=False),
    )
    op.create_index(
        "usage_run", "usage", ["run_id", "node_uid", "start_microseconds", "stop_microseconds"]
    )
    op.create_index(
        "usage_node", "usage", ["node_uid", "stop_microseconds", "start_microseconds", "run_id"]
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("pipeline", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at_microseconds", sa.BigInteger, nullable=False),
        sa.Column("value_of_hour_usd", sa.Float, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("ended_at_microseconds", sa.BigInteger),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("examples_trained", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_index("runs_created", "runs", ["created_at_microseconds"])

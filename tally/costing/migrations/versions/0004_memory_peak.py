"""The most memory that was held at once (0, unknown, in rows of before); past lives by pipeline."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    peak = sa.Column("memory_peak_bytes", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("usage", peak)
    op.create_index("usage_pipeline", "usage", ["pipeline", "namespace", "stop_microseconds"])

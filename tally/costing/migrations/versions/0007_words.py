"""How a run's measures are read where a user's file has its task; {}, of a packaged one, before."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    words = sa.Column("words", sa.JSON, nullable=False, server_default="{}")
    op.add_column("runs", words)

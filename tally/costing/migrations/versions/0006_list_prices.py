"""What a machine costs before discount (null, not kept, in rows of before), for FOCUS."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    for table in ("usage", "nodes"):
        op.add_column(table, sa.Column("list_price_usd_per_hour", sa.Float))

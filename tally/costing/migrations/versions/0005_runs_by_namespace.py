"""A run is its namespace's: the same id in two is two runs.

What is there stays whose it was: a quote and an event are those of their run's record, else of the
only namespace that had a pod of it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_KEYS = {"runs": "id", "quotes": "run_id", "events": "event_id"}


def upgrade() -> None:
    for name in _KEYS:
        op.add_column(name, sa.Column("namespace", sa.Text, nullable=False, server_default=""))
    runs = _table("runs", "id", "engine", "team", "namespace")
    op.execute(runs.update().where(runs.c.engine == "cluster").values(namespace=runs.c.team))
    usage = _table("usage", "run_id", "source", "namespace")
    for name in ("quotes", "events"):
        told = _table(name, "run_id", "namespace")
        of_record = sa.select(runs.c.namespace).where(runs.c.id == told.c.run_id)
        of_pods = sa.select(sa.func.min(usage.c.namespace)).group_by(usage.c.run_id)
        of_pods = of_pods.where(usage.c.run_id == told.c.run_id, usage.c.source == "pod")
        of_pods = of_pods.having(sa.func.count(usage.c.namespace.distinct()) == 1)
        found = of_record.scalar_subquery(), of_pods.scalar_subquery()
        op.execute(told.update().values(namespace=sa.func.coalesce(*found, "")))
    for name, key in _KEYS.items():
        # told as part of the key beforehand, it is in SQLite's new table as in PostgreSQL's old one
        is_key = sa.Column("namespace", sa.Text, primary_key=True, server_default="")
        with op.batch_alter_table(name, reflect_args=(is_key,)) as batch:
            if op.get_bind().dialect.name == "postgresql":
                batch.drop_constraint(f"{name}_pkey", type_="primary")
            batch.create_primary_key(f"{name}_pkey", [key, "namespace"])


def _table(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *map(sa.column, columns))

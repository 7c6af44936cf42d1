"""Run by Alembic, on the connection and inside the transaction of the caller."""

from alembic import context

from tally.costing.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()

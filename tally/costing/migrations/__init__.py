"""The ledger's schema, step by step (Alembic). A revision's id is its number."""

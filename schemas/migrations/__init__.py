"""How the ledger's tables came to be what they are: Alembic migrations, oldest first."""

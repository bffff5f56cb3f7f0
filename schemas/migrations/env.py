"""How Alembic reaches the ledger that is to be migrated."""

from alembic import context
from sqlalchemy import create_engine

from schemas.tables import metadata


def run() -> None:
    url = context.config.get_main_option("sqlalchemy.url")
    if not url:
        raise ValueError("sqlalchemy.url is not set")
    engine = create_engine(url)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()

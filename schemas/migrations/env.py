"""How Alembic reaches the ledger that is to be migrated: over a transaction that is open already, or by URL."""

from alembic import context
from sqlalchemy import Connection, create_engine

from schemas.tables import metadata


def run() -> None:
    if (given := context.config.attributes.get("connection")) is not None:
        migrate(given)
        return
    url = context.config.get_main_option("sqlalchemy.url")
    if not url:
        raise ValueError("sqlalchemy.url is not set")
    engine = create_engine(url)
    with engine.begin() as connection:
        migrate(connection)
    engine.dispose()


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True
    )
    with context.begin_transaction():
        context.run_migrations()


run()

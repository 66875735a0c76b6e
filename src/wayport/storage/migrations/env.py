"""How Alembic runs our migrations: on the connection that it is given, inside that connection's transaction."""

from alembic import context
from sqlalchemy import Connection

from wayport.storage.migrations import VERSION_TABLE

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()

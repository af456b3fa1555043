"""Alembic runs this with the connection that ``store.database`` holds inside its write transaction."""

from alembic import context

from specimg.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False, render_as_batch=True)
context.run_migrations()

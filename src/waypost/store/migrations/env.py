"""What Alembic runs to migrate: on the connection, and in the transaction, that `store.migrate` hands it."""

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    on_version_apply=attributes["on_version_apply"],
    # SQLite undoes changes of the schema as well; Alembic does not count on it by itself.
    transactional_ddl=True,
)
context.run_migrations()

"""First release: all tables, and triggers that keep history append-only."""

from alembic import op

from specimg.store.schema import metadata

revision = "0001"
down_revision = None

APPEND_ONLY = ("edit", "chunk_version", "blob", "entry", "checkpoint", "original", "image")


def upgrade() -> None:
    metadata.create_all(op.get_bind())
    for table in APPEND_ONLY:
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
    # A shape version may be closed once, and never otherwise change.
    op.execute(
        "CREATE TRIGGER shape_version_no_delete BEFORE DELETE ON shape_version "
        "BEGIN SELECT RAISE(ABORT, 'shape_version is append-only'); END"
    )
    op.execute(
        "CREATE TRIGGER shape_version_no_update BEFORE UPDATE ON shape_version "
        "WHEN OLD.last_version IS NOT NULL OR NEW.shape IS NOT OLD.shape OR NEW.digest IS NOT OLD.digest "
        "OR NEW.first_version IS NOT OLD.first_version OR NEW.shape_id IS NOT OLD.shape_id "
        "BEGIN SELECT RAISE(ABORT, 'shape_version is append-only'); END"
    )

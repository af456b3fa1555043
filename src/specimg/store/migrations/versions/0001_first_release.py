"""First release: all tables, and triggers that keep history append-only.

Frozen: a released migration describes the database of its day and does not follow ``store.schema``.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

APPEND_ONLY = ("edit", "chunk_version", "blob", "entry", "checkpoint", "original", "image")


def upgrade() -> None:
    _create_tables()
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


def _create_tables() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("name", name="uq_account_name"),
    )
    op.create_table(
        "blob",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name="pk_blob"),
    )
    op.create_table(
        "checkpoint",
        sa.Column("size", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("time", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_checkpoint"),
    )
    op.create_table(
        "entry",
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=True),
        sa.Column("object_id", sa.Text(), nullable=True),
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("time", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("index", name="pk_entry"),
        sa.UniqueConstraint("id", name="uq_entry_id"),
    )
    op.create_index("ix_entry_actor_id", "entry", ["actor_id"], unique=False)
    op.create_index("ix_entry_object_id", "entry", ["object_id"], unique=False)
    op.create_index("ix_entry_project_id", "entry", ["project_id"], unique=False)
    op.create_index("ix_entry_type", "entry", ["type"], unique=False)
    op.create_table(
        "image",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("series", sa.JSON(), nullable=False),
        sa.Column("levels", sa.JSON(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_image"),
        sa.UniqueConstraint("digest", name="uq_image_digest"),
    )
    op.create_table(
        "node",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "index", name="pk_node"),
    )
    op.create_table(
        "original",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("stored_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_original"),
    )
    op.create_table(
        "outbox",
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_outbox"),
        sa.UniqueConstraint("id", name="uq_outbox_id"),
    )
    op.create_table(
        "private_value",
        sa.Column("commitment", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("commitment", name="pk_private_value"),
    )
    op.create_table(
        "project",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
        sa.UniqueConstraint("name", name="uq_project_name"),
    )
    op.create_table(
        "image_original",
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["original.digest"], name="fk_image_original_digest_original"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_image_original_image_id_image"),
        sa.PrimaryKeyConstraint("image_id", "position", name="pk_image_original"),
    )
    op.create_table(
        "membership",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_membership_account_id_account"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_membership_project_id_project"),
        sa.PrimaryKeyConstraint("project_id", "account_id", name="pk_membership"),
    )
    op.create_table(
        "ontology",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_ontology_project_id_project"),
        sa.PrimaryKeyConstraint("id", "version", name="pk_ontology"),
    )
    op.create_table(
        "project_image",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("added_at", sa.Text(), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_project_image_image_id_image"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_project_image_project_id_project"),
        sa.PrimaryKeyConstraint("project_id", "image_id", name="pk_project_image"),
    )
    op.create_table(
        "segmentation",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.Column("ontology_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("head", sa.Integer(), nullable=False),
        sa.Column("head_digest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_segmentation_image_id_image"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_segmentation_project_id_project"),
        sa.PrimaryKeyConstraint("id", name="pk_segmentation"),
    )
    op.create_index("ix_segmentation_image_id", "segmentation", ["image_id"], unique=False)
    op.create_table(
        "session",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_session_account_id_account"),
        sa.PrimaryKeyConstraint("digest", name="pk_session"),
    )
    op.create_table(
        "token",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.Text(), nullable=True),
        sa.Column("used_at", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_token_account_id_account"),
        sa.PrimaryKeyConstraint("id", name="pk_token"),
        sa.UniqueConstraint("digest", name="uq_token_digest"),
    )
    op.create_table(
        "chunk_version",
        sa.Column("segmentation_id", sa.Text(), nullable=False),
        sa.Column("chunk", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["blob"], ["blob.digest"], name="fk_chunk_version_blob_blob"),
        sa.ForeignKeyConstraint(
            ["segmentation_id"], ["segmentation.id"], name="fk_chunk_version_segmentation_id_segmentation"
        ),
        sa.PrimaryKeyConstraint("segmentation_id", "chunk", "version", name="pk_chunk_version"),
    )
    op.create_index("ix_chunk_version_blob", "chunk_version", ["blob", "segmentation_id"], unique=False)
    op.create_index("ix_chunk_version_version", "chunk_version", ["segmentation_id", "version"], unique=False)
    op.create_table(
        "edit",
        sa.Column("segmentation_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("time", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("voxels", sa.Integer(), nullable=False),
        sa.Column("box", sa.JSON(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("request_digest", sa.Text(), nullable=True),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["segmentation_id"], ["segmentation.id"], name="fk_edit_segmentation_id_segmentation"),
        sa.PrimaryKeyConstraint("segmentation_id", "version", name="pk_edit"),
        sa.UniqueConstraint("segmentation_id", "request_id", name="uq_edit_segmentation_id"),
    )
    op.create_table(
        "proposal",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("segmentation_id", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("model", sa.JSON(), nullable=False),
        sa.Column("prompts", sa.JSON(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("spans", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["segmentation_id"], ["segmentation.id"], name="fk_proposal_segmentation_id_segmentation"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_proposal"),
    )
    op.create_index("ix_proposal_segmentation_id", "proposal", ["segmentation_id"], unique=False)
    op.create_table(
        "shape_version",
        sa.Column("segmentation_id", sa.Text(), nullable=False),
        sa.Column("shape_id", sa.Text(), nullable=False),
        sa.Column("first_version", sa.Integer(), nullable=False),
        sa.Column("last_version", sa.Integer(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("shape", sa.JSON(), nullable=False),
        sa.Column("z0", sa.Float(), nullable=True),
        sa.Column("y0", sa.Float(), nullable=True),
        sa.Column("x0", sa.Float(), nullable=True),
        sa.Column("z1", sa.Float(), nullable=True),
        sa.Column("y1", sa.Float(), nullable=True),
        sa.Column("x1", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["segmentation_id"], ["segmentation.id"], name="fk_shape_version_segmentation_id_segmentation"
        ),
        sa.PrimaryKeyConstraint("segmentation_id", "shape_id", "first_version", name="pk_shape_version"),
    )
    op.create_index("ix_shape_version_last", "shape_version", ["segmentation_id", "last_version"], unique=False)

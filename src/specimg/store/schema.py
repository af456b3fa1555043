"""Every table, in one place. Queries live with the concept that owns the rows; migrations in ``store.migrations``.

Times are RFC 3339 UTC text with microseconds (``2026-11-21T10:15:00.000000Z``): readable by the offline verifier without
a driver's opinion on dates. Rows of ``edit``, ``chunk_version``, ``shape_version`` (but for ``last_version``), ``entry``
and ``checkpoint`` are never updated or deleted; triggers stop accidents, the log shows intent. Free words of people live
in ``private_value`` and can be erased: everything else holds only a salted commitment to them.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# --- people (workflow.accounts) -------------------------------------------------------------------------------------

project = Table(
    "project",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", Text, nullable=False),
)

account = Table(
    "account",
    metadata,
    Column("id", Text, primary_key=True),  # UUID, never reused: the same name made again is another person
    Column("name", Text, nullable=False, unique=True),
    Column("password_hash", Text),  # Argon2id; null: no password login
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created_at", Text, nullable=False),
)

membership = Table(
    "membership",
    metadata,
    Column("project_id", ForeignKey("project.id"), primary_key=True),
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column("role", Text, nullable=False),
)

session = Table(
    "session",
    metadata,
    Column("digest", Text, primary_key=True),  # of the 256-bit id; the id itself is only in the cookie
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("created_at", Text, nullable=False),
    Column("seen_at", Text, nullable=False),
)

token = Table(
    "token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("revoked_at", Text),
    Column("used_at", Text),
)

# --- images (store.image, workflow.ingest) --------------------------------------------------------------------------

original = Table(
    "original",
    metadata,
    Column("digest", Text, primary_key=True),  # bytes lie at originals/<2 hex>/<62 hex>
    Column("size", Integer, nullable=False),
    Column("stored_at", Text, nullable=False),
)

image = Table(
    "image",
    metadata,
    Column("id", Text, primary_key=True),  # first 32 hex digits of the digest
    Column("digest", Text, nullable=False, unique=True),  # of the manifest of its Zarr files
    Column("format", Text, nullable=False),
    Column("series", JSON, nullable=False),  # formats.base.Series.to_json()
    Column("levels", JSON, nullable=False),  # [{"path", "shape", "chunks", "shards", "factors"}], finest first
    Column("bytes", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
)

image_original = Table(
    "image_original",
    metadata,
    Column("image_id", ForeignKey("image.id"), primary_key=True),
    Column("position", Integer, primary_key=True),  # index into series.files
    Column("digest", ForeignKey("original.digest"), nullable=False),
)

project_image = Table(
    "project_image",
    metadata,
    Column("project_id", ForeignKey("project.id"), primary_key=True),
    Column("image_id", ForeignKey("image.id"), primary_key=True),
    Column("name", Text, nullable=False),
    Column("added_at", Text, nullable=False),
    Column("added_by", Text, nullable=False),
)

# --- labels (labels, workflow.annotate) -----------------------------------------------------------------------------

ontology = Table(
    "ontology",
    metadata,
    Column("id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("classes", JSON, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
)

segmentation = Table(
    "segmentation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("image_id", ForeignKey("image.id"), nullable=False, index=True),
    Column("ontology_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("head", Integer, nullable=False),  # latest version; 0 is the empty beginning
    Column("head_digest", Text, nullable=False),  # edit digest of the head: the short chain of this label
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
)

edit = Table(
    "edit",
    metadata,
    Column("segmentation_id", ForeignKey("segmentation.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("base", Integer, nullable=False),  # the version it was drawn on; version - 1 or older
    Column("digest", Text, nullable=False),
    Column("time", Text, nullable=False),
    Column("actor_id", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("params", JSON, nullable=False),
    Column("reason", Text),  # commitment to the words in private_value
    Column("voxels", Integer, nullable=False),  # how many changed
    Column("box", JSON),  # [[z, y, x], [z, y, x]] start and stop of what changed, or null
    Column("request_id", Text),  # idempotency: the client's own id of this edit
    Column("request_digest", Text),
    Column("entry_id", Text, nullable=False),
    UniqueConstraint("segmentation_id", "request_id"),
)

blob = Table(
    "blob",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("bytes", LargeBinary),  # exactly the encoded Zarr chunk; null: in blobs/<2 hex>/<62 hex>
)

chunk_version = Table(
    "chunk_version",
    metadata,
    Column("segmentation_id", ForeignKey("segmentation.id"), primary_key=True),
    Column("chunk", Text, primary_key=True),  # "z/y/x"
    Column("version", Integer, primary_key=True),
    Column("blob", ForeignKey("blob.digest")),  # null: all background again
)
Index("ix_chunk_version_version", chunk_version.c.segmentation_id, chunk_version.c.version)
Index("ix_chunk_version_blob", chunk_version.c.blob, chunk_version.c.segmentation_id)  # does this blob belong to it?

shape_version = Table(
    "shape_version",
    metadata,
    Column("segmentation_id", ForeignKey("segmentation.id"), primary_key=True),
    Column("shape_id", Text, primary_key=True),
    Column("first_version", Integer, primary_key=True),
    Column("last_version", Integer),  # last version in which it is visible; null: still
    Column("digest", Text, nullable=False),  # of the canonical JSON of ``shape``
    Column("shape", JSON, nullable=False),
    Column("z0", Float),
    Column("y0", Float),
    Column("x0", Float),
    Column("z1", Float),
    Column("y1", Float),
    Column("x1", Float),
)
Index("ix_shape_version_last", shape_version.c.segmentation_id, shape_version.c.last_version)

proposal = Table(
    "proposal",
    metadata,
    Column("id", Text, primary_key=True),
    Column("segmentation_id", ForeignKey("segmentation.id"), nullable=False, index=True),
    Column("actor_id", Text, nullable=False),
    Column("model", JSON, nullable=False),  # card id, version, weights digest
    Column("prompts", JSON, nullable=False),  # the ordered prompt log: replaying it gives the same voxels
    Column("digest", Text, nullable=False),  # of the proposed spans
    Column("spans", LargeBinary, nullable=False),  # labels.edit span bytes
    Column("state", Text, nullable=False),  # open, accepted, rejected, superseded; spans are kept while open
    Column("created_at", Text, nullable=False),
    Column("decided_at", Text),
)

# --- audit (audit.log) ----------------------------------------------------------------------------------------------

outbox = Table(
    "outbox",
    metadata,
    Column("position", Integer, primary_key=True),  # rowid: the order in which transactions wrote them
    Column("id", Text, nullable=False, unique=True),  # UUIDv7 of the entry
    Column("leaf", LargeBinary, nullable=False),  # exact RFC 8785 bytes
)

private_value = Table(
    "private_value",
    metadata,
    Column("commitment", Text, primary_key=True),  # sha256(0x02 | salt | value), the only trace in leaves and edits
    Column("salt", LargeBinary, nullable=False),
    Column("value", Text, nullable=False),  # a person's words; the one table whose rows may be erased
)

entry = Table(
    "entry",
    metadata,
    Column("index", Integer, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("leaf", LargeBinary, nullable=False),
    Column("type", Text, nullable=False, index=True),
    Column("actor_id", Text, index=True),
    Column("object_id", Text, index=True),
    Column("project_id", Text, index=True),
    Column("time", Text, nullable=False),
)

node = Table(
    "node",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),  # 0: leaf hashes
    Column("index", Integer, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", Integer, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),  # C2SP signed note
    Column("time", Text, nullable=False),
)

"""Labelling: every write of a segmentation or ontology.

Each use case asks for the permission, then does everything in one transaction: the label rows, the person's words and the
audit entry that commits to them. What returned is on disk and in the log; what raised never happened.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from specimg.access import Actor, Permission, require
from specimg.audit import entry as entries
from specimg.audit import private
from specimg.audit.entry import EntryType
from specimg.digest import JSON, Digest, digest_json
from specimg.errors import Conflict, InvalidInput, NotFound
from specimg.labels import ontology as ontologies
from specimg.labels import segmentation as segmentations
from specimg.labels import versions
from specimg.labels.edit import Box, Edit, ShapePut, require_reason
from specimg.labels.ontology import LabelClass, Ontology
from specimg.labels.provenance import is_reserved
from specimg.labels.segmentation import Segmentation
from specimg.labels.versions import Applied
from specimg.store import schema
from specimg.workflow.desk import Desk

MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a client gets for an act: the version it became, what changed, and the entry that proves it."""

    segmentation_id: str
    version: int
    base: int
    digest: Digest
    entry_id: str
    voxels: int
    box: Box | None
    chunks: Mapping[str, Digest | None]
    shapes: Mapping[str, Digest | None]

    @classmethod
    def of(cls, applied: Applied) -> Receipt:
        """The receipt of what the label store did."""
        return cls(
            applied.segmentation_id,
            applied.version,
            applied.base,
            applied.digest,
            applied.entry_id,
            applied.voxels,
            applied.box,
            applied.chunks,
            applied.shapes,
        )

    def to_json(self) -> dict[str, Any]:
        """JSON form, as the API answers."""
        return {
            "segmentation_id": self.segmentation_id,
            "version": self.version,
            "base": self.base,
            "digest": self.digest,
            "entry_id": self.entry_id,
            "voxels": self.voxels,
            "box": None if self.box is None else {"start": list(self.box[0]), "stop": list(self.box[1])},
            "chunks": dict(self.chunks),
            "shapes": dict(self.shapes),
        }


def create_segmentation(
    desk: Desk, actor: Actor, *, project_id: str, image_id: str, name: str, ontology_id: str
) -> Segmentation:
    """An empty segmentation of an image of the project. Raises ``NotFound`` or ``InvalidInput``."""
    require(actor, Permission.ANNOTATE, project_id)
    with desk.database.transaction() as connection:
        return open_segmentation(
            desk, connection, actor, project_id=project_id, image_id=image_id, name=name, ontology_id=ontology_id
        )


def open_segmentation(
    desk: Desk,
    connection: Connection,
    actor: Actor,
    *,
    project_id: str,
    image_id: str,
    name: str,
    ontology_id: str,
) -> Segmentation:
    """``create_segmentation`` inside a transaction that does more, such as an import. The caller has the permission."""
    _require_name(name)
    _require_in_project(connection, project_id, image_id, ontology_id)
    time = desk.database.clock()
    segmentation = segmentations.create(
        connection,
        segmentation_id=str(uuid.uuid4()),
        project_id=project_id,
        image_id=image_id,
        ontology_id=ontology_id,
        name=name,
        actor=actor,
        time=time,
    )
    desk.log.append(
        connection,
        entries.segmentation_create(
            actor, time, project=project_id, segmentation=segmentation.id, image=image_id, ontology=ontology_id
        ),
    )
    return segmentation


def apply_edit(desk: Desk, actor: Actor, segmentation_id: str, edit: Edit) -> Receipt:
    """Record an edit as the next version.

    Raises ``VersionConflict`` where it meets other edits (see ``versions.apply``), and ``InvalidInput`` for a ``tool``
    that only the server may claim: who made a label must not be a matter of what a client writes.
    """
    if is_reserved(edit.tool):
        raise InvalidInput(f"an edit made with '{edit.tool}' comes about by another request", field="tool")
    with desk.database.transaction() as connection:
        segmentation = segmentations.load(connection, segmentation_id)
        require(actor, Permission.ANNOTATE, segmentation.project_id)
        return record_edit(desk, connection, actor, segmentation, edit)


def record_edit(
    desk: Desk,
    connection: Connection,
    actor: Actor,
    segmentation: Segmentation,
    edit: Edit,
    *,
    type: EntryType = EntryType.SEGMENTATION_EDIT,
    detail: Mapping[str, JSON] | None = None,
) -> Receipt:
    """An edit and its entry, inside the caller's transaction; for acts that end in an edit (accept, import).

    The caller has the permission. ``type`` and ``detail`` are the entry's.
    """
    request = edit.request_digest(actor.id)
    if (done := versions.repeat_of(connection, segmentation, edit.request_id, request)) is not None:
        return Receipt.of(done)
    _require_labels(connection, segmentation, edit)
    time = desk.database.clock()
    words = _commit_words(connection, edit.reason)
    applied = versions.apply(
        connection,
        desk.blobs,
        segmentation,
        replace(edit, reason=words),
        actor=actor,
        time=time,
        entry_id=entries.new_id(time),
    )
    _append(desk, connection, actor, segmentation, applied, type, time=time, reason=words, detail=detail)
    return Receipt.of(applied)


def revert_edit(
    desk: Desk, actor: Actor, segmentation_id: str, version: int, *, base: int, request_id: str | None = None
) -> Receipt:
    """Take back one version, as a new one. Raises ``VersionConflict`` if any of it was changed again since."""
    with desk.database.transaction() as connection:
        segmentation = segmentations.load(connection, segmentation_id)
        require(actor, Permission.ANNOTATE, segmentation.project_id)
        time = desk.database.clock()
        applied = versions.revert(
            connection,
            desk.blobs,
            segmentation,
            version,
            base=base,
            actor=actor,
            time=time,
            entry_id=entries.new_id(time),
            request_id=request_id,
        )
        if not applied.repeated:
            detail = {"version": version}
            _append(
                desk,
                connection,
                actor,
                segmentation,
                applied,
                EntryType.SEGMENTATION_REVERT,
                time=time,
                detail=detail,
            )
        return Receipt.of(applied)


def restore_version(
    desk: Desk,
    actor: Actor,
    segmentation_id: str,
    version: int,
    *,
    base: int,
    reason: str | None = None,
    request_id: str | None = None,
) -> Receipt:
    """Make everything as it was at ``version``, as a new version.

    Undoing one's own edits is labelling; undoing anyone else's is reviewing and needs that permission.
    """
    with desk.database.transaction() as connection:
        segmentation = segmentations.load(connection, segmentation_id)
        require(actor, Permission.ANNOTATE, segmentation.project_id)
        if not _all_own(connection, segmentation, actor, version, base):
            require(actor, Permission.REVIEW, segmentation.project_id)
        request = versions.inverse_request("restore", actor, base, version)
        if (done := versions.repeat_of(connection, segmentation, request_id, request)) is not None:
            return Receipt.of(done)
        time = desk.database.clock()
        words = _commit_words(connection, reason)
        applied = versions.restore(
            connection,
            desk.blobs,
            segmentation,
            version,
            base=base,
            actor=actor,
            time=time,
            entry_id=entries.new_id(time),
            reason=words,
            request_id=request_id,
        )
        _append(
            desk,
            connection,
            actor,
            segmentation,
            applied,
            EntryType.SEGMENTATION_RESTORE,
            time=time,
            reason=words,
            detail={"version": version},
        )
        return Receipt.of(applied)


def change_ontology(
    desk: Desk,
    actor: Actor,
    *,
    project_id: str,
    ontology_id: str,
    name: str,
    classes: Sequence[LabelClass],
    base: int | None = None,
) -> Ontology:
    """Write the next version of an ontology; the first makes it.

    ``base`` is the version the person saw, 0 for a new one; ``None`` takes the newest, whatever it is. Raises ``Conflict``
    if there is a newer one, ``InvalidInput`` if existing labels would change their meaning.
    """
    require(actor, Permission.ADMINISTER, project_id)
    with desk.database.transaction() as connection:
        old = _find_ontology(connection, project_id, ontology_id)
        current = 0 if old is None else old.version
        if base is not None and base != current:
            raise Conflict(f"the ontology was changed: it is at version {current}, not {base}")
        new = Ontology(ontology_id, current + 1, name, tuple(classes))
        if old is not None:
            old.require_successor(new)
        time = desk.database.clock()
        ontologies.append(connection, new, project_id=project_id, actor_id=actor.id, time=time)
        desk.log.append(
            connection,
            entries.ontology_change(
                actor,
                time,
                project=project_id,
                ontology=ontology_id,
                version=new.version,
                old=None if old is None else digest_json([c.to_json() for c in old.classes]),
                classes=[c.to_json() for c in new.classes],
            ),
        )
        return new


def _append(
    desk: Desk,
    connection: Connection,
    actor: Actor,
    segmentation: Segmentation,
    applied: Applied,
    type: EntryType,
    *,
    time: str,
    reason: Digest | None = None,
    detail: Mapping[str, JSON] | None = None,
) -> None:
    desk.log.append(
        connection,
        entries.segmentation_edit(
            actor,
            time,
            project=segmentation.project_id,
            segmentation=segmentation.id,
            version=applied.version,
            old=applied.previous_digest,
            new=applied.digest,
            type=type,
            reason=reason,
            detail=detail,
            id=applied.entry_id,
        ),
    )


def _commit_words(connection: Connection, words: str | None) -> Digest | None:
    require_reason(words)
    return None if words is None else private.commit(connection, words)


def _all_own(connection: Connection, segmentation: Segmentation, actor: Actor, after: int, until: int) -> bool:
    row = schema.edit.c
    other = select(row.version).where(
        row.segmentation_id == segmentation.id,
        row.version > after,
        row.version <= until,
        row.actor_id != actor.id,
    )
    return connection.execute(other.limit(1)).first() is None


def _require_name(name: str) -> None:
    if not 1 <= len(name.strip()) <= MAX_NAME or not name.isprintable():
        raise InvalidInput(f"a name has 1 to {MAX_NAME} printable characters", field="name")


def _require_in_project(connection: Connection, project_id: str, image_id: str, ontology_id: str) -> None:
    held = select(schema.project_image.c.name).where(
        schema.project_image.c.project_id == project_id, schema.project_image.c.image_id == image_id
    )
    if connection.execute(held).first() is None:
        raise NotFound("there is no such image in this project")
    if ontologies.project_of(connection, ontology_id) != project_id:
        raise NotFound("there is no such ontology in this project")


def _find_ontology(connection: Connection, project_id: str, ontology_id: str) -> Ontology | None:
    try:
        owner = ontologies.project_of(connection, ontology_id)
    except NotFound:
        return None
    if owner != project_id:
        raise NotFound("there is no such ontology in this project")
    return ontologies.latest(connection, ontology_id)


def _require_labels(connection: Connection, segmentation: Segmentation, edit: Edit) -> None:
    """Only classes of the ontology may be drawn; 0 erases."""
    used = {write.label for write in edit.voxels if write.label != 0}
    used |= {act.shape.label for act in edit.shapes if isinstance(act, ShapePut)}
    unknown = used - ontologies.latest(connection, segmentation.ontology_id).labels
    if unknown:
        raise InvalidInput(f"label {min(unknown)} is not a class of this segmentation's ontology", field="label")

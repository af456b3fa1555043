"""Segmentations: reading any version, and the writes that make one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection

from specimg.access import Actor, Permission, require
from specimg.api import octets
from specimg.api.core import Core
from specimg.api.deps import ActorDep, CoreDep, StrictRoute
from specimg.api.messages import (
    ActorOut,
    BoxOut,
    ChangesOut,
    ChunksOut,
    ClassOut,
    ConflictOut,
    EditIn,
    EditOut,
    GridOut,
    OntologyIn,
    OntologyOut,
    ReceiptOut,
    RestoreIn,
    RevertIn,
    SegmentationIn,
    SegmentationOut,
    ShapeOut,
    ShapesOut,
    SpaceOut,
)
from specimg.audit import private
from specimg.digest import digest, hex_of, parse_digest
from specimg.errors import InvalidInput, NotFound
from specimg.geometry.grid import Grid
from specimg.labels import ontology as ontologies
from specimg.labels import segmentation as segmentations
from specimg.labels.ontology import LabelClass, Ontology
from specimg.labels.segmentation import Segmentation
from specimg.labels.zarr import chunk_of
from specimg.workflow import accounts, annotate
from specimg.workflow.annotate import Receipt
from specimg.workflow.edit_json import edit_of

router = APIRouter(prefix="/api", tags=["segmentations"], route_class=StrictRoute)

_REF = re.compile(r"([0-9a-f-]{36})(?:@(0|[1-9][0-9]{0,14}))?")
CONFLICT: Mapping[int | str, dict[str, Any]] = {
    409: {"model": ConflictOut, "description": "Meets other edits made since its base"}
}

Limit = Annotated[int, Query(ge=1, le=1000)]


# --- finding --------------------------------------------------------------------------------------------------------


def find(
    connection: Connection, actor: Actor, ref: str, permission: Permission = Permission.VIEW
) -> tuple[Segmentation, int]:
    """The segmentation of ``id`` or ``id@version`` and the version meant, once the actor has the permission.

    Raises ``NotFound`` in the same words for what is not there and for what this actor may not know of.
    """
    match = _REF.fullmatch(ref)
    missing = NotFound("there is no such segmentation")
    if match is None:
        raise missing
    try:
        segmentation = segmentations.load(connection, match[1])
    except NotFound:
        raise missing from None
    if not actor.may(Permission.VIEW, segmentation.project_id):
        raise missing
    require(actor, permission, segmentation.project_id)
    version = segmentation.head if match[2] is None else int(match[2])
    return segmentation, segmentations.require_version(segmentation, version)


# --- ontologies -----------------------------------------------------------------------------------------------------


@router.get("/projects/{project_id}/ontologies", tags=["ontologies"])
def list_ontologies(core: CoreDep, actor: ActorDep, project_id: str) -> list[OntologyOut]:
    """The newest version of each ontology of a project."""
    require(actor, Permission.VIEW, project_id)
    with core.desk.database.reading() as connection:
        return [ontology_out(found) for found in ontologies.of_project(connection, project_id)]


@router.put("/projects/{project_id}/ontologies/{ontology_id}", tags=["ontologies"])
def put_ontology(core: CoreDep, actor: ActorDep, project_id: str, ontology_id: str, body: OntologyIn) -> OntologyOut:
    """Write the next version of an ontology. Labels keep their meaning: classes are added and renamed, never dropped."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", ontology_id) is None:
        raise InvalidInput("an ontology's id is up to 64 letters, digits, - and _", field="ontology_id")
    classes = [LabelClass.from_json(found.model_dump()) for found in body.classes]
    new = annotate.change_ontology(
        core.desk,
        actor,
        project_id=project_id,
        ontology_id=ontology_id,
        name=body.name,
        classes=classes,
        base=body.base,
    )
    return ontology_out(new)


# --- segmentations --------------------------------------------------------------------------------------------------


@router.get("/images/{image_id}/segmentations")
def list_segmentations(core: CoreDep, actor: ActorDep, image_id: str) -> list[SegmentationOut]:
    """The segmentations of an image in the projects of the asker, oldest first."""
    core.image(actor, image_id)
    mine = [project for project in actor.roles if actor.may(Permission.VIEW, project)]
    with core.desk.database.reading() as connection:
        found = segmentations.of_image(connection, image_id, mine)
        return [segmentation_out(connection, s, s.head) for s in found]


@router.post("/projects/{project_id}/segmentations", status_code=201)
def create_segmentation(core: CoreDep, actor: ActorDep, project_id: str, body: SegmentationIn) -> SegmentationOut:
    """Begin an empty segmentation of an image of the project."""
    made = annotate.create_segmentation(
        core.desk,
        actor,
        project_id=project_id,
        image_id=body.image_id,
        name=body.name,
        ontology_id=body.ontology_id,
    )
    with core.desk.database.reading() as connection:
        return segmentation_out(connection, made, made.head)


@router.get("/segmentations/{ref}")
def get_segmentation(core: CoreDep, actor: ActorDep, ref: str) -> SegmentationOut:
    """A segmentation; ``ref`` is its id, or ``id@version``."""
    with core.desk.database.reading() as connection:
        return segmentation_out(connection, *find(connection, actor, ref))


@router.get("/segmentations/{ref}/zarr/{key:path}", response_class=Response)
def get_zarr(request: Request, core: CoreDep, actor: ActorDep, ref: str, key: str) -> Response:
    """Any version as a Zarr v3 group: ``zarr.json``, ``0/zarr.json``, ``0/c/z/y/x``. 404 means background."""
    with core.desk.database.reading() as connection:
        segmentation, version = find(connection, actor, ref)
        chunk = chunk_of(key)
        if chunk is None:
            data = segmentations.zarr_json(
                key,
                grid=segmentation.grid,
                segmentation_id=segmentation.id,
                version=version,
                name=segmentation.name,
                classes=ontologies.latest(connection, segmentation.ontology_id).classes,
            )
            name = digest(data) if data is not None else None
        else:
            name = segmentations.chunk_blob(connection, segmentation.id, version, chunk)
            data = None if name is None else segmentations.blob_bytes(connection, core.desk.blobs, name)
    if data is None or name is None:
        raise NotFound("there is no such key: background stands for it")
    # Names and colours in zarr.json follow the ontology, so only a named version's chunks never change.
    fixed = chunk is not None and "@" in ref
    return octets.of_bytes(
        request.headers,
        data,
        etag=f'"{hex_of(name)}"',
        cache=octets.IMMUTABLE if fixed else octets.REVALIDATE,
        media_type="application/json" if chunk is None else "application/octet-stream",
    )


@router.get("/segmentations/{ref}/chunks")
def get_chunks(core: CoreDep, actor: ActorDep, ref: str) -> ChunksOut:
    """Which chunks of a version hold labels, and the digest of each."""
    with core.desk.database.reading() as connection:
        segmentation, version = find(connection, actor, ref)
        index = segmentations.chunk_index(connection, segmentation.id, version)
    return ChunksOut(version=version, chunks=dict(index))


@router.get("/segmentations/{segmentation_id}/blobs/{hex}", response_class=Response)
def get_blob(request: Request, core: CoreDep, actor: ActorDep, segmentation_id: str, hex: str) -> Response:
    """One encoded chunk by its digest, for ever the same."""
    missing = NotFound("there is no such chunk in this segmentation")
    try:
        name = parse_digest(f"sha256:{hex}")
    except ValueError:
        raise missing from None
    with core.desk.database.reading() as connection:
        segmentation, _ = find(connection, actor, segmentation_id)
        # A digest alone opens nothing: the same bytes may lie in a project the asker knows nothing of.
        if not segmentations.owns_blob(connection, segmentation.id, name):
            raise missing
        data = segmentations.blob_bytes(connection, core.desk.blobs, name)
    return octets.of_bytes(
        request.headers, data, etag=f'"{hex}"', cache=octets.IMMUTABLE, media_type="application/octet-stream"
    )


@router.get("/segmentations/{ref}/shapes")
def get_shapes(
    core: CoreDep,
    actor: ActorDep,
    ref: str,
    box: Annotated[str | None, Query(max_length=200, description="z0,y0,x0,z1,y1,x1: only shapes that meet it")] = None,
) -> ShapesOut:
    """Vector labels of a version."""
    corners = _corners(box)
    with core.desk.database.reading() as connection:
        segmentation, version = find(connection, actor, ref)
        found = segmentations.shapes(connection, segmentation, version, corners)
    return ShapesOut(version=version, shapes=[ShapeOut(**shape.to_json()) for shape in found])


@router.get("/segmentations/{segmentation_id}/changes")
def get_changes(
    core: CoreDep, actor: ActorDep, segmentation_id: str, since: Annotated[int, Query(ge=0, lt=2**53)]
) -> ChangesOut:
    """What is different at the head from version ``since``, for a client that follows."""
    with core.desk.database.reading() as connection:
        segmentation, _ = find(connection, actor, segmentation_id)
        found = segmentations.changes(connection, segmentation, since)
    return ChangesOut(
        version=found.version,
        chunks=dict(found.chunks),
        shapes=[ShapeOut(**shape.to_json()) for shape in found.shapes],
        deleted_shapes=list(found.deleted_shapes),
    )


# --- edits ----------------------------------------------------------------------------------------------------------


@router.post("/segmentations/{segmentation_id}/edits", status_code=201, responses=dict(CONFLICT))
def post_edit(core: CoreDep, actor: ActorDep, segmentation_id: str, body: EditIn) -> ReceiptOut:
    """Record an edit as the next version. It returns once labels and audit entry are on disk together."""
    require_segmentation(core, actor, segmentation_id, Permission.ANNOTATE)
    return receipt_out(annotate.apply_edit(core.desk, actor, segmentation_id, edit_of(body.model_dump())))


@router.post("/segmentations/{segmentation_id}/edits/{version}/revert", status_code=201, responses=dict(CONFLICT))
def revert_edit(
    core: CoreDep,
    actor: ActorDep,
    segmentation_id: str,
    version: Annotated[int, Path(ge=1, lt=2**53)],
    body: RevertIn,
) -> ReceiptOut:
    """Undo one edit as a new version; 409 if the same voxels or shapes were changed since."""
    require_segmentation(core, actor, segmentation_id, Permission.ANNOTATE)
    return receipt_out(annotate.revert_edit(core.desk, actor, segmentation_id, version, base=body.base))


@router.post("/segmentations/{segmentation_id}/restore", status_code=201, responses=dict(CONFLICT))
def restore(core: CoreDep, actor: ActorDep, segmentation_id: str, body: RestoreIn) -> ReceiptOut:
    """Make an old version the newest again. Undoing other people's work takes the role of a reviewer."""
    require_segmentation(core, actor, segmentation_id, Permission.ANNOTATE)
    made = annotate.restore_version(core.desk, actor, segmentation_id, body.version, base=body.base, reason=body.reason)
    return receipt_out(made)


@router.get("/segmentations/{segmentation_id}/edits")
def list_edits(
    core: CoreDep,
    actor: ActorDep,
    segmentation_id: str,
    before: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
    limit: Limit = 100,
) -> list[EditOut]:
    """The history: who did what and when, newest first."""
    with core.desk.database.reading() as connection:
        segmentation, _ = find(connection, actor, segmentation_id)
        rows = segmentations.history(connection, segmentation, before=before, limit=limit)
        names = accounts.names_of(connection, {row.actor_id for row in rows})
        words = private.reveal(connection, [row.reason for row in rows if row.reason is not None])
    return [
        EditOut(
            version=row.version,
            base=row.base,
            time=row.time,
            actor=ActorOut(id=row.actor_id, name=names.get(row.actor_id, row.actor_id)),
            tool=row.tool,
            params=dict(row.params),
            reason=None if row.reason is None else {str(k): v for k, v in words.items()}.get(row.reason),
            voxels=row.voxels,
            box=box_out(row.box),
            digest=row.digest,
            entry_id=row.entry_id,
        )
        for row in rows
    ]


# --- inner parts ----------------------------------------------------------------------------------------------------


def require_segmentation(core: Core, actor: Actor, segmentation_id: str, permission: Permission) -> None:
    """Before the body is looked at: whoever may not act learns nothing from what is wrong with it."""
    with core.desk.database.reading() as connection:
        found, _ = find(connection, actor, segmentation_id, permission)
    if segmentation_id != found.id:
        raise InvalidInput("a version cannot be written to; name the segmentation alone", field="segmentation_id")


def segmentation_out(connection: Connection, segmentation: Segmentation, version: int) -> SegmentationOut:
    """JSON of a segmentation with its ontology as it is now."""
    return SegmentationOut(
        id=segmentation.id,
        project_id=segmentation.project_id,
        image_id=segmentation.image_id,
        name=segmentation.name,
        version=version,
        head=segmentation.head,
        ontology=ontology_out(ontologies.latest(connection, segmentation.ontology_id)),
        grid=grid_out(segmentation.grid),
        chunk_shape=segmentation.chunks.chunk,
        created_at=segmentation.created_at,
    )


def ontology_out(ontology: Ontology) -> OntologyOut:
    """JSON of an ontology."""
    classes = [ClassOut(**found.to_json()) for found in ontology.classes]
    return OntologyOut(id=ontology.id, version=ontology.version, name=ontology.name, classes=classes)


def grid_out(grid: Grid) -> GridOut:
    """JSON of a grid."""
    space = SpaceOut(kind=grid.space.kind, crs=grid.space.crs)
    return GridOut(shape=grid.shape, affine=grid.affine.to_json(), space=space)


def box_out(box: tuple[tuple[int, int, int], tuple[int, int, int]] | None) -> BoxOut | None:
    """JSON of a box."""
    return None if box is None else BoxOut(start=box[0], stop=box[1])


def receipt_out(receipt: Receipt) -> ReceiptOut:
    """JSON of a receipt."""
    return ReceiptOut(
        segmentation_id=receipt.segmentation_id,
        version=receipt.version,
        digest=receipt.digest,
        entry_id=receipt.entry_id,
        voxels=receipt.voxels,
        box=box_out(receipt.box),
        chunks=dict(receipt.chunks),
    )


def _corners(text: str | None) -> tuple[list[float], list[float]] | None:
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
        if len(values) != 6 or not all(abs(value) < 1e9 for value in values):
            raise ValueError
    except ValueError:
        raise InvalidInput("a box is six numbers z0,y0,x0,z1,y1,x1", field="box") from None
    return values[:3], values[3:]

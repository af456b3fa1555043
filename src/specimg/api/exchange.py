"""Labels as files of other programs: exports as attachments, imports as uploads."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, BinaryIO
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, File, Form, Response, UploadFile
from starlette.responses import StreamingResponse

from specimg.access import Actor, Permission, require
from specimg.api.core import Core
from specimg.api.deps import ActorDep, CoreDep, StrictRoute
from specimg.api.messages import ImportOut, MatchOut
from specimg.api.proposals import waiting
from specimg.api.segmentations import find, segmentation_out
from specimg.digest import hex_of
from specimg.errors import InvalidInput
from specimg.workflow import exchange
from specimg.workflow.exchange import FORMATS, Exported, Imported

router = APIRouter(prefix="/api", tags=["exchange"], route_class=StrictRoute)

_PIECE = 2**20
_SUFFIX = re.compile(r"\.(nii\.gz|nii|dcm|tiff?)$", re.IGNORECASE)
_FIELD_LIMIT = 2**16


@router.get("/segmentations/{ref}/exports/{format}", response_class=Response)
async def export(core: CoreDep, actor: ActorDep, ref: str, format: str) -> Response:
    """A version as ``nifti``, ``dicom-seg``, ``geotiff``, ``geojson`` or ``coco``.

    ``X-Entry-Id`` names the log's entry, ``Repr-Digest`` the file (RFC 9530), ``X-Warnings`` is JSON, percent-encoded.
    """
    name, exported, stream = await waiting(core, lambda: _export(core, actor, ref, format))
    kind = FORMATS[format]
    size = os.fstat(stream.fileno()).st_size
    file_name = f"{name}-v{exported.version}{kind.suffix}"
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", file_name)
    digest = base64.b64encode(bytes.fromhex(hex_of(exported.file))).decode("ascii")
    headers = {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}",
        "Content-Length": str(size),
        "Repr-Digest": f"sha-256=:{digest}:",
        "X-Entry-Id": exported.entry_id,
        "X-Warnings": quote(json.dumps(list(exported.warnings))),
    }
    return StreamingResponse(_pieces(stream), 200, headers, kind.media_type)


@router.post("/projects/{project_id}/imports", status_code=201)
async def import_labels(
    core: CoreDep,
    actor: ActorDep,
    project_id: str,
    image_id: Annotated[str, Form(max_length=64)],
    name: Annotated[str, Form(min_length=1, max_length=100)],
    file: Annotated[UploadFile, File(description="NIfTI, DICOM SEG or GeoTIFF labels on the image's grid")],
    ontology_id: Annotated[str | None, Form(max_length=64)] = None,
    mapping: Annotated[
        str | None,
        Form(max_length=_FIELD_LIMIT, description='JSON: label of the file to label of the ontology, {"1": 3}'),
    ] = None,
) -> ImportOut:
    """A new segmentation from a label file. Classes are matched by code, name or number; an unknown one is refused."""
    chosen = _mapping(mapping)

    def bring() -> ImportOut:
        require(actor, Permission.ANNOTATE, project_id)
        with core.desk.staging.folder() as folder:
            path = folder / _safe_name(file.filename or "")
            with path.open("wb") as target:
                shutil.copyfileobj(file.file, target, _PIECE)
            made = exchange.import_segmentation(
                core.desk,
                actor,
                project_id=project_id,
                image_id=image_id,
                name=name,
                path=path,
                ontology_id=ontology_id,
                mapping=chosen,
            )
        return _import_out(core, made)

    return await waiting(core, bring)


def _export(core: Core, actor: Actor, ref: str, format: str) -> tuple[str, Exported, BinaryIO]:
    with core.desk.database.reading() as connection:
        segmentation, version = find(connection, actor, ref, Permission.EXPORT)
    if format not in FORMATS:
        raise InvalidInput(f"labels are exported as {', '.join(FORMATS)}", field="format")
    with core.desk.staging.folder() as folder:
        path = folder / f"labels{FORMATS[format].suffix}"
        exported = exchange.export_segmentation(core.desk, actor, segmentation.id, version, format, path)
        # Opened before the folder goes: the file lives as long as it is being sent and leaves nothing behind.
        return segmentation.name, exported, path.open("rb")


async def _pieces(stream: BinaryIO) -> AsyncIterator[bytes]:
    with stream:
        while data := await to_thread.run_sync(stream.read, _PIECE):
            yield data


def _mapping(text: str | None) -> Mapping[int, int] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
        return {int(key): int(label) for key, label in value.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput('a mapping is JSON from label to label, such as {"1": 3}', field="mapping") from error


def _safe_name(given: str) -> str:
    """A name of ours that keeps the ending, which says what the file is. Names from outside often name patients."""
    match = _SUFFIX.search(Path(given).name)
    return "labels" + (match[0].lower() if match is not None else "")


def _import_out(core: Core, made: Imported) -> ImportOut:
    with core.desk.database.reading() as connection:
        told = segmentation_out(connection, made.segmentation, made.segmentation.head)
    matches = [
        MatchOut(file_label=m.file_label, file_name=m.file_name, label=m.label, name=m.name, by=m.by)
        for m in made.matches
    ]
    return ImportOut(**told.model_dump(), matches=matches, entry_id=made.receipt.entry_id)

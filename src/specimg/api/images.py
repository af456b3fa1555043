"""Images: the worklist, what an image is, and its stored chunks."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool

from specimg.access import Permission, require
from specimg.api import octets
from specimg.api.deps import ActorDep, CoreDep, StrictRoute, actor_of, core_of
from specimg.api.messages import ImageOut, LevelOut, PositionOut, SeriesOut, WorklistItem
from specimg.errors import InvalidInput, NotFound
from specimg.render.window import function_of
from specimg.store import schema
from specimg.store.image import Image

router = APIRouter(prefix="/api", tags=["images"], route_class=StrictRoute)

Coordinate = Annotated[float, Query(ge=-1e6, le=1e6)]

_BYTES: Mapping[int | str, dict[str, Any]] = {
    200: {"description": "The file", "content": {"application/octet-stream": {}}},
    206: {"description": "The range asked for"},
    304: {"description": "The client has it already"},
    404: {"description": "No such key: the chunk holds only the fill value"},
    416: {"description": "No such range"},
}


@router.get("/projects/{project_id}/images")
def list_images(core: CoreDep, actor: ActorDep, project_id: str) -> list[WorklistItem]:
    """The images of a project, newest first."""
    require(actor, Permission.VIEW, project_id)
    table = schema.segmentation
    counting = select(table.c.image_id, func.count()).where(table.c.project_id == project_id).group_by(table.c.image_id)
    adding = select(schema.project_image.c.image_id, schema.project_image.c.added_at).where(
        schema.project_image.c.project_id == project_id
    )
    with core.desk.database.reading() as connection:
        counts = {row[0]: int(row[1]) for row in connection.execute(counting)}
        added = {row[0]: str(row[1]) for row in connection.execute(adding)}
    items = [
        WorklistItem(
            id=image.id,
            name=name,
            project_id=project_id,
            kind=image.series.kind,
            modality=image.series.modality,
            shape=list(image.series.shape),
            axes=list(image.series.axes),
            spacing=image.grid.affine.spacing,
            created_at=added.get(image.id, ""),
            segmentations=counts.get(image.id, 0),
            warnings=list(image.series.warnings),
        )
        for image, _, name in core.desk.images.in_projects([project_id])
    ]
    return sorted(items, key=lambda item: (item.created_at, item.id), reverse=True)


@router.get("/images/{image_id}")
def get_image(core: CoreDep, actor: ActorDep, image_id: str) -> ImageOut:
    """What an image is: geometry, channels, units, levels, warnings. No pixels, no files, no source."""
    image, project_id = core.image(actor, image_id)
    mine = [p for p in core.desk.images.projects_of(image_id) if actor.may(Permission.VIEW, p)]
    link, row = schema.project_image.c, schema.image.c
    with core.desk.database.reading() as connection:
        name = connection.execute(
            select(link.name).where(link.image_id == image_id, link.project_id == project_id)
        ).scalar_one()
        size, created = connection.execute(select(row.bytes, row.created_at).where(row.id == image_id)).one()
    return ImageOut(
        id=image.id,
        digest=image.digest,
        name=name,
        format=image.format,
        series=series_out(image),
        levels=[
            LevelOut(
                path=level.path,
                shape=list(level.shape),
                chunks=list(level.chunks),
                shards=list(level.shards),
                factors=level.factors,
            )
            for level in image.levels
        ],
        bytes=size,
        created_at=created,
        projects=mine,
    )


@router.get("/images/{image_id}/position")
def get_position(
    core: CoreDep,
    actor: ActorDep,
    image_id: str,
    line: Coordinate,
    pixel: Coordinate,
    height: Annotated[float | None, Query(ge=-1000, le=10_000, description="metres above the ellipsoid")] = None,
) -> PositionOut:
    """Where a raster sample lies on the Earth: by the orbit, the control points or the CRS, whichever the image has.

    ``line`` and ``pixel`` may have fractions; integers are sample centres. ``error_m`` is what to expect, where it is known.
    """
    image, _ = core.image(actor, image_id)
    ground = core.geolocator(image)
    found = ground.to_ground(line, pixel, height)
    lon, lat, up, error = (float(value) for value in found)
    if not (isfinite(lon) and isfinite(lat)):
        raise InvalidInput("the model has no answer there: it lies outside the scene", field="line")
    return PositionOut(
        lon=lon,
        lat=lat,
        height_m=up if isfinite(up) else None,
        error_m=error if isfinite(error) else None,
        model=ground.model,
    )


async def get_zarr(request: Request, image_id: str, key: str) -> Response:
    """A file of the image's OME-Zarr group: ``zarr.json``, ``0/zarr.json``, ``0/c/0/1/2``… as stored.

    The hot path of the viewer: when the asker is remembered it touches nothing but the file.
    """
    core = core_of(request)
    actor = await actor_of(request)
    pixels = not key.endswith("zarr.json")
    if not pixels:
        image, _ = await run_in_threadpool(core.image, actor, image_id)
    elif (known := core.remembered_pixels(actor, image_id)) is not None:
        image = known
    else:
        image = await run_in_threadpool(core.pixels, actor, image_id)
    path = core.file(image, key)
    if path is None:
        raise NotFound("there is no such key: the fill value stands for it")
    return await octets.of_file(
        request.headers,
        path,
        # Image and key name the bytes: an image never changes, and its id is taken from the digest of all its files.
        etag=f'"{image.id}/{key}"',
        cache=octets.IMMUTABLE,
        media_type="application/octet-stream" if pixels else "application/json",
        head=request.method == "HEAD",
    )


router.add_api_route(
    "/images/{image_id}/zarr/{key:path}",
    get_zarr,
    methods=["GET"],
    response_class=Response,
    responses=dict(_BYTES),
)
router.add_api_route("/images/{image_id}/zarr/{key:path}", get_zarr, methods=["HEAD"], include_in_schema=False)


def series_out(image: Image) -> SeriesOut:
    """A series without its files and source, which name the outside world."""
    value = image.series.to_json()
    known = {key: value[key] for key in SeriesOut.model_fields if key in value}
    return SeriesOut(**known, window_function=function_of(image.series))

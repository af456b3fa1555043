"""Labels of a raster as tiles to lay over its picture, for clients that do not decode label chunks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from specimg.api import octets
from specimg.api.deps import ActorDep, CoreDep, Place, StrictRoute
from specimg.api.segmentations import find
from specimg.digest import digest_json, hex_of
from specimg.labels import ontology as ontologies
from specimg.labels import segmentation as segmentations
from specimg.labels.segmentation import Segmentation
from specimg.render.colormap import paint
from specimg.render.encode import encode
from specimg.render.tile import SIZE, tile_box
from specimg.store.blobs import Blobs
from specimg.store.image import Image

router = APIRouter(prefix="/api", tags=["segmentations"], route_class=StrictRoute)

_PNG = {"description": "RGBA, background clear", "content": {"image/png": {}}}


@router.get("/segmentations/{ref}/tiles/{level}/{row}/{column}", response_class=Response, responses={200: _PNG})
def get_label_tile(
    request: Request, core: CoreDep, actor: ActorDep, ref: str, level: Place, row: Place, column: Place
) -> Response:
    """Label colours on the same 512 x 512 samples as the image's tile of that name; each sample shows its middle voxel."""
    with core.desk.database.reading() as connection:
        segmentation, version = find(connection, actor, ref)
        ontology = ontologies.latest(connection, segmentation.ontology_id)
        named = digest_json([segmentation.id, version, ontology.id, ontology.version, level, row, column])
        etag = f'"{hex_of(named)[:32]}"'
        if octets.matches(request.headers.get("if-none-match"), etag):
            return Response(None, 304, {"ETag": etag, "Cache-Control": octets.REVALIDATE})
        image, _ = core.image(actor, segmentation.image_id)
        labels = _labels(connection, core.desk.blobs, segmentation, version, image, (level, row, column))
    painted = paint(labels, {found.label: found.color for found in ontology.classes})
    return octets.of_bytes(
        request.headers, encode(painted, "png").data, etag=etag, cache=octets.REVALIDATE, media_type="image/png"
    )


def _labels(
    connection: Connection,
    blobs: Blobs,
    segmentation: Segmentation,
    version: int,
    image: Image,
    place: tuple[int, int, int],
) -> npt.NDArray[np.uint16]:
    """(512, 512) labels of a tile. Reads only chunks that hold labels, one at a time: a coarse tile covers thousands."""
    start, stop = tile_box(image, *place)
    _, down, across = image.levels[place[0]].factors
    _, height, width = segmentation.grid.shape
    rows = np.minimum(np.arange(start[1], stop[1]) * down + down // 2, height - 1)
    columns = np.minimum(np.arange(start[2], stop[2]) * across + across // 2, width - 1)
    tile = np.zeros((SIZE, SIZE), np.uint16)
    for key in segmentations.chunk_index(connection, segmentation.id, version):
        low, high = segmentation.chunks.box(segmentation.chunks.parse(key))
        y0, y1 = np.searchsorted(rows, (low[1], high[1]))
        x0, x1 = np.searchsorted(columns, (low[2], high[2]))
        if y0 < y1 and x0 < x1:
            voxels = segmentations.read_box(connection, blobs, segmentation, version, low, high)[0]
            tile[y0:y1, x0:x1] = voxels[np.ix_(rows[y0:y1] - low[1], columns[x0:x1] - low[2])]
    return tile

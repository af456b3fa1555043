"""Pictures that the server renders: slices, thumbnails and raster tiles. For clients that do not decode chunks."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from specimg import __version__
from specimg.api import octets
from specimg.api.deps import ActorDep, CoreDep, Place, StrictRoute
from specimg.digest import digest_json, hex_of
from specimg.errors import InvalidInput
from specimg.render.colormap import Colormap, colorize
from specimg.render.decibel import Quantity, amplitude_db
from specimg.render.encode import Encoded, PictureFormat, encode, raw
from specimg.render.slice import (
    SliceRequest,
    decibel_window,
    fit,
    hang,
    read_slice,
    square_pixels,
    thumbnail,
    window_for,
)
from specimg.render.tile import TileRequest, default_ranges, render_tile
from specimg.render.window import WindowLevel, function_of, to_grey

router = APIRouter(prefix="/api/images/{image_id}", tags=["pictures"], route_class=StrictRoute)

_CACHE = "private, max-age=3600"
"""The image never changes, but the way it is drawn may with the next release."""
_STRETCHES = 1000

Choice = Annotated[int, Query(ge=0, lt=2**31)]
Number = Annotated[float | None, Query(allow_inf_nan=False)]


@router.get("/slices/{axis}/{index}", response_class=Response, responses={200: {"content": {"image/*": {}}}})
def get_slice(
    request: Request,
    core: CoreDep,
    actor: ActorDep,
    image_id: str,
    axis: Literal["z", "y", "x"],
    index: Place,
    level: Choice = 0,
    c: Choice = 0,
    t: Choice = 0,
    center: Number = None,
    width: Number = None,
    quantity: Quantity = "stored",
    colormap: Colormap = "grey",
    format: PictureFormat = "png",
    size: Annotated[int | None, Query(ge=16, le=4096)] = None,
    square: bool = False,
    hung: bool = False,
) -> Response:
    """A plane across an axis, at an index of that level's own grid.

    ``center`` and ``width`` are in the unit of the quantity shown. ``square`` makes pixels square, ``hung`` turns the
    picture as radiologists hang it, ``size`` shrinks it. ``raw`` gives the stored samples, little-endian, with dtype and
    shape in ``X-Dtype`` and ``X-Shape``.
    """
    image = core.pixels(actor, image_id)
    etag = _etag(image.digest, request)
    if octets.matches(request.headers.get("if-none-match"), etag):
        return Response(None, 304, {"ETag": etag, "Cache-Control": _CACHE})
    asked = SliceRequest(axis, index, level, c, t)
    plane = read_slice(image, asked)
    if format == "raw":
        rows, columns = plane.stored.shape
        extra = {"X-Dtype": plane.stored.dtype.name, "X-Shape": f"{rows},{columns}"}
        return _answer(request, raw(plane.stored), etag, extra)
    if quantity == "sigma0_db":
        raise InvalidInput("slices show stored values or amplitude in dB; ask for tiles in sigma0", field="quantity")
    shown = amplitude_db(plane.stored) if quantity == "amplitude_db" else plane.real
    if (center is None) != (width is None):
        raise InvalidInput("give center and width, or neither", field="center" if center is None else "width")
    if center is not None and width is not None:
        exact = quantity != "stored"
        window = WindowLevel(center, width, "LINEAR_EXACT" if exact else function_of(image.series))
    elif quantity == "stored":
        window = window_for(image, asked, plane.real)
    else:
        window = decibel_window(image, asked, shown)
    picture = colorize(to_grey(shown, window), colormap)
    if square:
        picture = square_pixels(picture, plane.spacing)
    if hung:
        picture = hang(picture, plane, axis)
    if size is not None:
        picture = fit(picture, size)
    extra = {"X-Window": f"{window.center:.10g},{window.width:.10g},{window.function}"}
    return _answer(request, encode(picture, format), etag, extra)


@router.get("/thumbnail", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
def get_thumbnail(
    request: Request,
    core: CoreDep,
    actor: ActorDep,
    image_id: str,
    size: Annotated[int, Query(ge=16, le=1024)] = 256,
) -> Response:
    """The middle plane, or the whole raster, no side longer than ``size``."""
    image = core.pixels(actor, image_id)
    etag = _etag(image.digest, request)
    if octets.matches(request.headers.get("if-none-match"), etag):
        return Response(None, 304, {"ETag": etag, "Cache-Control": _CACHE})
    return _answer(request, encode(thumbnail(image, size), "jpeg"), etag)


@router.get("/tiles/{level}/{row}/{column}", response_class=Response, responses={200: {"content": {"image/*": {}}}})
def get_tile(
    request: Request,
    core: CoreDep,
    actor: ActorDep,
    image_id: str,
    level: Place,
    row: Place,
    column: Place,
    bands: Annotated[str, Query(max_length=64, description="band numbers, comma-separated")] = "0",
    quantity: Quantity = "stored",
    low: Annotated[str | None, Query(max_length=200, description="black, one for each shown channel")] = None,
    high: Annotated[str | None, Query(max_length=200, description="white, one for each shown channel")] = None,
    colormap: Literal["grey", "inverted", "hot", "viridis", "rgb"] = "grey",
    format: Literal["png", "jpeg", "webp"] = "png",
) -> Response:
    """A raster tile of 512 x 512 samples of a level; beyond the border and without signal it is clear.

    ``colormap=rgb`` with two bands is red = first, green = second, blue = first - second in dB (VV, VH, VV - VH).
    Without ``low`` and ``high`` the stretch is that of the whole image.
    """
    image = core.pixels(actor, image_id)
    etag = _etag(image.digest, request)
    if octets.matches(request.headers.get("if-none-match"), etag):
        return Response(None, 304, {"ETag": etag, "Cache-Control": _CACHE})
    asked = TileRequest(level, row, column, _whole(bands), quantity, colormap, _ranges(low, high))
    key = (image.id, asked.bands, quantity, colormap == "rgb")
    ranges = asked.ranges or core.stretches.get(key)
    if ranges is None:
        ranges = core.stretches[key] = default_ranges(image, asked)
        while len(core.stretches) > _STRETCHES:
            core.stretches.popitem(last=False)
    return _answer(request, encode(render_tile(image, asked, ranges), format), etag)


def _answer(request: Request, encoded: Encoded, etag: str, extra: dict[str, str] | None = None) -> Response:
    return octets.of_bytes(
        request.headers, encoded.data, etag=etag, cache=_CACHE, media_type=encoded.media_type, extra=extra
    )


def _etag(digest: str, request: Request) -> str:
    asked = [digest, request.url.path, request.url.query, __version__]
    return f'"{hex_of(digest_json(asked))[:32]}"'


def _whole(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidInput("bands are numbers, comma-separated", field="bands") from error


def _ranges(low: str | None, high: str | None) -> tuple[tuple[float, float], ...]:
    if (low is None) != (high is None):
        raise InvalidInput("give low and high, or neither", field="low" if low is None else "high")
    if low is None or high is None:
        return ()
    try:
        lows, highs = ([float(part) for part in text.split(",")] for text in (low, high))
        return tuple(zip(lows, highs, strict=True))
    except ValueError as error:
        raise InvalidInput("low and high are as many numbers each, comma-separated", field="low") from error

"""SliceRequest to Slice: one plane of an image at one level, and the picture of it.

Everything left of ``Slice`` knows how pixels are stored; everything right of it knows pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from specimg.errors import InvalidInput
from specimg.formats.base import Series
from specimg.geometry.grid import Grid
from specimg.render.colormap import colorize
from specimg.render.decibel import amplitude_db
from specimg.render.window import WindowLevel, from_values, function_of, is_radar, suggested, to_grey
from specimg.store.image import Image

Axis = Literal["z", "y", "x"]

_AXES: tuple[Axis, ...] = ("z", "y", "x")
_DOWN = {"z": "P", "y": "I", "x": "I"}
"""Anatomical direction that points down when a plane across this axis hangs as radiologists hang it…"""
_RIGHT = {"L": "L", "R": "L", "A": "P", "P": "P", "S": "I", "I": "I"}
"""…and the one that points right, by the letter of the plane's column axis."""

MAX_SIDE = 4096
"""Largest side of a picture that is rendered; more is what tiles are for."""
_SAMPLE = 256


@dataclass(frozen=True, slots=True)
class SliceRequest:
    """A plane across ``axis`` at ``index`` of ``level``'s own grid; ``c`` and ``t`` pick channel and time."""

    axis: Axis
    index: int
    level: int = 0
    c: int = 0
    t: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """A plane as stored, (rows, columns) = the two remaining axes in z, y, x order, with what is needed to show it.

    ``spacing`` is the world length of one sample down and right; ``down`` and ``right`` are the anatomical directions
    (one of L R P A S I each) in which rows and columns grow, or ``None`` outside a patient.
    """

    stored: npt.NDArray[Any]
    real: npt.NDArray[np.float32]
    spacing: tuple[float, float]
    down: str | None
    right: str | None


def read_slice(image: Image, request: SliceRequest) -> Slice:
    """Read one plane. Raises ``InvalidInput`` if there is no such level, plane, channel or time."""
    if not 0 <= request.level < len(image.levels):
        raise InvalidInput(f"this image has levels 0 to {len(image.levels) - 1}", field="level")
    grid = level_grid(image, request.level)
    axis = _AXES.index(request.axis)
    if not 0 <= request.index < grid.shape[axis]:
        raise InvalidInput(f"{request.axis} is 0 to {grid.shape[axis] - 1} at this level", field="index")
    require_channel(image.series, request.c, request.t)
    rows, columns = (i for i in range(3) if i != axis)
    if max(grid.shape[rows], grid.shape[columns]) > MAX_SIDE:
        raise InvalidInput("this plane is too large to render in one piece: ask for a coarser level or for tiles")
    stored = image.read_plane(request.axis, request.index, level=request.level, c=request.c, t=request.t)
    real = _real(image, request, stored)
    codes = grid.affine.axis_codes() if grid.space.kind == "patient" else (None, None, None)
    spacing = grid.affine.spacing
    return Slice(stored, real, (spacing[rows], spacing[columns]), codes[rows], codes[columns])


def level_grid(image: Image, level: int) -> Grid:
    """The grid of a level: that of the image with its factors applied."""
    return image.grid.downsampled(image.levels[level].factors)


def require_channel(series: Series, c: int, t: int = 0) -> None:
    """Raise ``InvalidInput`` unless the image has this channel and time."""
    sizes = dict(zip(series.axes, series.shape, strict=True))
    for name, value in (("c", c), ("t", t)):
        if not 0 <= value < sizes.get(name, 1):
            raise InvalidInput(f"{name} is 0 to {sizes.get(name, 1) - 1} in this image", field=name)


def window_for(image: Image, request: SliceRequest, real: npt.NDArray[np.float32]) -> WindowLevel:
    """The window to use when none is asked for: the file's own, else one from a coarse look at the whole image.

    The same for every plane of an image, so that scrolling does not flicker. ``real`` is what is shown; for a radar scene
    its suggested windows do not fit, because they are for decibel.
    """
    window = None if is_radar(image.series) else suggested(image.series, request.c)
    if window is not None:
        return window
    function = function_of(image.series)
    if image.series.kind == "raster":
        return from_values(real, function)
    coarsest = len(image.levels) - 1
    depth = level_grid(image, coarsest).shape[0]
    middle = replace(request, axis="z", index=depth // 2, level=coarsest)
    return from_values(read_slice(image, middle).real, function)


def decibel_window(image: Image, request: SliceRequest, decibels: npt.NDArray[np.float32]) -> WindowLevel:
    """The window of a radar amplitude in dB: the product's own suggestion, else the middle 96 % of what is shown."""
    window = suggested(image.series, request.c) if is_radar(image.series) else None
    return window if window is not None else from_values(decibels, "LINEAR_EXACT", 2, 98)


def hang(picture: npt.NDArray[np.uint8], plane: Slice, axis: Axis) -> npt.NDArray[np.uint8]:
    """Flip a picture (rows, columns, …) as radiologists hang it: anterior or superior up, patient's left on the right.

    Flips only: a plane that was acquired oblique stays oblique.
    """
    down, right = _DOWN[axis], _RIGHT.get(plane.right or "")
    if plane.down is not None and _opposite(plane.down) == down:
        picture = picture[::-1]
    if right is not None and plane.right != right:
        picture = picture[:, ::-1]
    return picture


def square_pixels(picture: npt.NDArray[np.uint8], spacing: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Stretch the shorter direction so that one pixel is as wide as it is high in the world. Never shrinks below input."""
    smallest = min(spacing)
    rows, columns = picture.shape[:2]
    height, width = round(rows * spacing[0] / smallest), round(columns * spacing[1] / smallest)
    if (height, width) == (rows, columns):
        return picture
    return resize(picture, height, width)


def fit(picture: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Shrink until no side is longer than ``size``."""
    rows, columns = picture.shape[:2]
    factor = size / max(rows, columns)
    if factor >= 1:
        return picture
    return resize(picture, max(1, round(rows * factor)), max(1, round(columns * factor)))


def resize(picture: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Bilinear, with an area filter where it shrinks; sides are kept within ``MAX_SIDE``."""
    height, width = min(height, MAX_SIDE), min(width, MAX_SIDE)
    image = Pillow.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((width, height), Pillow.Resampling.BILINEAR))


def thumbnail(image: Image, size: int) -> npt.NDArray[np.uint8]:
    """A picture of the middle plane (or of the whole raster), square pixels, hung, no side above ``size``."""
    level = _level_for(image, size)
    request = SliceRequest("z", level_grid(image, level).shape[0] // 2, level)
    plane = read_slice(image, request)
    if is_radar(image.series):
        shown = amplitude_db(plane.stored)
        window = decibel_window(image, request, shown)
    else:
        shown = plane.real
        window = window_for(image, request, plane.real)
    picture = square_pixels(to_grey(shown, window), plane.spacing)
    return fit(colorize(hang(picture, plane, "z"), "grey"), size)


def _level_for(image: Image, size: int) -> int:
    """The coarsest level that still has ``size`` samples along the longer side of a z plane, if there is one."""
    for level in reversed(range(len(image.levels))):
        if max(level_grid(image, level).shape[1:]) >= size or level == 0:
            return level
    return 0


def _real(image: Image, request: SliceRequest, stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Rescale applied. Planes of a level span several of the file's; where those differ the one at the centre counts."""
    rescale = image.series.rescale
    if rescale.is_identity:
        return stored.astype(np.float32) if stored.dtype.kind != "c" else np.abs(stored).astype(np.float32)
    factor = image.levels[request.level].factors[0]
    if request.axis == "z":
        z = min(request.index * factor + factor // 2, image.grid.shape[0] - 1)
        return np.asarray(image.real(stored[None], z=z)[0])
    # (z, columns) as a z-stack of single rows, so that a slope per plane meets its own row.
    z_range = range(0, image.grid.shape[0], factor)
    return np.asarray(image.real(stored[:, None, :], z=z_range)[:, 0, :])


def _opposite(code: str) -> str:
    return "LRAPSI"["RLPAIS".index(code)]

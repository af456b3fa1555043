"""Image: one stored, immutable pyramid, read by planes and boxes.

Reading goes through tensorstore over one cache of decoded chunks, shared by all images of a process and bounded in bytes.
Every method may be called from any thread.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tensorstore as ts
from sqlalchemy import Row, select

from specimg.digest import Digest, parse_digest
from specimg.errors import InvalidInput, NotFound, StoreError
from specimg.formats.base import Series
from specimg.geometry.grid import Grid
from specimg.store import schema
from specimg.store.database import Database
from specimg.store.pyramid import Level
from specimg.store.writer import manifest

__all__ = ["Image", "Images", "Level", "verify"]

CACHE_BYTES = 256 * 2**20
"""Decoded chunks kept, unless the process says otherwise."""

_PART = re.compile(r"[A-Za-z0-9_]{1,64}(?:\.json)?")


def reading_context(cache_bytes: int = CACHE_BYTES) -> Any:
    """A tensorstore context with a cache of its own; images opened with the same context share it."""
    return ts.Context({"cache_pool": {"total_bytes_limit": cache_bytes}})


@dataclass(frozen=True, eq=False)
class Image:
    """One stored image. ``root`` is its OME-Zarr group.

    Values are *stored* values, always (z, y, x): a raster has one z. ``c`` and ``t`` choose a channel and a time.
    """

    id: str
    digest: Digest
    format: str
    series: Series
    levels: tuple[Level, ...]
    root: Path
    context: Any = field(default_factory=reading_context, repr=False)
    _arrays: dict[int, Any] = field(default_factory=dict, repr=False)
    _opening: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def grid(self) -> Grid:
        """Geometry of level 0; ``grid.downsampled(levels[k].factors)`` is level k's."""
        return self.series.grid

    def shape(self, level: int = 0) -> tuple[int, int, int]:
        """Size of a level, (z, y, x). Raises ``InvalidInput`` for a level that is not there."""
        return self.grid.downsampled(self._level(level).factors).shape

    def read_box(
        self, start: Sequence[int], stop: Sequence[int], *, level: int = 0, c: int = 0, t: int = 0
    ) -> npt.NDArray[Any]:
        """Stored values with ``start <= index < stop`` in (z, y, x) of a level. Raises ``InvalidInput`` outside of it."""
        shape = self.shape(level)
        if (
            len(start) != 3
            or len(stop) != 3
            or any(not 0 <= a < b <= n for a, b, n in zip(start, stop, shape, strict=True))
        ):
            raise InvalidInput(
                f"the box is empty or leaves the level, which has {shape} samples (z, y, x)", field="box"
            )
        box = {axis: slice(a, b) for axis, a, b in zip("zyx", start, stop, strict=True)}
        index: list[slice | int] = []
        for axis, size in zip(self.series.axes, self.levels[level].shape, strict=True):
            if axis in box:
                index.append(box[axis])
            else:
                index.append(_choice(axis, {"c": c, "t": t}[axis], size))
        _require_only(self.series.axes, c=c, t=t)
        values = np.asarray(self._array(level)[tuple(index)].read().result())
        return values if "z" in self.series.axes else values[None]

    def read_plane(
        self, axis: Literal["z", "y", "x"], index: int, *, level: int = 0, c: int = 0, t: int = 0
    ) -> npt.NDArray[Any]:
        """One plane of a level: rows and columns are the remaining axes in (z, y, x) order."""
        number = "zyx".index(axis)
        shape = self.shape(level)
        if not 0 <= index < shape[number]:
            raise InvalidInput(f"{axis} goes from 0 to {shape[number] - 1} here", field="index")
        start, stop = [0, 0, 0], list(shape)
        start[number], stop[number] = index, index + 1
        return np.squeeze(self.read_box(start, stop, level=level, c=c, t=t), axis=number)

    def real(self, stored: npt.NDArray[Any], *, z: int | range) -> npt.NDArray[np.float32]:
        """Real values (HU, Bq/ml, …) of stored ones: ``stored * slope + intercept``.

        ``z`` is the level-0 index of the plane, or the range of them along the first axis of ``stored``.
        """
        rescale = self.series.rescale
        if rescale.is_identity:
            return stored.astype(np.float32)
        slope: float | npt.NDArray[np.float64]
        intercept: float | npt.NDArray[np.float64]
        if isinstance(z, int):
            slope, intercept = rescale.at(z)
        else:
            if len(z) != stored.shape[0]:
                raise InvalidInput("z needs one index for each plane along the first axis", field="z")
            planes = np.array([rescale.at(index) for index in z]).reshape(-1, 2, *[1] * (stored.ndim - 1))
            slope, intercept = planes[:, 0], planes[:, 1]
        # In float64 first: a 16-bit value times a slope must round once, to the float32 nearest the true value.
        return (stored.astype(np.float64) * slope + intercept).astype(np.float32)

    def file(self, key: str) -> Path | None:
        """The file of a Zarr key (``zarr.json``, ``0/c/0/1/2``), or ``None``: it is not there, or not a key."""
        parts = key.split("/")
        if len(parts) > 12 or any(_PART.fullmatch(part) is None for part in parts):
            return None
        path = self.root
        for part in parts:
            path = path / part
            if path.is_symlink():
                return None
        return path if path.is_file() else None

    def _level(self, level: int) -> Level:
        if not 0 <= level < len(self.levels):
            raise InvalidInput(f"this image has levels 0 to {len(self.levels) - 1}", field="level")
        return self.levels[level]

    def _array(self, level: int) -> Any:
        array = self._arrays.get(level)
        if array is None:
            with self._opening:
                array = self._arrays.get(level)
                if array is None:
                    array = self._arrays[level] = self._open(self._level(level))
        return array

    def _open(self, level: Level) -> Any:
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{self.root / level.path}/"},
            # An image never changes: what is in the cache stays true.
            "recheck_cached_data": False,
            "recheck_cached_metadata": False,
        }
        try:
            return ts.open(spec, read=True, context=self.context).result()
        except ValueError as error:
            raise StoreError(f"level {level.path} of image {self.id} cannot be opened") from error


def _choice(axis: str, index: int, size: int) -> int:
    if not 0 <= index < size:
        raise InvalidInput(f"{axis} goes from 0 to {size - 1} here", field=axis)
    return index


def _require_only(axes: Sequence[str], **chosen: int) -> None:
    for axis, index in chosen.items():
        if index != 0 and axis not in axes:
            raise InvalidInput(f"this image has one {axis}", field=axis)


class Images:
    """The images of a data folder: rows of ``image`` and their folders."""

    def __init__(self, database: Database, home: Path, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._database = database
        self.folder = home / "images"
        self._context = reading_context(cache_bytes)

    def open(self, image_id: str) -> Image:
        """The image of that id. Raises ``NotFound``. Whether someone may see it is the caller's to ask."""
        with self._database.reading() as connection:
            row = connection.execute(select(schema.image).where(schema.image.c.id == image_id)).one_or_none()
        if row is None:
            raise NotFound("there is no such image")
        return self._image(row)

    def in_projects(self, project_ids: Iterable[str]) -> list[tuple[Image, str, str]]:
        """Images of these projects with the project's id and the image's name there, in the order they were added."""
        link = schema.project_image
        query = (
            select(schema.image, link.c.project_id, link.c.name.label("project_name"))
            .join(link, link.c.image_id == schema.image.c.id)
            .where(link.c.project_id.in_(list(project_ids)))
            .order_by(link.c.added_at, schema.image.c.id)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [(self._image(row), row.project_id, row.project_name) for row in rows]

    def projects_of(self, image_id: str) -> list[str]:
        """Ids of the projects that hold an image."""
        link = schema.project_image
        query = select(link.c.project_id).where(link.c.image_id == image_id).order_by(link.c.project_id)
        with self._database.reading() as connection:
            return list(connection.scalars(query))

    def _image(self, row: Row[Any]) -> Image:
        return Image(
            id=row.id,
            digest=parse_digest(row.digest),
            format=row.format,
            series=Series.from_json(row.series),
            levels=tuple(Level.from_json(level) for level in row.levels),
            root=self.folder / row.id,
            context=self._context,
        )


def verify(image: Image) -> bool:
    """Whether the files of a stored image are still the ones its digest names. Reads all of them."""
    return image.root.is_dir() and manifest(image.root)[0] == image.digest

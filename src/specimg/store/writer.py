"""A series to an immutable image: staged, named by its digest, published by one rename.

One pass over the source. Level 0 is read in blocks of whole shards; each block is written, summed, and gives its part of
every coarser level. The next block is read while this one is written, so memory holds two blocks and their sums whatever
the size of the series. Chunks are encoded the same way wherever they are cut, so the bytes, and with them the digest,
depend on the series and never on memory, threads or time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorstore as ts
import zarr

from specimg.digest import Digest, digest_json, hex_of
from specimg.errors import StoreError, UnreadableFile
from specimg.formats.base import Series
from specimg.store import ngff
from specimg.store.durable import make_folder, sync_file, sync_folder
from specimg.store.failpoint import reach
from specimg.store.pyramid import Level, method_of, plan, sums

BLOCK_BYTES = 64 * 2**20
"""Bytes of level 0 read at a time, or what is one chunk deep and one shard wide if that is more."""
_HASH = 4 * 2**20


class Readable(Protocol):
    """A described series whose samples can be read: ``formats.base.OpenSeries`` here, ``RemoteSeries`` in a child."""

    @property
    def series(self) -> Series:
        """The description."""
        ...

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Stored samples of a box along ``series.axes``."""
        ...


class Progress(Protocol):
    """Told how far a long act is. ``phase`` is one word for people; ``done`` and ``total`` are bytes."""

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Called from the thread that does the work; must return quickly. May raise to stop the work."""
        ...


@dataclass(frozen=True, slots=True)
class StagedImage:
    """A complete image that nobody can see yet."""

    folder: Path
    digest: Digest
    series: Series
    levels: tuple[Level, ...]
    bytes: int

    @property
    def id(self) -> str:
        """First 32 hex digits of the digest."""
        return hex_of(self.digest)[:32]


def write(
    opened: Readable, staging: Path, *, progress: Progress | None = None, block_bytes: int = BLOCK_BYTES
) -> StagedImage:
    """Write all levels of a series into ``staging/image`` and name it.

    Raises ``UnreadableFile`` where the source cannot be decoded; then ``staging`` holds a part, to be thrown away.
    """
    folder = staging / "image"
    folder.mkdir(mode=0o700)
    series = opened.series
    levels = plan(series)
    total = prod(series.shape) * np.dtype(series.dtype).itemsize
    done = 0
    with _full_disk_said():
        writing = _Writing(series, levels, folder)
    boxes = list(_blocks(series, levels[0], block_bytes))
    # Closed before anyone else may talk to the reader, also when writing fails: it serves one thread at a time.
    with closing(_read_ahead(opened, boxes)) as blocks:
        for start, stop, block in blocks:
            with _full_disk_said():
                writing.write(start, stop, block)
            done += block.nbytes
            if progress is not None:
                progress("pixels", done, total)
    reach("pyramid")
    with _full_disk_said():
        writing.finish()
    digest, size = manifest(folder)
    return StagedImage(folder, digest, series, levels, size)


def publish(staged: StagedImage, home: Path) -> Path:
    """Make a staged image durable and give it its name. The same image published before is kept, this copy dropped.

    Nobody sees it until a row of ``image`` names it.
    """
    images = home / "images"
    make_folder(images)
    for folder, _, files in os.walk(staged.folder, topdown=False):
        for name in files:
            path = Path(folder, name)
            path.chmod(0o400)
            sync_file(path)
        sync_folder(Path(folder))
    target = images / staged.id
    reach("before-publish")
    try:
        staged.folder.rename(target)
    except OSError:
        if not (target / "zarr.json").is_file():
            raise
    sync_folder(images)
    reach("after-publish")
    return target


def manifest(folder: Path) -> tuple[Digest, int]:
    """Digest of an image's files and their bytes in all.

    The digest is of the canonical JSON of ``[[path, size, sha256], …]``, sorted by path.
    """
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    rows: list[list[str | int]] = []
    for path in files:
        if path.is_symlink():
            raise StoreError("an image contains a link")
        sha, size = hashlib.sha256(), 0
        with path.open("rb") as stream:
            while piece := stream.read(_HASH):
                sha.update(piece)
                size += len(piece)
        rows.append([path.relative_to(folder).as_posix(), size, sha.hexdigest()])
    rows.sort(key=lambda row: str(row[0]))
    return digest_json(rows), sum(int(row[1]) for row in rows)


@contextmanager
def _full_disk_said() -> Iterator[None]:
    """tensorstore tells what the system said in words only."""
    try:
        yield
    except ValueError as error:
        if os.strerror(errno.ENOSPC) in str(error) or os.strerror(errno.EDQUOT) in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


# --- blocks ---------------------------------------------------------------------------------------------------------

_Box = tuple[tuple[int, ...], tuple[int, ...]]


def _blocks(series: Series, finest: Level, block_bytes: int) -> Iterator[_Box]:
    """Boxes of level 0 in the order of the file: t, (c,) z, y, x. Channels stay together where that fits.

    They are whole shards but along the slowest spatial axis, where they may be some chunks deep: decoders work in planes
    and rows, reading and writing overlap more, and tensorstore merges chunks into a shard without decoding the others.
    """
    shards = dict(zip(series.axes, finest.shards, strict=True))
    chunks = dict(zip(series.axes, finest.chunks, strict=True))
    sizes = dict(zip(series.axes, series.shape, strict=True))
    slow = "z" if series.kind == "volume" else "y"
    sides = {axis: min(shards[axis], sizes[axis]) for axis in series.axes} | {slow: chunks[slow]}
    itemsize = np.dtype(series.dtype).itemsize
    for axis in ("x", "y", "c"):
        if axis not in sizes:
            continue
        rest = prod(side for other, side in sides.items() if other != axis) * itemsize
        steps = [chunks[axis] * n for n in range(1, shards[axis] // chunks[axis] + 1)] if axis == slow else []
        steps = [step for step in steps if shards[axis] % step == 0 and step * rest <= block_bytes]
        whole = block_bytes // (rest * shards[axis]) * shards[axis]
        sides[axis] = min(sizes[axis], max(sides[axis], whole, *steps))
        if sides[axis] < sizes[axis]:
            break
    starts = (range(0, sizes[axis], sides[axis]) for axis in series.axes)
    for start in product(*starts):
        yield start, tuple(min(a + sides[axis], sizes[axis]) for a, axis in zip(start, series.axes, strict=True))


def _read_ahead(
    opened: Readable, boxes: Sequence[_Box]
) -> Generator[tuple[tuple[int, ...], tuple[int, ...], npt.NDArray[Any]], None, None]:
    """Blocks in order, the next one being read meanwhile."""
    with ThreadPoolExecutor(1, "ingest-read") as reader:
        coming = reader.submit(_read, opened, *boxes[0])
        for number, (start, stop) in enumerate(boxes):
            block = coming.result()
            if number + 1 < len(boxes):
                coming = reader.submit(_read, opened, *boxes[number + 1])
            yield start, stop, block


def _read(opened: Readable, start: tuple[int, ...], stop: tuple[int, ...]) -> npt.NDArray[Any]:
    block = opened.read(start, stop)
    expected = tuple(b - a for a, b in zip(start, stop, strict=True))
    if block.shape != expected or block.dtype.name != opened.series.dtype:
        raise UnreadableFile(
            file=opened.series.files[0] if opened.series.files else opened.series.name,
            field="samples",
            problem=f"the reader gave {block.dtype} {block.shape} where {opened.series.dtype} {expected} was announced",
            remedy="The format plug-in is at fault; please report it with the kind of file.",
        )
    return block


# --- writing --------------------------------------------------------------------------------------------------------


class _Writing:
    """The arrays of one image being written, and what is learnt about its values on the way."""

    def __init__(self, series: Series, levels: Sequence[Level], folder: Path) -> None:
        self.series, self.levels, self.folder = series, levels, folder
        self._context = ts.Context({"cache_pool": {"total_bytes_limit": 0}, "file_io_sync": False})
        zarr.create_group(folder, zarr_format=3)
        self._arrays = [self._create(level) for level in levels]
        count = len(series.channels)
        self._low, self._high = np.full(count, np.inf), np.full(count, -np.inf)

    def write(self, start: tuple[int, ...], stop: tuple[int, ...], block: npt.NDArray[Any]) -> None:
        """Write a block of level 0 and what it gives in every coarser level."""
        first = _part(self._arrays[0], start, stop).write(block)
        lead = len(start) - self._spatial
        for outer in np.ndindex(*block.shape[:lead]):
            inner = block[outer]
            self._note_range(outer, start, inner)
            self._write_coarser(
                tuple(a + o for a, o in zip(start[:lead], outer, strict=True)),
                (0,) * (3 - self._spatial) + start[lead:],
                inner[None] if self._spatial == 2 else inner,
            )
        first.result()
        reach("level-0")

    def finish(self) -> None:
        """Write everything that is not pixels."""
        stretches = [self._stretch(number) for number in range(len(self.series.channels))]
        root = zarr.open_group(self.folder, mode="r+")
        root.update_attributes(ngff.group_attributes(self.series, self.levels, stretches))
        if self.series.kind == "raster":
            for level in self.levels:
                self._write_georeference(level)
        members = {path.parent: json.loads(path.read_text()) for path in sorted(self.folder.rglob("*/zarr.json"))}
        root_file = self.folder / "zarr.json"
        own = json.loads(root_file.read_text())
        named = {path.relative_to(self.folder).as_posix(): metadata for path, metadata in members.items()}
        root_file.write_text(ngff.consolidated(own, named))

    @property
    def _spatial(self) -> int:
        return 3 if "z" in self.series.axes else 2

    def _create(self, level: Level) -> Any:
        parent, _, _ = level.path.rpartition("/")
        if parent:
            attributes = ngff.raster_level_attributes(self.series, level)
            zarr.create_group(self.folder / parent, zarr_format=3, attributes=attributes)
        return self._open(level.path, ngff.array_metadata(self.series, level))

    def _open(self, path: str, metadata: dict[str, Any]) -> Any:
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{self.folder / path}/"},
            "metadata": metadata,
        }
        return ts.open(spec, create=True, context=self._context).result()

    def _write_coarser(self, lead: tuple[int, ...], origin: tuple[int, ...], block: npt.NDArray[Any]) -> None:
        if len(self.levels) == 1:
            return
        method, nodata, dtype = method_of(self.series), self.series.nodata, np.dtype(self.series.dtype)
        done = (1, 1, 1)
        found = None
        for level, array in zip(self.levels[1:], self._arrays[1:], strict=True):
            z, y, x = (new // old for new, old in zip(level.factors, done, strict=True))
            found = sums(block, (z, y, x), method=method, nodata=nodata) if found is None else found.coarser((z, y, x))
            done = level.factors
            samples = found.samples(dtype, nodata)
            start = [o // f for o, f in zip(origin, level.factors, strict=True)]
            stop = [a + n for a, n in zip(start, samples.shape, strict=True)]
            skip = 3 - self._spatial
            region = _part(array, (*lead, *start[skip:]), (*[a + 1 for a in lead], *stop[skip:]))
            region.write(samples.reshape((1,) * len(lead) + samples.shape[skip:])).result()

    def _note_range(self, outer: tuple[int, ...], start: tuple[int, ...], samples: npt.NDArray[Any]) -> None:
        axes = self.series.axes
        c = start[axes.index("c")] + outer[axes.index("c")] if "c" in axes else 0
        low, high = _range(samples, self.series.nodata)
        self._low[c], self._high[c] = min(self._low[c], low), max(self._high[c], high)

    def _stretch(self, number: int) -> ngff.Stretch:
        """Smallest and largest value, and a first window: the suggested one, or percentiles of the coarsest level."""
        low, high = float(self._low[number]), float(self._high[number])
        if not low <= high:
            return ngff.Stretch(0.0, 1.0, 0.0, 1.0)  # nothing was measured
        windows = self.series.channels[number].windows
        if windows:
            slope, intercept = self.series.rescale.at(0)
            ends = [(windows[0].center + side * windows[0].width / 2 - intercept) / slope for side in (-1, 1)]
            return ngff.Stretch(low, high, min(ends), max(ends))
        values = self._coarsest(number)
        if values.size == 0:
            return ngff.Stretch(low, high, low, high)
        start, end = (float(v) for v in np.percentile(values, (1, 99)))
        return ngff.Stretch(low, high, start, end) if start < end else ngff.Stretch(low, high, low, high)

    def _coarsest(self, number: int) -> npt.NDArray[np.float64]:
        """Measured values of a channel in the coarsest level, at the first time."""
        axes = self.series.axes
        index = tuple({"t": 0, "c": number}.get(axis, slice(None)) for axis in axes)
        values = np.asarray(self._arrays[-1][index].read().result())
        real = np.abs(values) if values.dtype.kind == "c" else values
        keep = np.isfinite(real)
        if self.series.nodata is not None:
            keep &= values != self.series.nodata
        return np.asarray(real[keep], dtype=np.float64)

    def _write_georeference(self, level: Level) -> None:
        parent = level.path.rpartition("/")[0]
        for axis, values in ngff.coordinates(self.series, level).items():
            attributes = ngff.coordinate_attributes(self.series, axis)
            self._open(f"{parent}/{axis}", ngff.plain_metadata(values, (axis,), attributes)).write(values).result()
        mapping = np.zeros((), np.int64)
        metadata = ngff.plain_metadata(mapping, (), ngff.grid_mapping(self.series, level))
        self._open(f"{parent}/spatial_ref", metadata).write(mapping).result()


def _part(array: Any, start: Sequence[int], stop: Sequence[int]) -> Any:
    """A region of an array, with its own origin at zero as NumPy has it."""
    index = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    return array[index][ts.d[:].translate_to[0]]


def _range(samples: npt.NDArray[Any], nodata: float | None) -> tuple[float, float]:
    """Smallest and largest measured value, plane by plane so that no copy of the block is made; (inf, -inf) if none."""
    low, high = np.inf, -np.inf
    for plane in samples if samples.ndim == 3 else [samples]:
        values = np.abs(plane) if plane.dtype.kind == "c" else plane
        if nodata is not None or values.dtype.kind == "f":
            values = values[np.isfinite(values) & (plane != nodata if nodata is not None else True)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high

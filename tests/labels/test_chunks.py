"""Chunks: bytes another Zarr reader understands, and runs cut where chunks meet."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from specimg.errors import InvalidInput, StoreError
from specimg.labels.chunks import CODECS, RASTER_CHUNK, VOLUME_CHUNK, ChunkGrid, cut, decode, encode, key_of
from specimg.labels.edit import Spans

voxels = arrays.arrays(np.uint16, (2, 3, 5), elements=st.integers(0, 65_535))


def stored(array: dict[str, Any], chunks: dict[str, bytes]) -> MemoryStore:
    """A Zarr store that holds exactly these keys."""
    prototype = default_buffer_prototype().buffer
    files = {"zarr.json": json.dumps(array).encode(), **{f"c/{key}": data for key, data in chunks.items()}}
    return MemoryStore({key: prototype.from_bytes(data) for key, data in files.items()})


@pytest.mark.parametrize("chunk", [VOLUME_CHUNK, RASTER_CHUNK])
@pytest.mark.parametrize("kind", ["blob", "noise", "full"])
def test_zarr_python_reads_our_chunk(chunk: tuple[int, int, int], kind: str) -> None:
    rng = np.random.default_rng(1)
    labels = np.zeros(chunk, np.uint16)
    if kind == "blob":
        labels[:, 3:20, 7:30] = 513
    elif kind == "noise":
        labels[...] = rng.integers(0, 65_536, chunk)
    else:
        labels[...] = 65_535
    data = encode(labels)
    assert data is not None
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": chunk,
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": CODECS,
        "attributes": {},
    }
    array = zarr.open_array(stored(document, {"0/0/0": data}), mode="r")
    assert np.array_equal(array[...], labels)
    assert np.array_equal(decode(data, chunk), labels)


def test_we_read_a_chunk_that_zarr_python_wrote() -> None:
    store = MemoryStore()
    array = zarr.create_array(
        store,
        shape=VOLUME_CHUNK,
        chunks=VOLUME_CHUNK,
        dtype="uint16",
        compressors=zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=2),
    )
    labels = np.random.default_rng(2).integers(0, 9, VOLUME_CHUNK).astype(np.uint16)
    array[...] = labels
    data = asyncio.run(store.get("c/0/0/0", default_buffer_prototype()))
    assert data is not None
    assert np.array_equal(decode(data.to_bytes(), VOLUME_CHUNK), labels)


def test_background_has_no_bytes() -> None:
    assert encode(np.zeros(VOLUME_CHUNK, np.uint16)) is None
    assert not decode(None, VOLUME_CHUNK).any()


@given(labels=voxels)
def test_the_same_voxels_have_the_same_bytes(labels: npt.NDArray[np.uint16]) -> None:
    data = encode(labels)
    assert encode(np.asfortranarray(labels)) == data
    assert np.array_equal(decode(data, (2, 3, 5)), labels)


@pytest.mark.parametrize("data", [b"", b"short", b"\x02\x01\x21\x02" + b"\xff" * 40])
def test_bytes_that_are_no_chunk_are_named_so(data: bytes) -> None:
    with pytest.raises(StoreError):
        decode(data, VOLUME_CHUNK)


def test_a_chunk_of_another_size_is_refused() -> None:
    data = encode(np.ones((1, 2, 3), np.uint16))
    with pytest.raises(StoreError):
        decode(data, VOLUME_CHUNK)


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    chunk=st.tuples(*[st.integers(1, 4)] * 3),
    data=st.data(),
)
def test_runs_are_cut_at_chunk_borders(
    shape: tuple[int, int, int], chunk: tuple[int, int, int], data: st.DataObject
) -> None:
    mask = data.draw(arrays.arrays(np.bool_, shape))
    grid = ChunkGrid(shape, chunk)
    parts = cut(Spans.from_mask(mask), grid)
    padded = np.zeros([n * c for n, c in zip(grid.counts, chunk, strict=True)], dtype=bool)
    padded[tuple(slice(0, n) for n in shape)] = mask
    touched = set(grid.unravel(parts.ids))
    for index in np.ndindex(*grid.counts):
        z, y, x = (slice(i * c, (i + 1) * c) for i, c in zip(index, chunk, strict=True))
        expected, found = padded[z, y, x], parts.mask((index[0], index[1], index[2]))
        assert (index in touched) == expected.any()
        assert np.array_equal(found, expected)


def test_voxels_outside_are_refused() -> None:
    grid = ChunkGrid.of((4, 40, 50))
    for run in ([4, 0, 0, 1], [0, 40, 0, 1], [0, 0, 50, 1], [3, 39, 49, 2]):
        with pytest.raises(InvalidInput):
            cut(Spans(np.array([run], np.int32)), grid)


def test_rasters_have_flat_chunks() -> None:
    assert ChunkGrid.of((1, 1000, 700)) == ChunkGrid((1, 1000, 700), (1, 256, 256))
    assert ChunkGrid.of((1, 1000, 700)).counts == (1, 4, 3)
    assert ChunkGrid.of((65, 64, 33)).counts == (3, 2, 2)


@pytest.mark.parametrize(
    "key", ["", "0/0", "0/0/0/0", "2/0/0", "0/-1/0", "0/00/0", "0/0/x", "0/0/1/", "٠/0/0", "0/0/0\n"]
)
def test_keys_that_name_no_chunk(key: str) -> None:
    with pytest.raises(InvalidInput):
        ChunkGrid.of((40, 40, 40)).parse(key)


def test_keys_and_boxes() -> None:
    grid = ChunkGrid.of((40, 70, 33))
    assert grid.parse(key_of((1, 2, 1))) == (1, 2, 1)
    assert grid.box((1, 2, 1)) == ((32, 64, 32), (40, 70, 33))
    assert grid.touching((31, 0, 32), (33, 32, 33)) == [(0, 0, 1), (1, 0, 1)]

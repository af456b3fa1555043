"""Whole and cut TIFFs: every real file is whole, and every cut is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from specimg.formats.tiff import gdal
from specimg.formats.tiff_directory import whats_cut
from specimg.testing.radar_phantoms import write_geotiff, write_safe


def test_every_real_tiff_is_whole(shared_data: Path) -> None:
    files = [p for p in (shared_data / "geo").rglob("*.tif*") if p.suffix in (".tif", ".tiff")]
    assert len(files) >= 15
    assert [whats_cut(path) for path in files] == [None] * len(files)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"BIGTIFF": "YES"},
        {"ENDIANNESS": "BIG"},
        {"BIGTIFF": "YES", "ENDIANNESS": "BIG", "compress": "lzw"},
        {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"},
    ],
    ids=str,
)
def test_a_file_cut_anywhere_is_told_or_reads_the_same(tmp_path: Path, options: dict[str, Any]) -> None:
    path = write_geotiff(tmp_path / "a.tif", dtype="int16", **options).path
    assert whats_cut(path) is None
    whole = path.read_bytes()
    cut = tmp_path / "cut.tif"
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        assert whats_cut(cut) is not None, f"{length} of {len(whole)} bytes"


def test_blocks_never_written_are_no_cut(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    profile = {"driver": "GTiff", "width": 4096, "height": 4096, "count": 1, "dtype": "uint16", "tiled": True}
    with gdal(), rasterio.open(path, "w", sparse_ok=True, **profile) as out:
        out.write(np.ones((1, 16, 16), np.uint16), window=((0, 16), (0, 16)))
    assert path.stat().st_size < 1_000_000
    assert whats_cut(path) is None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_never_raises_or_hangs(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damage")
    (source,) = (write_safe(folder, polarisations=("VV",)).folder / "measurement").iterdir()
    bytes_ = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.one_of(st.integers(0, 200), st.integers(0, len(bytes_) - 1)))
        bytes_[at] = data.draw(st.integers(0, 255))
    (folder / "damaged.tif").write_bytes(bytes(bytes_))
    assert whats_cut(folder / "damaged.tif") is None or isinstance(whats_cut(folder / "damaged.tif"), str)


def test_a_directory_that_follows_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "loop.tif"
    path.write_bytes(b"II*\0\x08\0\0\0" + b"\x00\x00" + b"\x08\0\0\0" + bytes(20))
    assert whats_cut(path) == "an end to its directories"

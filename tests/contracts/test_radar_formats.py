"""Our radar and map formats against the contract that every plug-in passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from specimg.formats.base import Format
from specimg.formats.geotiff import GEOTIFF
from specimg.formats.sentinel1 import SENTINEL1
from specimg.testing.contracts import FormatContract, Sample
from specimg.testing.radar_phantoms import write_catalogue_copy, write_geotiff, write_safe


class TestSentinel1(FormatContract):
    @pytest.fixture
    def format(self) -> Format:
        return SENTINEL1

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_safe(tmp_path).sample

    def _paths(self, path: Path) -> list[Path]:
        return [path]


class TestCatalogueCopy(TestSentinel1):
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_catalogue_copy(tmp_path).sample


class TestGeoTiff(FormatContract):
    @pytest.fixture
    def format(self) -> Format:
        return GEOTIFF

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_geotiff(tmp_path / "map.tif")


class TestRotatedGeoTiff(TestGeoTiff):
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_geotiff(tmp_path / "map.tif", corner=(-0.143, -0.577, 337_934.48, -0.577, 0.143, 7_840_518.46))


class TestCompressedTiles(TestGeoTiff):
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        tiles: dict[str, Any] = {
            "tiled": True,
            "blockxsize": 16,
            "blockysize": 32,
            "compress": "deflate",
            "predictor": 2,
        }
        return write_geotiff(tmp_path / "map.tif", dtype="uint16", **tiles)


class TestBigTiff(TestGeoTiff):
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_geotiff(tmp_path / "map.tif", dtype="int16", BIGTIFF="YES", ENDIANNESS="BIG")

"""Raster tiles: which samples, what lies beyond the border, decibels and colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from specimg.errors import InvalidInput
from specimg.formats.base import Channel, Series
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space
from specimg.render.decibel import amplitude_db, power_db
from specimg.render.tile import TileRequest, default_ranges, read_quantity, render_tile, tile_box
from specimg.store.image import Image

Store = Callable[[Series, npt.NDArray[np.uint16]], Image]

HEIGHT, WIDTH = 700, 1300


def series(*, nodata: float | None = 0) -> Series:
    grid = Grid((1, HEIGHT, WIDTH), Affine.identity(), Space("radar"))
    return Series(
        key="scene",
        name="scene",
        kind="raster",
        modality="SAR",
        axes=("c", "y", "x"),
        shape=(2, HEIGHT, WIDTH),
        dtype="uint16",
        grid=grid,
        channels=(Channel("VV", "DN"), Channel("VH", "DN")),
        nodata=nodata,
    )


def samples() -> npt.NDArray[np.uint16]:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    vv = 100 + y + x // 2
    vh = 50 + x
    vv[:10, :20] = 0
    return np.stack([vv, vh]).astype(np.uint16)


@pytest.fixture
def scene(store: Store) -> Image:
    return store(series(), samples())


def test_decibels_are_twenty_logs_of_amplitude() -> None:
    db = amplitude_db(np.array([1, 10, 100, 1000, 0], np.uint16))
    assert db[:4].tolist() == pytest.approx([0, 20, 40, 60], abs=1e-5)
    assert np.isnan(db[4])
    assert amplitude_db(np.array([3 + 4j], np.complex64))[0] == pytest.approx(20 * np.log10(5), abs=1e-5)
    assert power_db(np.array([0.01, -1.0, np.nan], np.float32))[0] == pytest.approx(-20, abs=1e-5)
    assert np.isnan(power_db(np.array([-1.0, np.nan], np.float32))).all()


def test_a_tile_holds_its_own_samples(scene: Image) -> None:
    asked = TileRequest(0, 1, 1, ranges=((0.0, 2000.0),))
    tile = render_tile(scene, asked, asked.ranges)
    assert tile.shape == (512, 512, 4)
    part = samples()[0, 512:700, 512:1024].astype(float)
    expected = np.floor(part / 2000 * 255 + 0.5)
    assert np.abs(tile[:188, :, 0] - expected).max() <= 1
    assert (tile[:188, :, 3] == 255).all()


def test_beyond_the_border_is_clear(scene: Image) -> None:
    asked = TileRequest(0, 1, 2, ranges=((0.0, 2000.0),))
    tile = render_tile(scene, asked, asked.ranges)
    assert (tile[188:, :] == 0).all()
    assert (tile[:, 1300 - 1024 :] == 0).all()
    assert (tile[:188, : 1300 - 1024, 3] == 255).all()


def test_nodata_is_clear_in_every_quantity(scene: Image) -> None:
    for quantity in ("stored", "amplitude_db"):
        asked = TileRequest(0, 0, 0, quantity=quantity, ranges=((1.0, 70.0),))
        alpha = render_tile(scene, asked, asked.ranges)[..., 3]
        assert (alpha[:10, :20] == 0).all()
        assert (alpha[10:, 20:] == 255).all()


def test_zero_is_a_value_where_it_is_not_nodata(store: Store) -> None:
    image = store(series(nodata=None), samples())
    asked = TileRequest(0, 0, 0, ranges=((0.0, 100.0),))
    assert (render_tile(image, asked, asked.ranges)[:10, :20] == (0, 0, 0, 255)).all()


def test_two_bands_make_a_colour_picture_in_decibel(scene: Image) -> None:
    ranges = ((40.0, 70.0), (30.0, 70.0), (-20.0, 20.0))
    asked = TileRequest(0, 0, 1, bands=(0, 1), quantity="amplitude_db", colormap="rgb", ranges=ranges)
    tile = render_tile(scene, asked, ranges)
    vv, vh = (20 * np.log10(samples()[c, 0, 512].astype(float)) for c in (0, 1))
    expected = [(vv - 40) / 30, (vh - 30) / 40, (vv - vh + 20) / 40]
    assert tile[0, 0, :3].tolist() == pytest.approx([255 * v for v in expected], abs=0.51)


def test_neighbouring_tiles_share_the_stretch_of_the_image(scene: Image) -> None:
    asked = TileRequest(0, 0, 0)
    assert default_ranges(scene, asked) == default_ranges(scene, TileRequest(0, 1, 2))
    ((low, high),) = default_ranges(scene, asked)
    assert 100 < low < high < 1500


def test_a_coarse_level_tile_shows_the_whole_scene(scene: Image) -> None:
    level = len(scene.levels) - 1
    start, stop = tile_box(scene, level, 0, 0)
    assert start == (0, 0, 0)
    factor = scene.levels[level].factors[1]
    assert stop == (1, -(-HEIGHT // factor), -(-WIDTH // factor))
    values = read_quantity(scene, "stored", 1, level, start, stop)
    # VH grows by 1 a column: its mean over a block is its value at the block's middle.
    assert values[5, 3] == pytest.approx(50 + 3 * factor + (factor - 1) / 2, rel=0.01)


@pytest.mark.parametrize(("level", "row", "column"), [(0, 2, 0), (0, 0, 3), (0, -1, 0), (9, 0, 0), (-1, 0, 0)])
def test_a_tile_that_is_not_there_is_refused(scene: Image, level: int, row: int, column: int) -> None:
    with pytest.raises(InvalidInput):
        tile_box(scene, level, row, column)


def test_requests_that_mean_nothing_are_refused() -> None:
    for arguments in (
        {"bands": (0, 1)},
        {"bands": (0,), "colormap": "rgb"},
        {"bands": (0, 1), "colormap": "rgb"},
        {"colormap": "jet"},
        {"ranges": ((5.0, 5.0),)},
        {"ranges": ((0.0, float("nan")),)},
        {"ranges": ((0.0, 1.0), (0.0, 1.0))},
    ):
        with pytest.raises(InvalidInput):
            TileRequest(0, 0, 0, **arguments)


def test_a_band_that_is_not_there_is_refused(scene: Image) -> None:
    with pytest.raises(InvalidInput):
        read_quantity(scene, "stored", 2, 0, (0, 0, 0), (1, 4, 4))

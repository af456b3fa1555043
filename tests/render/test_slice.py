"""Planes of an asymmetric phantom: which samples, which way up, which grey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK

from specimg.errors import InvalidInput
from specimg.formats.base import Channel, Rescale, Series, Window
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space
from specimg.render.slice import (
    Slice,
    SliceRequest,
    fit,
    hang,
    read_slice,
    square_pixels,
    thumbnail,
    window_for,
)
from specimg.render.window import WindowLevel, to_grey
from specimg.store.image import Image

Store = Callable[[Series, npt.NDArray[Any]], Image]

SHAPE = (20, 70, 90)
LPS = Affine.from_steps(z=(0, 0, 3), y=(0, 0.5, 0), x=(1, 0, 0), origin=(-40, -20, 100))
RAS = Affine.from_steps(z=(0, 0, 3), y=(0, -0.5, 0), x=(-1, 0, 0), origin=(40, 20, 100))


def series(affine: Affine = LPS, *, rescale: Rescale | None = None, windows: tuple[Window, ...] = ()) -> Series:
    return Series(
        key="phantom",
        name="phantom",
        kind="volume",
        modality="CT",
        axes=("z", "y", "x"),
        shape=SHAPE,
        dtype="int16",
        grid=Grid(SHAPE, affine, Space("patient")),
        channels=(Channel("CT", "HU", windows),),
        rescale=rescale or Rescale((1.0,), (-1024.0,)),
    )


def samples() -> npt.NDArray[np.int16]:
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return np.asarray(1000 + 20 * z + 3 * y + x, np.int16)


@pytest.mark.parametrize(("axis", "index"), [("z", 0), ("z", 19), ("y", 1), ("y", 69), ("x", 33), ("x", 89)])
def test_a_plane_is_the_array_s_plane(store: Store, axis: Any, index: int) -> None:
    plane = read_slice(store(series(), samples()), SliceRequest(axis, index))
    expected = np.take(samples(), index, axis="zyx".index(axis))
    assert np.array_equal(plane.stored, expected)
    assert plane.stored.dtype == np.int16
    assert np.array_equal(plane.real, expected.astype(np.float32) - 1024)


def test_spacing_and_directions_are_those_of_rows_and_columns(store: Store) -> None:
    image = store(series(), samples())
    assert [read_slice(image, SliceRequest(a, 3)).spacing for a in ("z", "y", "x")] == [
        (0.5, 1.0),
        (3.0, 1.0),
        (3.0, 0.5),
    ]
    sagittal = read_slice(image, SliceRequest("x", 3))
    assert (sagittal.down, sagittal.right) == ("S", "P")


def test_a_slope_for_each_plane_meets_its_own_plane(store: Store) -> None:
    slopes = tuple(1.0 + 0.25 * z for z in range(SHAPE[0]))
    image = store(series(rescale=Rescale(slopes, tuple([-5.0] * SHAPE[0]))), samples())
    real = samples() * np.array(slopes)[:, None, None] - 5
    assert np.allclose(read_slice(image, SliceRequest("z", 7)).real, real[7])
    assert np.allclose(read_slice(image, SliceRequest("y", 11)).real, real[:, 11])
    assert np.allclose(read_slice(image, SliceRequest("x", 13)).real, real[:, :, 13])


def test_a_windowed_slice_is_what_simpleitk_makes_of_the_file(store: Store) -> None:
    plane = read_slice(store(series(), samples()), SliceRequest("z", 5))
    ramp = SimpleITK.IntensityWindowingImageFilter()
    ramp.SetWindowMinimum(150 - 0.5 - 399 / 2)
    ramp.SetWindowMaximum(150 - 0.5 + 399 / 2)
    source = SimpleITK.GetImageFromArray(samples()[5].astype(np.float64) - 1024)
    theirs = SimpleITK.GetArrayFromImage(ramp.Execute(source))
    ours = to_grey(plane.real, WindowLevel(150, 400)).astype(float)
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(
    "request_",
    [
        SliceRequest("z", 20),
        SliceRequest("z", -1),
        SliceRequest("y", 70),
        SliceRequest("z", 0, level=99),
        SliceRequest("z", 0, level=-1),
        SliceRequest("z", 0, c=1),
        SliceRequest("z", 0, t=1),
    ],
)
def test_a_plane_that_is_not_there_is_refused(store: Store, request_: SliceRequest) -> None:
    with pytest.raises(InvalidInput):
        read_slice(store(series(), samples()), request_)


def test_a_coarse_level_has_its_own_indices(store: Store) -> None:
    shape = (40, 200, 160)
    big = Series(
        **{
            **{name: getattr(series(), name) for name in Series.__dataclass_fields__},
            "shape": shape,
            "grid": Grid(shape, LPS, Space("patient")),
        }
    )
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    image = store(big, np.asarray(8 * z + 2 * y + x, np.int16))
    assert len(image.levels) > 1
    factors = image.levels[1].factors
    coarse = read_slice(image, SliceRequest("y", 10, level=1))
    assert coarse.stored.shape == (-(-shape[0] // factors[0]), -(-shape[2] // factors[2]))
    # The mean of a block of an index ramp is the ramp at the block's middle.
    middle = 8 * (factors[0] - 1) / 2 + 2 * (10 * factors[1] + (factors[1] - 1) / 2) + (factors[2] - 1) / 2
    assert coarse.stored[0, 0] == pytest.approx(middle, abs=0.5)


def slice_of(down: str | None, right: str | None) -> Slice:
    empty = np.zeros((2, 2), np.float32)
    return Slice(empty, empty, (1.0, 1.0), down, right)


PICTURE = np.array([[1, 2], [3, 4]], np.uint8)


@pytest.mark.parametrize(
    ("axis", "down", "right", "expected"),
    [
        ("z", "P", "L", [[1, 2], [3, 4]]),
        ("z", "A", "R", [[4, 3], [2, 1]]),
        ("z", "A", "L", [[3, 4], [1, 2]]),
        ("y", "I", "L", [[1, 2], [3, 4]]),
        ("y", "S", "L", [[3, 4], [1, 2]]),
        ("x", "S", "A", [[4, 3], [2, 1]]),
        ("x", "I", "P", [[1, 2], [3, 4]]),
        ("z", None, None, [[1, 2], [3, 4]]),
    ],
)
def test_planes_hang_anterior_or_superior_up_and_left_to_the_right(
    axis: Any, down: str | None, right: str | None, expected: list[list[int]]
) -> None:
    assert hang(PICTURE, slice_of(down, right), axis).tolist() == expected


def test_files_of_opposite_axes_hang_the_same(store: Store) -> None:
    """The same body stored towards right and anterior gives the same picture."""
    forward = read_slice(store(series(LPS), samples()), SliceRequest("z", 4))
    mirrored = store(series(RAS), np.ascontiguousarray(samples()[:, ::-1, ::-1]))
    backward = read_slice(mirrored, SliceRequest("z", 4))
    window = WindowLevel(150, 400)
    assert np.array_equal(
        hang(to_grey(forward.real, window), forward, "z"), hang(to_grey(backward.real, window), backward, "z")
    )


def test_square_pixels_stretch_the_short_side(store: Store) -> None:
    picture = np.zeros((20, 90), np.uint8)
    assert square_pixels(picture, (3.0, 1.0)).shape == (60, 90)
    assert square_pixels(picture, (0.5, 1.0)).shape == (20, 180)
    assert square_pixels(picture, (1.0, 1.0)) is picture


def test_a_hair_thin_spacing_cannot_ask_for_gigabytes() -> None:
    assert max(square_pixels(np.zeros((512, 4), np.uint8), (100.0, 0.001)).shape) <= 4096


def test_fit_only_shrinks() -> None:
    picture = np.zeros((100, 50, 3), np.uint8)
    assert fit(picture, 20).shape == (20, 10, 3)
    assert fit(picture, 200) is picture


def test_the_window_is_the_file_s_or_else_the_same_for_every_plane(store: Store) -> None:
    own = store(series(windows=(Window("bone", 300, 1500),)), samples())
    plane = read_slice(own, SliceRequest("z", 2))
    assert window_for(own, SliceRequest("z", 2), plane.real) == WindowLevel(300, 1500)
    none = store(series(), samples())
    windows = {
        window_for(none, request, read_slice(none, request).real)
        for request in (SliceRequest("z", 0), SliceRequest("z", 19), SliceRequest("x", 5))
    }
    assert len(windows) == 1


def test_a_thumbnail_is_square_pixelled_and_no_larger_than_asked(store: Store) -> None:
    picture = thumbnail(store(series(), samples()), 64)
    # 70 rows of 0.5 mm by 90 columns of 1 mm: 35 mm by 90 mm.
    assert picture.shape == (25, 64)
    assert picture.std() > 10

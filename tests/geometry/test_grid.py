"""Grid: crops, levels and the comparison that decides whether a mask belongs to an image."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from specimg.errors import InvalidInput
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space

SHAPE = (5, 40, 45)


def grid(shift: float = 0.0) -> Grid:
    affine = Affine.from_steps(z=(0, 0.1, 3), y=(0, 0.5, 0), x=(0.75, 0, 0), origin=(-12.5 + shift, 40.25, -700))
    return Grid(SHAPE, affine, Space("patient"))


def test_a_crop_lies_where_simpleitk_puts_it() -> None:
    image = sitk.Image(list(SHAPE[::-1]), sitk.sitkInt16)
    image.SetSpacing((0.75, 0.5, 3.0))
    image.SetOrigin((-12.5, 40.25, -700))
    straight = Grid(
        SHAPE,
        Affine.from_steps(z=(0, 0, 3), y=(0, 0.5, 0), x=(0.75, 0, 0), origin=(-12.5, 40.25, -700)),
        Space("patient"),
    )
    ours, theirs = straight.crop((1, 10, 20), (4, 30, 41)), image[20:41, 10:30, 1:4]
    assert ours.shape == theirs.GetSize()[::-1]
    np.testing.assert_allclose(ours.affine.to_world((0, 0, 0)), theirs.GetOrigin())


@pytest.mark.parametrize(("start", "stop"), [((0, 0, 0), (6, 1, 1)), ((1, 1, 1), (1, 2, 2)), ((-1, 0, 0), (1, 1, 1))])
def test_a_crop_that_is_empty_or_outside_is_refused(start: tuple[int, int, int], stop: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidInput):
        grid().crop(start, stop)


def test_a_level_counts_its_rest_as_a_block() -> None:
    assert grid().downsampled((2, 16, 4)).shape == (3, 3, 12)


def test_a_grid_matches_itself_and_one_nudged_less_than_a_thousandth() -> None:
    assert grid().matches(grid()) is None
    assert grid().matches(grid(shift=0.0005)) is None


def test_one_voxel_beside_is_told_in_samples() -> None:
    assert "affine: corners lie up to 1 samples apart" in str(grid().matches(grid(shift=0.75)))


def test_other_sizes_and_spaces_are_told() -> None:
    assert "shape" in str(grid().matches(Grid((5, 40, 44), grid().affine, Space("patient"))))
    assert "space" in str(grid().matches(Grid(SHAPE, grid().affine, Space("map", "EPSG:32633"))))


def test_a_flipped_axis_with_the_same_corner_set_is_noticed() -> None:
    flipped = Affine.from_steps(
        z=(0, 0.1, 3), y=(0, 0.5, 0), x=(-0.75, 0, 0), origin=grid().affine.to_world((0, 0, SHAPE[2] - 1))
    )
    assert "affine" in str(grid().matches(Grid(SHAPE, flipped, Space("patient"))))


def test_json_there_and_back() -> None:
    assert Grid.from_json(grid().to_json()) == grid()


@pytest.mark.parametrize("change", [{"shape": [1, 2]}, {"affine": [[1]]}, {"space": {"kind": "moon", "crs": None}}])
def test_json_that_is_no_grid_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        Grid.from_json({**grid().to_json(), **change})


def test_only_a_map_has_a_crs() -> None:
    with pytest.raises(InvalidInput):
        Space("map")
    with pytest.raises(InvalidInput):
        Space("radar", "EPSG:4326")


def test_a_grid_without_samples_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Grid((0, 4, 4), Affine.identity(), Space("pixel"))

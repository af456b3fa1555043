"""Affine against the programs our users already trust: SimpleITK, nibabel, highdicom."""

from __future__ import annotations

from itertools import permutations, product

import highdicom as hd
import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from specimg.errors import InvalidInput
from specimg.geometry.affine import Affine

SPACING = (3.0, 0.75, 0.5)  # z, y, x
ORIGIN = (-12.5, 40.25, -700.0)
ANGLE = np.radians(17)
OBLIQUE = np.array([[np.cos(ANGLE), -np.sin(ANGLE), 0], [np.sin(ANGLE), np.cos(ANGLE), 0], [0, 0, 1]]) @ np.array(
    [[1, 0, 0], [0, np.cos(0.4), -np.sin(0.4)], [0, np.sin(0.4), np.cos(0.4)]]
)  # columns: x, y, z of the array


def oblique() -> Affine:
    x, y, z = OBLIQUE.T
    return Affine.from_steps(z=z * SPACING[0], y=y * SPACING[1], x=x * SPACING[2], origin=ORIGIN)


@pytest.mark.parametrize("index", [(0, 0, 0), (4, 37, 2), (1.5, -0.5, 6.25)])
def test_world_agrees_with_simpleitk(index: tuple[float, float, float]) -> None:
    image = sitk.Image([7, 40, 5], sitk.sitkInt16)
    image.SetOrigin(ORIGIN)
    image.SetSpacing(SPACING[::-1])
    image.SetDirection(OBLIQUE.ravel().tolist())
    expected = image.TransformContinuousIndexToPhysicalPoint(index[::-1])
    np.testing.assert_allclose(oblique().to_world(index), expected, atol=1e-9)
    np.testing.assert_allclose(oblique().to_index(expected), index, atol=1e-9)


def test_spacing_and_directions_agree_with_simpleitk() -> None:
    assert oblique().spacing == pytest.approx(SPACING)
    np.testing.assert_allclose(oblique().directions[:, ::-1], OBLIQUE, atol=1e-12)


@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_axis_codes_agree_with_nibabel(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    steps = [np.eye(3)[world] * sign * length for world, sign, length in zip(order, signs, (3, 0.5, 0.75), strict=True)]
    affine = Affine.from_steps(z=steps[0], y=steps[1], x=steps[2], origin=ORIGIN)
    ras = np.diag([-1, -1, 1, 1]) @ affine.matrix  # nibabel speaks RAS
    assert affine.axis_codes() == nib.orientations.aff2axcodes(ras)


def test_oblique_axis_codes_agree_with_nibabel() -> None:
    assert oblique().axis_codes() == nib.orientations.aff2axcodes(np.diag([-1, -1, 1, 1]) @ oblique().matrix)


def test_crop_agrees_with_simpleitk() -> None:
    image = sitk.Image([7, 40, 5], sitk.sitkInt16)
    image.SetOrigin(ORIGIN)
    image.SetSpacing(SPACING[::-1])
    image.SetDirection(OBLIQUE.ravel().tolist())
    cropped = image[2:, 11:, 1:]
    np.testing.assert_allclose(oblique().shifted((1, 11, 2)).to_world((0, 0, 0)), cropped.GetOrigin(), atol=1e-9)


def test_downsampling_keeps_block_centres_as_simpleitk_bins_them() -> None:
    image = sitk.Image([8, 40, 6], sitk.sitkInt16)
    image.SetOrigin(ORIGIN)
    image.SetSpacing(SPACING[::-1])
    image.SetDirection(OBLIQUE.ravel().tolist())
    binned = sitk.BinShrink(image, [4, 2, 3])
    ours = oblique().downsampled((3, 2, 4))
    np.testing.assert_allclose(ours.to_world((0, 0, 0)), binned.GetOrigin(), atol=1e-9)
    np.testing.assert_allclose(ours.spacing, binned.GetSpacing()[::-1], atol=1e-12)


def test_world_agrees_with_highdicom() -> None:
    x, y, z = OBLIQUE.T
    geometry = hd.VolumeGeometry.from_attributes(
        image_position=ORIGIN,
        image_orientation=[*x, *y],
        rows=40,
        columns=7,
        pixel_spacing=(SPACING[1], SPACING[2]),
        spacing_between_slices=SPACING[0],
        number_of_frames=5,
        coordinate_system="PATIENT",
    )
    # highdicom counts frames so that (frame, row, column) is right-handed: against the normal x × y.
    ours = Affine.from_steps(z=-z * SPACING[0], y=y * SPACING[1], x=x * SPACING[2], origin=ORIGIN)
    np.testing.assert_allclose(ours.matrix, geometry.affine, atol=1e-9)
    indices = np.array([[0, 0, 0], [4, 37, 2]])
    np.testing.assert_allclose(ours.to_world(indices), geometry.map_indices_to_reference(indices), atol=1e-9)


numbers = st.floats(-5, 5)


@given(st.lists(numbers, min_size=9, max_size=9), st.tuples(numbers, numbers, numbers))
def test_there_and_back(values: list[float], index: tuple[float, float, float]) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(values).reshape(3, 3) + 12 * np.eye(3)
    matrix[:3, 3] = ORIGIN
    affine = Affine(matrix)
    np.testing.assert_allclose(affine.to_index(affine.to_world(index)), index, atol=1e-6)


def test_a_sheared_affine_is_kept_and_named() -> None:
    tilted = Affine.from_steps(z=(0, 0.8, 3), y=(0, 0.5, 0), x=(0.75, 0, 0), origin=ORIGIN)
    assert not tilted.is_orthogonal
    assert oblique().is_orthogonal
    np.testing.assert_allclose(tilted.to_world((2, 0, 0)), np.add(ORIGIN, (0, 1.6, 6)))


def test_handedness() -> None:
    assert oblique().is_right_handed
    mirrored = Affine.from_steps(z=(0, 0, 1), y=(0, 1, 0), x=(-1, 0, 0), origin=(0, 0, 0))
    assert not mirrored.is_right_handed


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3), np.diag([1.0, 1.0, 0.0, 1.0])],
    ids=["zero", "nan", "3x3", "flat"],
)
def test_a_matrix_that_is_no_affine_is_refused(matrix: npt.NDArray[np.float64]) -> None:
    with pytest.raises(InvalidInput):
        Affine(matrix)


def test_two_axes_along_each_other_are_refused() -> None:
    with pytest.raises(InvalidInput, match="singular"):
        Affine.from_steps(z=(1, 0, 0), y=(2, 0, 0), x=(0, 1, 0), origin=(0, 0, 0))


def test_json_there_and_back() -> None:
    assert Affine.from_json(oblique().to_json()) == oblique()
    for bad in ("four rows", [[1, 2], [3]], None):
        with pytest.raises(InvalidInput):
            Affine.from_json(bad)


def test_an_affine_cannot_be_changed_behind_its_back() -> None:
    matrix = np.eye(4)
    affine = Affine(matrix)
    matrix[0, 3] = 99
    assert affine.matrix[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        affine.matrix[0, 3] = 99

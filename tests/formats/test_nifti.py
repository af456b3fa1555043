"""NIfTI against nibabel: every orientation, every type, both affines, and headers that lie."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specimg.errors import TooLarge, UnreadableFile
from specimg.formats.base import Mask, MaskClass, OpenSeries
from specimg.formats.nifti import NIFTI, read_mask, write_mask
from specimg.testing.phantoms import write_nifti

READ = [
    "AIL.nii.gz", "CT_pitch.nii.gz", "FLAIR.nii.gz", "V1.nii.gz", "avg152T1_RL_nifti.nii.gz", "low_res.nii.gz",
    "minimal.nii.gz", "mpld_asl.nii.gz", "pval.LH.nii.gz", "shear.nii.gz", "torsoLabel.nii.gz",
]  # fmt: skip


def opened(path: Path) -> OpenSeries:
    (series,) = NIFTI.open([path], path.parent)
    return series


def everything(series: OpenSeries) -> np.ndarray:
    return series.read([0] * len(series.series.shape), series.series.shape)


@pytest.mark.parametrize("name", READ)
def test_values_and_places_are_those_of_nibabel(shared_data: Path, name: str) -> None:
    path = shared_data / "medical/nifti" / name
    ours, theirs = opened(path), nib.load(path)
    data = np.squeeze(np.asanyarray(theirs.dataobj)) if name == "pval.LH.nii.gz" else np.asanyarray(theirs.dataobj)
    slope, intercept = ours.series.rescale.at(0)
    values = everything(ours) * slope + intercept
    np.testing.assert_allclose(np.squeeze(values), np.squeeze(data.T), rtol=1e-6)
    for ijk in ((0, 0, 0), (1, 2, 3), (5, 0, 2)):
        ras = nib.affines.apply_affine(theirs.affine, ijk)
        if ours.series.grid.space.kind == "patient":
            found = ours.series.grid.affine.to_index([-ras[0], -ras[1], ras[2]])
            np.testing.assert_allclose(found, ijk[::-1], atol=1e-3)


@pytest.mark.parametrize(("name", "field"), [("complex.nii.gz", "datatype"), ("ct_perfusion.nii.gz", "datatype")])
def test_what_is_not_one_real_number_a_voxel_is_refused(shared_data: Path, name: str, field: str) -> None:
    with pytest.raises(UnreadableFile) as refusal:
        opened(shared_data / "medical/nifti" / name)
    assert refusal.value.field == field


def test_sform_wins_and_a_disagreement_is_said(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii").path
    before = nib.load(path)
    moved = before.affine.copy()
    moved[0, 3] += 5
    image = nib.Nifti1Image(np.array(before.dataobj), before.affine)
    image.set_sform(before.affine, code=1)
    image.set_qform(moved, code=1)
    nib.save(image, path)
    series = opened(path).series
    assert series.warnings == ("sform and qform differ by up to 5; the sform is used.",)
    np.testing.assert_allclose(series.grid.affine.matrix[0, 3], 12.5)


def test_without_a_form_it_has_no_place_in_the_patient(tmp_path: Path) -> None:
    series = opened(write_nifti(tmp_path / "a.nii", codes=(0, 0)).path).series
    assert series.grid.space.kind == "pixel"
    assert "neither sform nor qform" in series.warnings[0]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("order", ["little", "big"])
def test_every_type_and_byte_order(tmp_path: Path, dtype: str, order: Literal["little", "big"]) -> None:
    values = np.arange(60, dtype=dtype).reshape(3, 4, 5)
    header = nib.Nifti1Header(endianness="<" if order == "little" else ">")
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    nib.save(nib.Nifti1Image(values.astype(np.dtype(dtype).newbyteorder(order)), np.eye(4), header), tmp_path / "a.nii")
    series = opened(tmp_path / "a.nii")
    np.testing.assert_array_equal(everything(series), values.T)
    assert np.dtype(series.series.dtype).isnative


def spoiled(path: Path, **fields: object) -> Path:
    """The phantom with header fields written over, past any check nibabel would make."""
    write_nifti(path)
    raw = bytearray(path.read_bytes())
    header = np.frombuffer(raw, dtype=nib.nifti1.header_dtype, count=1)
    for name, value in fields.items():
        header[name][0] = value
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "dim"),
        ({"dim": [3, -4, 5, 6, 1, 1, 1, 1]}, "dim"),
        ({"dim": [9, 4, 5, 6, 1, 1, 1, 1]}, "header"),
        ({"datatype": 999}, "header"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "sform"),
        ({"srow_x": [0, 0, 0, 0]}, "sform"),
        ({"scl_slope": np.inf}, "scl_slope"),
        ({"vox_offset": 1e9}, "dim"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, fields: dict[str, object], named: str) -> None:
    with pytest.raises(UnreadableFile) as refusal:
        opened(spoiled(tmp_path / "a.nii", **fields))
    assert refusal.value.field == named


def test_a_gzip_bomb_meets_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specimg.formats.nifti.MAX_UNPACKED", 2**20)
    path = tmp_path / "bomb.nii.gz"
    sound = write_nifti(tmp_path / "a.nii").path.read_bytes()
    path.write_bytes(gzip.compress(sound + bytes(2**24)))
    with pytest.raises(TooLarge, match="unpacks to more"):
        opened(path)


# --- label maps --------------------------------------------------------------------------------------------------------


def labelled(series: OpenSeries) -> Mask:
    voxels = np.zeros(series.series.grid.shape, np.uint16)
    voxels[1, 3:9, 5:25] = 2
    voxels[3:, 30, 40] = 300
    return Mask(voxels, series.series.grid, (MaskClass(2, "liver"), MaskClass(300, "lesion")))


@settings(max_examples=25, deadline=None)
@given(order=st.permutations([0, 1, 2]), flips=st.tuples(*[st.booleans()] * 3))
def test_labels_with_axes_in_any_order_land_on_the_image(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], flips: tuple[bool, bool, bool]
) -> None:
    folder = tmp_path_factory.mktemp("turned")
    series = opened(write_nifti(folder / "image.nii").path)
    mask = labelled(series)
    write_mask(mask, folder / "labels.nii.gz", series.series, [])
    image = nib.load(folder / "labels.nii.gz")
    turn = np.array([[axis, -1 if flip else 1] for axis, flip in zip(order, flips, strict=True)])
    nib.save(image.as_reoriented(turn), folder / "turned.nii.gz")
    np.testing.assert_array_equal(read_mask(folder / "turned.nii.gz", series.series).voxels, mask.voxels)


def test_labels_are_reread_at_the_same_place_by_others(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    series = opened(write_nifti(tmp_path / "image.nii").path)
    mask = labelled(series)
    write_mask(mask, tmp_path / "labels.nii.gz", series.series, [])
    theirs = sitk.ReadImage(str(tmp_path / "labels.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(theirs), mask.voxels)
    for z, y, x in ((0, 0, 0), (3, 30, 40)):
        np.testing.assert_allclose(
            theirs.TransformIndexToPhysicalPoint((x, y, z)), series.series.grid.affine.to_world([z, y, x]), atol=1e-4
        )
    again = nib.load(tmp_path / "labels.nii.gz")
    assert (int(again.header["sform_code"]), int(again.header["qform_code"])) == (1, 1)
    assert b"lesion" in again.header.extensions[0].get_content()


def test_a_shifted_label_map_is_refused(tmp_path: Path) -> None:
    series = opened(write_nifti(tmp_path / "image.nii").path)
    affine = nib.load(tmp_path / "image.nii").affine.copy()
    affine[0, 3] += 0.4
    nib.save(nib.Nifti1Image(labelled(series).voxels.T, affine), tmp_path / "shifted.nii")
    with pytest.raises(UnreadableFile) as refusal:
        read_mask(tmp_path / "shifted.nii", series.series)
    assert refusal.value.field == "geometry"


def test_real_labels_lie_on_their_organs(shared_data: Path) -> None:
    """The series runs the other way along y than its label map; liver is 89 HU, spleen 80 (data set's README)."""
    from specimg.formats.dicom import DICOM

    folder = shared_data / "medical/ct_dicom_with_labels"
    (series,) = DICOM.open(sorted(p for p in folder.iterdir() if p.name.startswith("CT")), folder)
    mask = read_mask(folder / "example_seg_dicom.nii.gz", series.series)
    slope, intercept = series.series.rescale.at(0)
    values = series.read([0, 0, 0], series.series.shape) * slope + intercept
    assert values[mask.voxels == 5].mean() == pytest.approx(89, abs=1)
    assert values[mask.voxels == 1].mean() == pytest.approx(80, abs=1)

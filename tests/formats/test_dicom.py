"""DICOM series against SimpleITK and nibabel, and every odd series by the reason it is refused for."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from specimg.errors import UnreadableFile
from specimg.formats.base import OpenSeries
from specimg.formats.dicom import DICOM
from specimg.testing.phantoms import INTERCEPT, write_dicom


def unzipped(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as source:
        source.extractall(folder)
    return folder


def opened(folder: Path) -> OpenSeries:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    (series,) = DICOM.open(files, folder)
    return series


def refusal(folder: Path) -> UnreadableFile:
    with pytest.raises(UnreadableFile) as refused:
        opened(folder)
    return refused.value


def everything(series: OpenSeries) -> np.ndarray:
    return series.read([0] * len(series.series.shape), series.series.shape)


def hounsfield(series: OpenSeries) -> np.ndarray:
    slope, intercept = series.series.rescale.at(0)
    return everything(series).astype(np.float64) * slope + intercept


@pytest.mark.parametrize(
    "name", ["ct_series/philips_phantom_axial_30of140.zip", "mr_series/hfs_t1_35.zip", "mr_series/hfp_t1_35.zip"]
)
def test_values_and_places_are_those_of_simpleitk(shared_data: Path, tmp_path: Path, name: str) -> None:
    folder = unzipped(shared_data / "medical" / name, tmp_path)
    ours = opened(folder)
    reader = sitk.ImageSeriesReader()
    top = next(p for p in folder.rglob("*") if p.is_file()).parent
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(top)))
    theirs = reader.Execute()
    values = sitk.GetArrayFromImage(theirs)
    # SimpleITK may stack the other way round; the world position decides, not the order.
    z, y, x = values.shape
    for index in ((0, 0, 0), (z - 1, y - 1, x - 1), (z // 3, y // 4, x // 5), (z // 2, 7, x - 9)):
        world = theirs.TransformIndexToPhysicalPoint(tuple(int(i) for i in reversed(index)))
        found = ours.series.grid.affine.to_index(world)
        np.testing.assert_allclose(found, np.rint(found), atol=0.02)
        at = tuple(int(i) for i in np.rint(found))
        assert hounsfield(ours)[at] == values[index]


def test_a_tilt_is_kept_as_a_sheared_affine(shared_data: Path, tmp_path: Path) -> None:
    """Every slice stays where its header says; `shear.nii.gz`, the same scan from dcm2niix, has the same angle."""
    folder = unzipped(shared_data / "medical/ct_series/philips_phantom_tilt_54.zip", tmp_path)
    series = opened(folder).series
    for z, name in enumerate(series.files):
        ds = pydicom.dcmread(folder / name, stop_before_pixels=True)
        right, down = np.reshape(ds.ImageOrientationPatient, (2, 3)).astype(float)
        corner = np.array(ds.ImagePositionPatient, float)
        far = corner + right * 511 * ds.PixelSpacing[1] + down * 100 * ds.PixelSpacing[0]
        np.testing.assert_allclose(series.grid.affine.to_world([z, 0, 0]), corner, atol=1e-3)
        np.testing.assert_allclose(series.grid.affine.to_world([z, 100, 511]), far, atol=1e-3)
    sheared = nib.load(shared_data / "medical/nifti/shear.nii.gz").affine[:3, :3]
    theirs = sheared / np.linalg.norm(sheared, axis=0)
    ours = series.grid.affine.directions
    assert abs(ours[:, 0] @ ours[:, 1]) == pytest.approx(abs(theirs[:, 1] @ theirs[:, 2]), abs=1e-3)
    assert not series.grid.affine.is_orthogonal
    assert "Gantry tilt: slices are stacked 18.5 degrees" in series.warnings[0]


def test_uneven_gaps_are_named(shared_data: Path, tmp_path: Path) -> None:
    error = refusal(unzipped(shared_data / "medical/ct_series/ge_tilt_variable_gap_28.zip", tmp_path))
    assert error.field == "ImagePositionPatient"
    assert "gaps of 1.08, 4.00, 7.00 mm" in str(error)
    assert error.file.startswith("GE/")


@pytest.mark.parametrize(
    ("name", "field", "problem"),
    [
        ("notavolume_001", "ImagePositionPatient", "all 4 images lie at one place"),
        ("sliceincrement_001", "ImagePositionPatient", "gaps of 5.00, 10.00 mm"),
        ("sliceorientation_001", "ImageOrientationPatient", "differs"),
    ],
)
def test_odd_series_are_refused_by_their_reason(
    shared_data: Path, tmp_path: Path, name: str, field: str, problem: str
) -> None:
    error = refusal(unzipped(shared_data / f"medical/odd_series/{name}/{name}.zip", tmp_path))
    assert (error.field, problem in str(error)) == (field, True)


def test_supine_and_prone_are_told_apart(shared_data: Path, tmp_path: Path) -> None:
    """The same head, turned over: the sagittal rows run along +P in one and the patient's front is where it was."""
    supine = opened(unzipped(shared_data / "medical/mr_series/hfs_t1_35.zip", tmp_path / "s"))
    prone = opened(unzipped(shared_data / "medical/mr_series/hfp_t1_35.zip", tmp_path / "p"))
    for series in (supine, prone):
        assert series.series.grid.affine.axis_codes() == ("R", "I", "P")


def test_four_compressions_of_one_series_are_pixel_identical(shared_data: Path) -> None:
    family = shared_data / "medical/compressed_family"
    whole = [everything(opened(family / name)) for name in ("rle", "jpeg", "jpegls", "j2k")]
    for other in whole[1:]:
        np.testing.assert_array_equal(other, whole[0])
    raw = pydicom.dcmread(sorted((family / "rle").iterdir())[0]).pixel_array
    assert any(np.array_equal(plane, raw) for plane in whole[0])


@pytest.mark.parametrize(
    ("ending", "largest"),
    [
        ("LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm", 0),
        ("LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm", 0),
        ("BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm", 0),
        ("DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm", 0),
        ("RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm", 0),
        ("JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm", 0),
        ("JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm", 0),
        ("JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm", 0),
        ("JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm", 0),
        ("JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm", 1),
        ("JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm", 5),
    ],
)
def test_one_slice_in_every_syntax(shared_data: Path, tmp_path: Path, ending: str, largest: int) -> None:
    folder = shared_data / "medical/transfer_syntaxes"
    reference = pydicom.dcmread(folder / "CTImage.dcm").pixel_array.astype(int)
    shutil.copy(folder / f"CTImage.dcm_{ending}", tmp_path)
    assert np.abs(everything(opened(tmp_path))[0] - reference).max() == largest


@pytest.mark.parametrize(
    "process", ["6_8TransferSyntax_1.2.840.10008.1.2.4.53", "10_12TransferSyntax_1.2.840.10008.1.2.4.55"]
)
def test_a_retired_syntax_is_refused_by_its_name(shared_data: Path, tmp_path: Path, process: str) -> None:
    shutil.copy(shared_data / f"medical/transfer_syntaxes/CTImage.dcm_JPEGProcess{process}.dcm", tmp_path)
    series = opened(tmp_path)
    with pytest.raises(UnreadableFile, match=r"JPEG (Spectral Selection|Full Progression)"):
        everything(series)


def test_times_of_one_place_become_an_axis(shared_data: Path, tmp_path: Path) -> None:
    series = opened(unzipped(shared_data / "medical/mr_4d_classic/ge_fmri_150.zip", tmp_path))
    assert (series.series.axes, series.series.shape) == (("t", "z", "y", "x"), (10, 15, 64, 64))
    assert "Each position holds 10 images: they are kept as an axis t of 10." in series.series.warnings
    by_instance = sorted((pydicom.dcmread(p) for p in tmp_path.rglob("*.dcm")), key=lambda ds: int(ds.InstanceNumber))
    lowest = min(float(ds.ImagePositionPatient[2]) for ds in by_instance)
    bottom = [ds.pixel_array for ds in by_instance if float(ds.ImagePositionPatient[2]) == lowest]
    np.testing.assert_array_equal(everything(series)[:, 0], np.stack(bottom))


def test_missing_uids_come_from_the_file_meta_or_are_made_alike(shared_data: Path) -> None:
    folder = shared_data / "medical/ct_dicom_with_labels"
    files = sorted(p for p in folder.iterdir() if p.name.startswith("CT"))
    first, again = (DICOM.open(files, folder)[0].series for _ in range(2))
    assert first.source == again.source
    assert first.source["SeriesInstanceUID"].startswith("2.25.")
    assert set(first.source["SOPInstanceUIDs"]) == {p.name.removeprefix("CT.") for p in files}
    assert "SeriesInstanceUID missing" in first.warnings[0]


def test_hounsfield_units_of_the_phantom(tmp_path: Path) -> None:
    series = opened(write_dicom(tmp_path).path)
    assert series.series.channels[0].unit == "HU"
    assert hounsfield(series)[1, 26, 2] == 1000 + 2000 + 45 * 26 + 2 + INTERCEPT


# --- hostile headers: each must be refused before memory is asked for --------------------------------------------------


def spoiled(folder: Path, **elements: object) -> Path:
    path = write_dicom(folder).path
    for file in path.iterdir():
        ds = pydicom.dcmread(file)
        for keyword, value in elements.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)
        ds.save_as(file)
    return path


@pytest.mark.parametrize(
    ("elements", "field"),
    [
        ({"Rows": 60000, "Columns": 60000}, "Rows, Columns"),
        ({"Rows": 0}, "Rows, Columns"),
        ({"NumberOfFrames": 10**9}, "NumberOfFrames"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel"),
        ({"PhotometricInterpretation": "RGB"}, "PhotometricInterpretation"),
        ({"BitsAllocated": 13}, "BitsAllocated"),
        ({"BitsStored": 17}, "BitsAllocated"),
        ({"PixelRepresentation": 7}, "PixelRepresentation"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 1, 0]}, "ImageOrientationPatient"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient"),
        ({"PixelSpacing": [0, 1]}, "PixelSpacing"),
        ({"PixelSpacing": [-1, 1]}, "PixelSpacing"),
        ({"RescaleSlope": 0}, "RescaleSlope"),
        ({"RescaleSlope": 1e300}, "RescaleSlope"),
        ({"Rows": None}, "Rows"),
    ],
)
def test_a_header_that_makes_no_image_is_refused(tmp_path: Path, elements: dict[str, object], field: str) -> None:
    error = refusal(spoiled(tmp_path / "series", **elements))
    assert error.field == field
    assert error.remedy
    assert str(tmp_path) not in str(error)


def test_a_duplicate_and_a_missing_slice_are_refused(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path).path
    files = sorted(folder.iterdir())
    shutil.copy(files[0], folder / "twice.dcm")
    assert "repeat unequally" in str(refusal(folder))
    (folder / "twice.dcm").unlink()
    middle = next(p for p in files if pydicom.dcmread(p).InstanceNumber == 3)
    middle.unlink()
    assert "gaps of 3.00, 6.00 mm" in str(refusal(folder))

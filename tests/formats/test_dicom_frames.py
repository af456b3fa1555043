"""Enhanced multi-frame images, and what in DICOM is no volume: each refused by what it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import nibabel as nib
import nibabel.affines
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from specimg.errors import UnreadableFile
from specimg.formats.base import Mask, MaskClass, OpenSeries
from specimg.formats.dicom import DICOM
from specimg.formats.dicom_seg import read_mask, write_mask
from specimg.testing.phantoms import index_volume, write_dicom


def opened(*files: Path) -> OpenSeries:
    (series,) = DICOM.open(files, files[0].parent)
    return series


def everything(series: OpenSeries) -> np.ndarray:
    return series.read([0] * len(series.series.shape), series.series.shape)


def refusal(*files: Path) -> UnreadableFile:
    with pytest.raises(UnreadableFile) as caught:
        everything(opened(*files))
    return caught.value


def test_one_image_as_single_frames_and_as_enhanced_is_the_same(shared_data: Path) -> None:
    """dcmqi's twin: the same 23 x 38 x 3 CT, once in three files and once converted to one."""
    folder = shared_data / "medical/dicom_seg/dcmqi_23x38x3"
    single, enhanced = opened(*(folder / f"IMG000{i}.dcm" for i in (1, 2, 3))), opened(folder / "mf.dcm")
    np.testing.assert_array_equal(everything(enhanced), everything(single))
    assert enhanced.series.grid.matches(single.series.grid) is None
    assert enhanced.series.rescale == single.series.rescale
    assert enhanced.series.files == ("mf.dcm",)


@pytest.mark.parametrize("name", ["0063.dcm", "001.dcm", "IM-0001-0001-0001.dcm", "IM-0001-9600-0001.dcm", "6_2.dcm"])
def test_every_frame_lies_where_its_header_says(shared_data: Path, name: str) -> None:
    """pydicom decodes the file whole; each of its frames must be found at its own position."""
    path = shared_data / "medical/enhanced" / name
    ds, series = pydicom.dcmread(path), opened(path)
    samples = everything(series)
    seen = []
    for frame, group in zip(ds.pixel_array, ds.PerFrameFunctionalGroupsSequence, strict=True):
        position = [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient]
        index = series.series.grid.affine.to_index(position)
        z = round(float(index[0]))
        t = int(group.FrameContentSequence[0].get("TemporalPositionIndex", 1)) - 1
        np.testing.assert_allclose(index, [z, 0, 0], atol=0.05)
        np.testing.assert_array_equal(samples[t, z] if samples.ndim == 4 else samples[z], frame)
        seen.append((t, z))
    assert len(set(seen)) == len(ds.pixel_array) == np.prod(series.series.shape[:-2])


def test_a_file_for_each_time_becomes_an_axis(shared_data: Path) -> None:
    files = [shared_data / f"medical/enhanced/6_{i}.dcm" for i in (1, 2, 3, 4)]
    series = opened(*reversed(files))
    assert series.series.axes == ("t", "z", "y", "x")
    for t, file in enumerate(sorted(files, key=lambda f: int(pydicom.dcmread(f).InstanceNumber))):
        np.testing.assert_array_equal(
            series.read([t, 0, 0, 0], [t + 1, *series.series.shape[1:]])[0], everything(opened(file))
        )


def test_phase_and_magnitude_in_one_file_are_not_mixed(shared_data: Path) -> None:
    assert refusal(shared_data / "medical/enhanced/IM_0027_fMAP.dcm").field == "RescaleSlope"


def test_frames_without_places_are_refused(shared_data: Path) -> None:
    error = refusal(shared_data / "medical/odd_fo_dicom/HasFragmentSequence.dcm")
    assert error.field == "NumberOfFrames"
    assert "Angiographic" in error.problem


@pytest.mark.parametrize(
    ("file", "field", "word"),
    [
        ("dicom_sr/sr.dcm", "SOPClassUID", "SR"),
        ("dicom_sr/seg.dcm", "SOPClassUID", "segmentation"),
        ("rtstruct/dicompyler/rtss.dcm", "SOPClassUID", "RT Structure Set"),
        ("pydicom/parametric_map_float.dcm", "PixelData", "Parametric Map"),
        ("nifti_nibabel/csa_slice_norm.dcm", "PixelData", "without pixels"),
        ("pydicom/mlut_18.dcm", "ModalityLUTSequence", "table"),
        ("pydicom/US1_UNCR.dcm", "SamplesPerPixel", "colour"),
        ("pydicom/gdcm-US-ALOKA-16.dcm", "PhotometricInterpretation", "PALETTE"),
        ("pydicom/vlut_04.dcm", "ImageOrientationPatient", "missing"),
        ("odd_fo_dicom/GH487.dcm", "PixelData", "CT Image Storage without pixels"),
        ("pydicom/emri_small_jpeg_2k_lossless_too_short.dcm", "PixelData", "cut short"),
    ],
)
def test_what_is_no_volume_is_refused_by_what_it_is(shared_data: Path, file: str, field: str, word: str) -> None:
    error = refusal(shared_data / "medical" / file)
    assert error.field == field
    assert word in error.problem
    assert error.remedy


def test_a_mosaic_is_not_one_slice(shared_data: Path) -> None:
    error = refusal(sorted((shared_data / "medical/mr_mosaic").iterdir())[0])
    assert error.field == "ImageType"
    assert "dcm2niix" in error.remedy


def test_a_deflated_slice_is_the_plain_one(shared_data: Path) -> None:
    folder = shared_data / "medical/transfer_syntaxes"
    (deflated,) = folder.glob("*Deflated*")
    np.testing.assert_array_equal(everything(opened(deflated)), everything(opened(folder / "CTImage.dcm")))


# --- spoiled phantoms --------------------------------------------------------------------------------------------------


def rewrite(folder: Path, change: Callable[[Dataset], object]) -> list[Path]:
    files = sorted(write_dicom(folder).path.iterdir())
    for file in files:
        ds = pydicom.dcmread(file)
        change(ds)
        ds.save_as(file)
    return files


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("NumberOfFrames", "-1"),
        ("NumberOfFrames", "1000000000"),
        ("NumberOfFrames", "2"),
        ("HighBit", 11),
        ("ModalityLUTSequence", Sequence([Dataset()])),
        ("ImageType", ["DERIVED", "PRIMARY", "M", "MOSAIC"]),
    ],
)
def test_an_attribute_that_makes_no_plane_is_named(tmp_path: Path, keyword: str, value: object) -> None:
    assert refusal(*rewrite(tmp_path, lambda ds: setattr(ds, keyword, value))).field == keyword


def repeated(folder: Path, spoil: Callable[[int, int, Dataset], object]) -> list[Path]:
    """Every slice at three times; ``spoil`` gets time, slice and data set. The files' order tells nothing."""
    files = []
    for file in sorted(write_dicom(folder / "first").path.iterdir()):
        ds = pydicom.dcmread(file)
        z = int(ds.InstanceNumber) - 1
        for t in range(3):
            ds.TemporalPositionIdentifier = t + 1
            ds.InstanceNumber = 1 + t * 5 + z
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
            ds.PixelData = (index_volume()[z] + 10_000 * t).astype("<i2").tobytes()
            spoil(t, z, ds)
            files.append(folder / f"{(7 * t + 3 * z) % 11}-{t}-{z}.dcm")
            ds.save_as(files[-1])
    return files


def test_times_are_told_apart(tmp_path: Path) -> None:
    series = opened(*repeated(tmp_path, lambda t, z, ds: None))
    expected = np.stack([index_volume() + 10_000 * t for t in range(3)])
    np.testing.assert_array_equal(everything(series), expected)


def test_times_that_differ_between_slices_are_not_mixed(tmp_path: Path) -> None:
    def swap(t: int, z: int, ds: Dataset) -> None:
        if z == 2:
            ds.TemporalPositionIdentifier = t + 2

    error = refusal(*repeated(tmp_path, swap))
    assert error.field == "TemporalPositionIdentifier"


def test_echoes_are_said_to_be_no_times(tmp_path: Path) -> None:
    series = opened(*repeated(tmp_path, lambda t, z, ds: setattr(ds, "EchoTime", 10 * (t + 1))))
    assert any("echo time" in warning for warning in series.series.warnings)


def test_padding_outside_the_stored_bits_is_cut_as_gdcm_cuts_it(tmp_path: Path) -> None:
    """12 bits stored of 16, signed, the sign only in bit 11: PS3.5 8.1.1; SimpleITK reads -5."""
    sitk = pytest.importorskip("SimpleITK")

    def shorten(ds: Dataset) -> None:
        ds.BitsStored, ds.HighBit = 12, 11
        ds.PixelData = np.full((ds.Rows, ds.Columns), -5 & 0x0FFF, "<u2").tobytes()

    files = rewrite(tmp_path, shorten)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(files[0])))
    ours = opened(*files)
    slope, intercept = ours.series.rescale.at(0)
    assert set(np.unique(everything(ours) * slope + intercept)) == set(np.unique(theirs)) == {-5 - 1024}


# --- labels on enhanced images -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["enhanced/0063.dcm", "dicom_seg/dcmqi_23x38x3/mf.dcm", "enhanced/001.dcm"])
def test_a_seg_of_an_enhanced_image_comes_back(shared_data: Path, tmp_path: Path, file: str) -> None:
    """0063 stores its slices from the last to the first: a SEG in file order would be upside down."""
    path = shared_data / "medical" / file
    series = opened(path)
    voxels = np.zeros(series.series.grid.shape, np.uint16)
    voxels[0, 3:9, 5:15], voxels[2, 1:3, 2:5] = 7, 9
    classes = (MaskClass(7, "Größe 肝", "#ff8800"), MaskClass(9, "b"))
    write_mask(Mask(voxels, series.series.grid, classes), tmp_path / "seg.dcm", series.series, [path])
    again = read_mask(tmp_path / "seg.dcm", series.series)
    np.testing.assert_array_equal(again.voxels, np.select([voxels == 7, voxels == 9], [1, 2]))
    assert [c.name for c in again.classes] == ["Größe 肝", "b"]
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    for group in seg.PerFrameFunctionalGroupsSequence:
        number = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        source = pydicom.dcmread(path, stop_before_pixels=True).PerFrameFunctionalGroupsSequence[int(number) - 1]
        assert (
            source.PlanePositionSequence[0].ImagePositionPatient == group.PlanePositionSequence[0].ImagePositionPatient
        )
    _check_with_dcmqi(tmp_path, series, voxels)
    _check_with_dciodvfy(tmp_path)


def _check_with_dcmqi(folder: Path, series: OpenSeries, voxels: np.ndarray) -> None:
    (folder / "out").mkdir()
    program = Path(sys.executable).with_name("segimage2itkimage")
    command: list[str | Path] = [
        program,
        "--inputDICOM",
        folder / "seg.dcm",
        "--outputDirectory",
        folder / "out",
        "--outputType",
        "nii",
    ]
    subprocess.run(command, check=True, capture_output=True)
    for number, label in ((1, 7), (2, 9)):
        image = nib.load(folder / f"out/{number}.nii.gz")
        found = np.argwhere(np.asanyarray(image.dataobj) > 0)
        assert len(found) == int((voxels == label).sum())
        ours = series.series.grid.affine.to_world(np.argwhere(voxels == label)).mean(axis=0)
        ras = nib.affines.apply_affine(image.affine, found).mean(axis=0)
        np.testing.assert_allclose([-ras[0], -ras[1], ras[2]], ours, atol=1e-2)


def _check_with_dciodvfy(folder: Path) -> None:
    if shutil.which("dciodvfy") is None:
        return
    said = subprocess.run(["dciodvfy", folder / "seg.dcm"], capture_output=True, text=True, check=False).stderr
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("name", ["liver.dcm", "liver_nonbyte_aligned.dcm", "liver_expb.dcm", "liver_j2k.dcm"])
def test_frames_of_a_seg_are_read_one_at_a_time_in_every_encoding(shared_data: Path, tmp_path: Path, name: str) -> None:
    """One liver in several encodings (pydicom's); the phantom series is cut to its frames' geometry."""
    seg = pydicom.dcmread(shared_data / "medical/pydicom" / name)
    reference = _image_under(tmp_path / "image", seg)
    mask = read_mask(shared_data / "medical/pydicom" / name, reference.series)
    for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        position = [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient]
        z = round(float(reference.series.grid.affine.to_index(position)[0]))
        np.testing.assert_array_equal(mask.voxels[z] > 0, frame > 0)


@pytest.mark.parametrize("name", ["liver_rle.dcm", "liver_deflate.dcm"])
def test_a_seg_that_cannot_be_decoded_is_refused(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / "medical/pydicom" / name
    reference = _image_under(tmp_path / "image", pydicom.dcmread(shared_data / "medical/pydicom/liver.dcm"))
    with pytest.raises(UnreadableFile) as caught:
        read_mask(path, reference.series)
    assert caught.value.field in ("PixelData", "header")


def _image_under(folder: Path, seg: Dataset) -> OpenSeries:
    """A series of empty slices on the frames of ``seg``, in its frame of reference."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    template = pydicom.dcmread(sorted(write_dicom(folder / "template").path.iterdir())[0])
    files = []
    for i, group in enumerate(seg.PerFrameFunctionalGroupsSequence):
        ds = template
        ds.FrameOfReferenceUID = seg.FrameOfReferenceUID
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        ds.ImagePositionPatient = group.PlanePositionSequence[0].ImagePositionPatient
        ds.ImageOrientationPatient = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        ds.PixelSpacing = shared.PixelMeasuresSequence[0].PixelSpacing
        ds.Rows, ds.Columns = seg.Rows, seg.Columns
        ds.PixelData = bytes(2 * seg.Rows * seg.Columns)
        files.append(folder / f"{i}.dcm")
        ds.save_as(files[-1])
    return opened(*files)


def test_names_in_any_script_survive_beside_a_patient_in_latin_1(tmp_path: Path) -> None:
    def name(ds: Dataset) -> None:
        ds.SpecificCharacterSet = "ISO_IR 100"
        ds.PatientName = "Müller^Jörg"

    files = rewrite(tmp_path, name)
    series = opened(*files)
    voxels = np.ones(series.series.grid.shape, np.uint16)
    in_order = [tmp_path / f for f in series.series.files]
    write_mask(Mask(voxels, series.series.grid, (MaskClass(1, "肝臓"),)), tmp_path / "seg.dcm", series.series, in_order)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (seg.SegmentSequence[0].SegmentLabel, str(seg.PatientName)) == ("肝臓", "Müller^Jörg")


def test_a_series_in_a_zip_with_its_reports_is_the_series(shared_data: Path, tmp_path: Path) -> None:
    """A hospital's export holds reports and structure sets beside the images: they must not keep the images out."""
    from specimg.formats.sandbox import Child

    folder = shared_data / "medical/dicom_seg/dcmqi"
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for name in ("01.dcm", "02.dcm", "03.dcm", "liver.dcm"):
            archive.write(folder / name, f"study/{name}")
        archive.write(shared_data / "medical/dicom_sr/sr.dcm", "study/sr.dcm")
    with Child(memory=2**31, seconds=60) as child:
        (series,) = child.open(tmp_path / "export.zip")
        assert series.series.shape == (3, 512, 512)
        assert sorted((r.file, r.field) for r in child.refusals) == [
            ("study/liver.dcm", "SOPClassUID"),
            ("study/sr.dcm", "SOPClassUID"),
        ]

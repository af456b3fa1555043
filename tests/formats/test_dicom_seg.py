"""DICOM SEG as highdicom, dciodvfy and dcmqi read it, and SEGs of others as we read them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest

from specimg.errors import InvalidInput, UnreadableFile
from specimg.formats.base import Mask, MaskClass, OpenSeries
from specimg.formats.dicom import DICOM
from specimg.formats.dicom_seg import read_mask, write_mask
from specimg.formats.nifti import NIFTI
from specimg.testing.phantoms import write_dicom, write_nifti

CLASSES = (
    MaskClass(3, "liver", "#dd8265", ("10200004", "SCT", "Liver"), ("123037004", "SCT", "Anatomical Structure")),
    MaskClass(9, "lesion", "#ffff00", ("52988006", "SCT", "Lesion"), None, "click 1.0"),
)


def opened(folder: Path) -> tuple[OpenSeries, list[Path]]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".gz"))
    (series,) = DICOM.open(files, folder)
    return series, [folder / name for name in series.series.files]


def labelled(series: OpenSeries) -> Mask:
    """Two classes, neither symmetric, one of them on one slice alone; label 3 and 9 are not consecutive."""
    voxels = np.zeros(series.series.grid.shape, np.uint16)
    voxels[1:4, 3:9, 5:25] = 3
    voxels[2, 4:6, 7:9] = 0
    voxels[4, 30:33, 40:44] = 9
    return Mask(voxels, series.series.grid, CLASSES)


@pytest.fixture(params=["phantom", "tilted", "philips", "without-uids"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[OpenSeries, list[Path]]:
    folder = tmp_path / "image"
    match request.param:
        case "phantom":
            return opened(write_dicom(folder).path)
        case "tilted":
            return opened(write_dicom(folder, tilt_mm=0.8).path)
    data: Path = request.getfixturevalue("shared_data")
    if request.param == "philips":
        with zipfile.ZipFile(data / "medical/ct_series/philips_phantom_axial_30of140.zip") as archive:
            archive.extractall(folder)
        return opened(folder)
    return opened(data / "medical/ct_dicom_with_labels")


def test_highdicom_and_we_read_back_the_same_voxels(image: tuple[OpenSeries, list[Path]], tmp_path: Path) -> None:
    series, files = image
    mask = labelled(series)
    warnings = write_mask(mask, tmp_path / "seg.dcm", series.series, files)
    assert bool(warnings) == (not series.series.grid.affine.is_orthogonal)
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    assert [d.segment_number for d in seg.SegmentSequence] == [1, 2]
    assert seg.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    uids = series.series.source["SOPInstanceUIDs"]
    pixels = seg.get_pixels_by_source_instance(
        uids, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    for number, label in ((1, 3), (2, 9)):
        np.testing.assert_array_equal(pixels[..., number - 1] > 0, mask.voxels == label)
    again = read_mask(tmp_path / "seg.dcm", series.series)
    np.testing.assert_array_equal(again.voxels, np.select([mask.voxels == 3, mask.voxels == 9], [1, 2]))
    assert [(c.name, c.code, c.algorithm) for c in again.classes] == [
        ("liver", ("10200004", "SCT", "Liver"), None),
        ("lesion", ("52988006", "SCT", "Lesion"), "click"),
    ]


def test_who_drew_it_is_told_truthfully(tmp_path: Path) -> None:
    series, files = opened(write_dicom(tmp_path / "image").path)
    write_mask(labelled(series), tmp_path / "seg.dcm", series.series, files)
    by_hand, by_model = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
    assert (by_hand.SegmentAlgorithmType, by_model.SegmentAlgorithmType) == ("MANUAL", "SEMIAUTOMATIC")
    assert by_model.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "1.0"
    assert by_hand.TrackingUID != by_model.TrackingUID


@pytest.mark.peer
def test_dciodvfy_finds_no_error(image: tuple[OpenSeries, list[Path]], tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")
    series, files = image
    write_mask(labelled(series), tmp_path / "seg.dcm", series.series, files)
    said = subprocess.run(["dciodvfy", tmp_path / "seg.dcm"], capture_output=True, text=True, check=False).stderr
    assert "Segmentation" in said.splitlines()
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_dcmqi_counts_the_same_voxels_at_the_same_place(tmp_path: Path) -> None:
    series, files = opened(write_dicom(tmp_path / "image").path)
    mask = labelled(series)
    write_mask(mask, tmp_path / "seg.dcm", series.series, files)
    (tmp_path / "out").mkdir()
    subprocess.run(
        [Path(sys.executable).with_name("segimage2itkimage"), "--inputDICOM", tmp_path / "seg.dcm",
         "--outputDirectory", tmp_path / "out", "--outputType", "nii"],
        check=True, capture_output=True,
    )  # fmt: skip
    for number, label in ((1, 3), (2, 9)):
        image = nib.load(tmp_path / f"out/{number}.nii.gz")
        voxels = np.asanyarray(image.dataobj)
        assert int((voxels > 0).sum()) == int((mask.voxels == label).sum())
        ours = series.series.grid.affine.to_world(np.argwhere(mask.voxels == label)).mean(axis=0)
        ras = nib.affines.apply_affine(image.affine, np.argwhere(voxels > 0)).mean(axis=0)
        np.testing.assert_allclose([-ras[0], -ras[1], ras[2]], ours, atol=1e-3)


def test_a_seg_of_another_maker_is_read(shared_data: Path) -> None:
    """dcmqi's own test: three CT slices and a liver (its README: data courtesy of the maker)."""
    folder = shared_data / "medical/dicom_seg/dcmqi"
    files = [folder / f"0{i}.dcm" for i in (1, 2, 3)]
    (series,) = DICOM.open(files, folder)
    mask = read_mask(folder / "liver.dcm", series.series)
    seg = pydicom.dcmread(folder / "liver.dcm")
    assert int((mask.voxels > 0).sum()) == int(seg.pixel_array.sum())
    for frame, group in zip(np.atleast_3d(seg.pixel_array), seg.PerFrameFunctionalGroupsSequence, strict=True):
        z = series.series.grid.affine.to_index([float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient])[
            0
        ]
        np.testing.assert_array_equal(mask.voxels[round(float(z))] > 0, frame > 0)


def test_axes_that_are_not_square_do_not_mix(shared_data: Path) -> None:
    folder = shared_data / "medical/dicom_seg/dcmqi_23x38x3"
    (series,) = DICOM.open([folder / f"IMG000{i}.dcm" for i in (1, 2, 3)], folder)
    assert sorted(series.series.shape) == [3, 23, 38]
    mask = read_mask(folder / "label.seg", series.series)
    assert int((mask.voxels > 0).sum()) == int(pydicom.dcmread(folder / "label.seg").pixel_array.sum())


def test_overlapping_segments_are_refused(shared_data: Path) -> None:
    folder = shared_data / "medical/dicom_seg/dcmqi"
    (series,) = DICOM.open([folder / f"0{i}.dcm" for i in (1, 2, 3)], folder)
    with pytest.raises(UnreadableFile, match="overlap"):
        read_mask(folder / "partial_overlaps.dcm", series.series)


def test_a_seg_of_another_image_is_refused_by_its_field(tmp_path: Path) -> None:
    series, files = opened(write_dicom(tmp_path / "a").path)
    other, _ = opened(write_dicom(tmp_path / "b").path)
    write_mask(labelled(series), tmp_path / "seg.dcm", series.series, files)
    with pytest.raises(UnreadableFile) as refusal:
        read_mask(tmp_path / "seg.dcm", other.series)
    assert refusal.value.field == "FrameOfReferenceUID"


def test_nothing_labelled_and_nothing_dicom_are_said(tmp_path: Path) -> None:
    series, files = opened(write_dicom(tmp_path / "a").path)
    empty = Mask(np.zeros(series.series.grid.shape, np.uint16), series.series.grid, CLASSES)
    with pytest.raises(InvalidInput, match="nothing is labelled"):
        write_mask(empty, tmp_path / "seg.dcm", series.series, files)
    (nifti,) = NIFTI.open([write_nifti(tmp_path / "b.nii").path], tmp_path)
    with pytest.raises(InvalidInput, match="did not come from"):
        write_mask(labelled(nifti), tmp_path / "seg.dcm", nifti.series, [])

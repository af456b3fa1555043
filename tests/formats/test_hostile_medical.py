"""Hostile DICOM and NIfTI in the real child: forged sizes, broken codestreams, headers that lie.

Whatever happens inside, the caller gets an ``UnreadableFile`` or ``TooLarge`` in time, and the next file is read.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from specimg.errors import SpecimgError, TooLarge, UnreadableFile
from specimg.formats.base import Mask, MaskClass
from specimg.formats.sandbox import Child
from specimg.testing.phantoms import SECRETS, index_volume, write_dicom, write_nifti

MEMORY = 2**31


def outcome(path: Path) -> SpecimgError | None:
    """The refusal; ``None`` if every sample could be read."""
    error = _tried(path)
    assert not [secret for secret in (*SECRETS, str(path.parent)) if secret in str(error)]
    return error


def _tried(path: Path) -> SpecimgError | None:
    with Child(memory=MEMORY, seconds=20) as child:
        try:
            for series in child.open(path):
                for z in range(series.series.shape[0]):
                    series.read([z, 0, 0], [z + 1, *series.series.shape[1:]])
        except (UnreadableFile, TooLarge) as error:
            return error
        return child.refusals[0] if child.refusals else None


def spoiled(folder: Path, change: Callable[[Dataset], object], *, syntax: UID | None = None) -> Path:
    """The phantom with one file changed."""
    root = write_dicom(folder, **({} if syntax is None else {"syntax": syntax})).path
    file = sorted(root.iterdir())[2]
    ds = pydicom.dcmread(file)
    change(ds)
    ds.save_as(file)
    return root


def all_spoiled(folder: Path, change: Callable[[Dataset], object], *, syntax: UID | None = None) -> Path:
    """The phantom with every file changed alike, so that only what is said is wrong, not that it is mixed."""
    root = write_dicom(folder, **({} if syntax is None else {"syntax": syntax})).path
    for file in sorted(root.iterdir()):
        ds = pydicom.dcmread(file)
        change(ds)
        ds.save_as(file)
    return root


def codestream(ds: Dataset) -> bytes:
    data: bytes = get_frame(ds.PixelData, 0, number_of_frames=1)
    return data


def replace(ds: Dataset, data: bytes) -> None:
    ds.PixelData = encapsulate([data])
    ds["PixelData"].is_undefined_length = True


# --- codestreams -------------------------------------------------------------------------------------------------------


def forge_j2k_size(ds: Dataset) -> None:
    """Xsiz and Ysiz of the SIZ marker (ISO 15444-1 A.5.1) as 65,535 each: 8 GiB of samples in a few hundred bytes."""
    data = bytearray(codestream(ds))
    at = data.index(b"\xff\x51")
    struct.pack_into(">II", data, at + 6, 65535, 65535)
    replace(ds, bytes(data))


def forge_rle_offset(ds: Dataset) -> None:
    data = bytearray(codestream(ds))
    struct.pack_into("<III", data, 0, 2, 64, 2**31)
    replace(ds, bytes(data))


def cut(ds: Dataset) -> None:
    data = codestream(ds)
    replace(ds, data[: len(data) // 3])


def forge_jpegls_size(ds: Dataset) -> None:
    """Height and width of the SOF55 marker (ISO 14495-1 C.2.2)."""
    data = bytearray(codestream(ds))
    at = data.index(b"\xff\xf7")
    struct.pack_into(">HH", data, at + 5, 65535, 65535)
    replace(ds, bytes(data))


@pytest.mark.parametrize(
    ("syntax", "forge"),
    [
        (JPEG2000Lossless, forge_j2k_size),
        (JPEG2000Lossless, cut),
        (JPEGLSLossless, forge_jpegls_size),
        (JPEGLSLossless, cut),
        (RLELossless, forge_rle_offset),
        (RLELossless, cut),
    ],
)
def test_a_forged_codestream_is_a_refusal(tmp_path: Path, syntax: UID, forge: Callable[[Dataset], None]) -> None:
    error = outcome(spoiled(tmp_path / "ct", forge, syntax=syntax))
    assert isinstance(error, (UnreadableFile, TooLarge))


@pytest.mark.parametrize("ending", ["jpeg", "jpegls", "j2k"])
def test_real_slices_cut_inside_their_codestream_are_refused(shared_data: Path, tmp_path: Path, ending: str) -> None:
    """Cut and closed again properly, so that only the codestream knows: the case in which decoders make things up."""
    (tmp_path / "in").mkdir()
    for file in sorted((shared_data / "medical/compressed_family" / ending).iterdir()):
        ds = pydicom.dcmread(file)
        cut(ds)
        ds.save_as(tmp_path / "in" / file.name)
    assert isinstance(outcome(tmp_path / "in"), UnreadableFile)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_a_header_far_larger_than_its_codestream_is_a_refusal(tmp_path: Path, syntax: UID) -> None:
    def grow(ds: Dataset) -> None:
        ds.Rows = ds.Columns = 16000

    assert outcome(all_spoiled(tmp_path / "ct", grow, syntax=syntax)) is not None


def test_random_damage_never_gets_past_the_child(tmp_path: Path) -> None:
    """Bytes changed anywhere: refused or read, but always an answer, and the next child reads the sound series."""
    order = np.random.default_rng(5)
    for turn in range(12):
        syntax = (JPEG2000Lossless, JPEGLSLossless, RLELossless)[turn % 3]
        root = write_dicom(tmp_path / str(turn), syntax=syntax).path
        file = sorted(root.iterdir())[int(order.integers(5))]
        data = bytearray(file.read_bytes())
        for at in order.integers(132, len(data), 40):
            data[at] = int(order.integers(256))
        file.write_bytes(data)
        outcome(root)
    assert outcome(write_dicom(tmp_path / "sound").path) is None


# --- headers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"Rows": 65535, "Columns": 65535}, "Rows, Columns"),
        ({"Rows": 60000, "Columns": 4000}, "PixelData"),
        ({"BitsAllocated": 64}, "BitsAllocated"),
        ({"BitsAllocated": 0}, "BitsAllocated"),
        ({"BitsStored": 17}, "BitsAllocated"),
        ({"PixelRepresentation": 7}, "PixelRepresentation"),
        ({"SamplesPerPixel": 0}, "SamplesPerPixel"),
        ({"RescaleSlope": "0"}, "RescaleSlope"),
        ({"RescaleSlope": "1e308"}, "RescaleSlope"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "ImageOrientationPatient"),
        ({"PixelSpacing": [-1, 1]}, "PixelSpacing"),
        ({"ImagePositionPatient": [1, 2]}, "ImagePositionPatient"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused_by_its_field(
    tmp_path: Path, change: dict[str, object], field: str
) -> None:
    def apply(ds: Dataset) -> None:
        for keyword, value in change.items():
            setattr(ds, keyword, value)

    error = outcome(all_spoiled(tmp_path / "ct", apply))
    assert isinstance(error, UnreadableFile)
    assert error.field == field


def test_a_length_that_swallows_the_rest_is_no_silent_loss(tmp_path: Path) -> None:
    """An element of 0xFFFFFFF0 bytes hides all that follows it; pydicom reads on without a word."""
    root = write_dicom(tmp_path / "ct").path
    for file in root.iterdir():
        data = bytearray(file.read_bytes())
        # A private OB element before the group 0010 of the patient.
        at = data.index(b"\x10\x00\x10\x00PN")
        data[at:at] = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 0xFFFFFFF0)
        file.write_bytes(data)
    assert isinstance(outcome(root), UnreadableFile)


# --- NIfTI -------------------------------------------------------------------------------------------------------------


def test_a_gzip_bomb_ends_at_the_limit_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 GiB of zeros behind a sound header; what the child unpacked goes with it."""
    import tempfile

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    header = bytearray(write_nifti(tmp_path / "a.nii").path.read_bytes()[:352])
    struct.pack_into("<8h", header, 40, 3, 32767, 32767, 1000, 1, 1, 1, 1)
    with gzip.open(tmp_path / "bomb.nii.gz", "wb", compresslevel=1) as bomb:
        bomb.write(bytes(header))
        for _ in range(256):
            bomb.write(bytes(4 * 2**20))
    error = outcome(tmp_path / "bomb.nii.gz")
    assert isinstance(error, (UnreadableFile, TooLarge))
    assert list(scratch.iterdir()) == []


def test_gzip_that_turns_to_noise_does_not_keep_its_neighbour_out(tmp_path: Path) -> None:
    """zlib's own error is none of Python's I/O errors."""
    (tmp_path / "in").mkdir()
    write_nifti(tmp_path / "in/sound.nii")
    whole = gzip.compress(write_nifti(tmp_path / "a.nii").path.read_bytes())
    (tmp_path / "in/noise.nii.gz").write_bytes(whole[:14] + b"\xff" * 400 + whole[414:])
    with Child(memory=MEMORY, seconds=20) as child:
        (series,) = child.open(tmp_path / "in")
        np.testing.assert_array_equal(series.read([0, 0, 0], series.series.shape), index_volume())
        assert [*child.ignored, *(r.file for r in child.refusals)] == ["noise.nii.gz"]


@pytest.mark.parametrize(("offset", "form", "value"), [(108, "<f", -1e9), (108, "<f", 1e30), (70, "<h", 9999)])
def test_a_header_with_forged_sizes_is_refused(tmp_path: Path, offset: int, form: str, value: float) -> None:
    path = write_nifti(tmp_path / "a.nii").path
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, offset, value)
    path.write_bytes(data)
    assert isinstance(outcome(path), UnreadableFile)


def test_an_extension_that_claims_gigabytes_is_no_danger(tmp_path: Path) -> None:
    with Child(memory=MEMORY, seconds=20) as child:
        (series,) = child.open(write_nifti(tmp_path / "image.nii").path)
        voxels = np.ones(series.series.grid.shape, np.uint16)
        mask = Mask(voxels, series.series.grid, (MaskClass(1, "liver"),))
        child.write_mask(mask, tmp_path / "m.nii.gz", format="nifti", reference=series.series, originals=[])
        data = bytearray(gzip.decompress((tmp_path / "m.nii.gz").read_bytes()))
        struct.pack_into("<i", data, 352, 2**31 - 16)
        (tmp_path / "forged.nii").write_bytes(data)
        try:
            again = child.read_mask(tmp_path / "forged.nii", series.series)
        except (UnreadableFile, TooLarge):
            return
        np.testing.assert_array_equal(again.voxels, voxels)


# --- SEG ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"NumberOfFrames": "1000000000"},
        {"NumberOfFrames": "-1"},
        {"Rows": 65535, "Columns": 65535},
        {"BitsAllocated": 16},
        {"SharedFunctionalGroupsSequence": []},
        {"PerFrameFunctionalGroupsSequence": []},
    ],
)
def test_a_spoiled_seg_is_refused_and_the_child_lives(tmp_path: Path, change: dict[str, object]) -> None:
    root = write_dicom(tmp_path / "ct").path
    with Child(memory=MEMORY, seconds=20) as child:
        (series,) = child.open(root)
        voxels = np.zeros(series.series.grid.shape, np.uint16)
        voxels[1, 3:9, 5:25] = 1
        mask = Mask(voxels, series.series.grid, (MaskClass(1, "liver"),))
        child.write_mask(
            mask, tmp_path / "seg.dcm", format="dicom-seg", reference=series.series, originals=series.files
        )
        ds = pydicom.dcmread(tmp_path / "seg.dcm")
        for keyword, value in change.items():
            setattr(ds, keyword, value)
        ds.save_as(tmp_path / "spoiled.dcm")
        with pytest.raises(UnreadableFile):
            child.read_mask(tmp_path / "spoiled.dcm", series.series)
        again = child.read_mask(tmp_path / "seg.dcm", series.series)
        np.testing.assert_array_equal(again.voxels, voxels)


# --- the child's own limits --------------------------------------------------------------------------------------------


def test_a_reader_has_no_network(tmp_path: Path) -> None:
    """In a process that did what the child does first; elsewhere the system may forbid it, which the function tells."""
    import subprocess
    import sys

    said = subprocess.run(
        [sys.executable, "-c", "from specimg.formats.child import _leave_network as leave\n"
         "import socket\n"
         "here = socket.create_server(('127.0.0.1', 0)).getsockname()\n"
         "if not leave(): print('forbidden'); raise SystemExit\n"
         "try: socket.create_connection(here, 2)\n"
         "except OSError: print('cut off')\n"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    if said == "forbidden":
        pytest.skip("this system does not let a process leave the network (unprivileged user namespaces are off)")
    assert said == "cut off"


def test_computing_without_end_is_stopped(tmp_path: Path) -> None:
    """A second of CPU time is not enough to unpack a gigabyte."""
    header = write_nifti(tmp_path / "a.nii").path.read_bytes()
    with gzip.open(tmp_path / "long.nii.gz", "wb", compresslevel=1) as long:
        long.write(header)
        for _ in range(768):
            long.write(bytes(4 * 2**20))
    with Child(memory=MEMORY, seconds=1) as child, pytest.raises(TooLarge, match="1 s of computing"):
        child.open(tmp_path / "long.nii.gz")


def test_a_long_series_is_not_stopped_for_being_long(tmp_path: Path) -> None:
    """The time is for one answer: many short ones may take longer together."""
    root = write_dicom(tmp_path / "ct", syntax=JPEG2000Lossless).path
    with Child(memory=MEMORY, seconds=2) as child:
        (series,) = child.open(root)
        used = 0.0
        while used < 2.5:
            series.read([0, 0, 0], series.series.shape)
            used = _cpu_seconds(child)


def _cpu_seconds(child: Child) -> float:
    import psutil

    assert child._process is not None
    times = psutil.Process(child._process.pid).cpu_times()
    return float(times.user + times.system)

"""The limited child: what goes in comes out, and what attacks it stays inside."""

from __future__ import annotations

import os
import signal
import stat
import struct
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from specimg.errors import Cancelled, SpecimgError, TooLarge, UnreadableFile
from specimg.formats.base import Mask, MaskClass
from specimg.formats.sandbox import Child
from specimg.testing.phantoms import SECRETS, index_volume, write_dicom, write_nifti

MEMORY = 2 * 2**30


def child(*, memory: int = MEMORY, seconds: int = 30) -> Child:
    return Child(memory=memory, seconds=seconds)


def refused(path: Path, **limits: int) -> SpecimgError:
    with child(**limits) as reader:
        try:
            for series in reader.open(path):
                series.read([0] * len(series.series.shape), series.series.shape)
        except (UnreadableFile, TooLarge) as refusal:
            return refusal
    pytest.fail("it was read")


def test_samples_come_through_as_they_are(tmp_path: Path) -> None:
    write_dicom(tmp_path / "ct")
    with child() as reader:
        (series,) = reader.open(tmp_path / "ct")
        np.testing.assert_array_equal(series.read([0, 0, 0], series.series.shape), index_volume())
        np.testing.assert_array_equal(series.read([1, 2, 3], [3, 9, 11]), index_volume()[1:3, 2:9, 3:11])
        assert [f.name for f in series.files] == [Path(n).name for n in series.series.files]


def test_a_zip_and_its_folder_are_the_same(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "ct").path
    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"deep/er/{file.name}")
    with child() as reader:
        (series,) = reader.open(tmp_path / "ct.zip")
        np.testing.assert_array_equal(series.read([0, 0, 0], series.series.shape), index_volume())
        assert {f.read_bytes() for f in series.files} == {f.read_bytes() for f in folder.iterdir()}
        unpacked = series.files[0]
    assert not unpacked.exists()


def test_one_bad_series_does_not_keep_the_others_out(tmp_path: Path) -> None:
    write_dicom(tmp_path / "in/good")
    bad = write_dicom(tmp_path / "in/bad").path
    sorted(bad.iterdir())[0].unlink()
    (tmp_path / "in/readme.txt").write_text("hello")
    with child() as reader:
        found = reader.open(tmp_path / "in")
        assert len(found) + len(reader.refusals) == 2
        assert reader.ignored == ("readme.txt",)


def test_masks_cross_both_ways(tmp_path: Path) -> None:
    sample = write_nifti(tmp_path / "a.nii")
    with child() as reader:
        (series,) = reader.open(sample.path)
        voxels = np.zeros(series.series.grid.shape, np.uint16)
        voxels[2, 3:7, 11:30] = 40000
        mask = Mask(voxels, series.series.grid, (MaskClass(40000, "x"),))
        reader.write_mask(mask, tmp_path / "m.nii.gz", format="nifti", reference=series.series, originals=series.files)
        again = reader.read_mask(tmp_path / "m.nii.gz", series.series)
    np.testing.assert_array_equal(again.voxels, voxels)
    assert [c.label for c in again.classes] == [40000]


def test_nothing_of_a_patient_is_in_a_refusal(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "ct").path
    for file in folder.iterdir():
        ds = dcmread(file)
        ds.PixelSpacing = [0, 0]
        ds.save_as(file)
    text = str(refused(folder))
    assert "PixelSpacing" in text
    assert not [secret for secret in (*SECRETS, str(tmp_path)) if secret in text]


# --- hostile files ----------------------------------------------------------------------------------------------------


def archive(path: Path, name: str, *, mode: int = 0, data: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w") as target:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        target.writestr(member, data)
    return path


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..\\evil", "C:evil", "a/../../evil", "a\x01b", "x" * 600])
def test_a_name_that_leads_out_of_a_zip_is_refused(tmp_path: Path, name: str) -> None:
    error = refused(archive(tmp_path / "a.zip", name))
    assert isinstance(error, UnreadableFile)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o600, stat.S_IFCHR | 0o600])
def test_a_zip_holds_files_and_nothing_else(tmp_path: Path, mode: int) -> None:
    assert "link or a device" in str(refused(archive(tmp_path / "a.zip", "link", mode=mode, data=b"/etc/passwd")))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("zeros.dcm", bytes(64 * 2**20))
    assert "100 times" in str(refused(tmp_path / "bomb.zip"))


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as target:
        target.writestr("a.dcm", "1")
        target.writestr("A.DCM", "2")
    assert "same name" in str(refused(tmp_path / "a.zip"))


def test_a_zip_in_a_zip_stays_shut(tmp_path: Path) -> None:
    inner = archive(tmp_path / "inner.zip", "a.dcm")
    assert "no format" in str(refused(archive(tmp_path / "outer.zip", "inner.zip", data=inner.read_bytes())))


def test_a_link_in_a_folder_is_not_followed(tmp_path: Path) -> None:
    outside = write_nifti(tmp_path / "outside.nii").path
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link.nii").symlink_to(outside)
    assert "no format" in str(refused(tmp_path / "in"))


def test_a_deflated_bomb_ends_with_its_child(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "ct").path
    for extra in sorted(folder.iterdir())[1:]:
        extra.unlink()
    (file,) = folder.iterdir()
    ds = dcmread(file)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.add_new(0x00091001, "OB", bytes(2**29))
    ds.save_as(file, enforce_file_format=True)
    assert file.stat().st_size < 2**20
    error = refused(folder, memory=600 * 2**20)
    assert "memory" in str(error)


def test_sequences_nested_without_end_are_refused(tmp_path: Path) -> None:
    """Written by hand: pydicom needs exponential time to write what it is asked to read here."""
    folder = write_dicom(tmp_path / "ct").path
    opening = b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    for file in folder.iterdir():
        raw = file.read_bytes()
        body = 144 + struct.unpack_from("<I", raw, 140)[0]  # after the group length of the file meta (PS3.10 7.1)
        file.write_bytes(raw[:body] + opening * 2000 + closing * 2000 + raw[body:])
    error = refused(folder)
    assert isinstance(error, UnreadableFile)
    assert "nested too deep" in str(error)


def test_a_nifti_that_claims_gigabytes_is_refused_from_its_header(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii").path
    raw = bytearray(path.read_bytes())
    struct.pack_into("<8h", raw, 40, 3, 32767, 32767, 32767, 1, 1, 1, 1)
    path.write_bytes(raw[:456])
    assert "shorter than its header" in str(refused(path))


@pytest.mark.parametrize("junk", [b"", b"\0" * 5000, b"DICM" * 400, bytes(128) + b"DICM" + b"\xff" * 4000])
def test_junk_is_refused(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "junk.dcm").write_bytes(junk)
    assert isinstance(refused(tmp_path / "junk.dcm"), UnreadableFile)


# --- a child that fails ------------------------------------------------------------------------------------------------


def test_a_killed_child_is_a_refusal_and_not_a_hang(tmp_path: Path) -> None:
    write_dicom(tmp_path / "ct")
    with child() as reader:
        (series,) = reader.open(tmp_path / "ct")
        assert reader._process is not None
        os.kill(reader._process.pid, signal.SIGKILL)
        with pytest.raises(TooLarge, match="memory"):
            series.read([0, 0, 0], [1, 1, 1])
        series.close()


def test_cancelling_wakes_whoever_waits(tmp_path: Path) -> None:
    write_dicom(tmp_path / "ct")
    with child() as reader:
        (series,) = reader.open(tmp_path / "ct")
        canceller = threading.Thread(target=reader.cancel)
        canceller.start()
        canceller.join()
        with pytest.raises((Cancelled, UnreadableFile)):
            series.read([0, 0, 0], [1, 1, 1])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda series: series["series"]["shape"].append(1),
        lambda series: series["series"].update(dtype="O"),
        lambda series: series["series"].update(dtype=">i2"),
        lambda series: series["series"]["grid"].update(affine=[[0] * 4] * 4),
        lambda series: series.update(files=["/etc/passwd"]),
        lambda series: series.pop("format"),
    ],
)
def test_what_the_child_says_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[dict[str, object]], None]
) -> None:
    write_dicom(tmp_path / "ct")
    with child() as reader:
        ask = reader.ask

        def lie(*arguments: object, **named: object) -> tuple[dict[str, object], bytes]:
            header, body = ask(*arguments, **named)  # type: ignore[arg-type]
            spoil(header["series"][0])
            return header, body

        monkeypatch.setattr(reader, "ask", lie)
        with pytest.raises(UnreadableFile):
            reader.open(tmp_path / "ct")

"""Our medical formats against the contract that every plug-in passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from specimg.formats.base import Format
from specimg.formats.dicom import DICOM
from specimg.formats.nifti import NIFTI
from specimg.plugins import plugins
from specimg.testing.contracts import FormatContract, Sample
from specimg.testing.phantoms import write_dicom, write_nifti


class TestDicom(FormatContract):
    @pytest.fixture
    def format(self) -> Format:
        return DICOM

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_dicom(tmp_path / "series")


class TestTiltedDicom(TestDicom):
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_dicom(tmp_path / "series", tilt_mm=0.8)


class TestRleDicom(TestDicom):
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_dicom(tmp_path / "series", syntax=RLELossless)


class TestJpegLsDicom(TestDicom):
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_dicom(tmp_path / "series", syntax=JPEGLSLossless)


class TestJpeg2000Dicom(TestDicom):
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_dicom(tmp_path / "series", syntax=JPEG2000Lossless)


class TestNifti(FormatContract):
    @pytest.fixture
    def format(self) -> Format:
        return NIFTI

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_nifti(tmp_path / "image.nii")


class TestCompressedNifti(TestNifti):
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_nifti(tmp_path / "image.nii.gz")


class TestNifti2(TestNifti):
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_nifti(tmp_path / "image.nii", version=2)


class TestQformOnly(TestNifti):
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return write_nifti(tmp_path / "image.nii", codes=(0, 1))


class TestEnhancedDicom(TestDicom):
    """One multi-frame file, as dcmqi's twin of a three-slice CT has it."""

    @pytest.fixture
    def sample(self, tmp_path: Path, shared_data: Path) -> Sample:
        copy = tmp_path / "enhanced" / "mf.dcm"
        copy.parent.mkdir()
        copy.write_bytes((shared_data / "medical/dicom_seg/dcmqi_23x38x3/mf.dcm").read_bytes())
        first, last = (
            [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient]
            for group in (dcmread(copy).PerFrameFunctionalGroupsSequence[i] for i in (0, -1))
        )
        places = {(0, 0, 0): (first[0], first[1], first[2]), (2, 0, 0): (last[0], last[1], last[2])}
        return Sample(copy.parent, places)


def test_the_formats_that_are_installed_load() -> None:
    found = {p.name: p for p in plugins("specimg.formats")}
    assert {"dicom", "nifti", "geotiff", "sentinel1"} <= set(found)
    assert {p.reason for p in found.values()} == {None}
    assert all(isinstance(p.value, Format) and p.value.name == name for name, p in found.items())

"""Our medical formats against the contract that every plug-in passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from specimg.formats.base import Format
from specimg.formats.dicom import DICOM
from specimg.formats.nifti import NIFTI
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

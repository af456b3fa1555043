"""ingest-dicom: a CT series of 200 uncompressed slices to a stored pyramid, against SimpleITK writing it as NIfTI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from benchmarks.result import Result
from benchmarks.subject import ct_volume, ingest, timed

SLICES = 200


def run() -> Iterator[Result]:
    """Wall time of the whole command line, start of the interpreter included, against the peer in a warm process."""
    with TemporaryDirectory() as folder:
        series = Path(folder) / "series"
        volume = ct_volume(SLICES)
        _write_series(volume, series)
        homes = [Path(folder) / f"home{i}" for i in range(3)]
        for home in homes:
            ingest(home)  # project and account are not what is measured
        ours = median(timed(ingest, home, series) for home in homes)
        peer = median(timed(_simpleitk, series, Path(folder) / "out.nii.gz") for _ in range(3))
    rate, theirs = (volume.nbytes / 1e6 / (ms / 1000) for ms in (ours, peer))
    yield Result(
        "ingest-dicom",
        f"{SLICES} slices 512x512, all levels, originals kept",
        rate,
        theirs,
        "SimpleITK read and .nii.gz write",
        "MB/s",
        ">= 150 MB/s and faster than SimpleITK",
        rate >= 150 and rate > theirs,
        better="higher",
    )


def _simpleitk(series: Path, target: Path) -> None:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    sitk.WriteImage(reader.Execute(), str(target))


def _write_series(volume: np.ndarray, folder: Path) -> None:
    folder.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for z, plane in enumerate(volume):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = Dataset()
        ds.file_meta = meta
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.Modality, ds.InstanceNumber, ds.SeriesDescription = "CT", z + 1, "bench"
        ds.PatientName, ds.PatientID = "", ""
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [-200, -200, z], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [0.8, 0.8], 1
        ds.Rows, ds.Columns = plane.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, 0
        ds.PixelData = plane.astype("<i2").tobytes()
        ds.save_as(folder / f"{z:04}.dcm", enforce_file_format=True)

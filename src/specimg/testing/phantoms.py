"""Phantoms: small volumes written as real files, of which everything is known and no axis can be mistaken for another.

Each sample's value is ``1000 + 2000 z + 45 y + x``, so one value tells its index; spacings differ on all axes and
the origin is nowhere special.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from specimg.testing.contracts import Index, Sample, World

SHAPE = (5, 40, 45)
SPACING = (3.0, 0.5, 0.75)
ORIGIN = (-12.5, 40.25, -700.0)
INTERCEPT = -1024
SECRETS = ("DOE^JANE", "MRN-000-42", "19700101", "St Elsewhere")


def index_volume(shape: Sequence[int] = SHAPE) -> npt.NDArray[np.int16]:
    """Values that tell their own index."""
    z, y, x = np.indices(tuple(shape))
    return np.array(1000 + 2000 * z + 45 * y + x, dtype=np.int16)


def write_dicom(
    folder: Path, *, tilt_mm: float = 0.0, syntax: UID = ExplicitVRLittleEndian, shuffle: bool = True
) -> Sample:
    """An axial CT series; ``tilt_mm`` shifts each slice along y as a tilted gantry does. Files are named out of order."""
    folder.mkdir(parents=True, exist_ok=True)
    volume = index_volume()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    names = np.random.default_rng(3).permutation(len(volume)) if shuffle else np.arange(len(volume))
    for z, plane in enumerate(volume):
        ds = _header(z, plane, study, series, frame)
        ds.ImagePositionPatient = [ORIGIN[0], ORIGIN[1] + z * tilt_mm, ORIGIN[2] + z * SPACING[0]]
        if syntax != ExplicitVRLittleEndian:
            ds.compress(syntax, generate_instance_uid=False)
        ds.save_as(folder / f"image{names[z]}.dcm", enforce_file_format=True)
    landmarks: dict[Index, World] = {
        (z, y, x): (
            ORIGIN[0] + x * SPACING[2],
            ORIGIN[1] + y * SPACING[1] + z * tilt_mm,
            ORIGIN[2] + z * SPACING[0],
        )
        for z, y, x in ((0, 0, 0), (4, 37, 44), (1, 26, 2))
    }
    return Sample(folder, landmarks, _values(volume), SECRETS)


def _header(z: int, plane: npt.NDArray[np.int16], study: str, series: str, frame: str) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = Dataset()
    ds.file_meta = meta
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.InstitutionName = SECRETS
    ds.PatientSex, ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "O", "1", "", ""
    ds.StudyDate, ds.StudyTime, ds.SeriesNumber = "19700101", "120000", 7
    ds.Modality, ds.SeriesDescription, ds.InstanceNumber = "CT", "phantom", z + 1
    ds.ImageOrientationPatient, ds.PixelSpacing = [1, 0, 0, 0, 1, 0], [SPACING[1], SPACING[2]]
    ds.SliceThickness = SPACING[0]
    ds.Rows, ds.Columns = plane.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, INTERCEPT, "HU"
    ds.WindowCenter, ds.WindowWidth = 40, 400
    ds.PixelData = plane.astype("<i2").tobytes()
    return ds


def write_nifti(path: Path, *, codes: tuple[int, int] = (1, 1), version: int = 1) -> Sample:
    """The same values as a NIfTI whose axes run to the right, anterior, superior; ``codes`` are sform and qform."""
    volume = index_volume()
    ras = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])
    ras[:3, 3] = ORIGIN
    kind = nib.Nifti2Image if version == 2 else nib.Nifti1Image
    image = kind(volume.T, ras)
    image.set_sform(ras, code=codes[0])
    image.set_qform(ras, code=codes[1])
    image.header["descrip"] = SECRETS[0].encode()
    nib.save(image, path)
    landmarks: dict[Index, World] = {
        # RAS to LPS turns the first two signs.
        (z, y, x): (-(ORIGIN[0] + x * SPACING[2]), -(ORIGIN[1] + y * SPACING[1]), ORIGIN[2] + z * SPACING[0])
        for z, y, x in ((0, 0, 0), (4, 37, 44), (1, 26, 2))
    }
    return Sample(path, landmarks, _values(volume), SECRETS)


def _values(volume: npt.NDArray[np.int16]) -> dict[Index, float]:
    return {(z, y, x): float(volume[z, y, x]) for z, y, x in ((0, 0, 0), (4, 37, 44), (1, 26, 2), (2, 0, 5))}

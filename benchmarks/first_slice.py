"""first-slice: the middle slice of a 512 x 512 x 300 CT, from a server that has just started, against loading the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813

from benchmarks.result import Result
from benchmarks.subject import ct_volume, ingest, server, timed, write_nifti

REPEATS = 5


def run() -> Iterator[Result]:
    """One result per peer; the volume lies as .nii.gz, the form such files travel in."""
    with TemporaryDirectory() as folder:
        path = write_nifti(ct_volume(), Path(folder) / "ct.nii.gz")
        home = Path(folder) / "home"
        ingest(home, path)
        ours = median(_ours(home) for _ in range(REPEATS))
        itk = median(timed(_simpleitk, path) for _ in range(REPEATS))
        nibabel = median(timed(_nibabel, path) for _ in range(REPEATS))
    target = "< 150 ms and at least 10 times faster than loading the volume"
    for name, peer in (("SimpleITK ReadImage", itk), ("nibabel dataobj", nibabel)):
        met = ours < 150 and peer / ours >= 10
        yield Result("first-slice", f"cold server, PNG over HTTP; {name}", ours, peer, name, "ms", target, met)


def _ours(home: Path) -> float:
    with server(home) as running:
        (image,) = running.images()
        url = f"/api/images/{image['id']}/slices/z/150?center=40&width=400&format=png"
        return timed(lambda: running.client.get(url).raise_for_status().content)


def _simpleitk(path: Path) -> None:
    image = sitk.ReadImage(str(path))  # held: a view does not keep its image alive
    sitk.GetArrayViewFromImage(image)[150].copy()


def _nibabel(path: Path) -> None:
    np.asarray(nib.load(path).dataobj)[:, :, 150].copy()

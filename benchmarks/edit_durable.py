"""edit-durable: one brush stroke with its audit entry, over HTTP and fsynced, against saving the label map as a file.

The peer does what MONAI Label does on every save: it writes the whole label volume as .nii.gz over the last one.
"""

from __future__ import annotations

import base64
import os
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import SimpleITK as sitk  # noqa: N813

from benchmarks.result import Result, percentile
from benchmarks.subject import Server, ct_volume, ingest, server, timed, write_nifti

EDITS = 300
RADIUS = 8


def run() -> Iterator[Result]:
    """One writer, spheres of radius 8 at random places of a 512 x 512 x 300 volume."""
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        ingest(home, write_nifti(ct_volume(), Path(folder) / "ct.nii"))
        with server(home) as running:
            took = _edits(running)
        peer = [timed(_save, np.zeros((300, 512, 512), np.uint16), Path(folder) / "label.nii.gz") for _ in range(3)]
    value = percentile(took, 95)
    yield Result(
        "edit-durable",
        f"p95 of {EDITS} strokes, one writer, SQLite FULL",
        value,
        percentile(peer, 50),
        "whole label map saved as .nii.gz by SimpleITK",
        "ms",
        "p95 <= 20 ms",
        value <= 20,
    )


def _edits(running: Server) -> list[float]:
    client = running.client
    (image,) = running.images()
    (ontology, *_) = client.get(f"/api/projects/{running.project}/ontologies").raise_for_status().json()
    body = {"image_id": image["id"], "name": "bench", "ontology_id": ontology["id"]}
    made = client.post(f"/api/projects/{running.project}/segmentations", json=body).raise_for_status().json()
    label = ontology["classes"][0]["label"]
    order = random.Random(5)
    took = []
    for version in range(EDITS + 20):
        z, y, x = (order.randrange(RADIUS, size - RADIUS) for size in (300, 512, 512))
        edit = _sphere(z, y, x, label, version)
        took.append(timed(_post, client, f"/api/segmentations/{made['id']}/edits", edit))
    return took[20:]


def _post(client: httpx.Client, url: str, body: dict[str, Any]) -> None:
    client.post(url, json=body).raise_for_status()


def _sphere(z: int, y: int, x: int, label: int, base: int) -> dict[str, Any]:
    runs = []
    for dz in range(-RADIUS, RADIUS + 1):
        for dy in range(-RADIUS, RADIUS + 1):
            half = RADIUS**2 - dz**2 - dy**2
            if half >= 0:
                r = int(half**0.5)
                runs.append((z + dz, y + dy, x - r, 2 * r + 1))
    spans = base64.b64encode(np.array(runs, "<i4").tobytes()).decode()
    return {
        "base": base,
        "tool": "brush",
        "params": {"radius": RADIUS},
        "reason": None,
        "request_id": str(uuid.uuid4()),
        "voxels": [{"label": label, "over": None, "spans": spans}],
        "shapes": [],
    }


def _save(volume: Any, path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(volume), str(path))
    with path.open("rb") as handle:
        os.fsync(handle.fileno())

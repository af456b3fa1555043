"""warm-slice: windowed slices from a warm server against Orthanc's rendered frame of the same series.

Orthanc 1.10 of Debian 12 listens on every address, so both servers and the client run in a network namespace of their own,
which has only loopback.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.result import Result, percentile
from benchmarks.subject import ct_volume, ingest, server, timed, write_nifti

REQUESTS = 150
SERIES = (
    Path(os.environ.get("SPECIMG_TEST_DATA", "../shared/data")) / "medical/ct_series/philips_phantom_axial_30of140.zip"
)
ORTHANC = "http://127.0.0.1:18042"


def run() -> Iterator[Result]:
    """All three planes of a 512 x 512 x 300 CT, then the axial frame beside Orthanc's where it can be had."""
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        ingest(home, write_nifti(ct_volume(), Path(folder) / "ct.nii"))
        with server(home) as running:
            (image,) = running.images()
            for axis in "zyx":
                took = _requests(
                    running.client, f"/api/images/{image['id']}/slices/{axis}/{{}}", image["shape"]["zyx".index(axis)]
                )
                value = percentile(took, 95)
                yield Result(
                    "warm-slice",
                    f"p95, JPEG along {axis}, 512x512x300",
                    value,
                    None,
                    "-",
                    "ms",
                    "p95 < 15 ms",
                    value < 15,
                )
    if not SERIES.exists() or os.geteuid() != 0 or shutil.which("Orthanc") is None:
        return
    inner = subprocess.run(
        ["unshare", "-n", "sh", "-c", f"ip link set lo up; exec {sys.executable} -m benchmarks.warm_slice"],
        check=True,
        capture_output=True,
        text=True,
    )
    ours, peer = json.loads(inner.stdout.splitlines()[-1])
    for name, i in (("p50", 0), ("p95", 1)):
        yield Result(
            "warm-slice",
            f"{name}, axial JPEG of the same DICOM series",
            ours[i],
            peer[i],
            "Orthanc 1.10.1 rendered frame",
            "ms",
            "p95 < 15 ms",
            ours[1] < 15,
        )


def _requests(client: httpx.Client, path: str, count: int) -> list[float]:
    order = random.Random(3)
    url = path + "?center=40&width=400&format=jpeg"
    for _ in range(10):
        client.get(url.format(order.randrange(count))).raise_for_status()
    return [
        timed(lambda: client.get(url.format(order.randrange(count))).raise_for_status().content)
        for _ in range(REQUESTS)
    ]


def _inside() -> None:
    """Both servers on one series, requests taken in turns."""
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        ingest(home, SERIES)
        orthanc = subprocess.Popen(["Orthanc", str(_configuration(Path(folder)))], stderr=subprocess.DEVNULL)
        try:
            with server(home) as running, httpx.Client(base_url=ORTHANC, timeout=30) as peer:
                frames = _upload(peer)
                (image,) = running.images()
                ours = f"/api/images/{image['id']}/slices/z/{{}}?center=40&width=400&format=jpeg"
                theirs = "/instances/{}/frames/0/rendered?window-center=40&window-width=400"
                headers = {"Accept": "image/jpeg"}
                order = random.Random(3)
                took: tuple[list[float], list[float]] = ([], [])
                for i in range(REQUESTS + 10):
                    z = order.randrange(len(frames))
                    a = timed(lambda url: running.client.get(url).raise_for_status().content, ours.format(z))
                    b = timed(
                        lambda url: peer.get(url, headers=headers).raise_for_status().content, theirs.format(frames[z])
                    )
                    if i >= 10:
                        took[0].append(a)
                        took[1].append(b)
        finally:
            orthanc.terminate()
            orthanc.wait(timeout=20)
    print(json.dumps([[percentile(t, 50), percentile(t, 95)] for t in took]))


def _configuration(folder: Path) -> Path:
    path = folder / "orthanc.json"
    path.write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder / "orthanc"),
                "IndexDirectory": str(folder / "orthanc"),
                "HttpPort": 18042,
                "DicomPort": 14242,
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
            }
        )
    )
    return path


def _upload(peer: httpx.Client) -> list[str]:
    for _ in range(200):
        try:
            peer.get("/system").raise_for_status()
            break
        except httpx.TransportError:
            time.sleep(0.05)
    with TemporaryDirectory() as folder:
        shutil.unpack_archive(SERIES, folder)
        files = sorted(p for p in Path(folder).rglob("*") if p.is_file())
        return [peer.post("/instances", content=p.read_bytes()).raise_for_status().json()["ID"] for p in files]


if __name__ == "__main__":
    _inside()

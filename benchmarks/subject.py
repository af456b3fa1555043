"""What is measured: made-up images of honest size, and a real server of ours in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import psutil

PASSWORD = "only for measuring speed"
SPECIMG = [sys.executable, "-m", "specimg.cli"]


def ct_volume(slices: int = 300, size: int = 512) -> npt.NDArray[np.int16]:
    """A CT-like volume: air, a body, organs, noise of 12 HU, so that compression behaves as on a scanner's series."""
    random = np.random.default_rng(7)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    volume = np.empty((slices, size, size), np.int16)
    for z in range(slices):
        swell = 1 + 0.1 * np.sin(z / 40)
        plane = np.full((size, size), -1000.0)
        plane[(x / 0.8) ** 2 + (y / 0.55) ** 2 < swell] = 40
        plane[((x + 0.3) / 0.3) ** 2 + (y / 0.3) ** 2 < swell] = 110
        plane[((x - 0.35) / 0.12) ** 2 + ((y - 0.1) / 0.2) ** 2 < 1] = 180
        plane[(x / 0.08) ** 2 + ((y - 0.4) / 0.08) ** 2 < 1] = 700
        volume[z] = np.rint(plane + random.normal(0, 12, plane.shape))
    return volume


def write_nifti(volume: npt.NDArray[np.int16], path: Path) -> Path:
    """As a scanner's export would look: .nii or .nii.gz, 0.8 x 0.8 x 1 mm."""
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(volume)
    image.SetSpacing((0.8, 0.8, 1.0))
    sitk.WriteImage(image, str(path))
    return path


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: a logged-in client and the process."""

    client: httpx.Client
    process: psutil.Process
    home: Path
    project: str

    def images(self) -> list[dict[str, Any]]:
        """The worklist."""
        answer: list[dict[str, Any]] = self.client.get(f"/api/projects/{self.project}/images").json()
        return answer

    def cpu_seconds(self) -> float:
        """CPU time of the server and its children so far."""
        times = [p.cpu_times() for p in (self.process, *self.process.children(recursive=True))]
        return float(sum(t.user + t.system for t in times))


def ingest(home: Path, *paths: Path) -> None:
    """Ingest files with the command line into project ``bench``, made on first use."""
    environment = {**os.environ, "SPECIMG_HOME": str(home)}
    run = {"env": environment, "check": True, "capture_output": True}
    if not (home / "specimg.db").exists():
        subprocess.run([*SPECIMG, "project", "add", "bench"], **run)  # type: ignore[call-overload]
        subprocess.run(
            [*SPECIMG, "user", "add", "bench", "--project", "bench", "--role", "admin", "--password-stdin"],
            input=PASSWORD.encode(),
            **run,
        )  # type: ignore[call-overload]
    if paths:
        subprocess.run([*SPECIMG, "ingest", *map(str, paths), "--project", "bench"], **run)  # type: ignore[call-overload]


@contextmanager
def server(home: Path) -> Iterator[Server]:
    """Start ``specimg serve`` on a free port and log in; stops it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [*SPECIMG, "serve"],
        env={**os.environ, "SPECIMG_HOME": str(home), "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    origin = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=origin, headers={"X-Specimg": "1", "Origin": origin}, timeout=60) as client:
            _wait_for(client, process)
            me = client.post("/api/login", json={"name": "bench", "password": PASSWORD}).raise_for_status().json()
            yield Server(client, psutil.Process(process.pid), home, me["projects"][0]["id"])
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_for(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError("the server ended before it served")
        try:
            if client.get("/health").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError("the server did not start within 30 s")


def timed(act: Any, *arguments: Any) -> float:
    """Wall time of one call in milliseconds."""
    start = time.perf_counter()
    act(*arguments)
    return (time.perf_counter() - start) * 1000

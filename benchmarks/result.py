"""What a benchmark reports, and the machine it ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Result:
    """One figure of ours beside the peer's. ``ratio`` says how many times better we are; below 1 we are worse."""

    id: str
    metric: str
    ours: float
    peer: float | None
    peer_name: str
    unit: str
    target: str
    met: bool
    better: Literal["lower", "higher"] = "lower"

    @property
    def ratio(self) -> float | None:
        """Peer over ours for times, ours over peer for rates."""
        if self.peer is None:
            return None
        return self.peer / self.ours if self.better == "lower" else self.ours / self.peer

    def to_json(self) -> dict[str, Any]:
        """A row of ``results.json``."""
        return {**asdict(self), "ratio": None if self.ratio is None else round(self.ratio, 2)}


def percentile(values: Sequence[float], percent: int) -> float:
    """The given percentile of a sample of at least two values."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def machine() -> dict[str, Any]:
    """What a reader must know to compare: cores, processor, load, versions."""
    info = Path("/proc/cpuinfo")
    models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "processor": models[0] if models else platform.processor(),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {
            name: version(name)
            for name in ("tensorstore", "numpy", "uvicorn", "fastapi", "SimpleITK", "nibabel", "rasterio", "apsw")
        },
    }

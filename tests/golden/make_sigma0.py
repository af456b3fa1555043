"""Write ``sigma0.json``: what ``geometry/radar.py`` and the viewer's ``raster/sigma0.ts`` must both answer.

The gains are excerpts of real calibration vectors (Sentinel-1B, 2021): of a GRD product, where they do not change with line,
and of an SLC swath, where they do and begin before the image; and one made-up vector. The answers come from SciPy's
interpolator and exact decimal logarithms, not from our own code. Run: ``python tests/golden/make_sigma0.py``.
"""

from __future__ import annotations

import json
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import RegularGridInterpolator

TABLES: dict[str, dict[str, Any]] = {
    "grd": {
        "lines": [0, 668, 17373],
        "pixels": [0, 40, 80, 120, 26101],
        "sigma0": [[663.8558, 663.5805, 663.3057, 663.0315, 558.3672]] * 3,
    },
    "slc": {
        "lines": [-1042, -556, 91, 577],
        "pixels": [0, 40, 80, 120, 21631],
        "sigma0": [
            [332.5958, 332.5320, 332.4683, 332.4047, 306.9373],
            [332.4552, 332.3916, 332.3281, 332.2647, 306.8548],
            [332.4445, 332.3809, 332.3174, 332.2540, 306.8485],
            [332.3196, 332.2561, 332.1928, 332.1295, 306.7751],
        ],
    },
    "one vector": {"lines": [0], "pixels": [0, 100], "sigma0": [[400.0, 500.0]]},
}
POINTS = [
    (0, 0),
    (0, 40),
    (333.5, 61.25),
    (-1500, 7),
    (90.999, 119.5),
    (1e5, 1e5),
    (668, -3),
    (577, 120),
    (300, 11000.5),
]
DN = [0, 1, 2, 100, 663, 65535]


def decibel(dn: int, gain: float) -> float | None:
    """20 log10(DN / A) in 40 digits."""
    return None if dn == 0 else float(20 * (Decimal(dn) / Decimal(gain)).log10())


def cases(table: dict[str, Any]) -> list[dict[str, float | None]]:
    """Every point with every DN; outside the table its edge is held."""
    lines, pixels = np.array(table["lines"], float), np.array(table["pixels"], float)
    gains = np.array(table["sigma0"], float)
    if lines.size == 1:
        lines, gains = np.array([lines[0], lines[0] + 1]), np.repeat(gains, 2, axis=0)
    interpolate = RegularGridInterpolator((lines, pixels), gains, method="linear")
    answers = []
    for line, pixel in POINTS:
        held = np.clip(line, lines[0], lines[-1]), np.clip(pixel, pixels[0], pixels[-1])
        gain = float(interpolate(held).item())
        answers += [{"line": line, "pixel": pixel, "dn": dn, "gain": gain, "db": decibel(dn, gain)} for dn in DN]
    return answers


if __name__ == "__main__":
    getcontext().prec = 40
    golden = [{"name": name, "table": table, "cases": cases(table)} for name, table in TABLES.items()]
    Path(__file__).with_name("sigma0.json").write_text(json.dumps(golden, indent=1) + "\n", "utf-8")

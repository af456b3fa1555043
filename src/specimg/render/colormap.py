"""Colour maps: 256 grey levels to colours, and three radar channels to one colour picture.

The tables are in ``tests/golden/colormap.json`` too, which the viewer is tested against.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from specimg.errors import InvalidInput
from specimg.render.window import WindowLevel, to_grey

Colormap = Literal["grey", "inverted", "hot", "viridis"]

NAMES: tuple[str, ...] = get_args(Colormap)


@cache
def table(name: str) -> npt.NDArray[np.uint8]:
    """The 256 x 3 table of a colour map. Raises ``InvalidInput``."""
    level = np.arange(256, dtype=np.uint8)
    if name == "grey":
        colors = np.stack([level] * 3, axis=1)
    elif name == "inverted":
        colors = np.stack([255 - level] * 3, axis=1)
    elif name == "hot":
        colors = _hot()
    elif name == "viridis":
        colors = np.frombuffer(base64.b64decode(_VIRIDIS), np.uint8).reshape(256, 3)
    else:
        raise InvalidInput(f"the colour maps are {', '.join(NAMES)}", field="colormap")
    colors.setflags(write=False)
    return colors


def colorize(grey: npt.NDArray[np.uint8], name: str) -> npt.NDArray[np.uint8]:
    """Grey levels (rows, columns) to (rows, columns, 3); ``grey`` itself stays one channel, which encodes smaller."""
    if name == "grey":
        return grey
    return np.asarray(table(name)[grey])


def dual_polarisation(
    co_db: npt.NDArray[np.float32], cross_db: npt.NDArray[np.float32], ranges: Mapping[str, tuple[float, float]]
) -> npt.NDArray[np.uint8]:
    """Red, green, blue = co-polarised (VV, HH), cross-polarised (VH, HV), co - cross, all in decibel.

    The difference of decibels is the ratio of powers: high over open water and bare ground, low over forest, where the
    canopy turns the polarisation. ``ranges`` has ``co``, ``cross`` and ``ratio`` as (black, full) in dB.
    Shapes (rows, columns) in, (rows, columns, 3) out.
    """
    with np.errstate(invalid="ignore"):
        ratio = co_db - cross_db
    planes = {"co": co_db, "cross": cross_db, "ratio": ratio}
    return np.stack([to_grey(planes[key], WindowLevel.between(*ranges[key])) for key in planes], axis=-1)


def parse_color(text: str) -> tuple[int, int, int]:
    """``#rrggbb`` to three bytes. Raises ``InvalidInput``."""
    try:
        if len(text) != 7 or text[0] != "#":
            raise ValueError
        red, green, blue = bytes.fromhex(text[1:])
    except ValueError as error:
        raise InvalidInput("a colour is written #rrggbb", field="color") from error
    return red, green, blue


def paint(labels: npt.NDArray[np.uint16], colors: Mapping[int, str], alpha: int = 255) -> npt.NDArray[np.uint8]:
    """Labels (rows, columns) to (rows, columns, 4): each label in its colour, background and unknown labels clear."""
    painted = np.zeros((*labels.shape, 4), np.uint8)
    present = np.unique(labels)
    lookup = np.zeros((len(present), 4), np.uint8)
    for row, label in enumerate(present):
        if label and int(label) in colors:
            lookup[row] = (*parse_color(colors[int(label)]), alpha)
    painted[:] = lookup[np.searchsorted(present, labels)]
    return painted


def _hot() -> npt.NDArray[np.uint8]:
    """Black, red, yellow, white: the three ramps of the map that MATLAB and Matplotlib call "hot"."""
    level = np.arange(256) / 255
    red = np.interp(level, [0, 0.365079, 1], [0.0416, 1, 1])
    green = np.interp(level, [0, 0.365079, 0.746032, 1], [0, 0, 1, 1])
    blue = np.interp(level, [0, 0.746032, 1], [0, 0, 1])
    return np.rint(np.stack([red, green, blue], axis=1) * 255).astype(np.uint8)


# viridis by Nathaniel J. Smith, Stefan van der Walt and Eric Firing, CC0: 256 RGB triples.
_VIRIDIS = (
    "RAFURAJWRQRXRQVZRgdaRghcRgpdRgteRw1gRw5hRxBjRxFkRxNlSBRnSBZoSBdpSBhqSBpsSBttSBxuSB1vSB9wSCBxSCFzSCN0SCR1SCV2"
    "SCZ3SCh4SCl5Ryp6Ryx6Ry17Ry58Ry99RjB+RjJ+RjN/RjSARTWBRTeBRTiCRDmDRDqDRDuEQz2EQz6FQj+FQkCGQkGGQUKHQUSHQEWIQEaI"
    "P0eIP0iJPkmJPkqJPkyKPU2KPU6KPE+KPFCLO1GLO1KLOlOLOlSMOVWMOVaMOFiMOFmMN1qMN1uNNlyNNl2NNV6NNV+NNGCNNGGNM2KNM2ON"
    "MmSOMmWOMWaOMWeOMWiOMGmOMGqOL2uOL2yOLm2OLm6OLm+OLXCOLXGOLHGOLHKOLHOOK3SOK3WOKnaOKneOKniOKXmOKXqOKXuOKHyOKH2O"
    "J36OJ3+OJ4COJoGOJoKOJoKOJYOOJYSOJYWOJIaOJIeOI4iOI4mOI4qNIouNIoyNIo2NIY6NIY+NIZCNIZGMIJKMIJKMIJOMH5SMH5WLH5aL"
    "H5eLH5iLH5mKH5qKHpuKHpyJHp2JH56JH5+IH6CIH6GIH6GHH6KHIKOGIKSGIaWFIaaFIqeFIqiEI6mDJKqDJauCJayCJq2BJ62BKK6AKa9/"
    "KrB/LLF+LbJ9LrN8L7R8MbV7MrZ6NLZ5Nbd5N7h4OLl3Orp2O7t1Pbx0P7xzQL1yQr5xRL9wRsBvSMFuSsFtTMJsTsNrUMRqUsVpVMVoVsZn"
    "WMdlWshkXMhjXsliYMpgY8tfZcteZ8xcac1bbM1abs5YcM9Xc9BWddBUd9FTetFRfNJQf9NOgdNNhNRLhtVJidVIi9ZGjtZFkNdDk9dBldhA"
    "mNg+m9k8ndk7oNo5oto3pds2qNs0qtwyrdwwsN0vst0ttd4ruN4put4ovd8mwN8lwt8jxeAhyOAgyuEfzeEd0OEc0uIb1eIa2OIZ2uMZ3eMY"
    "3+MY4uQY5eQZ5+QZ6uUa7OUb7+Uc8eUd9OYe9uYg+OYh++cj/ecl"
)

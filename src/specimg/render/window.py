"""Window and level: real values to 256 grey levels, by the rule of DICOM.

The viewer does the same in its shader (``viewer/src/render/window.ts``); ``tests/golden/window.json`` holds both to one
table, so that a picture from the server and one from the viewer are the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from specimg.errors import InvalidInput
from specimg.formats.base import Series

Function = Literal["LINEAR", "LINEAR_EXACT"]
"""Names of VOI LUT functions, DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.2."""


@dataclass(frozen=True, slots=True)
class WindowLevel:
    """Centre and width in the unit of real values (HU, dB…).

    ``LINEAR`` is DICOM's default, made for whole numbers: its ramp is half a level lower and one level narrower than the
    numbers say, so that a width of 1 is a threshold. ``LINEAR_EXACT`` takes the numbers as they are, for values between
    which there are others. Raises ``InvalidInput``: a LINEAR width is 1 or more, an exact one above 0.
    """

    center: float
    width: float
    function: Function = "LINEAR"

    def __post_init__(self) -> None:
        if not (isfinite(self.center) and isfinite(self.width)):
            raise InvalidInput("a window is two finite numbers", field="center")
        if self.function == "LINEAR" and self.width < 1:
            raise InvalidInput("a window for whole numbers has a width of 1 or more", field="width")
        if self.width <= 0:
            raise InvalidInput("a window has a width above 0", field="width")

    @classmethod
    def between(cls, low: float, high: float) -> WindowLevel:
        """The exact window that maps ``low`` to black and ``high`` to white."""
        return cls((low + high) / 2, high - low, "LINEAR_EXACT")

    @property
    def ramp(self) -> tuple[float, float]:
        """``scale`` and ``offset`` of ``grey / 255 = value * scale + offset`` inside the ramp; a threshold has scale 0."""
        span, middle = (self.width - 1, self.center - 0.5) if self.function == "LINEAR" else (self.width, self.center)
        return (0.0, 0.0) if span == 0 else (1 / span, 0.5 - middle / span)


def to_grey(real: npt.NDArray[Any], window: WindowLevel) -> npt.NDArray[np.uint8]:
    """Grey levels 0…255 of real values (any shape); values beyond the ramp saturate, NaN is 0.

    PS3.3 C.11.2.1.2.1: ``y = ((x - (c - 0.5)) / (w - 1) + 0.5) * 255``, rounded to the nearest level.
    """
    scale, offset = window.ramp
    if scale == 0:
        # x <= c - 0.5 is black, everything above it white.
        return np.where(real > window.center - 0.5, np.uint8(255), np.uint8(0))
    # float64 where 32 bits could not tell two stored values apart, float32 (half the time) for everything else.
    wide = real.dtype.itemsize > 4 or (real.dtype.kind in "iu" and real.dtype.itemsize == 4)
    grey: npt.NDArray[np.floating[Any]] = real.astype(np.float64 if wide else np.float32)
    np.multiply(grey, scale * 255, out=grey)
    # A level is an interval around it, so that rounding is adding a half and cutting.
    np.add(grey, offset * 255 + 0.5, out=grey)
    np.clip(grey, 0.5, 255.5, out=grey)
    np.nan_to_num(grey, copy=False, nan=0.0)
    return grey.astype(np.uint8)


def function_of(series: Series) -> Function:
    """LINEAR where what is shown are whole numbers (CT, most MR), LINEAR_EXACT where there are values in between."""
    if is_radar(series):
        return "LINEAR_EXACT"  # shown in decibel
    slopes, intercepts = series.rescale.slope, series.rescale.intercept
    whole = all(float(value).is_integer() for value in (*slopes, *intercepts))
    return "LINEAR" if np.dtype(series.dtype).kind in "iu" and whole else "LINEAR_EXACT"


def is_radar(series: Series) -> bool:
    """Whether samples are radar amplitudes. Only decibel make them visible, and their suggested windows are in decibel."""
    return series.kind == "raster" and any(channel.unit == "DN" for channel in series.channels)


def suggested(series: Series, c: int = 0) -> WindowLevel | None:
    """The first window that the file suggests for a channel and that the rule can draw."""
    function = function_of(series)
    for window in series.channels[min(c, len(series.channels) - 1)].windows if series.channels else ():
        # Files carry widths of 0 and below; such a window says nothing.
        if (
            isfinite(window.center)
            and isfinite(window.width)
            and window.width >= (1 if function == "LINEAR" else 1e-12)
        ):
            return WindowLevel(window.center, window.width, function)
    return None


def from_values(real: npt.NDArray[Any], function: Function, low: float = 1.0, high: float = 99.0) -> WindowLevel:
    """A window from percentiles of values; for images whose file suggests none (MR, float volumes)."""
    values = real[np.isfinite(real)]
    if values.size == 0:
        return WindowLevel(0.5, 1.0, function)
    a, b = (float(v) for v in np.percentile(values, (low, high)))
    if function == "LINEAR":
        # The LINEAR ramp of [a, b] is one wider and half a level higher than it.
        return WindowLevel((a + b) / 2 + 0.5, max(b - a, 0.0) + 1, function)
    # Two values that float32 can still tell apart, where there is no contrast at all.
    least = float(np.finfo(np.float32).eps) * max(abs(a), abs(b), 1.0)
    return WindowLevel((a + b) / 2, max(b - a, least), function)

"""Radar brightness in decibel.

Two quantities, never mixed up: the *amplitude* as delivered, which depends on the processor's scaling, and *sigma0*, the
calibrated radar cross-section per ground area, which can be compared between scenes.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Quantity = Literal["stored", "amplitude_db", "sigma0_db"]

QUANTITIES: tuple[str, ...] = get_args(Quantity)


def amplitude_db(dn: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """``20 log10 |DN|`` of amplitude or complex samples; NaN where there is no signal (0, which is also nodata)."""
    if dn.dtype.kind == "u" and dn.dtype.itemsize <= 2:
        return np.asarray(_table()[dn], np.float32)
    return 2 * power_db(np.abs(dn))


@cache
def _table() -> npt.NDArray[np.float32]:
    """dB of every 16-bit amplitude: looking up is a tenth of the work of a logarithm, and products are 16-bit."""
    return 2 * power_db(np.arange(2**16, dtype=np.float32))


def power_db(power: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """``10 log10`` of a power, such as sigma0; NaN where it is not positive."""
    values = power.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        db = 10 * np.log10(values)
    db[~(values > 0)] = np.nan
    return np.asarray(db, dtype=np.float32)

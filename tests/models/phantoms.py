"""Images of known objects for tests of models: nothing is symmetric, noise is seeded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from specimg.geometry.grid import Space
from specimg.models.base import Answer, Prompt
from specimg.testing.array_image import ArrayImage

Mask = npt.NDArray[np.bool_]


def ellipsoid(shape: tuple[int, int, int], centre: tuple[float, ...], radii: tuple[float, ...]) -> Mask:
    """Samples inside an ellipsoid, in index space."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    away: Any = sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True))
    return np.asarray(away <= 1)


def organs(spacing: tuple[float, float, float] = (2.5, 1.0, 1.0)) -> tuple[ArrayImage, Mask, Mask]:
    """A CT: fat around a liver-like body (60 HU) that nearly touches a kidney-like one (140 HU), 12 HU of noise."""
    shape = (36, 90, 110)
    liver = ellipsoid(shape, (15, 40, 38), (10, 28, 24))
    kidney = ellipsoid(shape, (20, 50, 76), (8, 17, 12)) & ~liver
    values = np.full(shape, -90.0)
    values[liver], values[kidney] = 60, 140
    noise = np.random.default_rng(5).normal(0, 12, shape)
    return ArrayImage((values + noise).astype(np.float32), spacing=spacing), liver, kidney


def slick(shape: tuple[int, int] = (300, 420), looks: int = 4) -> tuple[ArrayImage, Mask]:
    """A radar scene: a dark oval on bright sea, amplitude with speckle of ``looks`` looks (Goodman), DN."""
    dark = ellipsoid((1, *shape), (0, 120, 260), (1, 45, 70))
    power = np.where(dark, 60.0**2, 220.0**2)
    rng = np.random.default_rng(9)
    amplitude = np.sqrt(power * rng.gamma(looks, 1 / looks, power.shape))
    image = ArrayImage(
        np.clip(amplitude, 1, 65535).astype(np.uint16),
        modality="SAR",
        unit="DN",
        space=Space("radar"),
        factors=((1, 1, 1), (1, 2, 2)),
        nodata=0,
    )
    return image, dark


def bend() -> tuple[ArrayImage, Mask]:
    """A tube that wanders across planes, on a textured ground: what propagation is for."""
    shape = (24, 64, 72)
    z = np.arange(24)
    tube = np.zeros(shape, np.bool_)
    for k in z:
        centre = (0, 26 + 0.5 * k, 24 + 9 * np.sin(k / 7))
        tube[k] = ellipsoid((1, 64, 72), centre, (1, 9 + 0.1 * k, 7))[0]
    values = np.where(tube, 90.0, 20.0) + np.random.default_rng(3).normal(0, 6, shape)
    return ArrayImage(values.astype(np.float32)), tube


def dice(answer: Answer, truth: Mask) -> float:
    """Twice the overlap over the sum."""
    whole = np.zeros(truth.shape, np.bool_)
    whole[tuple(slice(a, b) for a, b in zip(answer.start, answer.stop, strict=True))] = answer.mask
    return float(2 * (whole & truth).sum() / (whole.sum() + truth.sum()))


def mask_prompt(mask: Mask, z: int) -> Prompt:
    """One plane of a mask as a person would have labelled it."""
    runs = [(z, int(y), int(x), 1) for y, x in np.argwhere(mask[z])]
    return Prompt("mask", True, axis="z", spans=np.array(runs, "<i4").tobytes())

"""Real stored images for the renderer: an array in, an ``Image`` out, through the writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from specimg.formats.base import Series
from specimg.store.image import Image
from specimg.store.writer import write

Store = Callable[[Series, npt.NDArray[Any]], Image]


@dataclass(frozen=True, eq=False)
class InMemory:
    """A readable series over an array."""

    series: Series
    samples: npt.NDArray[Any]

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        return np.ascontiguousarray(self.samples[box])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    def stored(series: Series, samples: npt.NDArray[Any]) -> Image:
        staging = tmp_path / f"staging{len(list(tmp_path.iterdir()))}"
        staging.mkdir()
        staged = write(InMemory(series, samples), staging)
        return Image(staged.id, staged.digest, "test", staged.series, staged.levels, staged.folder)

    return stored

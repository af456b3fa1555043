"""FormatContract: what every format must promise, as tests to inherit.

A plug-in author subclasses it, gives three fixtures, and pytest runs the suite::

    class TestMyFormat(FormatContract):
        @pytest.fixture
        def format(self):
            return MY_FORMAT

        @pytest.fixture
        def sample(self, tmp_path):
            return Sample(write_phantom(tmp_path), landmarks={(1, 2, 3): (10.0, -20.0, 30.0)}, secrets=("DOE^JANE",))
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from specimg.errors import UnreadableFile
from specimg.formats.base import Format, OpenSeries, Series

Index = tuple[int, int, int]
World = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """A source the format reads, with what is true of it by construction.

    ``path`` is a file or folder; ``landmarks`` maps (z, y, x) to world; ``values`` maps (z, y, x) to the stored value;
    ``secrets`` are words planted in the source's identity fields, which must not come out.
    """

    path: Path
    landmarks: Mapping[Index, World] = field(default_factory=dict)
    values: Mapping[Index, float] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()


class FormatContract:
    """Inherit this; override ``format`` and ``sample``."""

    @pytest.fixture
    def format(self) -> Format:
        """The format object."""
        raise NotImplementedError

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        """A source of at least 2 x 8 x 8 samples that no axis swap or flip leaves unchanged."""
        raise NotImplementedError

    @pytest.fixture
    def opened(self, format: Format, sample: Sample) -> OpenSeries:
        """The one series of the sample."""
        (opened,) = format.open(self._paths(sample.path), self._root(sample.path))
        return opened

    def test_it_is_a_format(self, format: Format) -> None:
        assert isinstance(format, Format)
        assert format.name == format.name.lower()

    def test_it_knows_its_own_and_leaves_others(self, format: Format, sample: Sample, tmp_path: Path) -> None:
        claimed = [sample.path] if sample.path.is_dir() and format.sniff(sample.path, b"") else self._paths(sample.path)
        assert all(format.sniff(p, b"" if p.is_dir() else p.read_bytes()[:4096]) for p in claimed)
        other = tmp_path / "notes.txt"
        other.write_text("not an image")
        assert not format.sniff(other, b"not an image")

    def test_it_is_described_before_any_sample_is_read(self, opened: OpenSeries) -> None:
        series = opened.series
        samples = opened.read([0] * len(series.shape), series.shape)
        assert samples.shape == series.shape
        assert samples.dtype == np.dtype(series.dtype)

    def test_any_order_of_reads_gives_the_same_samples(self, opened: OpenSeries) -> None:
        shape = opened.series.shape
        whole = opened.read([0] * len(shape), shape)
        order = random.Random(1)  # noqa: S311 - boxes, not secrets
        for _ in range(12):
            start = [order.randrange(n) for n in shape]
            stop = [order.randrange(a + 1, n + 1) for a, n in zip(start, shape, strict=True)]
            box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
            np.testing.assert_array_equal(opened.read(start, stop), whole[box])

    def test_landmarks_lie_where_they_are(self, opened: OpenSeries, sample: Sample) -> None:
        affine = opened.series.grid.affine
        for index, world in sample.landmarks.items():
            assert np.abs(affine.to_index(world) - index).max() < 0.1

    def test_values_are_the_stored_ones(self, opened: OpenSeries, sample: Sample) -> None:
        lead = len(opened.series.shape) - 2 - ("z" in opened.series.axes)
        for (z, y, x), value in sample.values.items():
            at = [0] * lead + ([z] if "z" in opened.series.axes else []) + [y, x]
            (read,) = opened.read(at, [i + 1 for i in at]).reshape(-1)
            assert read == value

    def test_the_description_survives_json(self, opened: OpenSeries) -> None:
        text = json.dumps(opened.series.to_json(), allow_nan=False)
        assert Series.from_json(json.loads(text)) == opened.series

    def test_identity_stays_inside(self, opened: OpenSeries, sample: Sample) -> None:
        text = json.dumps(opened.series.to_json())
        assert not [secret for secret in sample.secrets if secret in text]

    def test_nothing_is_written_beside_the_source(self, opened: OpenSeries, sample: Sample) -> None:
        before = sorted(p for p in self._root(sample.path).rglob("*"))
        opened.read([0] * len(opened.series.shape), opened.series.shape)
        opened.close()
        assert sorted(p for p in self._root(sample.path).rglob("*")) == before

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.98])
    def test_a_file_cut_short_is_refused_by_name(self, format: Format, sample: Sample, share: float) -> None:
        largest = max(self._files(sample.path), key=lambda p: p.stat().st_size)
        whole = largest.read_bytes()
        largest.chmod(0o600)
        largest.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UnreadableFile) as refusal:
            self._read_all(format, sample.path)
        assert refusal.value.field
        assert refusal.value.remedy
        assert str(self._root(sample.path)) not in str(refusal.value)

    def _read_all(self, format: Format, path: Path) -> None:
        for opened in format.open(self._paths(path), self._root(path)):
            opened.read([0] * len(opened.series.shape), opened.series.shape)

    @staticmethod
    def _root(path: Path) -> Path:
        return path if path.is_dir() else path.parent

    @staticmethod
    def _files(path: Path) -> list[Path]:
        return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]

    def _paths(self, path: Path) -> list[Path]:
        """What ``open`` gets: the files, or the folder where the format claims folders. Override where that differs."""
        return self._files(path)

"""A source whose series are ``.npy`` files, read in process: for tests of what ingest does around the reading."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from image_phantoms import ArraySeries, volume
from specimg.access import Actor, Role
from specimg.errors import UnreadableFile
from specimg.formats.base import Series
from specimg.store import schema
from specimg.workflow.desk import Desk, open_desk
from specimg.workflow.ingest import Ingestion, ingest

PROJECT = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
OPERATOR = Actor("99999999-9999-4999-8999-999999999999", "operator", {PROJECT: Role.ANNOTATOR, OTHER: Role.ANNOTATOR})


class NpySeries:
    """One ``.npy`` file as a volume. A file whose first sample is -1 turns out to be damaged when its end is read."""

    format = "npy"

    def __init__(self, root: Path, file: Path) -> None:
        array = np.load(file, allow_pickle=False)
        self.opened: ArraySeries = volume(array, name=file.stem, files=(file.relative_to(root).as_posix(),))
        self.files = (file,)
        self.closed = False

    @property
    def series(self) -> Series:
        """The description."""
        return self.opened.series

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """The box."""
        if self.opened.array.flat[0] == -1 and stop[0] == self.series.shape[0]:
            raise UnreadableFile(
                file=self.series.files[0], field="PixelData", problem="it ends early", remedy="Copy it again."
            )
        return self.opened.read(start, stop)

    def close(self) -> None:
        """Note that it was released."""
        self.closed = True


class NpyParser:
    """Opens the ``.npy`` files of a folder; other files are ignored, empty ones refused."""

    def __init__(self, *, opened: Callable[[NpySeries], None] = lambda series: None) -> None:
        self.series: list[NpySeries] = []
        self.refusals: tuple[UnreadableFile, ...] = ()
        self.ignored: tuple[str, ...] = ()
        self._opened = opened

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert all(series.closed for series in self.series) or error is not None

    def open(self, root: Path) -> list[NpySeries]:
        """As ``formats.sandbox.Child.open``."""
        files = sorted(root.iterdir())
        self.ignored = tuple(file.name for file in files if file.suffix != ".npy")
        self.refusals = tuple(
            UnreadableFile(file=file.name, field="header", problem="it is empty", remedy="Copy it again.")
            for file in files
            if file.stat().st_size == 0
        )
        self.series = [NpySeries(root, file) for file in files if file.suffix == ".npy" and file.stat().st_size]
        if not self.series:
            raise self.refusals[0]
        for series in self.series:
            self._opened(series)
        return self.series


def seeded(home: Path) -> Desk:
    """A desk with two projects."""
    desk = open_desk(home)
    with desk.database.transaction() as connection:
        for project in (PROJECT, OTHER):
            row = {"id": project, "name": project, "created_at": desk.database.clock()}
            connection.execute(schema.project.insert().prefix_with("OR IGNORE").values(**row))
    return desk


def bring(desk: Desk, source: Path) -> Ingestion:
    """Ingest a folder of ``.npy`` files."""
    return ingest(desk, OPERATOR, source, PROJECT, parser=NpyParser)


def bring_and_die(home: str, source: str, fail_at: str | None) -> None:
    """What a process does that a test kills: at a named place, or whenever the test likes."""
    if fail_at is not None:
        os.environ["SPECIMG_FAIL_AT"] = fail_at
    with open_desk(Path(home)) as desk:
        bring(desk, Path(source))

"""Data folders with a filled log, and someone to tamper with them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.recording import Intruder, Recorder, fill


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled and closed data folder; never changed, see ``home``."""
    home = tmp_path_factory.mktemp("audit") / "home"
    recorder = Recorder.open(home)
    fill(recorder)
    recorder.close()
    return home


@pytest.fixture
def home(filled_home: Path, tmp_path: Path) -> Path:
    """A copy that a test may tamper with."""
    target = tmp_path / "home"
    shutil.copytree(filled_home, target)
    return target


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """An empty data folder to record in."""
    opened = Recorder.open(tmp_path / "fresh")
    yield opened
    opened.database.close()


@pytest.fixture
def intruder(home: Path) -> Iterator[Intruder]:
    with Intruder(home) as opened:
        yield opened

"""One demo data folder, made once by the command itself; each test that changes it gets a copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from journeys.running import Running, copy_home


@pytest.fixture(scope="session")
def fresh_demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data folder after the first ``specimg demo`` and Ctrl-C, and what it said; never changed."""
    home = tmp_path_factory.mktemp("demo") / "home"
    with Running(home, "demo") as server:
        assert server.interrupt() == 0
    return home, "".join(server.said)


@pytest.fixture
def demo_home(fresh_demo: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the demo's data folder that nobody serves."""
    return copy_home(fresh_demo[0], tmp_path / "home")


@pytest.fixture
def demo(demo_home: Path) -> Iterator[Running]:
    """The demo, served."""
    with Running(demo_home) as server:
        yield server

"""A real server for any test of the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server_world import Server, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of a module, which must not depend on each other's labels."""
    with running(tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, for tests that move the clock or lock people out."""
    with running(tmp_path / "home") as server:
        yield server


@pytest.fixture
def viewer_server(tmp_path: Path) -> Iterator[Server]:
    """A server with a built viewer of two files."""
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html><title>specimg</title><script src=/assets/app-1a2b.js></script>")
    (static / "assets" / "app-1a2b.js").write_text("export const answer = 42;\n")
    (static / ".hidden").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    (static / "link.txt").symlink_to(tmp_path / "outside.txt")
    with running(tmp_path / "home", static) as server:
        yield server

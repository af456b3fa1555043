"""A real server for any test of the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from server_world import Server, fill, running

Template = tuple[Path, Mapping[str, str]]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A filled data folder, made once: five good password hashes take seconds."""
    home = tmp_path_factory.mktemp("template") / "home"
    return home, fill(home)


@pytest.fixture(scope="module")
def server(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of a module, which must not depend on each other's labels."""
    with running(*template, tmp_path_factory.mktemp("served") / "home") as server:
        yield server


@pytest.fixture
def own_server(template: Template, tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, for tests that move the clock or lock people out."""
    with running(*template, tmp_path / "home") as server:
        yield server


@pytest.fixture
def viewer_server(template: Template, tmp_path: Path) -> Iterator[Server]:
    """A server with a built viewer of two files, a hidden file and a link that leads out."""
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html><title>specimg</title><script src=/assets/app-1a2b.js></script>")
    (static / "assets" / "app-1a2b.js").write_text("export const answer = 42;\n")
    (static / ".hidden").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    (static / "link.txt").symlink_to(tmp_path / "outside.txt")
    with running(*template, tmp_path / "home", static) as server:
        yield server

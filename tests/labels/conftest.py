"""A label store of its own for each test module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from label_world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A data folder that lasts for one module; tests make their own segmentations in it."""
    made = World(tmp_path_factory.mktemp("home"))
    yield made
    made.database.close()

"""A start warms up on the newest image, and no image can keep a server from starting."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ingest_world import bring, seeded
from specimg.api.warming import warm


def test_an_empty_folder_is_no_trouble(tmp_path: Path) -> None:
    with seeded(tmp_path / "home") as desk:
        warm(desk)


def test_a_damaged_image_keeps_no_server_from_starting(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    np.save(source / "a.npy", np.arange(8 * 8 * 8, dtype=np.int16).reshape(8, 8, 8))
    with seeded(tmp_path / "home") as desk:
        (image,) = bring(desk, source).images
        warm(desk)
        folder = desk.images.folder / image.image_id
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o700)
        shutil.rmtree(folder / "0")
    with seeded(tmp_path / "home") as desk:
        warm(desk)
        shutil.rmtree(folder)
    with seeded(tmp_path / "home") as desk:
        warm(desk)

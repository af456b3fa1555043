"""Fixtures every layer shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real files (``medical/``, ``geo/``); tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("SPECIMG_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real sample data not found: set SPECIMG_TEST_DATA to the folder that holds medical/ and geo/")
    return folder

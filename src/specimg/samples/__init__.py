"""Real images that ``specimg demo`` ingests; sources and licences in ``README.md`` beside this file."""

from pathlib import Path

FOLDER = Path(__file__).parent
"""Holds ``ct/``, ``mr/`` and ``sar/``; for CT and MR also labels and an ontology (``ct_labels.nii.gz``…)."""

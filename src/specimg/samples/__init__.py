"""Real images that ``specimg demo`` ingests; sources and licences in ``README.md`` beside this file."""

from pathlib import Path

FOLDER = Path(__file__).parent
"""Holds ``ct/``, ``ct_labels.nii.gz``, ``mr/mr.nii.gz``, ``mr_labels.nii.gz``, ``mr_ontology.json`` and ``sar/``."""

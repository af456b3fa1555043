"""Named places at which a test kills the process, to show what a power cut there would leave.

``SPECIMG_FAIL_AT=name`` sends this process SIGKILL when it reaches that place: no handler, no ``finally``, no flush.
Without the variable a place costs one look into the environment. Places stand between two durable steps only.
"""

from __future__ import annotations

import os
import signal


def reach(name: str) -> None:
    """Die here if the environment says so."""
    if os.environ.get("SPECIMG_FAIL_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)

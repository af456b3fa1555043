"""The command line. ``specimg --help`` is its documentation.

Whoever runs it on a data folder is the operator of that folder (``workflow.accounts``): no password, every permission, and
entries in the log that say ``operator``.

Exit codes: 0 done; 1 refused, with the reason on standard error; 2 wrong usage; 130 interrupted. ``audit verify`` has its
own: 0 valid, 1 invalid, 2 not everything could be checked or unknown key, 3 wrong usage.

Commands import what they need when they run, so that ``--help`` and ``--version`` answer at once: DICOM, arrays and the web
server together take seconds.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the ``specimg`` program."""
    from specimg.cli.commands import app
    from specimg.errors import SpecimgError

    try:
        app()
    except SpecimgError as error:
        sys.stderr.write(f"specimg: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)

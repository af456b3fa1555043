"""``python -m verify HOME_OR_BUNDLE VKEY``: this folder alone, copied to any machine with ``cryptography``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from . import verify_bundle, verify_home
from .note import BadNote
from .report import USAGE


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main() -> int:
    """Exit codes: 0 valid, 1 invalid, 2 incomplete or unknown key, 3 wrong usage."""
    parser = _Parser(prog="verify", description="Check a specimg data folder or audit bundle against a public key.")
    parser.add_argument("path", type=Path, help="data folder, or a bundle")
    parser.add_argument("vkey", help="verifier key, or a file that holds it")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint kept elsewhere: history must continue it")
    parser.add_argument("--no-images", action="store_true", help="do not read image and original files")
    arguments = parser.parse_args()
    try:
        vkey = Path(arguments.vkey).read_text("utf-8") if Path(arguments.vkey).is_file() else arguments.vkey
        given = arguments.checkpoint.read_text("utf-8") if arguments.checkpoint else None
        if (arguments.path / "specimg.db").is_file():
            report = verify_home(arguments.path, vkey, checkpoint=given, images=not arguments.no_images)
        else:
            report = verify_bundle(arguments.path, vkey, checkpoint=given)
    except (OSError, BadNote) as error:
        parser.error(str(error))
    sys.stdout.write(report.render())
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())

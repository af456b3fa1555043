"""Add up the layers' reports: fail if a layer ran nothing, and in CI if anything was skipped."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from xml.etree import ElementTree

LAYERS = ("python", "typescript", "browser")


def main(folder: Path) -> int:
    """Print one line per layer and the sum; return the exit code."""
    passed = failed = skipped = 0
    broken = False
    for layer in LAYERS:
        report = folder / f"{layer}.xml"
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []  # noqa: S314 - our own file
        bad = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
        left_out = [c for c in cases if c.find("skipped") is not None]
        good = len(cases) - len(bad) - len(left_out)
        print(f"{layer}: {good} passed, {len(bad)} failed, {len(left_out)} skipped")  # noqa: T201
        for case in left_out:
            reason = (case.find("skipped").attrib.get("message") or "").strip()  # type: ignore[union-attr]
            print(f"  skipped {case.get('classname')} {case.get('name')}: {reason}")  # noqa: T201
        if not good:
            print(f"the {layer} layer ran no test")  # noqa: T201
            broken = True
        passed, failed, skipped = passed + good, failed + len(bad), skipped + len(left_out)
    if skipped and os.environ.get("CI"):
        print("in CI every test must run: install what the reasons above name")  # noqa: T201
        broken = True
    print(f"{passed} passed, {failed} failed, {skipped} skipped")  # noqa: T201
    return 1 if failed or broken else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

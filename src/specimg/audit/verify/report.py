"""What the verifier found, and the exit code that follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["invalid", "incomplete", "note"]
Progress = Callable[[str, int, int], None]
"""Called with the stage's name, how much is done and how much there is."""

VALID, INVALID, INCOMPLETE, USAGE = 0, 1, 2, 3
MAX_FINDINGS = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be.

    ``index`` is the place in the log; where only a range can be named, ``last`` is its end (inclusive).
    """

    severity: Severity
    code: str
    message: str
    index: int | None = None
    last: int | None = None
    entry_id: str | None = None
    segmentation: str | None = None
    version: int | None = None

    def render(self) -> str:
        """One line."""
        where = []
        if self.index is not None:
            where.append(
                f"entry {self.index}" if self.last in (None, self.index) else f"entries {self.index}–{self.last}"
            )
        if self.entry_id is not None:
            where.append(f"id {self.entry_id}")
        if self.segmentation is not None:
            version = "" if self.version is None else f" version {self.version}"
            where.append(f"segmentation {self.segmentation}{version}")
        place = f" [{', '.join(where)}]" if where else ""
        return f"{self.severity}: {self.message}{place} ({self.code})"


@dataclass(slots=True)
class Report:
    """Everything found. Built up while verifying; ``exit_code`` is the verdict."""

    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    origin: str | None = None
    size: int = 0
    root: str | None = None
    suppressed: int = 0
    _worst: int = VALID

    def add(
        self,
        severity: Severity,
        code: str,
        message: str,
        *,
        index: int | None = None,
        last: int | None = None,
        entry_id: str | None = None,
        segmentation: str | None = None,
        version: int | None = None,
    ) -> None:
        """Record a finding. Beyond ``MAX_FINDINGS`` they are only counted, but still decide the verdict."""
        if severity == "invalid":
            self._worst = INVALID
        elif severity == "incomplete" and self._worst == VALID:
            self._worst = INCOMPLETE
        if len(self.findings) >= MAX_FINDINGS:
            self.suppressed += 1
            return
        self.findings.append(Finding(severity, code, message, index, last, entry_id, segmentation, version))

    def count(self, what: str, number: int = 1) -> None:
        """Add to what was checked."""
        self.counts[what] = self.counts.get(what, 0) + number

    @property
    def exit_code(self) -> int:
        """0 valid; 1 invalid; 2 not everything could be checked, or the key is unknown. (3 is for wrong usage.)"""
        return self._worst

    @property
    def first_bad(self) -> Finding | None:
        """The invalid finding that is surely first in the log; of ranges with one end, the narrowest."""
        invalid = [finding for finding in self.findings if finding.severity == "invalid"]
        placed = [(f.last if f.last is not None else f.index, -f.index, f) for f in invalid if f.index is not None]
        if placed:
            return min(placed, key=lambda place: place[:2])[2]
        return invalid[0] if invalid else None

    def render(self) -> str:
        """The report as a person reads it, verdict last."""
        order = {"invalid": 0, "incomplete": 1, "note": 2}
        lines = [finding.render() for finding in sorted(self.findings, key=lambda f: order[f.severity])]
        if self.suppressed:
            lines.append(f"… and {self.suppressed} more")
        checked = ", ".join(f"{number:,} {what}" for what, number in self.counts.items() if number)
        lines.append(f"checked: {checked or 'nothing'}")
        if self.origin is not None and self.root is not None:
            lines.append(f"log {self.origin}: {self.size:,} entries, root {self.root}")
        verdict = {
            VALID: "VALID: everything here is what was recorded",
            INVALID: "INVALID: something is not what was recorded",
            INCOMPLETE: "INCOMPLETE: nothing wrong was found, but not everything could be checked",
        }
        lines.append(verdict[self.exit_code])
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, object]:
        """The report for a program."""
        return {
            "exit_code": self.exit_code,
            "origin": self.origin,
            "size": self.size,
            "root": self.root,
            "counts": dict(self.counts),
            "suppressed": self.suppressed,
            "findings": [
                {name: getattr(finding, name) for name in Finding.__slots__ if getattr(finding, name) is not None}
                for finding in self.findings
            ],
        }

"""Plug-ins by entry point, loaded when first asked for. One that cannot load keeps its reason."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any


@dataclass(frozen=True, slots=True)
class Plugin:
    """A named object of a group, or the reason why it is not available."""

    name: str
    value: Any
    reason: str | None

    @property
    def available(self) -> bool:
        """Whether ``value`` can be used."""
        return self.reason is None


@cache
def plugins(group: str) -> tuple[Plugin, ...]:
    """All plug-ins of a group (``specimg.formats``, ``specimg.models``), in name order."""
    return tuple(_load(point) for point in sorted(entry_points(group=group), key=lambda point: point.name))


def _load(point: EntryPoint) -> Plugin:
    try:
        return Plugin(point.name, point.load(), None)
    except ImportError as error:
        # The dependency's name is what the person needs: "sicd: No module named 'sarkit'".
        return Plugin(point.name, None, str(error))

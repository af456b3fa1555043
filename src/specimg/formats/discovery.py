"""Discovery: which files of a source belong to which format, inside the limited process.

Folders are offered first (a SAFE product is one thing), then files with their first bytes; the first format that says yes
gets them. What a format refuses does not keep others out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from specimg.errors import InvalidInput, SpecimgError, TooLarge, UnreadableFile
from specimg.formats.archive import ZIP, unpack
from specimg.formats.base import Format, OpenSeries
from specimg.plugins import plugins

MAX_FILES = 50_000
MAX_DEPTH = 16
HEAD = 4096
UNPACKED = 64 * 2**30
"""Bytes that archives of one source may unpack to."""

# Order of asking; formats that people add come before ours of the same eagerness, by name.
_LAST = ("geotiff",)


@dataclass(slots=True)
class Found:
    """What a source holds."""

    series: list[tuple[str, OpenSeries, tuple[Path, ...]]] = field(default_factory=list)
    refusals: list[UnreadableFile] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


class Discovery:
    """One walk through one source; archives unpack below ``scratch``."""

    def __init__(self, root: Path, scratch: Path, formats: Sequence[Format] | None = None) -> None:
        self._root, self._scratch = root, scratch
        self._formats = _formats() if formats is None else list(formats)
        self._found = Found()
        self._unpacked = 0

    def run(self) -> Found:
        """Open everything. Raises ``UnreadableFile`` if no file has a format, ``TooLarge`` at a limit."""
        self._enter(self._root, self._root if self._root.is_dir() else self._root.parent)
        if not self._found.series and not self._found.refusals:
            raise UnreadableFile(
                file=self._root.name,
                field="format",
                problem=f"no format reads it (asked: {', '.join(f.name for f in self._formats)})",
                remedy=_unavailable() or "specimg reads DICOM, NIfTI, GeoTIFF and Sentinel-1 GRD.",
            )
        return self._found

    def _enter(self, path: Path, root: Path) -> None:
        claims: dict[str, list[Path]] = {}
        archives: list[Path] = []
        for entry in self._walk(path, 0, [0]):
            head = _head(entry) if entry.is_file() else b""
            claimant = next((f for f in self._formats if _sniffs(f, entry, head)), None)
            if claimant is not None:
                claims.setdefault(claimant.name, []).append(entry)
            elif head.startswith(ZIP):
                archives.append(entry)
            elif entry.is_file() and entry.name != "DICOMDIR":
                self._found.ignored.append(_relative(entry, root))
        for format in self._formats:
            if format.name in claims:
                self._open(format, claims[format.name], root)
        for archive in archives:
            self._open_archive(archive)

    def _walk(self, path: Path, depth: int, count: list[int]) -> Iterator[Path]:
        """Files, and folders that a format claims; links are not followed."""
        if path.is_file():
            yield path
            return
        if any(_sniffs(f, path, b"") for f in self._formats):
            yield path
            return
        if depth > MAX_DEPTH:
            raise TooLarge(f"{self._root.name}: folders are nested more than {MAX_DEPTH} deep")
        with os.scandir(path) as entries:
            names = sorted(e.name for e in entries if not e.is_symlink() and not e.name.startswith((".", "__MACOSX")))
        count[0] += len(names)
        if count[0] > MAX_FILES:
            raise TooLarge(f"{self._root.name}: there are more than {MAX_FILES} files; split it")
        for name in names:
            yield from self._walk(path / name, depth + 1, count)

    def _open(self, format: Format, paths: list[Path], root: Path) -> None:
        split = getattr(format, "split", None)
        groups: list[list[Path]] = split(paths, root) if split is not None else [[path] for path in paths]
        for group in groups:
            try:
                opened = format.open(group, root)
            except UnreadableFile as error:
                self._found.refusals.append(error)
                continue
            except MemoryError as error:
                problem = "reading it needs more memory than allowed; split it, or ask an administrator"
                raise TooLarge(f"{_relative(group[0], root)}: {problem}") from error
            except (TooLarge, InvalidInput):
                raise
            except Exception as error:  # noqa: BLE001 - a reader may raise anything on a hostile file
                self._found.refusals.append(_crashed(_relative(group[0], root), error))
                continue
            for series in opened:
                files = tuple(root / name for name in series.series.files)
                self._found.series.append((format.name, series, files))

    def _open_archive(self, archive: Path) -> None:
        folder = self._scratch / str(self._unpacked)
        self._unpacked += 1
        if self._scratch in archive.parents:
            self._found.ignored.append(archive.name)  # an archive in an archive stays shut
            return
        try:
            unpack(archive, folder, limit=UNPACKED)
        except SpecimgError as error:
            if archive == self._root or not isinstance(error, UnreadableFile):
                raise
            self._found.refusals.append(error)
            return
        self._enter(folder, folder)


def _formats() -> list[Format]:
    available = [p for p in plugins("specimg.formats") if p.available]
    return [p.value for p in sorted(available, key=lambda p: (p.name in _LAST, p.name))]


def _unavailable() -> str:
    """Formats that could not be loaded, with the reason: often the very thing that is missing."""
    reasons = [f"{p.name}: {p.reason}" for p in plugins("specimg.formats") if not p.available]
    return f"Not available here: {'; '.join(reasons)}." if reasons else ""


def _sniffs(format: Format, path: Path, head: bytes) -> bool:
    """One file on which a format stumbles must not keep the others from being read."""
    try:
        return format.sniff(path, head)
    except Exception:  # noqa: BLE001 - a plug-in may raise anything; it does not know the file then
        return False


def _head(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(HEAD)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _crashed(name: str, error: Exception) -> UnreadableFile:
    return UnreadableFile(
        file=name,
        field="contents",
        problem=f"its reader failed ({type(error).__name__})",
        remedy="The file may be damaged; export it again from its source.",
    )

"""The limited process: ``python -m specimg.formats.child MEMORY SECONDS``. Started by ``formats.sandbox``, by nobody else.

It sets its own limits before it imports a single reader, then answers frames until the pipe closes. Messages of readers
never leave it: they may quote what is in a file. Only errors of ours do, which name file, field and remedy.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from specimg.errors import InvalidInput, TooLarge, UnreadableFile
from specimg.formats.base import Mask, OpenSeries, Series
from specimg.formats.discovery import Discovery
from specimg.formats.mask_json import classes_from_json, classes_to_json
from specimg.frames import read_frame, write_frame
from specimg.geometry.grid import Grid

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
MASK_MODULES = {"nifti": "nifti", "dicom-seg": "dicom_seg", "geotiff": "geotiff"}


def main() -> None:
    """Limit, then serve until the pipe closes."""
    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    _limit(resource.RLIMIT_AS, memory, final=True)
    _limit(resource.RLIMIT_CPU, seconds)
    _limit(resource.RLIMIT_CORE, 0, final=True)
    _limit(resource.RLIMIT_NOFILE, 256, final=True)
    _leave_network()
    # What a reader prints must not end up between the frames.
    source, target = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    desk = _Reader()
    while (frame := read_frame(source)) is not None:
        _allow(seconds)
        header, body = desk.answer(frame[0])
        write_frame(target, header, body)


def _limit(kind: int, value: int, *, final: bool = False) -> None:
    """Set a limit, or keep the stricter one that whoever started the server has set. ``final`` cannot be raised again."""
    _, hard = resource.getrlimit(kind)
    soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (soft, soft if final else hard))


def _allow(seconds: int) -> None:
    """CPU time for one more answer: a long series may take long, one box of it may not."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime) + seconds)


def _leave_network() -> bool:
    """Enter a network namespace with nothing in it, where the system lets us; readers have no business outside.

    Without root that takes a user namespace too, which some systems forbid; then the other limits stand alone.
    """
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
        return bool(libc.unshare(flags) == 0)
    except (OSError, AttributeError):
        return False


class _Reader:
    """What is open."""

    def __init__(self) -> None:
        self._series: list[OpenSeries | None] = []

    def answer(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Act on one request; every failure becomes an answer."""
        name = Path(str(request.get("path", "the file"))).name
        try:
            match request["do"]:
                case "open":
                    return self._open(Path(request["path"])), b""
                case "read":
                    return self._read(request["index"], request["start"], request["stop"])
                case "close":
                    return self._close(request["index"]), b""
                case "read_mask":
                    return _read_mask(request), b""
                case "write_mask":
                    return _write_mask(request), b""
            raise ValueError("an unknown request")
        except UnreadableFile as error:
            return {"error": unreadable_json(error)}, b""
        except TooLarge as error:
            return {"error": {"kind": "too-large", "message": str(error)}}, b""
        except InvalidInput as error:
            return {"error": {"kind": "invalid", "message": str(error), "field": error.field or ""}}, b""
        except MemoryError:
            message = f"{name}: reading it needs more memory than allowed; split it, or ask an administrator"
            return {"error": {"kind": "too-large", "message": message}}, b""
        except Exception as error:  # noqa: BLE001 - a reader may raise anything on a hostile file
            return {"error": unreadable_json(failed(name, error))}, b""

    def _open(self, root: Path) -> dict[str, Any]:
        found = Discovery(root, Path.cwd() / "unpacked").run()
        self._series = [series for _, series, _ in found.series]
        return {
            "series": [
                {"format": name, "series": opened.series.to_json(), "files": [str(f) for f in files]}
                for name, opened, files in found.series
            ],
            "refusals": [unreadable_json(refusal) for refusal in found.refusals],
            "ignored": found.ignored,
        }

    def _read(self, index: int, start: Sequence[int], stop: Sequence[int]) -> tuple[dict[str, Any], bytes]:
        opened = self._series[index]
        if opened is None:
            raise ValueError("the series is closed")
        samples = opened.read(start, stop)
        wanted = np.dtype(opened.series.dtype).newbyteorder("<")
        return {}, np.ascontiguousarray(samples, wanted).tobytes()

    def _close(self, index: int) -> dict[str, Any]:
        opened, self._series[index] = self._series[index], None
        if opened is not None:
            opened.close()
        return {}


def unreadable_json(error: UnreadableFile) -> dict[str, Any]:
    """An error as it crosses the pipe."""
    return {
        "kind": "unreadable",
        "file": error.file,
        "field": error.field or "",
        "problem": error.problem,
        "remedy": error.remedy,
    }


def failed(name: str, error: Exception) -> UnreadableFile:
    """A reader's own exception: its kind may be told, its words may quote the file and may not."""
    return UnreadableFile(
        file=name,
        field="contents",
        problem=f"its reader failed ({type(error).__name__})",
        remedy="The file may be damaged; export it again from its source.",
    )


def _read_mask(request: Mapping[str, Any]) -> dict[str, Any]:
    path, reference = Path(request["path"]), Series.from_json(request["reference"])
    module = import_module(f"specimg.formats.{_mask_reader(path)}")
    mask: Mask = module.read_mask(path, reference)
    np.ascontiguousarray(mask.voxels, "<u2").tofile(request["target"])
    return {"grid": mask.grid.to_json(), "classes": classes_to_json(mask.classes)}


def _mask_reader(path: Path) -> str:
    with path.open("rb") as handle:
        head = handle.read(352)
    if head[128:132] == b"DICM":
        return "dicom_seg"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "geotiff"
    if head[:2] == b"\x1f\x8b" or head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2"):
        return "nifti"
    raise UnreadableFile(
        file=path.name,
        field="format",
        problem="it is not a label file that specimg reads",
        remedy="Labels come as NIfTI, DICOM SEG or GeoTIFF.",
    )


def _write_mask(request: Mapping[str, Any]) -> dict[str, Any]:
    grid = Grid.from_json(request["grid"])
    voxels = np.fromfile(request["source"], "<u2").reshape(grid.shape)
    mask = Mask(voxels, grid, classes_from_json(request["classes"]))
    if request["format"] not in MASK_MODULES:
        raise InvalidInput(f"there is no label format '{request['format']}'", field="format")
    module = import_module(f"specimg.formats.{MASK_MODULES[request['format']]}")
    warnings: Sequence[str] | None = module.write_mask(
        mask,
        Path(request["path"]),
        Series.from_json(request["reference"]),
        [Path(p) for p in request["originals"]],
    )
    return {"warnings": list(warnings or ())}


if __name__ == "__main__":
    main()

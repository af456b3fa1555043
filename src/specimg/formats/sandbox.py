"""Files from outside are opened here: in a child process with limits, never in ours.

``Child`` starts ``python -m specimg.formats.child`` with bounded memory, CPU time and open files, in a process group of its
own, and speaks frames with it (``specimg.frames``): JSON and raw samples, nothing pickled. Whatever comes back is checked as
if a stranger had sent it. A child that dies, hangs or talks nonsense becomes an ``UnreadableFile`` or ``TooLarge`` that
names the file; the server goes on.

A ``Child`` is used by one thread at a time; ``cancel`` may come from any.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from specimg.errors import Cancelled, InvalidInput, SpecimgError, StoreError, TooLarge, UnreadableFile
from specimg.formats.base import Mask, Series
from specimg.formats.mask_json import classes_from_json, classes_to_json
from specimg.frames import BrokenFrame, FrameTimeout, read_frame, write_frame
from specimg.geometry.grid import Grid

MASK_VOXELS = 2**32
"""Largest mask that is taken in; 512 x 512 x 16,384."""


class RemoteSeries:
    """A series that the child holds open. Samples arrive box by box, so memory stays of the order of a box."""

    def __init__(self, child: Child, index: int, format: str, series: Series, files: tuple[Path, ...]) -> None:
        self._child, self._index = child, index
        self.format = format
        self.series = series
        self.files = files

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Stored samples with ``start <= index < stop`` along ``series.axes``. Raises ``UnreadableFile``."""
        shape = [b - a for a, b in zip(start, stop, strict=True)]
        if any(not 0 <= a < b <= n for a, b, n in zip(start, stop, self.series.shape, strict=True)):
            raise InvalidInput("the box is empty or leaves the series", field="box")
        dtype = np.dtype(self.series.dtype).newbyteorder("<")
        size = math.prod(shape) * dtype.itemsize
        request = {"do": "read", "index": self._index, "start": list(start), "stop": list(stop)}
        _, body = self._child.ask(request, file=self.series.name, body_limit=size)
        if len(body) != size:
            raise _broken(self.series.name, "it gave fewer samples than it promised")
        return np.frombuffer(body, dtype).reshape(shape)

    def close(self) -> None:
        """Release its files in the child."""
        if self._child.alive:
            self._child.ask({"do": "close", "index": self._index}, file=self.series.name)


class Child:
    """One limited process. Use it as a context manager: at the end it is gone, with whatever it unpacked."""

    def __init__(self, *, memory: int, seconds: int) -> None:
        self._memory, self._seconds = memory, seconds
        self._scratch: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False
        self.refusals: tuple[UnreadableFile, ...] = ()
        """After ``open``: parts of the source that could not be used, while others could."""
        self.ignored: tuple[str, ...] = ()
        """After ``open``: names of files that no format reads."""

    def __enter__(self) -> Self:
        self._scratch = Path(tempfile.mkdtemp(prefix="specimg-parse-"))
        try:
            self._process = subprocess.Popen(
                # -P: a file that a source unpacks must never be importable from the working folder.
                [sys.executable, "-P", "-s", "-m", "specimg.formats.child", str(self._memory), str(self._seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # readers quote file contents in their complaints
                cwd=self._scratch,
                env=_environment(self._scratch),
                start_new_session=True,
                close_fds=True,
            )
        except OSError as error:
            raise StoreError("a process for reading files cannot be started") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def open(self, root: Path) -> list[RemoteSeries]:
        """Open a file, a folder or an archive with the format plug-ins.

        Raises ``UnreadableFile`` if nothing in it can be used, ``TooLarge`` at a limit; see ``refusals`` for parts.
        """
        header, _ = self.ask({"do": "open", "path": str(root.resolve())}, file=root.name)
        try:
            self.ignored = tuple(str(name) for name in header["ignored"])
            self.refusals = tuple(_unreadable(r) for r in header["refusals"])
            found = [
                RemoteSeries(
                    self, i, str(s["format"]), Series.from_json(s["series"]), tuple(Path(f) for f in s["files"])
                )
                for i, s in enumerate(header["series"])
            ]
        except (KeyError, TypeError, ValueError, InvalidInput) as error:
            raise _broken(root.name, "its reader described it wrongly") from error
        for series in found:
            if not all(self._may_read(file, root) for file in series.files):
                raise _broken(root.name, "its reader names files outside it")
        if not found:
            raise self.refusals[0] if self.refusals else _broken(root.name, "there is nothing in it")
        return found

    def read_mask(self, path: Path, reference: Series) -> Mask:
        """Read a label file onto the grid of ``reference``. Raises ``UnreadableFile`` naming what does not match."""
        target = self._folder() / "mask.raw"
        request = {
            "do": "read_mask",
            "path": str(path.resolve()),
            "reference": reference.to_json(),
            "target": str(target),
        }
        header, _ = self.ask(request, file=path.name)
        try:
            grid = Grid.from_json(header["grid"])
            classes = classes_from_json(header["classes"])
        except (KeyError, TypeError, ValueError, InvalidInput) as error:
            raise _broken(path.name, "its reader described it wrongly") from error
        size = math.prod(grid.shape)
        if grid.shape != reference.grid.shape or size > MASK_VOXELS or target.stat().st_size != 2 * size:
            raise _broken(path.name, "its reader gave another number of voxels")
        voxels = np.fromfile(target, "<u2").reshape(grid.shape)
        target.unlink()
        return Mask(voxels, grid, classes)

    def write_mask(
        self, mask: Mask, path: Path, *, format: str, reference: Series, originals: Sequence[Path]
    ) -> tuple[str, ...]:
        """Write ``mask`` to ``path``; returns warnings for the person who exports, in full sentences."""
        source = self._folder() / "mask.raw"
        with source.open("wb") as handle:
            # Plane by plane: a conversion of the whole mask would double its memory.
            for plane in mask.voxels:
                handle.write(np.ascontiguousarray(plane, "<u2").tobytes())
        request = {
            "do": "write_mask",
            "format": format,
            "path": str(path.resolve()),
            "reference": reference.to_json(),
            "originals": [str(p.resolve()) for p in originals],
            "grid": mask.grid.to_json(),
            "classes": classes_to_json(mask.classes),
            "source": str(source),
        }
        header, _ = self.ask(request, file=path.name)
        return tuple(str(w) for w in header.get("warnings", ()))

    def cancel(self) -> None:
        """Stop at once, from any thread: whoever waits gets ``Cancelled``."""
        self._cancelled = True
        # The pipes stay open: closing one under a thread that reads it could hand its number to another file.
        _kill(self._process)

    def ask(self, request: Mapping[str, Any], *, file: str, body_limit: int = 0) -> tuple[dict[str, Any], bytes]:
        """One question, one answer. ``file`` is named if it goes wrong."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("a Child is used inside its with block")
        if process.stdin.closed:
            raise self._post_mortem(file)
        if process.stdin.closed:
            raise self._post_mortem(file)
        try:
            write_frame(process.stdin.fileno(), request)
            # CPU time is limited in the child; wall time allows for a slow disk and a busy machine.
            answer = read_frame(process.stdout.fileno(), body_limit=body_limit, seconds=4 * self._seconds + 30)
        except (BrokenFrame, OSError):
            answer = None
        except FrameTimeout:
            self._end()
            raise _died(file, "it took too long") from None
        if answer is None:
            raise self._post_mortem(file)
        header, body = answer
        if "error" in header:
            raise _error(header["error"], file)
        return header, body

    def _folder(self) -> Path:
        if self._scratch is None:
            raise RuntimeError("a Child is used inside its with block")
        return self._scratch

    def _may_read(self, file: Path, root: Path) -> bool:
        real = file.resolve()
        allowed = (root.resolve(), self._folder().resolve())
        return real.is_file() and any(real == base or base in real.parents for base in allowed)

    def _post_mortem(self, file: str) -> SpecimgError:
        if self._cancelled:
            return Cancelled("reading was cancelled")
        if self._process is None:
            return _broken(file, "its reader stopped")
        self._end()
        code = self._process.returncode
        if code == -signal.SIGXCPU:
            return _died(file, f"it took more than {self._seconds} s of computing")
        if code == -signal.SIGKILL:
            return _died(
                file, f"it needed more than {self._memory / 2**30:.3g} GiB of memory or more time than allowed"
            )
        return _broken(file, "its reader crashed")

    def _end(self) -> None:
        """Kill the process, wait for it and close our ends of its pipes."""
        _kill(self._process)
        if self._process is not None:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()


def _kill(process: subprocess.Popen[bytes] | None) -> None:
    """End a process and whatever it started."""
    if process is not None and process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()


def _environment(scratch: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "SPECIMG_FAIL_AT") if name in os.environ}
    quiet = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # PYTHONPATH lets a source tree that is not installed run; user site and bytecode stay out.
    paths = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONNOUSERSITE": "1", "HOME": str(scratch)}
    return {**kept, **quiet, **paths, "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}


def _unreadable(value: Mapping[str, Any]) -> UnreadableFile:
    return UnreadableFile(**{key: str(value[key])[:2000] for key in ("file", "field", "problem", "remedy")})


def _error(value: Mapping[str, Any], file: str) -> SpecimgError:
    try:
        match value["kind"]:
            case "unreadable":
                return _unreadable(value)
            case "too-large":
                return TooLarge(str(value["message"])[:2000])
            case "invalid":
                return InvalidInput(str(value["message"])[:2000], field=str(value["field"]))
    except (KeyError, TypeError):
        pass
    return _broken(file, "its reader failed")


def _broken(file: str, problem: str) -> UnreadableFile:
    return UnreadableFile(
        file=file, field="contents", problem=problem, remedy="The file may be damaged; export it again from its source."
    )


def _died(file: str, problem: str) -> TooLarge:
    return TooLarge(f"{file}: {problem}; split it, or ask an administrator to raise the limit")

"""The program as a person has it: the ``specimg`` command in a process of its own, and HTTP. Nothing is imported from it."""

from __future__ import annotations

import base64
import os
import queue
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
import numpy.typing as npt

SPECIMG = Path(sys.executable).with_name("specimg")
SAMPLES = Path(__file__).resolve().parents[2] / "src" / "specimg" / "samples"

DEADLINE = 120.0
"""Seconds that anything may take on a loaded machine before a test gives up. Nothing waits this long when all is well."""

Box = tuple[slice, slice, slice]


def specimg(home: Path, *words: str | Path, input: str | None = None, cwd: Path | None = None) -> Ran:
    """Run one command on a data folder to its end."""
    finished = subprocess.run(
        [str(SPECIMG), *map(str, words)],
        env=environment(home),
        input=input,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return Ran(tuple(map(str, words)), finished.returncode, finished.stdout, finished.stderr)


class Ran:
    """What a command said and how it ended."""

    def __init__(self, words: Sequence[str], code: int, out: str, err: str) -> None:
        self.words, self.code, self.out, self.err = words, code, out, err

    def __repr__(self) -> str:
        return f"specimg {' '.join(self.words)} → {self.code}\n{self.out}\n{self.err}"

    def ended(self, code: int) -> Self:
        """Itself, once it is sure that it ended with this code."""
        assert self.code == code, repr(self)
        return self


def environment(home: Path, **more: str) -> dict[str, str]:
    """That of a person who set the data folder and nothing else of ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SPECIMG_") and name != "PORT"}
    return clean | {"SPECIMG_HOME": str(home), "NO_COLOR": "1", **more}


class Running:
    """``specimg serve`` or ``specimg demo`` in its own process, until Ctrl-C. Port 0: one that is free."""

    def __init__(self, home: Path, *words: str, port: int = 0) -> None:
        self.home = home
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [str(SPECIMG), *(words or ("serve",))],
            env=environment(home, PORT=str(port)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Of its own group: Ctrl-C of whoever runs the tests is not meant for it.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self._wait_for(r"serves (http://\S+)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.interrupt()
        else:
            self._finish()

    def interrupt(self, seconds: float = DEADLINE) -> int:
        """Ctrl-C; the exit code."""
        return self._end(signal.SIGINT, seconds)

    def kill(self) -> None:
        """What a power cut does to a process."""
        self._end(signal.SIGKILL, DEADLINE)

    def client(self) -> httpx.Client:
        """What our page sends, of nobody yet."""
        return httpx.Client(base_url=self.url, headers={"X-Specimg": "1", "Origin": self.url}, timeout=DEADLINE)

    def login(self, name: str, password: str) -> Person:
        """Somebody who is logged in."""
        return Person(self.client(), name, password)

    def demo(self) -> Person:
        """The account that ``specimg demo`` makes, with the password it keeps in the data folder."""
        return self.login(*login_of(self.home))

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _wait_for(self, pattern: str) -> str:
        while True:
            try:
                line = self._lines.get(timeout=DEADLINE)
            except queue.Empty:
                line = None
            if line is None:
                self._end(signal.SIGKILL, DEADLINE)
                raise AssertionError(f"the server did not come up; it said: {''.join(self.said)}")
            self.said.append(line)
            if found := re.search(pattern, line):
                return found[1]

    def _end(self, sent: signal.Signals, seconds: float) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sent)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(DEADLINE)
            self._finish()
            raise
        self._finish()
        return code

    def _finish(self) -> None:
        self._reader.join(DEADLINE)
        if self.process.stdout is not None:
            self.process.stdout.close()
        while (line := self._lines.get()) is not None:
            self.said.append(line)
        self._lines.put(None)


class Person:
    """Somebody at the API, and what they can ask for."""

    def __init__(self, client: httpx.Client, name: str, password: str) -> None:
        self.http = client
        answer = client.post("/api/login", json={"name": name, "password": password})
        assert answer.status_code == 200, answer.text
        self.me: dict[str, Any] = answer.json()
        (self.project,) = (project["id"] for project in self.me["projects"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def get(self, path: str, **query: Any) -> Any:
        """JSON of a GET that is answered 200."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def post(self, path: str, body: Mapping[str, Any], *, status: int = 201) -> Any:
        """JSON of a POST that is answered with this status."""
        answer = self.http.post(path, json=dict(body))
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def images(self) -> dict[str, dict[str, Any]]:
        """The worklist by modality."""
        return {image["modality"]: image for image in self.get(f"/api/projects/{self.project}/images")}

    def create(self, image: str, name: str, ontology: str) -> str:
        """A new segmentation of an image; its id."""
        made = self.post(
            f"/api/projects/{self.project}/segmentations",
            {"image_id": image, "name": name, "ontology_id": f"{self.project}-{ontology}"},
        )
        return str(made["id"])

    def paint(self, segmentation: str, base: int, label: int, mask: Spans, *, status: int = 201) -> Any:
        """One stroke over anything."""
        return self.edit(segmentation, base, voxels=[{"label": label, "over": None, "spans": mask}], status=status)

    def edit(
        self,
        segmentation: str,
        base: int,
        *,
        voxels: Sequence[Mapping[str, Any]] = (),
        shapes: Sequence[Mapping[str, Any]] = (),
        status: int = 201,
        **more: Any,
    ) -> Any:
        """One edit."""
        body = {"base": base, "tool": "brush", "params": {}, "voxels": list(voxels), "shapes": list(shapes), **more}
        return self.post(f"/api/segmentations/{segmentation}/edits", body, status=status)

    def export(self, ref: str, format: str, path: Path) -> Path:
        """An export over HTTP, as a file."""
        answer = self.http.get(f"/api/segmentations/{ref}/exports/{format}")
        assert answer.status_code == 200, answer.text
        path.write_bytes(answer.content)
        return path

    def labels(self, ref: str) -> npt.NDArray[Any]:
        """All voxels of a version (z, y, x), read over HTTP with zarr-python."""
        import zarr
        from zarr.core.buffer import cpu
        from zarr.storage import MemoryStore

        prefix = f"/api/segmentations/{ref}"
        found = self.get(f"{prefix}/chunks")["chunks"]
        keys = ["zarr.json", "0/zarr.json", *(f"0/c/{chunk}" for chunk in found)]
        files = {}
        for key in keys:
            answer = self.http.get(f"{prefix}/zarr/{key}")
            assert answer.status_code == 200, f"{key}: {answer.text}"
            files[key] = cpu.Buffer.from_bytes(answer.content)
        array = zarr.open_group(MemoryStore(files), mode="r")["0"]
        return np.asarray(array[:])


Spans = str
"""Voxels as an edit has them: base64 of little-endian int32 runs (z, y, x, length)."""


def spans(runs: Iterable[tuple[int, int, int, int]]) -> Spans:
    """From runs in order."""
    return base64.b64encode(np.array(list(runs), "<i4").tobytes()).decode("ascii")


def spans_of(mask: npt.NDArray[np.bool_]) -> Spans:
    """From a mask (z, y, x), by the difference of neighbours: a rule of our own, not the program's."""
    edges = np.diff(np.pad(mask, ((0, 0), (0, 0), (1, 1))).astype(np.int8), axis=2)
    z, y, start = np.nonzero(edges == 1)
    _, _, stop = np.nonzero(edges == -1)
    return base64.b64encode(np.stack([z, y, start, stop - start], axis=1).astype("<i4").tobytes()).decode("ascii")


def mask_of(text: Spans, shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """The mask (z, y, x) of spans."""
    mask = np.zeros(shape, np.bool_)
    for z, y, x, length in np.frombuffer(base64.b64decode(text), "<i4").reshape(-1, 4):
        mask[z, y, x : x + length] = True
    return mask


def disc(shape: tuple[int, int, int], z: int, y: int, x: int, radius: float) -> npt.NDArray[np.bool_]:
    """A round stroke on one slice."""
    mask = np.zeros(shape, np.bool_)
    rows, columns = np.ogrid[: shape[1], : shape[2]]
    mask[z] = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return mask


def reference_labels(path: Path) -> npt.NDArray[Any]:
    """Labels (z, y, x) of a sample as nibabel places them: towards left, posterior and superior, as both images run."""
    import nibabel as nib

    towards_ras = nib.as_closest_canonical(nib.load(path))
    return np.asarray(towards_ras.dataobj)[::-1, ::-1].transpose(2, 1, 0).astype(np.uint16)


def login_of(home: Path) -> tuple[str, str]:
    """Name and password that ``specimg demo`` keeps in the data folder."""
    name, password = (home / "demo-login.txt").read_text().splitlines()
    return name.removeprefix("name: "), password.removeprefix("password: ")


def copy_home(home: Path, target: Path) -> Path:
    """A data folder to spoil. No server may be running."""
    shutil.copytree(home, target)
    return target


def sql(home: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """One statement on the database of a data folder that nobody serves, past the triggers that guard history."""
    connection = sqlite3.connect(home / "specimg.db")
    try:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        rows = connection.execute(statement, values).fetchall()
        for _, definition in triggers:
            connection.execute(definition)
        connection.commit()
    finally:
        connection.close()
    return rows


def flipped(data: bytes, place: int | None = None) -> bytes:
    """The same bytes but for one bit of one of them, in the middle if no place is said."""
    changed = bytearray(data)
    changed[len(data) // 2 if place is None else place] ^= 1
    return bytes(changed)

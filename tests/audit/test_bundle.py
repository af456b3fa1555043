"""Bundles: what leaves the server verifies without it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.recording import READER, SEGMENTATION, Recorder, fill, vkey
from specimg.audit import verify as verifier
from specimg.audit.bundle import export_bundle
from specimg.audit.verify import verify_bundle
from specimg.errors import NotFound


@pytest.fixture
def filled(tmp_path: Path) -> Recorder:
    recorder = Recorder.open(tmp_path / "home")
    fill(recorder)
    return recorder


@pytest.fixture
def whole(filled: Recorder, tmp_path: Path) -> Path:
    """A bundle of the whole log, unpacked."""
    return unpack(filled, tmp_path, None)


@pytest.fixture
def part(filled: Recorder, tmp_path: Path) -> Path:
    """A bundle of one label, unpacked."""
    return unpack(filled, tmp_path, SEGMENTATION)


def unpack(recorder: Recorder, tmp_path: Path, segmentation: str | None) -> Path:
    path = tmp_path / "bundle.zip"
    export_bundle(recorder.database, recorder.log, path, segmentation=segmentation)
    recorder.database.close()
    assert verify_bundle(path, recorder.log.vkey).exit_code == 0
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "bundle")
    (tmp_path / "key").write_text(recorder.log.vkey)
    return tmp_path / "bundle"


def check(folder: Path, **more: str) -> verifier.Report:
    return verify_bundle(folder, (folder.parent / "key").read_text(), **more)  # type: ignore[arg-type] # checkpoint


def test_the_whole_log(whole: Path) -> None:
    report = check(whole)
    assert (report.exit_code, report.findings, report.size) == (0, [], 19)
    assert report.counts == {"entries": 19, "label versions": 7, "checkpoints": 5}


def test_one_label_and_nothing_else(part: Path) -> None:
    report = check(part)
    assert (report.exit_code, report.findings) == (0, [])
    assert report.counts["label versions"] == 7
    text = b"".join(path.read_bytes() for path in part.rglob("*") if path.is_file())
    assert b"account.create" not in text
    assert READER.name.encode() not in text


def _line(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        path = folder / "entries.jsonl"
        path.write_bytes(b"\n".join(change(path.read_bytes().split(b"\n"))))

    return tamper


def _text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return tamper


@pytest.mark.parametrize(
    ("tamper", "index"),
    [
        (_line(lambda lines: [*lines[:7], lines[7].replace(b"brush", b"x")[:-1] + b" }", *lines[8:]]), 7),
        (_line(lambda lines: lines[:7] + lines[8:]), 7),
        (_line(lambda lines: [*lines[:7], lines[8], lines[7], *lines[9:]]), 7),
        (_line(lambda lines: [*lines[:7], lines[6], *lines[7:]]), 7),
        (_line(lambda lines: [*lines[:-2], b""]), 18),
        (_line(lambda lines: [*lines, b"{}", b""]), 19),
        (_line(lambda lines: lines[:-1]), 18),
        (_text("checkpoint.txt", "\n19\n", "\n18\n"), None),
        (_text("checkpoints.jsonl", "specimg.local", "specimg.other"), None),
        (lambda folder: (folder / "extra.bin").write_bytes(b"x"), None),
        (lambda folder: (folder / "entries.jsonl").write_bytes(b"[" * 100_000), 0),
    ],
)
def test_a_changed_bundle_of_the_log(whole: Path, tamper: Callable[[Path], object], index: int | None) -> None:
    tamper(whole)
    report = check(whole)
    assert report.exit_code == 1, report.render()
    assert report.first_bad is not None
    if index is not None:
        bad = report.first_bad
        assert bad.index is not None
        assert bad.index <= index <= (bad.last if bad.last is not None else bad.index)


def test_a_cut_bundle_is_only_an_older_one_until_a_newer_checkpoint_is_shown(whole: Path) -> None:
    newest = (whole / "checkpoint.txt").read_text()
    notes = (whole / "checkpoints.jsonl").read_text().splitlines(keepends=True)
    older = json.loads(notes[-2])
    size = int(older.split("\n")[1])
    (whole / "checkpoint.txt").write_text(older)
    (whole / "checkpoints.jsonl").write_text("".join(notes[:-1]))
    lines = (whole / "entries.jsonl").read_bytes().split(b"\n")
    (whole / "entries.jsonl").write_bytes(b"\n".join(lines[:size]) + b"\n")
    assert check(whole).exit_code == 0
    report = check(whole, checkpoint=newest)
    assert report.exit_code == 1
    assert report.first_bad is not None
    assert (report.first_bad.code, report.first_bad.index) == ("log-shorter", size)


@pytest.mark.parametrize("act", ["remove a version", "change a leaf", "rename", "wrong checkpoint", "remove all"])
def test_a_changed_bundle_of_a_label(part: Path, act: str) -> None:
    proofs = sorted((part / "proofs").iterdir())
    if act == "remove a version":
        proofs[3].unlink()
    elif act == "change a leaf":
        text = proofs[3].read_text()
        proofs[3].write_text(text.replace("extra eyJhY3Rvc", "extra eyJhY3Rvd", 1))
        assert proofs[3].read_text() != text
    elif act == "rename":
        proofs[3].rename(proofs[3].with_name("000000000099.tlog-proof"))
    elif act == "wrong checkpoint":
        (part / "checkpoint.txt").write_text((part / "checkpoint.txt").read_text().replace("\n19\n", "\n20\n"))
    else:
        shutil.rmtree(part / "proofs")
    report = check(part)
    assert report.exit_code == (2 if act == "remove all" else 1), report.render()
    if act == "remove a version":
        assert report.first_bad is not None
        assert (report.first_bad.code, report.first_bad.version) == ("label-gap", 4)


def test_a_bundle_by_another_key(part: Path) -> None:
    stranger = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    assert verify_bundle(part, stranger).exit_code == 2


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 not really", b"x" * 1000])
def test_a_file_that_is_no_bundle(tmp_path: Path, data: bytes, filled_home: Path) -> None:
    (tmp_path / "bundle.zip").write_bytes(data)
    assert verify_bundle(tmp_path / "bundle.zip", vkey(filled_home)).exit_code == 1


def test_a_label_that_is_not_there(filled: Recorder, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        export_bundle(filled.database, filled.log, tmp_path / "b.zip", segmentation="nothing")
    assert list(tmp_path.glob("b.zip*")) == []
    filled.database.close()


# --- the folder of the verifier alone, on another machine -----------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The verifier copied away from specimg."""
    assert verifier.__file__ is not None
    shutil.copytree(Path(verifier.__file__).parent, tmp_path / "elsewhere" / "verify")
    return tmp_path / "elsewhere"


def run(elsewhere: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A finder that refuses specimg and everything else third-party but cryptography (and what it stands on).
    guard = (
        "import sys, runpy\n"
        "class Guard:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'specimg', 'rfc8785', 'sqlalchemy', 'apsw', 'numpy', 'pydantic'}:\n"
        "            raise ImportError(f'{name} is not on this machine')\n"
        "sys.meta_path.insert(0, Guard())\n"
        "sys.argv[0] = 'verify'\n"
        "runpy.run_module('verify', run_name='__main__')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", guard, *arguments], cwd=elsewhere, capture_output=True, text=True, check=False
    )


def test_the_verifier_runs_alone(elsewhere: Path, home: Path) -> None:
    key = vkey(home).strip()
    good = run(elsewhere, str(home), key)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.endswith("VALID: everything here is what was recorded\n")
    (voxels,) = (home / "images").glob("*/0/c/0/0/0")
    voxels.write_bytes(b"Voxels")
    bad = run(elsewhere, str(home), key)
    assert bad.returncode == 1
    assert "entry 3" in bad.stdout
    assert run(elsewhere, str(home), key, "--no-images").returncode == 0


@pytest.mark.parametrize("arguments", [[], ["home"], ["home", "not-a-key"], ["home", "--what", "key"]])
def test_wrong_usage_exits_with_3(elsewhere: Path, home: Path, arguments: list[str]) -> None:
    named = [str(home) if argument == "home" else argument for argument in arguments]
    assert run(elsewhere, *named).returncode == 3


def test_looking_changes_nothing(filled_home: Path) -> None:
    def state() -> list[tuple[str, int, int]]:
        files = sorted(path for path in filled_home.rglob("*"))
        return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]

    before = state()
    assert verifier.verify_home(filled_home, vkey(filled_home)).exit_code == 0
    assert state() == before


def test_a_running_server_can_be_verified(tmp_path: Path) -> None:
    """The newest commits are still in the write-ahead log, which is copied too; the log's thread goes on meanwhile."""
    recorder = Recorder.open(tmp_path / "live")
    recorder.log.start(0.01)
    for number in range(30):
        recorder.view(number)
        if number % 10 == 9:
            report = verifier.verify_home(recorder.home, recorder.log.vkey, patience=10)
            assert (report.exit_code, report.size) == (0, number + 1), report.render()
    assert (recorder.home / "specimg.db-wal").stat().st_size > 0
    recorder.log.stop()
    recorder.database.close()

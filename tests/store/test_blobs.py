"""Content-addressed files: whole or not there, once, private; and folders that vanish with their owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from specimg.digest import Digest, digest
from specimg.errors import StoreError
from specimg.store.blobs import Blobs
from specimg.store.staging import Staging


def test_bytes_lie_under_their_sha256(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    name = blobs.put(b"abc")
    # FIPS 180-2, example B.1
    assert name == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path = tmp_path / "ba" / "7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert blobs.path(name) == path
    assert path.read_bytes() == blobs.read(name) == b"abc"
    assert path.stat().st_mode & 0o777 == 0o400
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert name in blobs
    assert list(blobs.digests()) == [name]


def test_the_same_bytes_are_kept_once(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    name = blobs.put(b"abc")
    inode = blobs.path(name).stat().st_ino
    (tmp_path / "file").write_bytes(b"abc")
    assert blobs.put(b"abc") == name
    assert blobs.put_file(tmp_path / "file") == (name, 3)
    assert blobs.path(name).stat().st_ino == inode
    assert not list((tmp_path / "blobs" / "unfinished").iterdir())


def test_a_stored_file_is_a_copy(tmp_path: Path) -> None:
    source = tmp_path / "source"
    data = os.urandom(9_000_001)  # more than two pieces
    source.write_bytes(data)
    blobs = Blobs(tmp_path / "blobs")
    seen: list[int] = []
    name, size = blobs.put_file(source, progress=seen.append)
    source.write_bytes(b"overwritten")
    assert (name, size, sum(seen)) == (digest(data), len(data), len(data))
    assert blobs.read(name) == data


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    assert blobs.read(blobs.put(b"")) == b""


def test_what_is_missing_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="missing"):
        Blobs(tmp_path).read(digest(b"abc"))


@pytest.mark.parametrize("name", ["../../etc/passwd", "sha256:" + "A" * 64, "sha256:../" + "0" * 61])
def test_only_digests_are_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="digest"):
        Blobs(tmp_path).path(Digest(name))


def test_many_threads_put_the_same_bytes(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    found: list[Digest] = []
    threads = [
        threading.Thread(target=lambda: found.extend(blobs.put(bytes([k]) * 99) for k in range(20))) for _ in "1234"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    assert len(list(blobs.digests())) == 20
    assert blobs.sweep() == 0


def test_a_missing_source_leaves_nothing(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    with pytest.raises(FileNotFoundError):
        blobs.put_file(tmp_path / "nothing")
    assert not list((tmp_path / "blobs" / "unfinished").iterdir())


# --- sudden death ---------------------------------------------------------------------------------------------------

_HALF = """
import sys
from pathlib import Path
from specimg.store.blobs import Blobs
from specimg.store.staging import Staging

home = Path(sys.argv[1])
with Blobs(home / "blobs")._temporary() as (descriptor, path), Staging(home).folder() as folder:
    (folder / "half").write_bytes(b"x")
    print("ready", flush=True)
    sys.stdin.read()
"""


def _half_done(home: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", _HALF, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_the_work_of_the_living_is_left_alone_and_that_of_the_dead_swept(tmp_path: Path) -> None:
    process = _half_done(tmp_path)
    blobs, staging = Blobs(tmp_path / "blobs"), Staging(tmp_path)
    assert blobs.sweep() == 0
    with staging.dead() as folders:
        assert folders == []

    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert blobs.sweep() == 1
    with staging.dead() as folders:
        assert [(folder / "half").read_bytes() for folder in folders] == [b"x"]
    assert list(staging.root.iterdir()) == []
    assert list((tmp_path / "blobs" / "unfinished").iterdir()) == []


def test_dead_folders_stay_until_their_removal_is_through(tmp_path: Path) -> None:
    process = _half_done(tmp_path)
    process.kill()
    process.communicate()
    staging = Staging(tmp_path)

    def fail() -> None:
        with staging.dead() as folders:
            assert len(folders) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with staging.dead() as folders:
        assert len(folders) == 1


def test_a_folder_ends_with_its_block(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    with staging.folder() as folder:
        (folder / "file").touch()
        assert folder.stat().st_mode & 0o077 == 0
    assert list(staging.root.iterdir()) == []

"""kill -9, again and again: what was acknowledged is there, the log verifies, and going on needs no repair."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audit.recording import Recorder
from specimg.audit.verify import verify_home

WRITER = """
import sys
from pathlib import Path
from specimg.access import Actor
from specimg.audit import entry as entries
from specimg.audit.log import Log
from specimg.store.database import Database

home, first = Path(sys.argv[1]), int(sys.argv[2])
database = Database.open(home)
log = Log(database, home)
log.start(0.002)
actor = Actor("0b9c4a52-7a0e-4d53-9f0a-3f8f2ad0c001", "x")
print("ready", flush=True)
for number in range(first, first + int(sys.argv[3])):
    with database.transaction() as connection:
        made = entries.image_view(actor, database.clock(), project="p", image=str(number))
        log.append(connection, made)
    print(made.id, flush=True)  # the acknowledgement: only after the commit
    if number % 3 == 0:
        log.sequence()
log.stop()
"""
KILLS = 24


def start(home: Path, first: int, count: int, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(home), str(first), str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def read_until(process: subprocess.Popen[str], lines: int) -> list[str]:
    assert process.stdout is not None
    found = [process.stdout.readline().strip() for _ in range(lines)]
    return [line for line in found if line]


def require_acknowledged(home: Path, acknowledged: list[str]) -> None:
    """After an ordinary start every acknowledged entry has an index, and a stranger finds nothing wrong."""
    again = Recorder.open(home)
    assert again.log.refusal is None
    again.log.sequence()
    for entry_id in acknowledged:
        assert again.log.entry(entry_id).index is not None
    again.database.close()
    report = verify_home(home, (home / "keys" / "log.vkey").read_text(), patience=0)
    assert report.exit_code == 0, report.render()


def test_killed_at_any_moment(tmp_path: Path) -> None:
    home, acknowledged = tmp_path / "home", list[str]()
    moments = random.Random(20261121)
    for kill in range(KILLS):
        with start(home, 1000 * kill, 1000) as process:
            # After a random number of acknowledgements; where inside the next commit that falls, the scheduler decides.
            acknowledged += read_until(process, 1 + moments.randrange(1, 40))[1:]
            process.send_signal(signal.SIGKILL)
            assert process.stdout is not None
            acknowledged += [line for line in process.stdout.read().split("\n") if len(line) == 36]
        assert process.returncode == -signal.SIGKILL
        if kill % 6 == 5:
            require_acknowledged(home, acknowledged)
    assert len(set(acknowledged)) == len(acknowledged) > KILLS
    require_acknowledged(home, acknowledged)


@pytest.mark.parametrize("place", ["audit-before-commit", "audit-before-anchor"])
def test_killed_in_the_middle_of_sequencing(tmp_path: Path, place: str) -> None:
    home, acknowledged = tmp_path / "home", list[str]()
    for attempt in range(3):
        with start(home, 1000 * attempt, 50, SPECIMG_FAIL_AT=place) as process:
            assert process.stdout is not None
            acknowledged += [line for line in process.stdout.read().split("\n") if len(line) == 36]
        assert process.returncode == -signal.SIGKILL
    assert acknowledged
    require_acknowledged(home, acknowledged)


def test_killed_while_the_keys_are_made(tmp_path: Path) -> None:
    """Before the first entry nothing is lost: the next start finishes, whatever was there."""
    for keep in ((), ("log.key",), ("log.key", "log.vkey")):
        home = tmp_path / str(len(keep))
        Recorder.open(home).database.close()
        for path in (home / "keys").iterdir():
            if path.name not in keep:
                path.unlink()
        (home / "keys" / ".new-half").write_text("PRIVATE+KEY+half")
        again = Recorder.open(home)
        again.view()
        again.close()
        assert verify_home(home, again.log.vkey, patience=0).exit_code == 0

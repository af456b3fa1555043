"""``specimg ingest`` killed or stopped on its way: an image is there as a whole, or there is no trace of it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from journeys.running import DEADLINE, SAMPLES, SPECIMG, environment, specimg, sql


def _ingest(home: Path) -> subprocess.Popen[str]:
    command = [str(SPECIMG), "ingest", str(SAMPLES / "ct"), "--project", "interrupted"]
    return subprocess.Popen(
        command,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _stop_once_there_is(pattern: str, home: Path, sent: signal.Signals) -> int:
    """Send a signal to an ingest as soon as a path of this pattern is in the data folder; the exit code."""
    with _ingest(home) as process:
        while process.poll() is None and not any(home.glob(pattern)):
            os.sched_yield()
        if sent is signal.SIGKILL:
            os.killpg(process.pid, sent)  # with its parsing child, as a power cut does
        else:
            process.send_signal(sent)
        said = process.communicate(timeout=DEADLINE)[0]
    assert "Traceback" not in said
    return process.returncode


STAGES = {
    "originals": "originals/*/*",
    "the first piece of pixels": "staging/**/c/**/*",
    "the coarser levels": "staging/**/1/**/zarr.json",
    "the image is in place": "images/*/zarr.json",
}


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_killed_ingest_leaves_all_or_nothing(tmp_path: Path, stage: str) -> None:
    home = tmp_path / "home"
    code = _stop_once_there_is(STAGES[stage], home, signal.SIGKILL)
    # Only the last step is so short that the signal may come after the end.
    assert code == -signal.SIGKILL or (code == 0 and stage == "the image is in place")
    listed = specimg(home, "images").ended(0).out.splitlines()
    assert len(listed) == sql(home, "SELECT count(*) FROM entry WHERE type = 'image.ingest'")[0][0] <= 1
    # And it can be done again, to the same image.
    again = specimg(home, "ingest", SAMPLES / "ct", "--project", "interrupted").ended(0)
    image = again.out.split()[0]
    assert sql(home, "SELECT image_id FROM project_image") == [(image,)]
    assert [path.name for path in (home / "images").iterdir()] == [image]
    specimg(home, "audit", "verify").ended(0)


def test_ctrl_c_stops_an_ingest_without_a_trace(tmp_path: Path) -> None:
    home = tmp_path / "home"
    code = _stop_once_there_is(STAGES["originals"], home, signal.SIGINT)
    assert code == 130
    assert specimg(home, "images").ended(0).out == ""
    specimg(home, "audit", "verify").ended(0)

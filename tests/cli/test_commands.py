"""The command line, run as people run it: another process, its exit code, and what it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest

from specimg import __version__

SPECIMG = (sys.executable, "-m", "specimg.cli")


def specimg(home: Path, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SPECIMG_HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"}
    command = [*SPECIMG, *(str(argument) for argument in arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, input=stdin, timeout=120, check=False
    )


@contextmanager
def served(home: Path, *arguments: str) -> Iterator[tuple[str, list[str]]]:
    """A foreground server on a free port: its address and the lines it printed. Ended by Ctrl-C."""
    environment = {**os.environ, "SPECIMG_HOME": str(home), "PORT": "0", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([*SPECIMG, *arguments], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if "Ctrl-C" in line:
                break
        match = re.search(r"http://127\.0\.0\.1:\d+", "\n".join(lines))
        assert match is not None, lines
        yield match[0], lines
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        process.stdout.close()
    assert process.returncode == 0


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A small NIfTI volume as another program writes it."""
    z, y, x = np.mgrid[:12, :40, :50]
    image = nibabel.Nifti1Image((100 * z + y + x).T.astype(np.int16), np.diag([1.0, 2.0, 3.0, 1.0]))
    path = tmp_path / "scan.nii.gz"
    nibabel.save(image, path)
    return path


def ids(text: str, length: int) -> list[str]:
    return re.findall(rf"\b[0-9a-f-]{{{length}}}\b", text)


def test_version_and_help_answer(tmp_path: Path) -> None:
    assert specimg(tmp_path, "--version").stdout.strip() == __version__
    shown = specimg(tmp_path, "--help")
    assert shown.returncode == 0
    for command in ("demo", "serve", "ingest", "export", "import", "audit", "user", "token"):
        assert f"  {command} " in shown.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["ingest"], ["user", "add"], ["serve", "--port", "x"]])
def test_wrong_usage_is_exit_code_2(tmp_path: Path, arguments: Sequence[str]) -> None:
    assert specimg(tmp_path, *arguments).returncode == 2


def test_from_a_file_to_a_verified_export(tmp_path: Path, volume: Path) -> None:
    home = tmp_path / "home"
    brought = specimg(home, "ingest", volume, "--project", "first")
    assert (brought.returncode, brought.stderr) == (0, "")
    image = ids(brought.stdout, 32)[0]
    again = specimg(home, "ingest", volume, "--project", "first")
    assert "was there already" in again.stdout
    assert image in specimg(home, "images").stdout
    assert specimg(home, "audit", "verify").returncode == 0
    key = specimg(home, "audit", "key").stdout.strip()
    bundle = tmp_path / "log.zip"
    assert specimg(home, "audit", "export", "--output", bundle).returncode == 0
    assert specimg(home, "audit", "verify", "--bundle", bundle, "--key", key).returncode == 0
    other = "specimg.local/other+00000000+AAAA"
    assert specimg(home, "audit", "verify", "--bundle", bundle, "--key", other).returncode in (2, 3)


def test_a_changed_byte_is_found_and_named(tmp_path: Path, volume: Path) -> None:
    home = tmp_path / "home"
    specimg(home, "ingest", volume, "--project", "first")
    original = next(path for path in (home / "originals").rglob("*") if path.is_file() and path.stat().st_size > 100)
    original.chmod(0o600)
    data = bytearray(original.read_bytes())
    data[50] ^= 1
    original.write_bytes(data)
    found = specimg(home, "audit", "verify")
    assert found.returncode == 1
    assert "INVALID" in found.stdout


def test_what_cannot_be_read_is_refused_by_name_and_the_rest_is_in(tmp_path: Path, volume: Path) -> None:
    broken = tmp_path / "broken.nii"
    broken.write_bytes(b"not an image")
    found = specimg(tmp_path / "home", "ingest", broken, volume, "--project", "first")
    assert found.returncode == 1
    assert "broken.nii" in found.stderr
    assert str(tmp_path) not in found.stderr
    assert ids(found.stdout, 32)


def test_a_person_is_added_with_a_password_of_their_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert specimg(home, "project", "add", "first").returncode == 0
    weak = specimg(home, "user", "add", "anna", "--project", "first", "--password-stdin", stdin="short\n")
    assert (weak.returncode, "12" in weak.stderr, "Traceback" in weak.stderr) == (1, True, False)
    good = specimg(home, "user", "add", "anna", "--project", "first", "--password-stdin", stdin="a long password\n")
    assert good.returncode == 0
    assert "a long password" not in good.stdout + good.stderr
    assert specimg(home, "user", "add", "anna", "--password-stdin", stdin="a long password\n").returncode == 1
    assert specimg(home, "user", "role", "anna", "--project", "first", "--role", "king").returncode == 1
    assert specimg(home, "user", "role", "anna", "--project", "first", "--role", "viewer").returncode == 0
    token = specimg(home, "token", "add", "anna", "--days", "1").stdout
    assert "specimg_" in token
    assert specimg(home, "token", "revoke", ids(token, 36)[0]).returncode == 0


def test_plain_http_for_everybody_takes_a_word_of_consent(tmp_path: Path) -> None:
    refused = specimg(tmp_path / "home", "serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 1
    assert "--insecure-http" in refused.stderr
    assert not (tmp_path / "home" / "specimg.db").exists()


def test_a_second_server_on_one_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with served(tmp_path / "home", "serve") as (url, _):
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}
        second = specimg(tmp_path / "home", "serve", "--port", "0")
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        taken = specimg(tmp_path / "other", "serve", "--port", url.rsplit(":", 1)[1])
        assert taken.returncode == 1
        assert "cannot listen" in taken.stderr
        # The command line works beside a running server.
        assert specimg(tmp_path / "home", "project", "add", "beside").returncode == 0


def test_the_demo_has_images_labels_and_a_login_and_keeps_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    printed: list[list[str]] = []
    images: list[dict[str, Any]] = []
    for _ in range(2):
        with served(home, "demo") as (url, lines), httpx.Client(base_url=url, timeout=60) as client:
            printed.append([line for line in lines if "Log in" in line])
            match = re.search(r"Log in as (\S+) with the password (\S+)", "\n".join(lines))
            assert match is not None
            headers = {"X-Specimg": "1", "Origin": url}
            me = client.post("/api/login", json={"name": match[1], "password": match[2]}, headers=headers).json()
            project = me["projects"][0]
            assert (project["name"], project["role"]) == ("demo", "admin")
            images = client.get(f"/api/projects/{project['id']}/images").json()
            assert sorted((i["kind"], i["modality"], i["segmentations"]) for i in images) == [
                ("raster", "SAR", 0),
                ("volume", "CT", 1),
                ("volume", "MR", 1),
            ]
    assert printed[0] == printed[1]
    login = home / "demo-login.txt"
    assert login.stat().st_mode & 0o777 == 0o600
    assert specimg(home, "audit", "verify").returncode == 0
    listed = specimg(home, "images").stdout
    segmentation = ids(listed, 36)[0]
    out = tmp_path / "labels.nii.gz"
    exported = specimg(home, "export", segmentation, "--format", "nifti", "--output", out)
    assert exported.returncode == 0, exported.stderr
    assert len(np.unique(np.asarray(nibabel.load(out).dataobj))) > 20
    assert specimg(home, "export", segmentation, "--format", "nifti", "--output", out).returncode == 1
    image = next(i["id"] for i in images if i["segmentations"] == 1 and i["id"] in listed.split(segmentation)[0][-200:])
    back = specimg(home, "import", out, "--image", image, "--project", "demo", "--name", "back")
    assert back.returncode == 0, back.stderr
    assert "by label" in back.stdout or "by name" in back.stdout

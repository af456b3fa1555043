"""``specimg demo`` on an empty folder, Ctrl-C, and again."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import numpy as np

from journeys.running import DEADLINE, SAMPLES, Running, copy_home, login_of, reference_labels, sql


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def test_it_announces_the_address_and_the_login_that_work(fresh_demo: tuple[Path, str], tmp_path: Path) -> None:
    home, said = fresh_demo
    name, password = login_of(home)
    assert f"Log in as {name} with the password {password}" in said
    assert (home / "demo-login.txt").stat().st_mode & 0o077 == 0
    with Running(copy_home(home, tmp_path / "home"), "demo") as server:
        assert httpx.get(f"{server.url}/health", timeout=DEADLINE).json() == {"status": "ok"}
        with server.login(name, password) as person:
            assert person.me["projects"][0]["role"] == "admin"
        wrong = httpx.post(
            f"{server.url}/api/login",
            json={"name": name, "password": password + "0"},
            headers={"X-Specimg": "1", "Origin": server.url},
            timeout=DEADLINE,
        )
        assert wrong.status_code == 401


def test_it_has_a_ct_a_mr_and_a_radar_scene_and_the_reference_labels(demo: Running) -> None:
    with demo.demo() as person:
        images = person.images()
        assert {m: i["shape"] for m, i in images.items()} == {
            "CT": [20, 512, 512],
            "MR": [20, 91, 117],
            "SAR": [2, 837, 1280],
        }
        for modality in ("CT", "MR"):
            (labels,) = person.get(f"/api/images/{images[modality]['id']}/segmentations")
            np.testing.assert_array_equal(
                person.labels(labels["id"]), reference_labels(SAMPLES / f"{modality.lower()}_labels.nii.gz")
            )


def test_ctrl_c_ends_it_within_seconds_with_success(demo_home: Path) -> None:
    with Running(demo_home, "demo") as server, server.demo() as person:
        person.images()
        # A keep-alive connection is still open: it must not hold the server up.
        assert server.interrupt(seconds=5) == 0
    assert "Traceback" not in "".join(server.said)


def test_a_second_start_keeps_what_is_there_and_ingests_nothing(demo_home: Path) -> None:
    with Running(demo_home, "demo") as server, server.demo() as person:
        ct = person.images()["CT"]["id"]
        mine = person.create(ct, "Mine", "ct")
        person.paint(mine, 0, 5, "AAAAAAoAAAAUAAAAAwAAAA==")  # z 0, y 10, x 20, three voxels
        before = person.images()
        password = login_of(demo_home)
    files = sorted(path for path in demo_home.rglob("*") if path.parts[-3:-2] == ("originals",))
    with Running(demo_home, "demo") as server, server.login(*password) as person:
        assert person.images() == before
        assert {s["name"]: s["head"] for s in person.get(f"/api/images/{ct}/segmentations")} == {
            "Reference": 1,
            "Mine": 1,
        }
        assert person.labels(mine)[0, 10, 19:24].tolist() == [0, 5, 5, 5, 0]
    assert sorted(path for path in demo_home.rglob("*") if path.parts[-3:-2] == ("originals",)) == files
    assert sql(demo_home, "SELECT count(*) FROM entry WHERE type = 'image.ingest'") == [(3,)]
    assert sql(demo_home, "SELECT count(*) FROM entry WHERE type = 'import.read'") == [(2,)]
    assert sql(demo_home, "SELECT count(*) FROM account WHERE name = 'demo'") == [(1,)]


def test_port_and_home_are_those_of_the_environment(demo_home: Path, tmp_path: Path) -> None:
    port = _free_port()
    with Running(demo_home, "demo", port=port) as server:
        assert server.url == f"http://127.0.0.1:{port}"
        assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=DEADLINE).status_code == 200
    # Nothing lies beside the folder it was told.
    assert [path.name for path in tmp_path.iterdir()] == ["home"]

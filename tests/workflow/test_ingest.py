"""Ingest: everything or nothing, once, with a reason for every refusal."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from sqlalchemy import func, select

from image_phantoms import asymmetric
from ingest_world import OPERATOR, OTHER, PROJECT, NpyParser, NpySeries, bring, bring_and_die, seeded
from specimg.access import Actor, Role
from specimg.digest import digest
from specimg.errors import NotFound, NotPermitted, StoreError, TooBusy
from specimg.store import schema
from specimg.store.image import verify
from specimg.store.writer import publish
from specimg.workflow import ingest as module
from specimg.workflow.desk import Desk, Limits, open_desk, sweep
from specimg.workflow.ingest import ingest


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with seeded(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with one series."""
    return npy_folder(tmp_path / "source", head=asymmetric((40, 150, 140)))


def npy_folder(folder: Path, **arrays: Any) -> Path:
    """A folder with a ``.npy`` file for each array."""
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def rows(desk: Desk, table: Any) -> int:
    """How many rows a table has."""
    with desk.database.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def logged(desk: Desk) -> list[str]:
    """Types of all entries, oldest first."""
    desk.log.sequence()
    return [json.loads(entry.leaf)["type"] for entry in reversed(desk.log.entries(limit=1000))]


def files_below(folder: Path) -> list[Path]:
    """Every file."""
    return [path for path in folder.rglob("*") if path.is_file()]


# --- into the project -----------------------------------------------------------------------------------------------


def test_a_nifti_file_becomes_an_image(desk: Desk, tmp_path: Path) -> None:
    voxels = asymmetric((30, 40, 50))  # i, j, k as NIfTI has them
    affine = np.array([[-0.7, 0, 0, 90], [0, 0, 1.5, -120], [0, 0.8, 0, 33], [0, 0, 0, 1.0]])  # coronal, RAS
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "head.nii.gz")

    done = ingest(desk, OPERATOR, tmp_path / "head.nii.gz", PROJECT)

    assert done.refusals == ()
    (found,) = done.images
    assert (found.format, found.already) == ("nifti", False)
    image = desk.images.open(found.image_id)
    np.testing.assert_array_equal(image.read_box((0, 0, 0), image.grid.shape), voxels.T)
    i, j, k = 7, 11, 13
    ras = affine @ (i, j, k, 1)
    np.testing.assert_allclose(image.grid.affine.to_world((k, j, i)), ras[:3] * (-1, -1, 1), atol=1e-4)
    assert [image.id for image, _, _ in desk.images.in_projects([PROJECT])] == [found.image_id]
    original = digest((tmp_path / "head.nii.gz").read_bytes())
    assert list(desk.originals.digests()) == [original]
    with desk.database.reading() as connection:
        assert connection.execute(select(schema.original)).one().size == (tmp_path / "head.nii.gz").stat().st_size
    assert logged(desk) == ["image.ingest"]
    (entry,) = desk.log.entries()
    assert json.loads(entry.leaf)["new_digest"] == image.digest
    assert json.loads(entry.leaf)["actor"]["id"] == OPERATOR.id
    assert b"head" not in entry.leaf


def test_progress_ends_at_the_whole(desk: Desk, source: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def note(phase: str, done: int, total: int) -> None:
        seen.append((phase, done, total))

    ingest(desk, OPERATOR, source, PROJECT, parser=NpyParser, progress=note)
    for phase in ("originals", "pixels"):
        steps = [(done, total) for name, done, total in seen if name == phase]
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1] > 0


def test_the_same_source_again_is_found_without_reading_pixels(desk: Desk, source: Path) -> None:
    (first,) = bring(desk, source).images
    parser = NpyParser()
    (second,) = ingest(desk, OPERATOR, source, PROJECT, parser=lambda: parser).images
    assert (second.image_id, second.already) == (first.image_id, True)
    assert parser.series[0].opened.read_bytes == 0
    assert rows(desk, schema.image) == rows(desk, schema.original) == len(list(desk.originals.digests())) == 1
    assert logged(desk) == ["image.ingest"]


def test_an_image_in_two_projects_is_stored_once(desk: Desk, source: Path) -> None:
    (first,) = bring(desk, source).images
    (second,) = ingest(desk, OPERATOR, source, OTHER, parser=NpyParser).images
    assert (second.image_id, second.already) == (first.image_id, False)
    assert desk.images.projects_of(first.image_id) == [PROJECT, OTHER]
    assert rows(desk, schema.image) == 1
    assert logged(desk) == ["image.ingest", "image.ingest"]


def test_files_that_two_series_share_are_kept_once(desk: Desk, tmp_path: Path) -> None:
    array = asymmetric((5, 20, 30))
    done = bring(desk, npy_folder(tmp_path / "twice", a=array, b=array))
    # Same bytes, but another name and therefore another description: two images, one original.
    assert len({image.image_id for image in done.images}) == 2
    assert rows(desk, schema.original) == 1
    assert rows(desk, schema.image_original) == 2


@pytest.mark.parametrize(("role", "error"), [(None, NotFound), (Role.VIEWER, NotPermitted)])
def test_others_may_not(desk: Desk, source: Path, role: Role | None, error: type[Exception]) -> None:
    stranger = Actor("33333333-3333-4333-8333-333333333333", "x", {} if role is None else {PROJECT: role})

    def never() -> NpyParser:
        raise AssertionError("nothing may be read")

    with pytest.raises(error):
        ingest(desk, stranger, source, PROJECT, parser=never)
    assert rows(desk, schema.image) == 0


def test_many_threads_bring_the_same_source(desk: Desk, source: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.extend(image.image_id for image in bring(desk, source).images))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert logged(desk) == ["image.ingest"]
    assert_whole_or_nothing(desk)


# --- refusals -------------------------------------------------------------------------------------------------------


def test_what_cannot_be_used_is_refused_and_the_rest_goes_in(desk: Desk, tmp_path: Path) -> None:
    damaged = asymmetric((300, 130, 130))
    damaged.flat[0] = -1
    folder = npy_folder(
        tmp_path / "mixed", a_good=asymmetric((5, 6, 7)), b_damaged=damaged, c_good=asymmetric((7, 6, 5))
    )
    (folder / "Mustermann.npy").touch()
    (folder / "notes.txt").write_text("for people")

    done = bring(desk, folder)

    assert [image.name for image in done.images] == ["a_good", "c_good"]
    assert [(r.code, r.file, r.field, r.remedy) for r in done.refusals] == [
        ("unreadable-file", "Mustermann.npy", "header", "Copy it again."),
        ("unreadable-file", "b_damaged.npy", "PixelData", "Copy it again."),
    ]
    assert done.ignored == ("notes.txt",)
    assert sorted(logged(desk)) == ["image.ingest"] * 2 + ["image.refuse"] * 2
    assert not [entry for entry in desk.log.entries() if b"Mustermann" in entry.leaf or b"damaged" in entry.leaf]
    assert len(list(desk.originals.digests())) == 2, "no copy of the refused files is kept"
    assert files_below(desk.staging.root) == []
    assert_whole_or_nothing(desk)


def test_a_source_with_nothing_to_use_is_refused(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "words.nii").write_bytes(b"not an image" * 50)
    done = ingest(desk, OPERATOR, tmp_path / "words.nii", PROJECT)
    assert done.images == ()
    (refusal,) = done.refusals
    assert refusal.file == "words.nii"
    assert refusal.problem
    assert refusal.remedy
    assert str(tmp_path) not in str(refusal)
    assert logged(desk) == ["image.refuse"]


def test_a_path_that_does_not_exist_is_refused(desk: Desk, tmp_path: Path) -> None:
    (refusal,) = ingest(desk, OPERATOR, tmp_path / "nothing", PROJECT).refusals
    assert (refusal.file, refusal.field) == ("nothing", "path")


def test_a_source_above_the_limit_is_refused_before_it_is_read(tmp_path: Path, source: Path) -> None:
    seeded(tmp_path / "home").close()
    with open_desk(tmp_path / "home", limits=Limits(source_bytes=1000)) as desk:
        (refusal,) = bring(desk, source).refusals
    assert refusal.code == "too-large"


def test_a_file_that_changes_while_it_is_read_is_refused(desk: Desk, source: Path) -> None:
    def touch(series: NpySeries) -> None:
        read = series.opened.read

        def read_and_change(start: Any, stop: Any) -> Any:
            os.utime(series.files[0], ns=(1, 1))
            return read(start, stop)

        series.opened.read = read_and_change  # type: ignore[method-assign]  # the scanner writes while we read

    done = ingest(desk, OPERATOR, source, PROJECT, parser=lambda: NpyParser(opened=touch))
    assert done.images == ()
    assert "changed" in done.refusals[0].problem
    assert_whole_or_nothing(desk)


def test_copies_are_dropped_when_one_of_them_fails(desk: Desk, tmp_path: Path) -> None:
    class Broken(NpySeries):
        """A series of three files, one of which is gone when it is copied."""

        def __init__(self, root: Path, file: Path) -> None:
            super().__init__(root, file)
            self.files = (file, root / "gone", root / "more.txt")  # type: ignore[assignment]  # more than one file

    class Parser(NpyParser):
        """Opens it as that."""

        def open(self, root: Path) -> list[NpySeries]:
            self.series = [Broken(root, root / "head.npy")]
            return self.series

    folder = npy_folder(tmp_path / "source", head=asymmetric((5, 6, 7)))
    (folder / "more.txt").write_text("more")
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        ingest(desk, OPERATOR, folder, PROJECT, parser=Parser)
    assert list(desk.originals.digests()) == []
    assert_whole_or_nothing(desk)


def test_a_cancelled_ingest_leaves_nothing(desk: Desk, source: Path) -> None:
    class Enough(Exception):
        pass

    def stop(phase: str, done: int, total: int) -> None:
        if phase == "pixels":
            raise Enough

    with pytest.raises(Enough):
        ingest(desk, OPERATOR, source, PROJECT, parser=NpyParser, progress=stop)
    assert rows(desk, schema.image) == 0
    assert list(desk.originals.digests()) == []
    assert files_below(desk.staging.root) == []


# --- failure stories ------------------------------------------------------------------------------------------------

_PLACES = ["originals", "level-0", "pyramid", "before-publish", "after-publish", "before-commit", "after-commit"]
_RANDOM_KILLS = 12


def assert_whole_or_nothing(desk: Desk) -> None:
    """Folder and rows agree exactly: no image, original or staged file without a row, and every image verifies."""
    with desk.database.reading() as connection:
        images = set(connection.scalars(select(schema.image.c.id)))
        originals = set(connection.scalars(select(schema.original.c.digest)))
        links = set(connection.scalars(select(schema.image_original.c.image_id)))
        visible = set(connection.scalars(select(schema.project_image.c.image_id)))
    assert images == links == visible == {folder.name for folder in desk.images.folder.iterdir()}
    assert originals == set(desk.originals.digests())
    assert all(digest(desk.originals.read(name)) == name for name in originals)
    assert all(verify(desk.images.open(image)) for image in images)
    assert files_below(desk.staging.root) == []
    assert files_below(desk.originals.root / "unfinished") == []
    assert logged(desk).count("image.ingest") == len(images)


def _start(home: Path, source: Path, fail_at: str | None) -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ingest_world"])
    process = context.Process(target=bring_and_die, args=(str(home), str(source), fail_at))
    process.start()
    return process


@pytest.mark.parametrize("place", _PLACES)
def test_killed_at_a_named_place(tmp_path: Path, source: Path, place: str) -> None:
    seeded(tmp_path / "home").close()
    process = _start(tmp_path / "home", source, place)
    process.join(60)
    assert process.exitcode == -9, "it must die at that place"
    with open_desk(tmp_path / "home") as desk:
        assert len(desk.images.in_projects([PROJECT])) == (1 if place == "after-commit" else 0)
        assert_whole_or_nothing(desk)
        (again,) = bring(desk, source).images
        assert again.already == (place == "after-commit")
        assert_whole_or_nothing(desk)
        assert rows(desk, schema.image) == 1


def test_killed_at_any_moment(tmp_path: Path, source: Path) -> None:
    seeded(tmp_path / "home").close()
    moments = random.Random(20261121)
    survived = 0
    for number in range(_RANDOM_KILLS):
        # Another image each time, so that every run has all of its work to do.
        np.save(source / "head.npy", asymmetric((60, 150, 140), seed=number))
        process = _start(tmp_path / "home", source, None)
        process.join(moments.uniform(0.02, 0.8))
        process.kill()
        process.join(60)
        survived += process.exitcode == 0
        with open_desk(tmp_path / "home") as desk:
            before = rows(desk, schema.image)
            assert_whole_or_nothing(desk)
            (again,) = bring(desk, source).images
            assert rows(desk, schema.image) == number + 1 == before + (not again.already)
    assert survived < _RANDOM_KILLS, "some must have been killed"


def test_a_sweep_beside_a_living_ingest_takes_nothing_from_it(desk: Desk, tmp_path: Path, monkeypatch: Any) -> None:
    source = npy_folder(tmp_path / "source", head=asymmetric((9, 8, 7)))

    def die(place: str) -> None:
        other = npy_folder(tmp_path / f"other-{place}", other=asymmetric((5, 6, 7)))
        process = _start(desk.home, other, place)
        process.join(60)

    swept: list[list[str]] = []

    def publish_then_sweep(*arguments: Any) -> Path:
        target = publish(*arguments)
        if not swept:
            die("after-publish")
            with open_desk(desk.home) as beside:
                swept.append(sorted(folder.name for folder in beside.images.folder.iterdir()))
        return target

    monkeypatch.setattr(module, "publish", publish_then_sweep)

    (found,) = bring(desk, source).images

    assert swept == [[]], "the sweep took our image, which had no row yet: it was written again"
    assert desk.images.open(found.image_id).read_plane("z", 0).shape == (8, 7)
    assert_whole_or_nothing(desk)


def test_sweeping_a_quiet_folder_touches_nothing(desk: Desk, source: Path) -> None:
    bring(desk, source)
    (desk.images.folder / "unknown").mkdir()
    assert sweep(desk) == []
    assert (desk.images.folder / "unknown").is_dir(), "without a death nothing is looked for"


_FULL = """
import sys
from pathlib import Path
from ingest_world import PROJECT, bring, seeded
from specimg.errors import StoreError

home, source = map(Path, sys.argv[1:])
with seeded(home) as desk:
    try:
        bring(desk, source)
    except StoreError as error:
        print(error)
    images = list(desk.images.folder.iterdir())
    print(len(desk.images.in_projects([PROJECT])), len(list(desk.originals.digests())), len(images))
"""


@pytest.mark.parametrize("megabytes", [3, 9])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, megabytes: int) -> None:
    """A file system with room for the database only, or for the database and the originals."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting a small file system needs root and unshare (Debian package util-linux)")
    source = npy_folder(tmp_path / "source", head=np.random.default_rng(1).integers(0, 2**15, (70, 200, 200), np.int16))
    (tmp_path / "home").mkdir()
    mount = f'mount -t tmpfs -o size={megabytes}m tmpfs {tmp_path / "home"} || exit 77; exec "$@"'
    command = [
        "unshare",
        "-m",
        "sh",
        "-c",
        mount,
        "sh",
        sys.executable,
        "-c",
        _FULL,
        str(tmp_path / "home"),
        str(source),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    if done.returncode in (1, 77) and "mount" in done.stderr:
        pytest.skip("this machine does not let tests mount a file system")
    assert done.returncode == 0, done.stderr[-2000:]
    message, counts = done.stdout.splitlines()
    assert "full" in message
    assert counts == "0 0 0"


# --- one server ------------------------------------------------------------------------------------------------------


def test_a_folder_has_one_server_and_a_command_line_beside_it(tmp_path: Path, source: Path) -> None:
    with open_desk(tmp_path / "home", server=True):
        with pytest.raises(TooBusy, match="another specimg server"):
            open_desk(tmp_path / "home", server=True)
        with seeded(tmp_path / "home") as beside:
            assert len(bring(beside, source).images) == 1
    open_desk(tmp_path / "home", server=True).close()


def test_a_log_that_refuses_to_write_stops_ingest_before_it_begins(desk: Desk, source: Path) -> None:
    desk.log.refusal = "the log is older than its anchor"
    with pytest.raises(StoreError, match="anchor"):
        bring(desk, source)
    assert files_below(desk.originals.root) == []

"""What specimg does not take, and from whom: said with file, field and remedy, and nothing left behind."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from journeys.running import SAMPLES, Running, spans, specimg, sql

PATIENT = "Sauerbruch^Ferdinand"
BORN = "18750703"


def _no_pixels(folder: Path) -> Path:
    """A series whose files end amid the pixels, of somebody with a name."""
    target = folder / PATIENT
    target.mkdir()
    for number, source in enumerate(sorted((SAMPLES / "ct").iterdir())[:4]):
        file = pydicom.dcmread(source)
        file.PatientName, file.PatientBirthDate, file.PatientID = PATIENT, BORN, "PID-4711"
        path = target / f"{number}.dcm"
        file.save_as(path)
        path.write_bytes(path.read_bytes()[:-60_000])
    return target


def _one_place_twice(folder: Path) -> Path:
    """Three slices at two places: neither a volume nor one that moves."""
    target = folder / "doubled"
    target.mkdir()
    for number, source in enumerate(sorted((SAMPLES / "ct").iterdir())[:3]):
        file = pydicom.dcmread(source)
        file.PatientName, file.PatientBirthDate = PATIENT, BORN
        uid = f"{file.file_meta.MediaStorageSOPInstanceUID}.{number}"
        file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = uid
        file.SeriesInstanceUID = "1.2.3.4"
        file.ImagePositionPatient = [0, 0, 2.0 * (number // 2)]
        file.save_as(target / f"{number}.dcm")
    return target


def _nifti_of_colours(folder: Path) -> Path:
    """A NIfTI of a type that is no grey value: RGB."""
    colours = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    path = folder / "rgb.nii"
    nib.save(nib.Nifti1Image(colours, np.eye(4)), path)
    return path


def _nifti_cut_short(folder: Path) -> Path:
    """Half of a download."""
    whole = (SAMPLES / "mr" / "abdomen_mr.nii.gz").read_bytes()
    path = folder / "cut.nii.gz"
    path.write_bytes(whole[: len(whole) // 2])
    return path


def _nifti_without_space(folder: Path) -> Path:
    """A header that says nothing of where its voxels are, with a singular matrix instead."""
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4))
    image.header.set_sform(np.diag([1.0, 0.0, 1.0, 1.0]), code=1)
    path = folder / "flat.nii"
    nib.save(image, path)
    data = bytearray(path.read_bytes())
    data[280:328] = np.diag([1.0, 0.0, 1.0, 1.0]).astype("<f4")[:3].tobytes()  # srow_x … srow_z of NIfTI-1
    path.write_bytes(bytes(data))
    return path


def _slc_product(folder: Path) -> Path:
    """A Sentinel-1 product of complex samples, by its name."""
    path = folder / "S1A_IW_SLC__1SDV_20180716T004042_20180716T004107_022812_02792A_FD5B.SAFE"
    (path / "measurement").mkdir(parents=True)
    shutil.copyfile(SAMPLES / "sar" / "iw-vv.tiff", path / "measurement" / "iw-vv.tiff")
    (path / "manifest.safe").write_text("<xfdu:XFDU xmlns:xfdu='urn:ccsds:schema:xfdu:1'/>")
    return path


def _text(folder: Path) -> Path:
    """No image at all."""
    path = folder / "notes.txt"
    path.write_text("the liver looks fine")
    return path


def _climbing_archive(folder: Path) -> Path:
    """An archive that climbs out of its folder."""
    path = folder / "climbing.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../outside.nii", b"x" * 400)
    return path


ODD: list[Callable[[Path], Path]] = [
    _no_pixels,
    _one_place_twice,
    _nifti_of_colours,
    _nifti_cut_short,
    _nifti_without_space,
    _slc_product,
    _text,
    _climbing_archive,
]


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that nothing gets into."""
    return tmp_path_factory.mktemp("tried") / "home"


@pytest.mark.parametrize("make", ODD)
def test_an_odd_file_is_refused_with_a_remedy_and_leaves_nothing(
    make: Callable[[Path], Path], tmp_path: Path, tried: Path
) -> None:
    source, home = tmp_path / "source", tried
    source.mkdir()
    odd = make(source)
    told = specimg(home, "ingest", odd, "--project", "tried").ended(1)
    refusals = [line for line in told.err.splitlines() if line.startswith("refused ")]
    assert refusals, repr(told)
    for line in refusals:
        # refused FILE: field: what is wrong. What to do.
        assert re.fullmatch(r"refused [^:]+: .+\. ?.*\.", line), line
    said = told.out + told.err
    assert "Traceback" not in said
    for secret in ("Sauerbruch", BORN, "PID-4711", str(tmp_path), str(SAMPLES)):
        assert secret not in said, f"{secret} is said in {said}"
    assert sql(home, "SELECT count(*) FROM image") == [(0,)]
    assert sql(home, "SELECT count(*) FROM project_image") == [(0,)]
    assert not any((home / "images").iterdir())
    assert not any((home / "staging").iterdir())
    assert not any(path.is_file() for path in (home / "originals").rglob("*"))
    leaves = [json.loads(leaf) for (leaf,) in sql(home, "SELECT leaf FROM entry WHERE type = 'image.refuse'")]
    for leaf in leaves:
        assert "Sauerbruch" not in json.dumps(leaf)


def test_a_bad_file_beside_a_good_one_does_not_keep_it_out(tmp_path: Path) -> None:
    source, home = tmp_path / "source", tmp_path / "home"
    source.mkdir()
    _nifti_cut_short(source)
    shutil.copyfile(SAMPLES / "mr" / "abdomen_mr.nii.gz", source / "mr.nii.gz")
    told = specimg(home, "ingest", source, "--project", "tried").ended(1)
    assert "cut.nii.gz" in told.err
    assert len(specimg(home, "images").ended(0).out.splitlines()) == 1
    assert sql(home, "SELECT count(*) FROM image") == [(1,)]
    specimg(home, "audit", "verify").ended(0)


def test_a_path_that_is_not_there_is_wrong_usage_not_a_crash(tmp_path: Path) -> None:
    told = specimg(tmp_path / "home", "ingest", "nothing-here.nii", "--project", "tried", cwd=tmp_path)
    assert told.code in (1, 2)
    assert "nothing-here.nii" in told.err
    assert "Traceback" not in told.err


def test_a_viewer_looks_and_writes_nothing(demo_home: Path) -> None:
    add = ("user", "add", "vera", "--project", "demo", "--role", "viewer", "--password-stdin")
    specimg(demo_home, *add, input="only looking, thank you\n").ended(0)
    with Running(demo_home) as server, server.login("vera", "only looking, thank you") as vera:
        image = vera.images()["CT"]["id"]
        ((reference),) = vera.get(f"/api/images/{image}/segmentations")
        before = vera.get(f"/api/segmentations/{reference['id']}/chunks")
        assert vera.labels(reference["id"]).any()
        edit = {
            "base": 1,
            "tool": "brush",
            "params": {},
            "voxels": [{"label": 1, "over": None, "spans": spans([(0, 0, 0, 3)])}],
        }
        writes = (
            (f"/api/segmentations/{reference['id']}/edits", edit),
            (f"/api/segmentations/{reference['id']}/edits/1/revert", {"base": 1}),
            (f"/api/segmentations/{reference['id']}/restore", {"version": 0, "base": 1}),
            (
                f"/api/projects/{vera.project}/segmentations",
                {"image_id": image, "name": "Mine", "ontology_id": f"{vera.project}-ct"},
            ),
            (
                f"/api/segmentations/{reference['id']}/proposals",
                {"model": "click", "prompts": [{"kind": "point", "points": [[10.0, 250.0, 250.0]]}]},
            ),
        )
        for path, body in writes:
            assert vera.post(path, body, status=403)["code"] == "not-permitted", path
        ontology = vera.http.put(
            f"/api/projects/{vera.project}/ontologies/{vera.project}-ct", json={"name": "x", "classes": [], "base": 1}
        )
        assert ontology.status_code == 403
        assert vera.get(f"/api/segmentations/{reference['id']}/chunks") == before
        assert vera.get(f"/api/segmentations/{reference['id']}")["head"] == 1


def test_nobody_sees_nothing(demo: Running) -> None:
    with demo.demo() as person, demo.client() as stranger:
        image = person.images()["CT"]["id"]
        for path in (
            f"/api/projects/{person.project}/images",
            f"/api/images/{image}",
            f"/api/images/{image}/zarr/zarr.json",
            "/api/audit/entries",
        ):
            answer = stranger.get(path)
            assert (answer.status_code, answer.json()["status"]) == (401, 401), path
            assert image not in answer.text

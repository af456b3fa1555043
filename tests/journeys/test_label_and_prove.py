"""A CT from first stroke to proof: labelled over HTTP, exported for other programs, verified, and one byte changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
import SimpleITK as sitk
from scipy import ndimage

from journeys.running import (
    SAMPLES,
    Person,
    Running,
    copy_home,
    disc,
    flipped,
    mask_of,
    reference_labels,
    spans_of,
    specimg,
    sql,
)

SHAPE = (20, 512, 512)
SPLEEN, LIVER = 1, 5
Labels = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Journey:
    """What was done, as the test itself keeps count of it. ``versions[v]`` is what version v must hold."""

    home: Path
    files: Path
    segmentation: str
    scattered: str
    receipts: tuple[dict[str, Any], ...]
    versions: tuple[Labels, ...]
    dice: float
    classes: dict[str, int]
    read_back: dict[int, Labels]

    @property
    def final(self) -> Labels:
        """The head."""
        return self.versions[-1]


@pytest.fixture(scope="module")
def journey(fresh_demo: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """Label the demo's CT and export it, all over HTTP; the server is stopped when the tests look."""
    folder = tmp_path_factory.mktemp("label")
    home, files = copy_home(fresh_demo[0], folder / "home"), folder / "files"
    files.mkdir()
    with Running(home) as server, server.demo() as person:
        made = _label(person, home, files)
        (files / "vkey.txt").write_text(person.get("/api/audit/key")["vkey"])
        person.export(made.segmentation, "dicom-seg", files / "http.dcm")
        person.export(made.segmentation, "nifti", files / "http.nii.gz")
        # Beside the running server, as an operator does it.
        for format, name in (("dicom-seg", "cli.dcm"), ("nifti", "cli.nii.gz")):
            specimg(home, "export", made.segmentation, "--format", format, "--output", files / name).ended(0)
        specimg(home, "audit", "verify").ended(0)
    yield made
    shutil.rmtree(folder, ignore_errors=True)


def _label(person: Person, home: Path, files: Path) -> Journey:
    image = person.images()["CT"]["id"]
    segmentation = person.create(image, "By hand and by click", "ct")
    versions: list[Labels] = [np.zeros(SHAPE, np.uint16)]
    receipts = []

    def record(receipt: dict[str, Any], labels: Labels) -> None:
        assert receipt["version"] == len(versions)
        receipts.append(receipt)
        versions.append(labels)

    strokes = [disc(SHAPE, z, 230 + 5 * z, 300, 12.5) for z in (8, 9, 10)]
    for stroke in strokes:
        labels = versions[-1].copy()
        labels[stroke] = SPLEEN
        record(person.paint(segmentation, len(versions) - 1, SPLEEN, spans_of(stroke)), labels)

    liver = reference_labels(SAMPLES / "ct_labels.nii.gz") == LIVER
    deepest = np.unravel_index(np.argmax(ndimage.distance_transform_edt(liver, (2.0, 0.9766, 0.9766))), SHAPE)
    proposal = person.post(
        f"/api/segmentations/{segmentation}/proposals",
        {"model": "click", "prompts": [{"kind": "point", "positive": True, "points": [[float(i) for i in deepest]]}]},
    )
    proposed = mask_of(proposal["spans"], SHAPE)
    labels = versions[-1].copy()
    labels[proposed & (labels == 0)] = LIVER
    body = {"base": len(versions) - 1, "label": LIVER, "over": [0]}
    record(person.post(f"/api/proposals/{proposal['id']}/accept", body), labels)

    labels = versions[-1].copy()
    labels[strokes[1]] = 0
    record(person.post(f"/api/segmentations/{segmentation}/edits/2/revert", {"base": len(versions) - 1}), labels)

    classes = {c["name"]: c["label"] for c in person.get(f"/api/segmentations/{segmentation}")["ontology"]["classes"]}
    return Journey(
        home=home,
        files=files,
        segmentation=segmentation,
        scattered=_scatter(person),
        receipts=tuple(receipts),
        versions=tuple(versions),
        dice=2 * np.count_nonzero(proposed & liver) / (np.count_nonzero(proposed) + np.count_nonzero(liver)),
        classes=classes,
        read_back={v: person.labels(f"{segmentation}@{v}") for v in range(1, len(versions))},
    )


def _scatter(person: Person) -> str:
    """A segmentation of the radar scene whose one chunk does not compress, so that it is a file and not a row."""
    random = np.random.default_rng(20261121)
    numbers = random.choice(np.arange(1, 65_536), 600, replace=False)
    classes = [{"label": int(n), "name": f"class {n}", "color": "#808080"} for n in numbers]
    answer = person.http.put(
        f"/api/projects/{person.project}/ontologies/{person.project}-many",
        json={"name": "Many", "classes": classes, "base": 0},
    )
    assert answer.status_code == 200, answer.text
    segmentation = person.create(person.images()["SAR"]["id"], "Scattered", "many")
    drawn = random.choice(numbers, (1, 256, 256))
    voxels = [{"label": int(n), "over": None, "spans": spans_of(drawn == n)} for n in numbers]
    person.edit(segmentation, 0, voxels=voxels)
    return segmentation


# Labels ----------------------------------------------------------------------------------------------------------------


def test_one_click_finds_the_liver(journey: Journey) -> None:
    assert journey.dice > 0.5, f"Dice of the accepted proposal against the reference is {journey.dice:.3f}"


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_zarr_python_reads_every_version_as_it_was(journey: Journey, version: int) -> None:
    np.testing.assert_array_equal(journey.read_back[version], journey.versions[version])


def test_the_reverted_stroke_is_gone_and_nothing_else(journey: Journey) -> None:
    assert journey.final[9, 230 + 45, 300] == 0
    assert (journey.final[8] == SPLEEN).any()
    assert (journey.final[10] == SPLEEN).any()
    assert journey.receipts[-1]["voxels"] == journey.receipts[1]["voxels"]


def test_all_of_it_is_there_after_a_restart(journey: Journey, tmp_path: Path) -> None:
    with Running(copy_home(journey.home, tmp_path / "home")) as server, server.demo() as person:
        np.testing.assert_array_equal(person.labels(journey.segmentation), journey.final)
        history = person.get(f"/api/segmentations/{journey.segmentation}/edits")
    assert [edit["version"] for edit in history] == [5, 4, 3, 2, 1]
    assert {edit["actor"]["name"] for edit in history} == {"demo"}
    assert [edit["entry_id"] for edit in reversed(history)] == [receipt["entry_id"] for receipt in journey.receipts]


# Files of other programs -----------------------------------------------------------------------------------------------

Placed = tuple[npt.NDArray[Any], npt.NDArray[np.float64]]
"""Labels and the affine from their index to world millimetres (LPS)."""


def _by_nibabel(path: Path) -> Placed:
    image = nib.load(path)
    return np.asarray(image.dataobj), np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine


def _by_simpleitk(path: Path) -> Placed:
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), affine


def _by_highdicom(path: Path, classes: dict[str, int]) -> Placed:
    read = hd.seg.segread(path)
    volume = read.get_volume(combine_segments=True, skip_overlap_checks=True)
    number_to_label = np.zeros(read.number_of_segments + 1, np.uint16)
    for number in read.segment_numbers:
        number_to_label[number] = classes[read.get_segment_description(number).segment_label]
    return number_to_label[volume.array], volume.affine


def _by_pydicom(path: Path, classes: dict[str, int]) -> Placed:
    """By the attributes alone, frame by frame (PS3.3 C.7.6.2.1.1): no reader of segmentations is trusted."""
    file = pydicom.dcmread(path)
    (shared,) = file.SharedFunctionalGroupsSequence
    rows, columns = (np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient[i : i + 3]) for i in (0, 3))
    down, across = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    names = {s.SegmentNumber: classes[s.SegmentLabel] for s in file.SegmentSequence}
    frames = file.pixel_array.reshape(-1, file.Rows, file.Columns)
    labels, affine = np.zeros(SHAPE[::-1], np.uint16), np.eye(4)
    affine[:3, :3] = np.stack([rows * across, columns * down, np.array([0, 0, 2.0])], axis=1)
    affine[:3, 3] = (-249.51171875, -437.51171875, -804.5)
    for frame, groups in zip(frames, file.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array([*groups.PlanePositionSequence[0].ImagePositionPatient, 1.0], float)
        x, y, z, _ = np.round(np.linalg.solve(affine, position)).astype(int)
        part = labels[x : x + file.Columns, y : y + file.Rows, z]
        part[frame.T > 0] = names[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
    return labels, affine


def _world(placed: Placed) -> npt.NDArray[np.float64]:
    """(n, 4): label and position of every labelled voxel to a thousandth of a millimetre, in an order of its own."""
    labels, affine = placed
    index = np.argwhere(labels)
    position = np.round(index @ affine[:3, :3].T + affine[:3, 3], 3) + 0.0
    rows = np.column_stack([labels[tuple(index.T)], position])
    return rows[np.lexsort(rows.T)]


def _expected(journey: Journey) -> npt.NDArray[np.float64]:
    """From the CT's own files: pydicom's first slice places the grid (PS3.3 C.7.6.2.1.1)."""
    slices = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted((SAMPLES / "ct").iterdir())]
    slices.sort(key=lambda s: float(s.ImagePositionPatient[2]))
    down, across = map(float, slices[0].PixelSpacing)
    affine = np.diag([across, down, 2.0, 1.0])
    affine[:3, 3] = slices[0].ImagePositionPatient
    assert [*map(float, slices[0].ImageOrientationPatient)] == [1, 0, 0, 0, 1, 0]
    return _world((journey.final.transpose(2, 1, 0), affine))


READERS: dict[str, tuple[str, Callable[[Path, dict[str, int]], Placed]]] = {
    "nibabel": ("nii.gz", lambda path, _: _by_nibabel(path)),
    "SimpleITK": ("nii.gz", lambda path, _: _by_simpleitk(path)),
    "highdicom": ("dcm", _by_highdicom),
    "pydicom": ("dcm", _by_pydicom),
}


@pytest.mark.parametrize("way", ["cli", "http"])
@pytest.mark.parametrize("reader", list(READERS))
def test_every_reader_finds_each_voxel_where_it_was_painted(journey: Journey, way: str, reader: str) -> None:
    suffix, read = READERS[reader]
    found = _world(read(journey.files / f"{way}.{suffix}", journey.classes))
    np.testing.assert_allclose(found, _expected(journey), atol=2e-3)


@pytest.mark.parametrize("file", ["cli.dcm", "cli.nii.gz"])
def test_a_file_of_its_own_comes_back_voxel_by_voxel(journey: Journey, tmp_path: Path, file: str) -> None:
    home = copy_home(journey.home, tmp_path / "home")
    ((image,),) = sql(home, "SELECT image_id FROM segmentation WHERE id = ?", journey.segmentation)
    words = ("import", journey.files / file, "--image", image, "--project", "demo", "--name", "Back")
    told = specimg(home, *words).ended(0)
    made, voxels, _ = told.out.splitlines()[-1].split()
    assert int(voxels) == np.count_nonzero(journey.final)
    with Running(home) as server, server.demo() as person:
        np.testing.assert_array_equal(person.labels(made), journey.final)
    specimg(home, "audit", "verify").ended(0)


# Proof -----------------------------------------------------------------------------------------------------------------


def test_the_folder_verifies(journey: Journey) -> None:
    told = specimg(journey.home, "audit", "verify", "--key", journey.files / "vkey.txt").ended(0)
    assert "VALID" in told.out


def test_the_bundle_verifies_where_there_is_nothing_but_the_key(journey: Journey, tmp_path: Path) -> None:
    bundle, elsewhere, key = tmp_path / "log.zip", tmp_path / "elsewhere", (journey.files / "vkey.txt").read_text()
    specimg(copy_home(journey.home, tmp_path / "home"), "audit", "export", "--output", bundle).ended(0)
    shutil.rmtree(tmp_path / "home")
    assert "VALID" in specimg(elsewhere, "audit", "verify", "--bundle", bundle, "--key", key).ended(0).out
    assert not elsewhere.exists()
    other = key[:-3] + ("A" if key[-3] != "A" else "B") + key[-2:]
    assert specimg(elsewhere, "audit", "verify", "--bundle", bundle, "--key", other).code != 0


Spoil = Callable[[Path, Journey], tuple[str, ...]]
"""Changes one byte of a data folder and says what the verifier must name."""


def _edit_of(home: Path, segmentation: str, version: int) -> tuple[str, int]:
    ((entry, index),) = sql(
        home,
        'SELECT e.entry_id, l."index" FROM edit e JOIN entry l ON l.id = e.entry_id '
        "WHERE e.segmentation_id = ? AND e.version = ?",
        segmentation,
        version,
    )
    return entry, index


def _blob_row(home: Path, journey: Journey) -> tuple[str, ...]:
    digest, data, version = sql(
        home,
        "SELECT b.digest, b.bytes, v.version FROM blob b JOIN chunk_version v ON v.blob = b.digest "
        "WHERE v.segmentation_id = ? AND b.bytes IS NOT NULL ORDER BY v.version, v.chunk LIMIT 1",
        journey.segmentation,
    )[0]
    sql(home, "UPDATE blob SET bytes = ? WHERE digest = ?", flipped(data), digest)
    entry, index = _edit_of(home, journey.segmentation, version)
    return digest, entry, f"entry {index}", f"segmentation {journey.segmentation} version {version}"


def _blob_file(home: Path, journey: Journey) -> tuple[str, ...]:
    ((digest,),) = sql(home, "SELECT digest FROM blob WHERE bytes IS NULL")
    path = home / "blobs" / digest[7:9] / digest[9:]
    assert path.stat().st_size >= 64 * 1024
    _flip(path)
    entry, index = _edit_of(home, journey.scattered, 1)
    return digest, entry, f"entry {index}", f"segmentation {journey.scattered} version 1"


def _entry_row(home: Path, journey: Journey) -> tuple[str, ...]:
    _, index = _edit_of(home, journey.segmentation, 3)
    ((leaf,),) = sql(home, 'SELECT leaf FROM entry WHERE "index" = ?', index)
    sql(home, 'UPDATE entry SET leaf = ? WHERE "index" = ?', flipped(leaf), index)
    return (f"entry {index}",)


def _edit_row(home: Path, journey: Journey) -> tuple[str, ...]:
    sql(home, "UPDATE edit SET tool = 'crush' WHERE segmentation_id = ? AND version = 2", journey.segmentation)
    entry, index = _edit_of(home, journey.segmentation, 2)
    return entry, f"entry {index}", f"segmentation {journey.segmentation} version 2"


def _edit_author(home: Path, journey: Journey) -> tuple[str, ...]:
    ((actor,),) = sql(home, "SELECT actor_id FROM edit WHERE segmentation_id = ? AND version = 3", journey.segmentation)
    other = actor[:-1] + ("0" if actor[-1] != "0" else "1")
    sql(home, "UPDATE edit SET actor_id = ? WHERE segmentation_id = ? AND version = 3", other, journey.segmentation)
    entry, index = _edit_of(home, journey.segmentation, 3)
    return entry, f"entry {index}", f"segmentation {journey.segmentation} version 3"


def _original(home: Path, journey: Journey) -> tuple[str, ...]:
    image, digest, entry, index = sql(
        home,
        'SELECT o.image_id, o.digest, e.id, e."index" FROM image_original o '
        "JOIN entry e ON e.object_id = o.image_id AND e.type = 'image.ingest' WHERE o.position = 7 LIMIT 1",
    )[0]
    _flip(home / "originals" / digest[7:9] / digest[9:])
    return image, digest, entry, f"entry {index}"


def _image_chunk(home: Path, journey: Journey) -> tuple[str, ...]:
    ((image, entry, index),) = sql(
        home,
        "SELECT i.id, e.id, e.\"index\" FROM image i JOIN entry e ON e.object_id = i.id AND e.type = 'image.ingest' "
        "WHERE i.format = 'dicom'",
    )
    _flip(max((home / "images" / image / "0" / "c").rglob("*"), key=lambda path: path.stat().st_size))
    return image, entry, f"entry {index}"


def _flip(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(flipped(path.read_bytes()))


@pytest.mark.parametrize("spoil", [_blob_row, _blob_file, _entry_row, _edit_row, _edit_author, _original, _image_chunk])
def test_one_byte_changed_is_found_and_named(journey: Journey, tmp_path: Path, spoil: Spoil) -> None:
    home = copy_home(journey.home, tmp_path / "home")
    named = spoil(home, journey)
    told = specimg(home, "audit", "verify", "--key", journey.files / "vkey.txt").ended(1)
    assert "INVALID" in told.out
    worst = [line for line in told.out.splitlines() if line.startswith("invalid:")]
    for name in named:
        assert any(name in line for line in worst), f"{name} is not named in\n{told.out}"

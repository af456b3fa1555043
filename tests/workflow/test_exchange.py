"""Labels out and in, judged by other people's readers on real images: the samples that come with specimg."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import rasterio
import SimpleITK as sitk

import specimg.samples
from label_world import PROJECT, actor, seed_desk
from specimg.access import Role
from specimg.audit.verify import verify_home
from specimg.digest import digest
from specimg.errors import InvalidInput, NotFound, NotPermitted, UnreadableFile
from specimg.formats.base import MaskClass
from specimg.geometry.grid import Grid
from specimg.labels import segmentation as segmentations
from specimg.labels.edit import Edit, ShapePut, Spans, VoxelWrite
from specimg.labels.ontology import LabelClass, Ontology, organs
from specimg.labels.provenance import models_by_label
from specimg.labels.shapes import Shape
from specimg.workflow.annotate import (
    apply_edit,
    change_ontology,
    create_segmentation,
    record_edit,
    restore_version,
    revert_edit,
)
from specimg.workflow.desk import Desk, open_desk
from specimg.workflow.exchange import (
    export_segmentation,
    import_segmentation,
    match_classes,
)
from specimg.workflow.ingest import ingest

SAMPLES = Path(next(iter(specimg.samples.__path__)))
ADA, VIEWER, ADMIN = actor("ada"), actor("vic", Role.VIEWER), actor("root", Role.ADMIN)
OUTSIDER = actor("out", Role.ADMIN, project="another project")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A project with an ontology of numbers, as label maps without names need it."""
    with open_desk(tmp_path_factory.mktemp("data") / "home") as opened:
        seed_desk(opened)
        numbers = [LabelClass(i, f"Structure {i}", f"#{i * 2000:06x}") for i in range(1, 120)]
        change_ontology(opened, ADMIN, project_id=PROJECT, ontology_id="numbers", name="Numbers", classes=numbers)
        yield opened


@pytest.fixture(scope="module")
def ct(desk: Desk) -> str:
    """The sample CT: 20 DICOM files."""
    done = ingest(desk, ADMIN, SAMPLES / "ct", PROJECT)
    assert done.refusals == ()
    return done.images[0].image_id


@pytest.fixture(scope="module")
def mr(desk: Desk) -> str:
    """The sample MR: one NIfTI file."""
    done = ingest(desk, ADMIN, SAMPLES / "mr" / "abdomen_mr.nii.gz", PROJECT)
    assert done.refusals == ()
    return done.images[0].image_id


def read(desk: Desk, segmentation_id: str) -> Any:
    with desk.database.reading() as connection:
        found = segmentations.load(connection, segmentation_id)
        return segmentations.read_box(connection, desk.blobs, found, found.head, (0, 0, 0), found.grid.shape)


def grid_of(desk: Desk, image_id: str) -> Grid:
    return desk.images.open(image_id).grid


def ellipsoid(grid: Grid, center: tuple[float, float, float], radii: tuple[float, float, float]) -> Any:
    """An asymmetric body: off the middle, with a notch towards the largest x."""
    z, y, x = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
    terms = [((i - c) / r) ** 2 for i, c, r in zip((z, y, x), center, radii, strict=True)]
    return (sum(terms) <= 1) & ~((x > center[2]) & (y > center[1]))


def labelled(desk: Desk, image_id: str) -> tuple[str, Any]:
    """A segmentation with two organs in corners of the image."""
    made = create_segmentation(
        desk, ADA, project_id=PROJECT, image_id=image_id, name="Two organs", ontology_id="organs"
    )
    shape = made.grid.shape
    liver = ellipsoid(made.grid, (shape[0] * 0.3, shape[1] * 0.4, shape[2] * 0.2), (4, 20, 12))
    spleen = ellipsoid(made.grid, (shape[0] * 0.7, shape[1] * 0.6, shape[2] * 0.8), (3, 9, 14))
    writes = (VoxelWrite(1, Spans.from_mask(liver)), VoxelWrite(2, Spans.from_mask(spleen)))
    apply_edit(desk, ADA, made.id, Edit(0, "brush", {}, writes))
    return made.id, read(desk, made.id)


# --- out ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", ["ct", "mr"])
def test_nifti_has_the_same_voxels_at_the_same_place(
    desk: Desk, image: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    at, labels = labelled(desk, request.getfixturevalue(image))
    done = export_segmentation(desk, ADA, at, None, "nifti", tmp_path / "labels.nii.gz")
    affine = segmentation_affine(desk, at)

    read_by_itk = sitk.ReadImage(str(done.path))
    assert np.array_equal(sitk.GetArrayFromImage(read_by_itk), labels)
    for z, y, x in np.argwhere(labels)[:: max(1, np.count_nonzero(labels) // 50)].tolist():
        world = read_by_itk.TransformIndexToPhysicalPoint((x, y, z))
        assert world == pytest.approx(affine @ [z, y, x, 1], abs=1e-3)

    read_by_nibabel = nib.load(done.path)
    assert np.array_equal(np.asarray(read_by_nibabel.dataobj).T, labels)
    ras = read_by_nibabel.affine @ [3, 2, 1, 1]
    assert ras[:3] * [-1, -1, 1] == pytest.approx(affine @ [1, 2, 3, 1], abs=1e-3)


def segmentation_affine(desk: Desk, segmentation_id: str) -> Any:
    with desk.database.reading() as connection:
        return segmentations.load(connection, segmentation_id).grid.affine.matrix[:3]


def test_dicom_seg_and_nifti_agree_voxel_for_voxel(desk: Desk, ct: str, tmp_path: Path) -> None:
    at, labels = labelled(desk, ct)
    export_segmentation(desk, ADA, at, None, "dicom-seg", tmp_path / "labels.dcm")
    seg = hd.seg.segread(tmp_path / "labels.dcm")
    by_name = {seg.get_segment_description(n).segment_label: n for n in seg.segment_numbers}
    assert set(by_name) == {"Liver", "Spleen"}
    assert seg.get_segment_description(by_name["Liver"]).segmented_property_type.value == "10200004"
    for name, label in (("Liver", 1), ("Spleen", 2)):
        volume = seg.get_volume(segment_numbers=[by_name[name]], combine_segments=True, relabel=True)
        ours = np.argwhere(labels == label)
        theirs = np.argwhere(volume.array > 0)
        assert len(ours) == len(theirs)
        world = segmentation_affine(desk, at) @ np.c_[ours, np.ones(len(ours))].T
        placed = volume.affine[:3] @ np.c_[theirs, np.ones(len(theirs))].T
        assert np.allclose(_sorted(world.T), _sorted(placed.T), atol=1e-2)


def _sorted(points: Any) -> Any:
    rounded = np.round(points, 1)
    return points[np.lexsort(rounded.T)]


def test_the_entry_names_the_very_file(desk: Desk, ct: str, tmp_path: Path) -> None:
    at, _ = labelled(desk, ct)
    done = export_segmentation(desk, ADA, at, 1, "nifti", tmp_path / "labels.nii.gz")
    leaf = json.loads(desk.log.entry(done.entry_id).leaf)
    assert (leaf["type"], leaf["actor"]["id"]) == ("export.write", ADA.id)
    assert leaf["new_digest"] == done.file == digest(done.path.read_bytes())
    assert leaf["object"] == {"kind": "segmentation", "id": at, "version": 1}


def test_an_old_version_can_be_taken_out(desk: Desk, mr: str, tmp_path: Path) -> None:
    at, labels = labelled(desk, mr)
    apply_edit(desk, ADA, at, Edit(1, "brush", {}, (VoxelWrite(0, Spans.from_mask(labels == 1)),)))
    old = export_segmentation(desk, ADA, at, 1, "nifti", tmp_path / "old.nii.gz")
    new = export_segmentation(desk, ADA, at, None, "nifti", tmp_path / "new.nii.gz")
    assert (old.version, new.version) == (1, 2)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(old.path))), labels)
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(new.path))))) == {0, 2}


def test_polygons_fill_what_is_not_painted_and_boxes_are_told_of(desk: Desk, mr: str, tmp_path: Path) -> None:
    at, labels = labelled(desk, mr)
    where = np.argwhere(labels == 1)
    z = int(where[0][0])
    ring = ((z, 0.0, 0.0), (z, 0.0, 60.0), (z, 90.0, 60.0), (z, 90.0, 0.0))
    shapes = (ShapePut(Shape("a", "polygon", 3, ring)), ShapePut(Shape("b", "box", 3, ((0, 0, 0), (9, 9, 9)))))
    apply_edit(desk, ADA, at, Edit(1, "polygon", {}, shapes=shapes))
    done = export_segmentation(desk, ADA, at, None, "nifti", tmp_path / "labels.nii.gz")
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(done.path)))
    expected = labels.copy()
    inside = np.zeros(labels.shape, bool)
    inside[z, :90, :60] = True
    expected[inside & (labels == 0)] = 3
    assert np.array_equal(voxels, expected)
    assert any("1 boxes, points or lines" in warning for warning in done.warnings)


def test_who_may_take_labels_out(desk: Desk, mr: str, tmp_path: Path) -> None:
    at, _ = labelled(desk, mr)
    for who, refusal in ((VIEWER, NotPermitted), (OUTSIDER, NotFound)):
        with pytest.raises(refusal):
            export_segmentation(desk, who, at, None, "nifti", tmp_path / "labels.nii.gz")
    assert not (tmp_path / "labels.nii.gz").exists()


def test_formats_and_versions_that_are_not_there(desk: Desk, mr: str, tmp_path: Path) -> None:
    at, _ = labelled(desk, mr)
    with pytest.raises(InvalidInput, match="nifti"):
        export_segmentation(desk, ADA, at, None, "mhd", tmp_path / "labels.mhd")
    with pytest.raises(NotFound):
        export_segmentation(desk, ADA, at, 9, "nifti", tmp_path / "labels.nii.gz")


def test_a_model_is_named_where_it_helped(desk: Desk, ct: str, tmp_path: Path) -> None:
    at, labels = labelled(desk, ct)
    spleen = VoxelWrite(3, Spans.from_mask(labels == 2))
    record(desk, at, Edit(1, "model:click", {"model": "click", "model_version": "1.0"}, (spleen,)))
    export_segmentation(desk, ADA, at, None, "dicom-seg", tmp_path / "labels.dcm")
    segments = {s.SegmentLabel: s for s in pydicom.dcmread(tmp_path / "labels.dcm").SegmentSequence}
    assert (segments["Liver"].SegmentAlgorithmType, segments["Liver"].get("SegmentAlgorithmName")) == ("MANUAL", None)
    kidney = segments["Left kidney"]
    assert (kidney.SegmentAlgorithmType, kidney.SegmentAlgorithmName) == ("SEMIAUTOMATIC", "click")
    assert kidney.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "1.0"


def record(desk: Desk, segmentation_id: str, edit: Edit) -> None:
    """An edit as accepting a proposal makes it, but for the proposal."""
    with desk.database.transaction() as connection:
        found = segmentations.load(connection, segmentation_id)
        record_edit(desk, connection, ADA, found, edit)


def test_a_model_is_not_named_for_what_was_taken_back(desk: Desk, mr: str) -> None:
    at, labels = labelled(desk, mr)

    def models(version: int) -> dict[int, tuple[tuple[str, str], ...]]:
        with desk.database.reading() as connection:
            found = segmentations.load(connection, at)
            return models_by_label(connection, desk.blobs, found, version)

    def proposal(base: int, model: str, label: int, where: int) -> Edit:
        params = {"model": model, "model_version": "1"}
        return Edit(base, f"model:{model}", params, (VoxelWrite(label, Spans.from_mask(labels == where)),))

    record(desk, at, proposal(1, "click", 3, 1))
    record(desk, at, proposal(2, "propagate", 3, 2))
    both = {3: (("click", "1"), ("propagate", "1"))}
    assert (models(1), models(2), models(3)) == ({}, {3: (("click", "1"),)}, both)
    revert_edit(desk, ADA, at, 2, base=3)
    assert models(4) == {3: (("propagate", "1"),)}
    revert_edit(desk, ADA, at, 4, base=4)
    assert models(5) == both
    restore_version(desk, ADA, at, 1, base=5)
    assert models(6) == {}
    restore_version(desk, ADA, at, 2, base=6)
    assert models(7) == {3: (("click", "1"),)}
    assert models(3) == both


# --- in -------------------------------------------------------------------------------------------------------------


def test_a_real_label_map_comes_in_voxel_for_voxel(desk: Desk, ct: str) -> None:
    file = SAMPLES / "ct_labels.nii.gz"
    done = import_segmentation(
        desk, ADA, project_id=PROJECT, image_id=ct, name="Reference", path=file, ontology_id="numbers"
    )
    reference = sitk.DICOMOrient(sitk.ReadImage(str(file)), "LPS")
    theirs = sitk.GetArrayFromImage(reference)
    ours = read(desk, done.segmentation.id)
    assert np.array_equal(np.bincount(ours.ravel(), minlength=120), np.bincount(theirs.ravel(), minlength=120))
    assert done.receipt.voxels == np.count_nonzero(theirs)
    assert {match.by for match in done.matches} == {"label"}
    # One voxel of each structure, found again by its world position.
    to_index = np.linalg.inv(np.vstack([segmentation_affine(desk, done.segmentation.id), [0, 0, 0, 1]]))
    for label in np.unique(theirs)[1:].tolist():
        z, y, x = np.argwhere(theirs == label)[0].tolist()
        world = reference.TransformIndexToPhysicalPoint((x, y, z))
        index = np.rint(to_index @ [*world, 1])[:3].astype(int)
        assert ours[tuple(index)] == label


def test_an_import_is_one_edit_that_names_its_file(desk: Desk, mr: str) -> None:
    file = SAMPLES / "mr_labels.nii.gz"
    done = import_segmentation(
        desk, ADA, project_id=PROJECT, image_id=mr, name="Reference", path=file, ontology_id="numbers"
    )
    with desk.database.reading() as connection:
        [edit] = segmentations.history(connection, done.segmentation)
    assert (edit.version, edit.tool, edit.params["file"]) == (1, "import", digest(file.read_bytes()))
    leaf = json.loads(desk.log.entry(done.receipt.entry_id).leaf)
    assert (leaf["type"], leaf["detail"]) == ("import.read", {"file": digest(file.read_bytes())})
    desk.log.sequence()
    report = verify_home(desk.home, desk.log.vkey)
    assert report.exit_code == 0, report


@pytest.mark.parametrize(("format", "suffix"), [("nifti", ".nii.gz"), ("dicom-seg", ".dcm")])
def test_out_and_in_again_is_the_same(desk: Desk, ct: str, tmp_path: Path, format: str, suffix: str) -> None:
    at, labels = labelled(desk, ct)
    file = tmp_path / f"labels{suffix}"
    export_segmentation(desk, ADA, at, None, format, file)
    back = import_segmentation(desk, ADA, project_id=PROJECT, image_id=ct, name="Back", path=file, ontology_id="organs")
    assert np.array_equal(read(desk, back.segmentation.id), labels)


def test_labels_of_another_image_are_refused(desk: Desk, ct: str, mr: str) -> None:
    with pytest.raises(UnreadableFile):
        import_segmentation(desk, ADA, project_id=PROJECT, image_id=ct, name="Wrong", path=SAMPLES / "mr_labels.nii.gz")


def test_a_refused_import_leaves_nothing(desk: Desk, mr: str, tmp_path: Path) -> None:
    with desk.database.reading() as connection:
        before = [s.id for s in segmentations.of_image(connection, mr, [PROJECT])]
    broken = tmp_path / "labels.nii.gz"
    shutil.copy(SAMPLES / "mr_labels.nii.gz", broken)
    broken.chmod(0o600)
    broken.write_bytes(broken.read_bytes()[:4000])
    given: dict[str, Any] = {"project_id": PROJECT, "image_id": mr, "name": "Wrong"}
    with pytest.raises(UnreadableFile):
        import_segmentation(desk, ADA, path=broken, **given)
    with pytest.raises(InvalidInput, match="add them to it"):  # 'organs' has 19 classes, the file 23
        import_segmentation(desk, ADA, path=SAMPLES / "mr_labels.nii.gz", ontology_id="organs", **given)
    for who, refusal in ((VIEWER, NotPermitted), (OUTSIDER, NotFound)):
        with pytest.raises(refusal):
            import_segmentation(desk, who, path=SAMPLES / "mr_labels.nii.gz", **given)
    with pytest.raises(NotFound):
        import_segmentation(desk, ADA, path=SAMPLES / "mr_labels.nii.gz", **given | {"image_id": "missing"})
    with desk.database.reading() as connection:
        assert [s.id for s in segmentations.of_image(connection, mr, [PROJECT])] == before


# --- classes --------------------------------------------------------------------------------------------------------

ORGANS = organs("o")
SNOMED_SPLEEN = ("78961009", "SCT", "Spleen structure")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (MaskClass(7, "Milz", code=SNOMED_SPLEEN), (2, "code")),
        (MaskClass(7, "spleen"), (2, "name")),
        (MaskClass(7, " LEFT KIDNEY "), (3, "name")),
        (MaskClass(4, "label 4"), (4, "label")),
        (MaskClass(4, "Segment_4"), (4, "label")),
        (MaskClass(4, ""), (4, "label")),
        (MaskClass(4, "Thyroid"), None),  # 4 is the right kidney here: the number must not win over the name
        (MaskClass(4, "label 4", code=("1", "99X", "Thyroid")), None),
        (MaskClass(999, "label 999"), None),
    ],
    ids=str,
)
def test_classes_are_matched_by_code_then_name_then_number(found: MaskClass, expected: tuple[int, str] | None) -> None:
    matches, unknown = match_classes([found], ORGANS, {})
    assert [(m.label, m.by) for m in matches] == ([] if expected is None else [expected])
    assert unknown == ((found,) if expected is None else ())


def test_the_callers_choice_comes_first() -> None:
    [match], unknown = match_classes([MaskClass(1, "Liver")], ORGANS, {1: 18})
    assert (match.label, match.by, unknown) == (18, "choice", ())


def test_two_classes_become_one_only_by_choice() -> None:
    both = [MaskClass(1, "Liver"), MaskClass(2, "liver")]
    matches, unknown = match_classes(both, ORGANS, {})
    assert [m.file_label for m in matches] == [1]
    assert unknown == (both[1],)
    matches, unknown = match_classes(both, ORGANS, {2: 1})
    assert [m.label for m in matches] == [1, 1]
    assert unknown == ()


def test_a_name_decides_between_classes_of_one_code() -> None:
    code = ("64033007", "SCT", "Kidney")
    kidneys = Ontology(
        "k",
        1,
        "Kidneys",
        (LabelClass(1, "Left kidney", "#000000", code=code), LabelClass(2, "Right kidney", "#ffffff", code=code)),
    )
    [match], _ = match_classes([MaskClass(9, "right kidney", code=code)], kidneys, {})
    assert (match.label, match.by) == (2, "name")
    assert match_classes([MaskClass(9, "kidney", code=code)], kidneys, {})[0] == ()


# --- radar ----------------------------------------------------------------------------------------------------------

GCP_ROW, GCP_COLUMN, GCP_LON, GCP_LAT = 401.76799140708914, 1024.3598453789386, 76.21386124332238, 10.37834504494814
"""Control point 101 of the sample, as the file has it: rows and columns from the corner of the first pixel (GDAL)."""


@pytest.fixture(scope="module")
def sar(desk: Desk) -> str:
    """The sample radar scene."""
    done = ingest(desk, ADMIN, SAMPLES / "sar", PROJECT)
    return done.images[0].image_id


def drawn(desk: Desk, image_id: str) -> tuple[str, Any]:
    """Painted water and a polygon with a corner on a control point."""
    made = create_segmentation(desk, ADA, project_id=PROJECT, image_id=image_id, name="Coast", ontology_id="numbers")
    water = np.zeros(made.grid.shape, bool)
    water[0, 100:160, 30:90] = True
    y, x = GCP_ROW - 0.5, GCP_COLUMN - 0.5
    polygon = Shape("coast", "polygon", 2, ((0, y, x), (0, y + 30, x + 4), (0, y + 25, x - 40)), attributes={"sure": 1})
    write = VoxelWrite(1, Spans.from_mask(water))
    apply_edit(desk, ADA, made.id, Edit(0, "brush", {}, (write,), (ShapePut(polygon),)))
    return made.id, water


def test_a_raster_mask_lies_on_the_scene_for_gdal(desk: Desk, sar: str, tmp_path: Path) -> None:
    at, water = drawn(desk, sar)
    done = export_segmentation(desk, ADA, at, None, "geotiff", tmp_path / "mask.tif")
    with rasterio.open(done.path) as mask, rasterio.open(SAMPLES / "sar" / "iw-vv.tiff") as scene:
        voxels = mask.read(1)
        assert np.array_equal(voxels == 1, water[0])
        assert np.count_nonzero(voxels == 2) == pytest.approx(0.5 * abs(30 * -40 - 25 * 4), rel=0.02)
        assert mask.shape == scene.shape
        ours, theirs = mask.gcps, scene.gcps
        assert ours[1] == theirs[1]
        assert [(p.row, p.col, p.x, p.y) for p in ours[0]] == [(p.row, p.col, p.x, p.y) for p in theirs[0]]


def test_a_corner_on_a_control_point_has_its_longitude_and_latitude(desk: Desk, sar: str, tmp_path: Path) -> None:
    at, _ = drawn(desk, sar)
    done = export_segmentation(desk, ADA, at, None, "geojson", tmp_path / "shapes.geojson")
    [feature] = json.loads(done.path.read_text())["features"]
    lon, lat = feature["geometry"]["coordinates"][0][0]
    metres = np.hypot((lon - GCP_LON) * np.cos(np.radians(GCP_LAT)), lat - GCP_LAT) * 111_320
    assert metres < 10
    assert (feature["properties"]["class"], feature["properties"]["attributes"]) == ("Structure 2", {"sure": 1})
    assert any("Painted voxels are not in GeoJSON" in warning for warning in done.warnings)


def test_coco_holds_voxels_and_shapes(desk: Desk, sar: str, tmp_path: Path) -> None:
    at, water = drawn(desk, sar)
    done = export_segmentation(desk, ADA, at, None, "coco", tmp_path / "coco.json")
    told = json.loads(done.path.read_text())
    areas = {a["category_id"]: a["area"] for a in told["annotations"]}
    assert areas[1] == np.count_nonzero(water)
    assert areas[2] == pytest.approx(0.5 * abs(30 * -40 - 25 * 4))
    boxes = {a["category_id"]: a["bbox"] for a in told["annotations"]}
    assert boxes[1] == [30, 100, 60, 60]  # x, y from the corner of the first pixel, width, height


def test_a_raster_mask_comes_back(desk: Desk, sar: str, tmp_path: Path) -> None:
    at, _ = drawn(desk, sar)
    file = export_segmentation(desk, ADA, at, None, "geotiff", tmp_path / "mask.tif").path
    with rasterio.open(file) as mask:
        voxels = mask.read(1)
    back = import_segmentation(desk, ADA, project_id=PROJECT, image_id=sar, name="Back", path=file)
    assert np.array_equal(read(desk, back.segmentation.id)[0], voxels)


def test_a_volume_is_no_geotiff_and_has_no_longitude(desk: Desk, mr: str, tmp_path: Path) -> None:
    at, _ = labelled(desk, mr)
    for format in ("geotiff", "geojson"):
        with pytest.raises(InvalidInput):
            export_segmentation(desk, ADA, at, None, format, tmp_path / "labels")

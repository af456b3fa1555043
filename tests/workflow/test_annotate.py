"""Labelling as people do it: who may, what is recorded, and that nothing happens by halves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from label_world import PROJECT, actor, box_mask, ingested_image, paint, seed_desk
from specimg.access import Role
from specimg.audit import private
from specimg.audit.verify import verify_home
from specimg.errors import Conflict, InvalidInput, NotFound, NotPermitted, StoreError, VersionConflict
from specimg.labels import ontology as ontologies
from specimg.labels import segmentation as segmentations
from specimg.labels.edit import Edit, ShapePut
from specimg.labels.ontology import LabelClass
from specimg.labels.shapes import Shape
from specimg.workflow.annotate import (
    apply_edit,
    change_ontology,
    create_segmentation,
    restore_version,
    revert_edit,
)
from specimg.workflow.desk import Desk, open_desk

SHAPE = (6, 40, 50)
LEFT, RIGHT = box_mask(SHAPE, (1, 2, 3), (3, 9, 9)), box_mask(SHAPE, (1, 2, 9), (3, 9, 20))
ADA, BEN = actor("ada"), actor("ben")
VIEWER, REVIEWER, ADMIN = actor("vic", Role.VIEWER), actor("rea", Role.REVIEWER), actor("root", Role.ADMIN)
OUTSIDER = actor("out", Role.ADMIN, project="another project")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One data folder for the module."""
    with open_desk(tmp_path_factory.mktemp("data") / "home") as opened:
        seed_desk(opened)
        yield opened


@pytest.fixture
def at(desk: Desk) -> str:
    """An empty segmentation."""
    image = ingested_image(desk, SHAPE)
    return create_segmentation(
        desk, ADA, project_id=PROJECT, image_id=image, name="First reading", ontology_id="organs"
    ).id


def entries_of(desk: Desk, segmentation_id: str) -> list[dict[str, Any]]:
    """The log of a thing, oldest first."""
    desk.log.sequence()
    return [json.loads(found.leaf) for found in desk.log.entries(object=segmentation_id)][::-1]


def head_of(desk: Desk, segmentation_id: str) -> int:
    with desk.database.reading() as connection:
        return segmentations.load(connection, segmentation_id).head


def read(desk: Desk, segmentation_id: str) -> Any:
    with desk.database.reading() as connection:
        found = segmentations.load(connection, segmentation_id)
        return segmentations.read_box(connection, desk.blobs, found, found.head, (0, 0, 0), SHAPE)


def test_an_edit_and_its_entry_commit_to_the_same_digest(desk: Desk, at: str) -> None:
    receipt = apply_edit(desk, ADA, at, paint(LEFT, 1, base=0))
    second = apply_edit(desk, BEN, at, paint(RIGHT, 2, base=0))
    created, first, last = entries_of(desk, at)
    assert created["type"] == "segmentation.create"
    assert (first["type"], first["actor"]["id"]) == ("segmentation.edit", ADA.id)
    assert (first["id"], first["new_digest"], first["object"]["version"]) == (receipt.entry_id, receipt.digest, 1)
    assert first["old_digest"] == created["new_digest"]
    assert (last["old_digest"], last["new_digest"]) == (receipt.digest, second.digest)
    assert last["actor"]["id"] == BEN.id


def test_the_receipt_as_json(desk: Desk, at: str) -> None:
    receipt = apply_edit(desk, ADA, at, paint(LEFT, 1, base=0))
    told = receipt.to_json()
    assert told["segmentation_id"] == at
    assert (told["version"], told["voxels"]) == (1, 2 * 7 * 6)
    assert told["box"] == {"start": [1, 2, 3], "stop": [3, 9, 9]}
    assert list(told["chunks"]) == ["0/0/0"]
    assert told["digest"].startswith("sha256:")


@pytest.mark.parametrize(
    "act",
    [
        lambda desk, who, at: apply_edit(desk, who, at, paint(LEFT, 1, base=0)),
        lambda desk, who, at: revert_edit(desk, who, at, 1, base=1),
        lambda desk, who, at: restore_version(desk, who, at, 0, base=1),
    ],
    ids=["apply", "revert", "restore"],
)
def test_only_annotators_write_and_outsiders_learn_nothing(
    desk: Desk, at: str, act: Callable[[Desk, Any, str], Any]
) -> None:
    apply_edit(desk, ADA, at, paint(LEFT, 1, base=0))
    with pytest.raises(NotPermitted):
        act(desk, VIEWER, at)
    with pytest.raises(NotFound) as outside:
        act(desk, OUTSIDER, at)
    with pytest.raises(NotFound) as missing:
        act(desk, OUTSIDER, "no such id")
    assert str(outside.value) == str(missing.value)
    assert head_of(desk, at) == 1


def test_a_segmentation_is_made_inside_its_project(desk: Desk) -> None:
    image = ingested_image(desk, SHAPE)
    given = {"project_id": PROJECT, "image_id": image, "name": "One", "ontology_id": "organs"}
    with pytest.raises(NotPermitted):
        create_segmentation(desk, VIEWER, **given)
    with pytest.raises(NotFound):
        create_segmentation(desk, OUTSIDER, **given)
    for wrong in ({"image_id": "missing"}, {"ontology_id": "missing"}):
        with pytest.raises(NotFound):
            create_segmentation(desk, ADA, **given | wrong)
    for name in ("", "  ", "a\x00b", "x" * 101):
        with pytest.raises(InvalidInput):
            create_segmentation(desk, ADA, **given | {"name": name})


def test_a_label_without_a_class_is_refused(desk: Desk, at: str) -> None:
    shape = Shape("a", "point", 4000, ((1, 1, 1),))
    for edit in (paint(LEFT, 4000, base=0), Edit(0, "point", shapes=(ShapePut(shape),))):
        with pytest.raises(InvalidInput, match="4000"):
            apply_edit(desk, ADA, at, edit)
    apply_edit(desk, ADA, at, paint(LEFT, 0, base=0))  # erasing needs no class


@pytest.mark.parametrize("tool", ["revert", "restore", "import", "model:click"])
def test_a_client_cannot_claim_where_labels_come_from(desk: Desk, at: str, tool: str) -> None:
    with pytest.raises(InvalidInput):
        apply_edit(desk, ADA, at, Edit(0, tool, {"version": 1}, paint(LEFT, 1, base=0).voxels))


def test_a_repeated_request_has_one_entry(desk: Desk, at: str) -> None:
    edit = paint(LEFT, 1, base=0, request_id="once")
    first = apply_edit(desk, ADA, at, edit)
    assert apply_edit(desk, ADA, at, edit) == first
    revert = revert_edit(desk, ADA, at, 1, base=1, request_id="back")
    assert revert_edit(desk, ADA, at, 1, base=1, request_id="back") == revert
    restore = restore_version(desk, ADA, at, 1, base=2, reason="was right", request_id="again")
    assert restore_version(desk, ADA, at, 1, base=2, reason="was right", request_id="again") == restore
    types = [found["type"] for found in entries_of(desk, at)]
    assert types == [
        "segmentation.create",
        "segmentation.edit",
        "segmentation.revert",
        "segmentation.restore",
    ]
    with pytest.raises(Conflict):
        restore_version(desk, ADA, at, 0, base=2, request_id="again")


def test_words_are_kept_where_they_can_be_forgotten(desk: Desk, at: str) -> None:
    words = "Mrs Miller's second scan looks better"
    edit = paint(LEFT, 1, base=0)
    apply_edit(desk, ADA, at, Edit(0, "brush", {}, edit.voxels, reason=words))
    with desk.database.reading() as connection:
        [recorded] = segmentations.history(connection, segmentations.load(connection, at))
        assert recorded.reason is not None
        assert private.reveal(connection, [recorded.reason]) == {recorded.reason: words}
    [leaf] = [f for f in entries_of(desk, at) if f["type"] == "segmentation.edit"]
    assert leaf["reason"] == recorded.reason
    assert "Miller" not in str(leaf)
    with desk.database.transaction() as connection:
        private.erase(connection, [recorded.reason])
    desk.log.sequence()
    assert not [f for f in verify_home(desk.home, desk.log.vkey).findings if f.code.startswith("label")]


def test_an_annotator_restores_over_own_work_only(desk: Desk, at: str) -> None:
    apply_edit(desk, ADA, at, paint(LEFT, 1, base=0))
    apply_edit(desk, BEN, at, paint(RIGHT, 2, base=1))
    apply_edit(desk, ADA, at, paint(RIGHT, 3, base=2))
    restore_version(desk, ADA, at, 2, base=3)  # undoes version 3 only, which is hers
    with pytest.raises(NotPermitted):
        restore_version(desk, ADA, at, 1, base=4)
    restore_version(desk, REVIEWER, at, 1, base=4)
    assert np.array_equal(read(desk, at), LEFT)


def test_a_restore_meets_an_edit_nobody_has_seen(desk: Desk, at: str) -> None:
    apply_edit(desk, ADA, at, paint(LEFT, 1, base=0))
    apply_edit(desk, BEN, at, paint(LEFT, 2, base=1))
    with pytest.raises(VersionConflict):
        restore_version(desk, ADA, at, 0, base=1)
    assert head_of(desk, at) == 2


def test_without_the_log_nothing_is_written(desk: Desk, at: str) -> None:
    """A log that refuses (a restored older database, say) stops labels too: one transaction, both or neither."""
    desk.log.refusal = "the log is older than its anchor"
    try:
        with pytest.raises(StoreError):
            apply_edit(desk, ADA, at, paint(LEFT, 1, base=0))
    finally:
        desk.log.refusal = None
    assert head_of(desk, at) == 0
    with desk.database.reading() as connection:
        assert segmentations.chunk_index(connection, at, 0) == {}
        assert connection.exec_driver_sql(
            "SELECT count(*) FROM chunk_version WHERE segmentation_id = ?", (at,)
        ).scalar_one() == 0  # fmt: skip


def test_the_verifier_agrees_with_all_of_it(desk: Desk, at: str) -> None:
    shape = Shape("a", "polygon", 1, ((1, 2, 3), (1, 2.25, 9), (1, 8, 5.5)), attributes={"grade": 1.0})
    apply_edit(desk, ADA, at, paint(LEFT, 1, base=0, shapes=(ShapePut(shape),)))
    revert_edit(desk, ADA, at, 1, base=1)
    restore_version(desk, ADA, at, 1, base=2, reason="the first was right")
    desk.log.sequence()
    report = verify_home(desk.home, desk.log.vkey)
    assert report.exit_code == 0, report


# --- ontologies -----------------------------------------------------------------------------------------------------


def test_ontologies_are_versions_with_entries(desk: Desk) -> None:
    liver = LabelClass(1, "Liver", "#dd8265", code=("10200004", "SCT", "Liver"))
    spleen = LabelClass(2, "Spleen", "#9d6ca2")

    def change(who: Any, *classes: LabelClass, base: int | None = None, ontology_id: str = "mine") -> int:
        return change_ontology(
            desk, who, project_id=PROJECT, ontology_id=ontology_id, name="Mine", classes=classes, base=base
        ).version

    assert change(ADMIN, liver, base=0) == 1
    assert change(ADMIN, liver, spleen, base=1) == 2
    with pytest.raises(Conflict):
        change(ADMIN, liver, spleen, base=1)
    with pytest.raises(InvalidInput):
        change(ADMIN, spleen)
    for who, refusal in ((REVIEWER, NotPermitted), (OUTSIDER, NotFound)):
        with pytest.raises(refusal):
            change(who, liver, spleen)
    with desk.database.reading() as connection:
        assert ontologies.latest(connection, "mine").classes == (liver, spleen)
    first, second = entries_of(desk, "mine")
    assert (first["object"]["version"], second["object"]["version"]) == (1, 2)
    assert (first["old_digest"], second["old_digest"]) == (None, first["new_digest"])

"""From a click to an edit: who may, what is recorded, and that a model never writes by itself."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from image_phantoms import volume
from label_world import PROJECT, actor, seed_desk
from models.phantoms import organs
from specimg.access import Role
from specimg.digest import digest, digest_json
from specimg.errors import Conflict, InvalidInput, ModelFailed, NotFound, NotPermitted, StoreError, VersionConflict
from specimg.geometry.affine import Affine
from specimg.labels import segmentation as segmentations
from specimg.labels.edit import Edit, Spans, VoxelWrite
from specimg.models.base import Prompt, View
from specimg.models.click import CLICK
from specimg.models.worker import Worker
from specimg.store import schema
from specimg.store.writer import publish, write
from specimg.testing.difficult_models import ALL
from specimg.workflow.annotate import apply_edit, create_segmentation
from specimg.workflow.desk import Desk, open_desk
from specimg.workflow.propose import Proposal, accept, propose, reject

ADA, BEN = actor("ada"), actor("ben")
VIEWER, REVIEWER = actor("vic", Role.VIEWER), actor("rea", Role.REVIEWER)
OUTSIDER = actor("out", Role.ADMIN, project="another project")
INSIDE = (Prompt("point", True, ((15, 40, 38),)),)
LIVER, KIDNEY = 1, 2


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One data folder for the module."""
    with open_desk(tmp_path_factory.mktemp("data") / "home") as opened:
        seed_desk(opened)
        yield opened


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """The real one."""
    made = Worker(models=ALL)
    yield made
    made.close()


@pytest.fixture(scope="module")
def image_id(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> str:
    """``organs``, stored and known to the project."""
    phantom, _, _ = organs()
    values = np.rint(phantom.read_box((0, 0, 0), phantom.grid.shape)).astype(np.int16)
    affine = Affine.from_steps(z=(0, 0, 2.5), y=(0, 1, 0), x=(1, 0, 0), origin=(0, 0, 0))
    image = write(volume(values, affine=affine), tmp_path_factory.mktemp("staging"))
    publish(image, desk.home)
    now = desk.database.clock()
    with desk.database.transaction() as connection:
        connection.execute(
            schema.image.insert(),
            {
                "id": image.id,
                "digest": image.digest,
                "format": "phantom",
                "series": image.series.to_json(),
                "levels": [level.to_json() for level in image.levels],
                "bytes": 1,
                "created_at": now,
            },
        )
        held = {"project_id": PROJECT, "image_id": image.id, "name": "organs", "added_at": now, "added_by": ADA.id}
        connection.execute(schema.project_image.insert(), held)
    return image.id


@pytest.fixture
def at(desk: Desk, image_id: str) -> str:
    """An empty segmentation."""
    return create_segmentation(
        desk, ADA, project_id=PROJECT, image_id=image_id, name="Reading", ontology_id="organs"
    ).id


@pytest.fixture
def proposal(desk: Desk, worker: Worker, at: str) -> Proposal:
    """Ada's, open."""
    return propose(desk, ADA, at, model="click", prompts=INSIDE, worker=worker)


def row_of(desk: Desk, proposal_id: str) -> Any:
    """As stored."""
    with desk.database.reading() as connection:
        return connection.execute(select(schema.proposal).where(schema.proposal.c.id == proposal_id)).one()


def voxels_of(desk: Desk, segmentation_id: str) -> Any:
    """The head, whole, and its version."""
    with desk.database.reading() as connection:
        found = segmentations.load(connection, segmentation_id)
        array = segmentations.read_box(connection, desk.blobs, found, found.head, (0, 0, 0), found.grid.shape)
        return array, found.head


def entries_of(desk: Desk, object_id: str) -> list[dict[str, Any]]:
    """The log of a thing, oldest first."""
    desk.log.sequence()
    return [json.loads(found.leaf) for found in desk.log.entries(object=object_id)][::-1]


def test_proposal_changes_no_label(desk: Desk, at: str, proposal: Proposal) -> None:
    voxels, head = voxels_of(desk, at)
    assert head == 0
    assert not voxels.any()


def test_proposal_keeps_what_replays_it(desk: Desk, at: str, proposal: Proposal, image_id: str) -> None:
    row = row_of(desk, proposal.id)
    assert row.state == "open"
    assert row.model["digest"] == CLICK.card.digest
    prompts = [Prompt.from_json(p) for p in row.prompts]
    again = CLICK.open(View(desk.images.open(image_id))).step(prompts, lambda: False)
    assert digest(Spans.from_mask(again.mask, again.start).to_bytes()) == row.digest == proposal.digest


def test_proposal_is_in_the_log_by_digests(desk: Desk, proposal: Proposal) -> None:
    (entry,) = entries_of(desk, proposal.id)
    row = row_of(desk, proposal.id)
    assert (entry["type"], entry["actor"]["id"], entry["new_digest"]) == ("proposal.run", ADA.id, proposal.digest)
    assert entry["detail"]["prompts"] == digest_json(row.prompts)
    assert entry["detail"]["model"] == digest_json(row.model)


def test_json_of_a_proposal_is_what_a_viewer_needs(proposal: Proposal) -> None:
    value = proposal.to_json()
    json.dumps(value)
    assert value["voxels"] == proposal.spans.count > 1000
    assert all(a <= c < b for a, b, c in zip(value["start"], value["stop"], (15, 40, 38), strict=True))


def test_accept_is_one_edit_with_provenance(desk: Desk, at: str, proposal: Proposal) -> None:
    receipt = accept(desk, ADA, proposal.id, base=0, label=LIVER)
    voxels, head = voxels_of(desk, at)
    assert head == receipt.version == 1
    assert np.array_equal(voxels == LIVER, proposal.spans.to_mask((0, 0, 0), voxels.shape))
    assert receipt.voxels == proposal.spans.count
    with desk.database.reading() as connection:
        (edit,) = connection.execute(select(schema.edit).where(schema.edit.c.segmentation_id == at)).all()
    assert edit.tool == "model:click"
    assert edit.actor_id == ADA.id
    assert edit.params["model_digest"] == CLICK.card.digest
    assert edit.params["prompts"] == [p.to_json() for p in INSIDE]
    assert (edit.params["proposal"], edit.params["proposal_digest"]) == (proposal.id, proposal.digest)
    entry = entries_of(desk, at)[-1]
    assert (entry["type"], entry["new_digest"]) == ("proposal.accept", receipt.digest)
    assert entry["detail"] == {"proposal": proposal.id, "spans": proposal.digest}


def test_accept_over_some_labels_only(desk: Desk, worker: Worker, at: str, proposal: Proposal) -> None:
    painted = VoxelWrite(KIDNEY, Spans.from_mask(np.ones((36, 90, 20), np.bool_), (0, 0, 35)))
    apply_edit(desk, ADA, at, Edit(base=0, tool="brush", voxels=(painted,)))
    accept(desk, ADA, proposal.id, base=1, label=LIVER, over=frozenset({0}))
    voxels, _ = voxels_of(desk, at)
    assert (voxels[:, :, 35:55] == KIDNEY).all()
    assert (voxels == LIVER).any()


def test_accepting_twice_is_a_conflict(desk: Desk, at: str, proposal: Proposal) -> None:
    accept(desk, ADA, proposal.id, base=0, label=LIVER)
    with pytest.raises(Conflict):
        accept(desk, ADA, proposal.id, base=1, label=LIVER)
    with pytest.raises(Conflict):
        reject(desk, ADA, proposal.id)
    assert voxels_of(desk, at)[1] == 1


def test_reject_closes_and_is_in_the_log(desk: Desk, at: str, proposal: Proposal) -> None:
    reject(desk, ADA, proposal.id)
    row = row_of(desk, proposal.id)
    assert (row.state, row.spans, row.digest) == ("rejected", b"", proposal.digest)
    assert [e["type"] for e in entries_of(desk, proposal.id)] == ["proposal.run", "proposal.reject"]
    with pytest.raises(Conflict):
        accept(desk, ADA, proposal.id, base=0, label=LIVER)
    assert voxels_of(desk, at)[1] == 0


def test_a_newer_proposal_supersedes_only_ones_own(desk: Desk, worker: Worker, at: str, proposal: Proposal) -> None:
    other = propose(desk, BEN, at, model="click", prompts=INSIDE, worker=worker)
    newer = propose(
        desk, ADA, at, model="click", prompts=(*INSIDE, Prompt("point", False, ((20, 50, 78),))), worker=worker
    )
    states = {p.id: row_of(desk, p.id).state for p in (proposal, other, newer)}
    assert states == {proposal.id: "superseded", other.id: "open", newer.id: "open"}
    with pytest.raises(Conflict):
        accept(desk, ADA, proposal.id, base=0, label=LIVER)


def test_edit_conflict_leaves_the_proposal_open(desk: Desk, at: str, proposal: Proposal) -> None:
    theirs = VoxelWrite(KIDNEY, Spans.from_mask(np.ones((1, 1, 1), np.bool_), (15, 40, 38)))
    apply_edit(desk, BEN, at, Edit(base=0, tool="brush", voxels=(theirs,)))
    with pytest.raises(VersionConflict):
        accept(desk, ADA, proposal.id, base=0, label=LIVER)
    assert row_of(desk, proposal.id).state == "open"
    assert accept(desk, ADA, proposal.id, base=1, label=LIVER).version == 2


def test_label_outside_the_ontology_is_refused_and_leaves_the_proposal_open(
    desk: Desk, at: str, proposal: Proposal
) -> None:
    with pytest.raises(InvalidInput):
        accept(desk, ADA, proposal.id, base=0, label=60_000)
    assert row_of(desk, proposal.id).state == "open"


def test_only_the_proposer_or_a_reviewer_decides(desk: Desk, at: str, proposal: Proposal) -> None:
    for who, error in ((BEN, NotPermitted), (VIEWER, NotPermitted), (OUTSIDER, NotFound)):
        with pytest.raises(error):
            accept(desk, who, proposal.id, base=0, label=LIVER)
        with pytest.raises(error):
            reject(desk, who, proposal.id)
    assert accept(desk, REVIEWER, proposal.id, base=0, label=LIVER).version == 1


def test_only_annotators_ask(desk: Desk, worker: Worker, at: str) -> None:
    with pytest.raises(NotPermitted):
        propose(desk, VIEWER, at, model="click", prompts=INSIDE, worker=worker)
    with pytest.raises(NotFound):
        propose(desk, OUTSIDER, at, model="click", prompts=INSIDE, worker=worker)


def test_unknown_things_are_named(desk: Desk, worker: Worker, at: str) -> None:
    with pytest.raises(NotFound):
        propose(desk, ADA, str(uuid.uuid4()), model="click", prompts=INSIDE, worker=worker)
    with pytest.raises(NotFound):
        accept(desk, ADA, str(uuid.uuid4()), base=0, label=LIVER)
    with pytest.raises(InvalidInput):
        propose(desk, ADA, at, model="oracle", prompts=INSIDE, worker=worker)


def test_a_model_that_breaks_leaves_no_trace(desk: Desk, worker: Worker, at: str) -> None:
    with pytest.raises(ModelFailed):
        propose(desk, ADA, at, model="fatal", prompts=INSIDE, worker=worker)
    with desk.database.reading() as connection:
        rows = connection.execute(select(schema.proposal).where(schema.proposal.c.segmentation_id == at)).all()
    assert rows == []


def test_changed_voxels_of_a_proposal_are_noticed(desk: Desk, at: str, proposal: Proposal) -> None:
    forged = Spans.from_mask(np.ones((2, 2, 2), np.bool_)).to_bytes()
    with desk.database.transaction() as connection:
        connection.execute(update(schema.proposal).where(schema.proposal.c.id == proposal.id).values(spans=forged))
    with pytest.raises(StoreError):
        accept(desk, ADA, proposal.id, base=0, label=LIVER)

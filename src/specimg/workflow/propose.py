"""Proposals: a model is asked, a person decides.

    open ──accept──▶ accepted        one edit of the segmentation, provenance in its params
      ├────reject──▶ rejected
      └──a newer one─▶ superseded    the same person asked again on the same segmentation

A model never writes labels. What it proposed is stored with its card and its ordered prompts; accepting makes of it one
edit by the person who accepts, through the same path as a brush stroke, in the transaction that closes the proposal.
Only an open proposal keeps its voxels: afterwards the digest stands for them, and the prompts give them again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, Row, select, update

from specimg.access import Actor, Permission, require
from specimg.audit import entry as entries
from specimg.audit.entry import EntryType
from specimg.digest import JSON, Digest, canonical, digest, digest_json
from specimg.errors import Conflict, InvalidInput, NotFound, StoreError
from specimg.labels import segmentation as segmentations
from specimg.labels.edit import Edit, Spans, VoxelWrite
from specimg.labels.segmentation import Segmentation
from specimg.models.base import Answer, Card, Prompt, check_prompts
from specimg.store import schema
from specimg.store.image import Image
from specimg.workflow.annotate import Receipt, record_edit
from specimg.workflow.desk import Desk
from specimg.workflow.edit_json import spans_text

PROMPTS_IN_PARAMS = 8 * 1024
"""Bytes of canonical JSON up to which prompts are copied into the edit; beyond, the edit has their digest."""


class Models(Protocol):
    """The part of ``models.worker.Worker`` that is used here."""

    def cards(self) -> tuple[Card, ...]:
        """What can be asked."""
        ...

    def propose(
        self,
        *,
        session: str,
        image: Image,
        model: str,
        prompts: Sequence[Prompt],
        time_limit: float | None = None,
        c: int = 0,
        t: int = 0,
    ) -> Answer:
        """Ask and wait."""
        ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a model proposed, before anybody decided. ``seconds`` is how long the person waited for the model."""

    id: str
    segmentation_id: str
    model: str
    spans: Spans
    digest: Digest
    score: float | None
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON form, as the API answers."""
        box = self.spans.box
        return {
            "id": self.id,
            "segmentation_id": self.segmentation_id,
            "model": self.model,
            "start": None if box is None else list(box[0]),
            "stop": None if box is None else list(box[1]),
            "spans": spans_text(self.spans),
            "voxels": self.spans.count,
            "digest": self.digest,
            "score": self.score,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }


def session_of(actor: Actor, segmentation_id: str) -> str:
    """The worker's session: a person's newer request on a segmentation takes the place of the older."""
    return f"{actor.id}/{segmentation_id}"


def propose(
    desk: Desk,
    actor: Actor,
    segmentation_id: str,
    *,
    model: str,
    prompts: Sequence[Prompt],
    worker: Models,
    c: int = 0,
    t: int = 0,
    time_limit: float | None = None,
) -> Proposal:
    """Ask a model about the segmentation's image and keep its answer for a person to decide.

    ``c`` and ``t`` choose the channel and time the model looks at. Blocks; call it from a worker thread. Raises
    ``InvalidInput`` for prompts the model cannot use or that lead nowhere, and what ``Worker.propose`` raises.
    """
    with desk.database.reading() as connection:
        segmentation = segmentations.load(connection, segmentation_id)
    require(actor, Permission.ANNOTATE, segmentation.project_id)
    card = next((card for card in worker.cards() if card.id == model), None)
    if card is None:
        raise InvalidInput("there is no model by that name", field="model")
    image = desk.images.open(segmentation.image_id)
    check_prompts(prompts, image.grid, card)
    began = time.monotonic()
    answer = worker.propose(
        session=session_of(actor, segmentation_id),
        image=image,
        model=model,
        prompts=prompts,
        time_limit=time_limit,
        c=c,
        t=t,
    )
    seconds = time.monotonic() - began
    spans = Spans.from_mask(answer.mask, answer.start)
    if not len(spans):
        raise InvalidInput("the model found no object there; click well inside it, or draw a box", field="prompts")
    provenance: dict[str, JSON] = {"id": card.id, "version": card.version, "digest": card.digest, "c": c, "t": t}
    with desk.database.transaction() as connection:
        proposal_id, named = _keep(desk, connection, actor, segmentation, provenance, prompts, spans)
    return Proposal(proposal_id, segmentation_id, model, spans, named, answer.score, seconds, answer.notes)


def accept(
    desk: Desk, actor: Actor, proposal_id: str, *, base: int, label: int, over: frozenset[int] | None = None
) -> Receipt:
    """Make an open proposal one edit of the segmentation: its voxels get ``label`` where ``over`` allows.

    Only the person who asked, or a reviewer, may. Raises ``Conflict`` if it was decided before, ``VersionConflict`` as any
    edit does; then it stays open.
    """
    with desk.database.transaction() as connection:
        row, segmentation = _open(connection, actor, proposal_id)
        if digest(row.spans) != row.digest:
            raise StoreError("a proposal's voxels are not the ones that were proposed")
        write = VoxelWrite(label, Spans.from_bytes(row.spans), over)
        edit = Edit(base=base, tool=f"model:{row.model['id']}", params=_params(row), voxels=(write,))
        receipt = record_edit(
            desk,
            connection,
            actor,
            segmentation,
            edit,
            type=EntryType.PROPOSAL_ACCEPT,
            detail={"proposal": row.id, "spans": row.digest},
        )
        _decide(desk, connection, [row.id], "accepted")
        return receipt


def reject(desk: Desk, actor: Actor, proposal_id: str) -> None:
    """Turn an open proposal down. Raises ``Conflict`` if it was decided before."""
    with desk.database.transaction() as connection:
        row, segmentation = _open(connection, actor, proposal_id)
        desk.log.append(
            connection,
            entries.proposal_reject(
                actor, desk.database.clock(), project=segmentation.project_id, proposal=row.id, spans=row.digest
            ),
        )
        _decide(desk, connection, [row.id], "rejected")


def _keep(
    desk: Desk,
    connection: Connection,
    actor: Actor,
    segmentation: Segmentation,
    model: dict[str, JSON],
    prompts: Sequence[Prompt],
    spans: Spans,
) -> tuple[str, Digest]:
    """Row and entry of a new proposal; older open ones of the same person are superseded."""
    row = schema.proposal.c
    older = select(row.id).where(row.segmentation_id == segmentation.id, row.actor_id == actor.id, row.state == "open")
    _decide(desk, connection, list(connection.scalars(older)), "superseded")
    now = desk.database.clock()
    data = spans.to_bytes()
    log: list[JSON] = [prompt.to_json() for prompt in prompts]
    proposal_id, named = str(uuid.uuid4()), digest(data)
    connection.execute(
        schema.proposal.insert(),
        {
            "id": proposal_id,
            "segmentation_id": segmentation.id,
            "actor_id": actor.id,
            "model": model,
            "prompts": log,
            "digest": named,
            "spans": data,
            "state": "open",
            "created_at": now,
        },
    )
    desk.log.append(
        connection,
        entries.proposal_run(
            actor,
            now,
            project=segmentation.project_id,
            proposal=proposal_id,
            segmentation=segmentation.id,
            spans=named,
            model=model,
            prompts=log,
        ),
    )
    return proposal_id, named


def _open(connection: Connection, actor: Actor, proposal_id: str) -> tuple[Row[Any], Segmentation]:
    """The proposal, if this person may decide on it and nobody has."""
    row = connection.execute(select(schema.proposal).where(schema.proposal.c.id == proposal_id)).one_or_none()
    if row is None:
        raise NotFound("there is nothing here by that name")
    segmentation = segmentations.load(connection, row.segmentation_id)
    require(actor, Permission.ANNOTATE, segmentation.project_id)
    if row.actor_id != actor.id:
        require(actor, Permission.REVIEW, segmentation.project_id)
    if row.state != "open":
        raise Conflict(f"this proposal is no longer open: it was {row.state}")
    return row, segmentation


def _decide(desk: Desk, connection: Connection, ids: Sequence[str], state: str) -> None:
    if ids:
        connection.execute(
            update(schema.proposal)
            .where(schema.proposal.c.id.in_(ids))
            .values(state=state, decided_at=desk.database.clock(), spans=b"")
        )


def _params(row: Row[Any]) -> dict[str, JSON]:
    """Provenance of the edit: enough to run the model again, and to find the proposal."""
    params: dict[str, JSON] = {
        "model": row.model["id"],
        "model_version": row.model["version"],
        "model_digest": row.model["digest"],
        "channel": row.model["c"],
        "time": row.model["t"],
        "proposal": row.id,
        "proposal_digest": row.digest,
        "prompts_digest": digest_json(row.prompts),
    }
    if len(canonical(row.prompts)) <= PROMPTS_IN_PARAMS:
        params["prompts"] = row.prompts
    return params

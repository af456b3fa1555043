"""Models: what there is, a question, and a person's decision. The work is done in another process; a route only waits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from anyio import to_thread
from fastapi import APIRouter, Response

from specimg.access import Permission
from specimg.api.core import Core
from specimg.api.deps import ActorDep, CoreDep, StrictRoute
from specimg.api.messages import AcceptIn, CardOut, ProposalIn, ProposalOut, ReceiptOut
from specimg.api.segmentations import CONFLICT, receipt_out, require_segmentation
from specimg.models.base import Prompt
from specimg.workflow import propose

router = APIRouter(prefix="/api", tags=["models"], route_class=StrictRoute)

T = TypeVar("T")


async def waiting(core: Core, work: Callable[[], T]) -> T:
    """Run something long in a thread of its own pool, so that however many wait, short requests find a thread."""
    return await to_thread.run_sync(work, limiter=core.heavy)


@router.get("/models")
async def list_models(core: CoreDep, actor: ActorDep) -> list[CardOut]:
    """The cards of the models that can be asked."""
    cards = await waiting(core, lambda: core.worker().cards())
    return [CardOut.model_validate(card.to_json()) for card in cards]


@router.post("/segmentations/{segmentation_id}/proposals", status_code=201)
async def post_proposal(core: CoreDep, actor: ActorDep, segmentation_id: str, body: ProposalIn) -> ProposalOut:
    """Ask a model. A newer question of the same person on the same segmentation cancels this one (409 ``cancelled``)."""

    def ask() -> propose.Proposal:
        require_segmentation(core, actor, segmentation_id, Permission.ANNOTATE)
        prompts = [Prompt.from_json(prompt.model_dump()) for prompt in body.prompts]
        return propose.propose(
            core.desk,
            actor,
            segmentation_id,
            model=body.model,
            prompts=prompts,
            worker=core.worker(),
            c=body.c,
            t=body.t,
        )

    found = await waiting(core, ask)
    return ProposalOut.model_validate(found.to_json())


@router.post("/proposals/{proposal_id}/accept", status_code=201, responses=dict(CONFLICT))
def accept_proposal(core: CoreDep, actor: ActorDep, proposal_id: str, body: AcceptIn) -> ReceiptOut:
    """Make a proposal one's own: one edit, with the model and its prompts as provenance."""
    over = None if body.over is None else frozenset(body.over)
    act = partial(propose.accept, core.desk, actor, proposal_id, base=body.base, label=body.label, over=over)
    return receipt_out(act())


@router.post("/proposals/{proposal_id}/reject", status_code=204)
def reject_proposal(core: CoreDep, actor: ActorDep, proposal_id: str) -> Response:
    """Turn a proposal down."""
    propose.reject(core.desk, actor, proposal_id)
    return Response(status_code=204)

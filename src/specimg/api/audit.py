"""The log over HTTP: checkpoints, entries and proofs, as C2SP writes them."""

from __future__ import annotations

import base64
import json
from typing import Annotated

from fastapi import APIRouter, Query, Response
from starlette.responses import PlainTextResponse

from specimg.access import Actor, Permission, require
from specimg.api.core import Core
from specimg.api.deps import ActorDep, CoreDep, StrictRoute
from specimg.api.messages import CheckpointOut, ConsistencyOut, EntryOut, KeyOut
from specimg.audit.sequenced import Sequenced
from specimg.errors import NotFound, NotPermitted
from specimg.workflow import viewing

router = APIRouter(prefix="/api/audit", tags=["audit"], route_class=StrictRoute)

Index = Annotated[int, Query(ge=0, lt=2**53)]


@router.get("/checkpoint")
def get_checkpoint(core: CoreDep, actor: ActorDep) -> CheckpointOut:
    """The newest signed checkpoint. Anyone with an account may keep it and hold the server to it."""
    found = core.desk.log.checkpoint()
    if found is None:
        raise NotFound("the log has no checkpoint yet; ask again in a second")
    return CheckpointOut(size=found.size, root=base64.b64encode(found.root).decode("ascii"), note=found.note)


@router.get("/key")
def get_key(core: CoreDep, actor: ActorDep) -> KeyOut:
    """The key that checks checkpoints. Compare it with the one you were given by another way."""
    return KeyOut(vkey=core.desk.log.vkey)


@router.get("/consistency")
def get_consistency(core: CoreDep, actor: ActorDep, old: Index, new: Index) -> ConsistencyOut:
    """Proof that the log of ``old`` entries is how the log of ``new`` entries began."""
    hashes = core.desk.log.consistency(old, new)
    return ConsistencyOut(old=old, new=new, hashes=[base64.b64encode(h).decode("ascii") for h in hashes])


@router.get("/entries")
def list_entries(
    core: CoreDep,
    actor: ActorDep,
    project: Annotated[str, Query(max_length=64)],
    object: Annotated[
        str | None, Query(pattern="^[0-9a-f-]{1,64}$", description="id of an image, segmentation…")
    ] = None,
    before: Annotated[int | None, Query(ge=0, lt=2**53, description="continue below this index")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[EntryOut]:
    """Entries of a project, newest first. For reviewers; reading the log is itself an entry."""
    require(actor, Permission.REVIEW, project)
    viewing.record_audit_read(core.desk, actor, project, object)
    found = core.desk.log.entries(project=project, object=object, before=before, limit=limit)
    return [_entry(one) for one in found]


@router.get("/entries/{entry_id}")
def get_entry(core: CoreDep, actor: ActorDep, entry_id: str) -> EntryOut:
    """One entry: one's own, or any of a project one reviews."""
    return _entry(_find(core, actor, entry_id))


@router.get("/entries/{entry_id}/proof", response_class=PlainTextResponse)
def get_proof(core: CoreDep, actor: ActorDep, entry_id: str) -> Response:
    """The C2SP tlog-proof of an entry: index, path and signed checkpoint. ``specimg audit verify`` reads it."""
    _find(core, actor, entry_id)
    return PlainTextResponse(
        core.desk.log.receipt(entry_id),
        headers={"Content-Disposition": f'attachment; filename="{entry_id}.tlog-proof"'},
    )


def _find(core: Core, actor: Actor, entry_id: str) -> Sequenced:
    found = core.desk.log.entry(entry_id)
    leaf = json.loads(found.leaf)
    project = leaf["project"]
    if leaf["actor"]["id"] == actor.id:
        return found
    if project is None or not actor.may(Permission.VIEW, project):
        raise NotFound("there is no audit entry by that id")
    if not actor.may(Permission.REVIEW, project):
        raise NotPermitted("reading other people's entries takes the role of a reviewer")
    return found


def _entry(found: Sequenced) -> EntryOut:
    return EntryOut(
        id=found.id,
        index=found.index,
        leaf=json.loads(found.leaf),
        bytes=base64.b64encode(found.leaf).decode("ascii"),
    )

"""Logging in and out, and API tokens."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from specimg.access import Actor
from specimg.api.core import COOKIE, Core
from specimg.api.deps import ActorDep, CoreDep, StrictRoute
from specimg.api.messages import LoginIn, MeOut, NewTokenOut, ProjectOut, TokenIn, TokenOut
from specimg.errors import NotPermitted
from specimg.workflow import accounts
from specimg.workflow.accounts import Token

router = APIRouter(prefix="/api", tags=["people"], route_class=StrictRoute)


@router.post("/login")
def login(request: Request, response: Response, core: CoreDep, body: LoginIn) -> MeOut:
    """Begin a session; the answer sets the cookie ``specimg_session``."""
    address = request.client.host if request.client is not None else ""
    found = accounts.login(core.desk, body.name, body.password, throttle=core.throttle, address=address)
    response.set_cookie(
        COOKIE,
        found.secret,
        # No lifetime: the browser forgets it when it closes, the server by its own clock.
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
        path="/",
    )
    return _me(core, found.actor)


@router.post("/logout", status_code=204)
def logout(core: CoreDep, actor: ActorDep) -> Response:
    """End this session. A token is not a session: revoke it instead."""
    accounts.logout(core.desk, actor)
    core.forget_people()
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return response


@router.get("/me")
def me(core: CoreDep, actor: ActorDep) -> MeOut:
    """Who is asking, and in which projects."""
    return _me(core, actor)


@router.get("/tokens")
def list_tokens(core: CoreDep, actor: ActorDep) -> list[TokenOut]:
    """The asker's own valid tokens."""
    return [_token(token) for token in accounts.tokens(core.desk, actor)]


@router.post("/tokens", status_code=201)
def create_token(request: Request, core: CoreDep, actor: ActorDep, body: TokenIn) -> NewTokenOut:
    """Make an API token. Its secret is in this answer and nowhere else."""
    if "authorization" in request.headers:
        raise NotPermitted("a token cannot make another token, or a leaked one would never end; log in")
    token, secret = accounts.create_token(core.desk, actor, body.name, body.days)
    return NewTokenOut(**_token(token).model_dump(), secret=secret)


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(core: CoreDep, actor: ActorDep, token_id: str) -> Response:
    """End one of the asker's own tokens, at once."""
    accounts.revoke_token(core.desk, actor, token_id)
    core.forget_people()
    return Response(status_code=204)


def _me(core: Core, actor: Actor) -> MeOut:
    found = accounts.projects_of(core.desk, actor)
    return MeOut(
        id=actor.id, name=actor.name, projects=[ProjectOut(id=p.id, name=p.name, role=p.role.value) for p in found]
    )


def _token(token: Token) -> TokenOut:
    return TokenOut(
        id=token.id,
        name=token.name,
        created_at=token.created_at,
        expires_at=token.expires_at,
        used_at=token.used_at,
    )

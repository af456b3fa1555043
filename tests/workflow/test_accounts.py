"""Accounts, sessions and tokens, by a clock that the test moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from server_world import Clock
from specimg.access import Actor, Permission, Role
from specimg.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, NotPermitted, TooManyAttempts
from specimg.store import schema
from specimg.workflow import accounts
from specimg.workflow.accounts import SessionPolicy
from specimg.workflow.desk import Desk, open_desk
from specimg.workflow.throttle import Throttle

PASSWORD = "correct horse battery staple"
POLICY = SessionPolicy(timedelta(minutes=15), timedelta(hours=12))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Desk]:
    with open_desk(tmp_path / "home", clock=clock) as opened:
        yield opened


def types(desk: Desk) -> list[str]:
    desk.log.sequence()
    return [json.loads(entry.leaf)["type"] for entry in reversed(desk.log.entries())]


def member(desk: Desk, name: str, role: Role) -> tuple[str, str]:
    project = accounts.create_project(desk, accounts.operator(desk), f"project of {name}")
    account = accounts.add_account(desk, accounts.operator(desk), name, PASSWORD)
    accounts.set_role(desk, accounts.operator(desk), project, account, role)
    return project, account


def enter(desk: Desk, name: str, password: str = PASSWORD, throttle: Throttle | None = None) -> accounts.Login:
    return accounts.login(desk, name, password, throttle=throttle or Throttle())


def test_who_logs_in_is_who_holds_the_session(desk: Desk) -> None:
    project, account = member(desk, "anna", Role.REVIEWER)
    entered = enter(desk, "Anna ")
    actor = accounts.actor_of_session(desk, entered.secret, POLICY)
    assert (actor.id, actor.name, actor.roles) == (account, "anna", {project: Role.REVIEWER})
    assert actor.session is not None
    assert entered.secret not in actor.session
    made = ["project.create", "ontology.change", "ontology.change"]  # a project starts with classes to label with
    assert types(desk) == [*made, "account.create", "role.change", "auth.login"]


def test_only_a_digest_of_the_password_and_of_the_session_is_kept(desk: Desk) -> None:
    member(desk, "anna", Role.VIEWER)
    entered = enter(desk, "anna")
    with desk.database.reading() as connection:
        kept = connection.execute(select(schema.account.c.password_hash)).scalar_one()
        digests = connection.execute(select(schema.session.c.digest)).scalars().all()
    assert kept.startswith("$argon2id$")
    assert all(entered.secret not in digest for digest in digests)
    assert len(entered.secret) == 64


@pytest.mark.parametrize("moved", [timedelta(minutes=15, seconds=1), timedelta(days=2)])
def test_an_idle_session_ends(desk: Desk, clock: Clock, moved: timedelta) -> None:
    member(desk, "anna", Role.VIEWER)
    secret = enter(desk, "anna").secret
    clock.move(seconds=moved.total_seconds())
    with pytest.raises(NotAuthenticated):
        accounts.actor_of_session(desk, secret, POLICY)
    clock.move(seconds=-moved.total_seconds())
    with pytest.raises(NotAuthenticated):
        accounts.actor_of_session(desk, secret, POLICY)


def test_an_account_that_is_disabled_is_out(desk: Desk) -> None:
    _, account = member(desk, "anna", Role.VIEWER)
    secret = enter(desk, "anna").secret
    with desk.database.transaction() as connection:
        connection.execute(schema.account.update().where(schema.account.c.id == account).values(disabled=True))
    for attempt in (
        lambda: accounts.actor_of_session(desk, secret, POLICY),
        lambda: enter(desk, "anna"),
    ):
        with pytest.raises(NotAuthenticated):
            attempt()


def test_the_same_password_typed_elsewhere_is_the_same_password(desk: Desk) -> None:
    """A composed and a decomposed ü look alike and must be alike (NIST SP 800-63B 3.1.1.2: normalise)."""
    accounts.add_account(desk, accounts.operator(desk), "anna", "Schl\u00fcssel im Moor")
    assert enter(desk, "anna", "Schlu\u0308ssel im Moor").actor.name == "anna"


@pytest.mark.parametrize(
    "password", ["", "short", "a" * 40, "x" * 1025 + "abcde", "my name is anna!", "abababababab", "ANNA-1234567890"]
)
def test_a_password_that_is_easy_to_guess_is_refused(desk: Desk, password: str) -> None:
    with pytest.raises(InvalidInput):
        accounts.add_account(desk, accounts.operator(desk), "anna", password)


@pytest.mark.parametrize("name", ["", "Anna", "a b", "-a", "a" * 65, "ä", "a\n", "../a"])
def test_a_name_that_could_be_mistaken_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(InvalidInput):
        accounts.add_account(desk, accounts.operator(desk), name, PASSWORD)


def test_a_name_is_given_once(desk: Desk) -> None:
    accounts.add_account(desk, accounts.operator(desk), "anna", PASSWORD)
    with pytest.raises(Conflict):
        accounts.add_account(desk, accounts.operator(desk), "anna", PASSWORD)


def test_guesses_in_parallel_are_counted_before_they_are_checked(desk: Desk) -> None:
    member(desk, "anna", Role.VIEWER)
    throttle = Throttle()
    for _ in range(5):
        with pytest.raises(NotAuthenticated):
            enter(desk, "anna", "wrong", throttle)
    with pytest.raises(TooManyAttempts) as refused:
        enter(desk, "anna", PASSWORD, throttle)
    assert refused.value.seconds >= 1
    assert types(desk).count("auth.fail") == 5


def test_people_are_the_operator_s_to_make(desk: Desk) -> None:
    project, account = member(desk, "anna", Role.ADMIN)
    admin = enter(desk, "anna").actor
    with pytest.raises(NotPermitted):
        accounts.add_account(desk, admin, "bert", PASSWORD)
    with pytest.raises(NotPermitted):
        accounts.create_project(desk, admin, "mine")
    with pytest.raises(NotPermitted):
        accounts.create_token_for(desk, admin, "somebody else", "t", 1)
    accounts.set_role(desk, admin, project, account, Role.VIEWER)
    with pytest.raises(NotPermitted):
        accounts.set_role(desk, enter(desk, "anna").actor, project, account, Role.ADMIN)


def test_nobody_gives_roles_in_a_project_they_know_nothing_of(desk: Desk) -> None:
    project, account = member(desk, "anna", Role.ADMIN)
    with pytest.raises(NotFound):
        accounts.set_role(desk, Actor("stranger", "stranger"), project, account, None)


def test_the_operator_may_do_everything_and_entries_say_who_did(desk: Desk) -> None:
    project, _ = member(desk, "anna", Role.VIEWER)
    operator = accounts.operator(desk)
    assert all(operator.may(permission, project) for permission in Permission)
    desk.log.sequence()
    assert {json.loads(entry.leaf)["actor"]["id"] for entry in desk.log.entries()} == {"operator"}


def test_a_token_always_ends(desk: Desk, clock: Clock) -> None:
    _, account = member(desk, "anna", Role.VIEWER)
    anna = enter(desk, "anna").actor
    for days in (0, -1, 367, 10_000):
        with pytest.raises(InvalidInput):
            accounts.create_token(desk, anna, "t", days)
    token, secret = accounts.create_token(desk, anna, "t", 1)
    assert secret.startswith("specimg_")
    assert accounts.actor_of_token(desk, secret).id == account
    assert [t.id for t in accounts.tokens(desk, anna)] == [token.id]
    clock.move(days=1, seconds=1)
    with pytest.raises(NotAuthenticated):
        accounts.actor_of_token(desk, secret)
    assert accounts.tokens(desk, anna) == []


def test_a_revoked_token_is_dead_and_cannot_be_revoked_twice(desk: Desk) -> None:
    member(desk, "anna", Role.VIEWER)
    anna = enter(desk, "anna").actor
    token, secret = accounts.create_token(desk, anna, "t", 1)
    accounts.revoke_token(desk, anna, token.id)
    with pytest.raises(NotAuthenticated):
        accounts.actor_of_token(desk, secret)
    with pytest.raises(NotFound):
        accounts.revoke_token(desk, anna, token.id)
    assert types(desk)[-2:] == ["token.create", "token.revoke"]

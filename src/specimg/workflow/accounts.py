"""Accounts, sessions and tokens: who is asking, and every write about people.

A session or token is 256 random bits that only their owner has; the database knows their SHA-256. The clock is the
server's (``desk.database.clock``) and nothing a client sends can move it.

Whoever has a shell on the data folder is the *operator*: they can read every file already, so the command line asks for
no password, and its entries carry the actor id ``operator``.
"""

from __future__ import annotations

import re
import secrets
import threading
import unicodedata
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from sqlalchemy import Connection, delete, insert, select, update

from specimg.access import Actor, Permission, Role, require
from specimg.audit import entry as entries
from specimg.audit.entry import EntryType
from specimg.digest import Digest, digest
from specimg.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, NotPermitted, TooManyAttempts
from specimg.labels import ontology as ontologies
from specimg.store import schema
from specimg.workflow.desk import Desk
from specimg.workflow.throttle import BY_ADDRESS, BY_NAME, Throttle

OPERATOR_ID = "operator"
TOKEN_PREFIX = "specimg_"  # noqa: S105 -- marks tokens so that secret scanners find leaked ones
MIN_PASSWORD = 12
MAX_PASSWORD = 1024
MAX_TOKEN_DAYS = 366

Random = Callable[[int], bytes]

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_PROJECT_NAME = re.compile(r"\S(?:.{0,98}\S)?")
_SEEN_STEP = timedelta(seconds=30)
"""How stale ``seen_at`` may be: a write for every request would cost more than the answer."""
_HASHING = threading.BoundedSemaphore(4)
"""Argon2id takes 64 MiB a hash by design; four at a time are enough for people and too few for an attack on memory."""
_WRONG = "the name or the password is wrong"
_ENDED = "your session has ended; log in again"


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """A session ends ``idle`` after its last request and ``absolute`` after its first, by the server's clock."""

    idle: timedelta = timedelta(minutes=15)
    absolute: timedelta = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Project:
    """A project as one of its members sees it."""

    id: str
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Token:
    """An API token without its secret."""

    id: str
    name: str
    created_at: str
    expires_at: str
    used_at: str | None


# --- the operator's writes ------------------------------------------------------------------------------------------


def operator(desk: Desk) -> Actor:
    """The person at the command line of this data folder: ADMIN of every project there is now."""
    with desk.database.reading() as connection:
        ids = connection.execute(select(schema.project.c.id)).scalars().all()
    return Actor(OPERATOR_ID, OPERATOR_ID, dict.fromkeys(ids, Role.ADMIN))


def create_project(desk: Desk, actor: Actor, name: str) -> str:
    """Make a project and return its id. Only the operator may. Raises ``Conflict`` if the name is taken.

    It starts with two ontologies, organs and a radar scene, so that the first image can be labelled at once.
    """
    _require_operator(actor)
    if _PROJECT_NAME.fullmatch(name) is None or not name.isprintable():
        raise InvalidInput("a project name is 1 to 100 printable characters, not ending in a space", field="name")
    project_id, now = str(uuid.uuid4()), desk.database.clock()
    with desk.database.transaction() as connection:
        if connection.execute(select(schema.project.c.id).where(schema.project.c.name == name)).first():
            raise Conflict(f"there is a project named {name!r} already")
        connection.execute(insert(schema.project).values(id=project_id, name=name, created_at=now))
        desk.log.append(connection, entries.project_create(actor, now, project=project_id))
        for first in (ontologies.organs(f"{project_id}-organs"), ontologies.radar_scene(f"{project_id}-sar")):
            ontologies.append(connection, first, project_id=project_id, actor_id=actor.id, time=now)
            classes = [c.to_json() for c in first.classes]
            desk.log.append(
                connection,
                entries.ontology_change(
                    actor, now, project=project_id, ontology=first.id, version=first.version, old=None, classes=classes
                ),
            )
    return project_id


def find_project(desk: Desk, name: str) -> str:
    """The id of the project with this name or id. Raises ``NotFound``."""
    table = schema.project
    with desk.database.reading() as connection:
        found = connection.execute(select(table.c.id).where((table.c.name == name) | (table.c.id == name))).scalar()
    if found is None:
        raise NotFound(f"there is no project named {name!r}")
    return str(found)


def add_account(desk: Desk, actor: Actor, name: str, password: str) -> str:
    """Make a local account and return its id, which no other account ever gets. Only the operator may.

    Raises ``InvalidInput`` for a name or password that will not do and ``Conflict`` if the name is taken.
    """
    _require_operator(actor)
    if _NAME.fullmatch(name) is None:
        raise InvalidInput(
            "an account name is up to 64 of a-z 0-9 . _ @ + -, beginning with a letter or digit", field="name"
        )
    hashed = _hash(_acceptable(password, name))
    account_id, now = str(uuid.uuid4()), desk.database.clock()
    with desk.database.transaction() as connection:
        if connection.execute(select(schema.account.c.id).where(schema.account.c.name == name)).first():
            raise Conflict(f"there is an account named {name!r} already")
        connection.execute(
            insert(schema.account).values(
                id=account_id, name=name, password_hash=hashed, disabled=False, created_at=now
            )
        )
        desk.log.append(connection, entries.account_create(actor, now, account=account_id))
    return account_id


def find_account(desk: Desk, name: str) -> str:
    """The id of the account with this name. Raises ``NotFound``."""
    with desk.database.reading() as connection:
        found = connection.execute(select(schema.account.c.id).where(schema.account.c.name == name)).scalar()
    if found is None:
        raise NotFound(f"there is no account named {name!r}")
    return str(found)


def set_role(desk: Desk, actor: Actor, project_id: str, account_id: str, role: Role | None) -> None:
    """Give an account a role in a project, or take it away (``None``). Effective with the account's next request."""
    require(actor, Permission.ADMINISTER, project_id)
    table, now = schema.membership, desk.database.clock()
    mine = (table.c.project_id == project_id) & (table.c.account_id == account_id)
    with desk.database.transaction() as connection:
        if not connection.execute(select(schema.account.c.id).where(schema.account.c.id == account_id)).first():
            raise NotFound("there is no such account")
        old = connection.execute(select(table.c.role).where(mine)).scalar()
        connection.execute(delete(table).where(mine))
        if role is not None:
            connection.execute(insert(table).values(project_id=project_id, account_id=account_id, role=role.value))
        desk.log.append(
            connection,
            entries.role_change(
                actor, now, project=project_id, account=account_id, old=old, new=None if role is None else role.value
            ),
        )


# --- sessions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Login:
    """A fresh session: ``secret`` goes into the cookie and nowhere else."""

    actor: Actor
    secret: str


def login(
    desk: Desk,
    name: str,
    password: str,
    *,
    throttle: Throttle,
    address: str = "",
    random: Random = secrets.token_bytes,
) -> Login:
    """Begin a session. Raises ``NotAuthenticated`` with one text and one cost for a wrong name and a wrong password,
    ``TooManyAttempts`` while the name or the address must wait. Both leave an entry before they are answered."""
    now, name = desk.database.clock(), name.strip().lower()
    name_key = "name " + digest(name.encode("utf-8", "surrogatepass"))
    keys = [(name_key, BY_NAME), (f"address {address}", BY_ADDRESS)]
    wait = throttle.attempt(keys, _moment(now))
    if wait is not None:
        raise TooManyAttempts(wait.total_seconds())
    with desk.database.reading() as connection:
        row = connection.execute(select(schema.account).where(schema.account.c.name == name)).mappings().first()
    stored = row["password_hash"] if row is not None else None
    fits, better = _verify(password, stored)
    if row is None or not fits or row["disabled"]:
        with desk.database.transaction() as connection:
            account = None if row is None else str(row["id"])
            desk.log.append(connection, entries.auth(EntryType.AUTH_FAIL, None, now, account=account))
        raise NotAuthenticated(_WRONG)
    throttle.forget(name_key)
    secret = random(32).hex()
    session = _secret_digest(secret)
    with desk.database.transaction() as connection:
        if better is not None:
            connection.execute(
                update(schema.account).where(schema.account.c.id == row["id"]).values(password_hash=better)
            )
        connection.execute(
            insert(schema.session).values(digest=session, account_id=row["id"], created_at=now, seen_at=now)
        )
        actor = _actor(connection, str(row["id"]), str(row["name"]), session)
        desk.log.append(connection, entries.auth(EntryType.AUTH_LOGIN, actor, now, account=actor.id))
    return Login(actor, secret)


def logout(desk: Desk, actor: Actor) -> None:
    """End the actor's session; its cookie is worthless from now on."""
    now = desk.database.clock()
    with desk.database.transaction() as connection:
        ended = connection.execute(delete(schema.session).where(schema.session.c.digest == actor.session))
        if ended.rowcount:
            desk.log.append(connection, entries.auth(EntryType.AUTH_LOGOUT, actor, now, account=actor.id))


def actor_of_session(desk: Desk, secret: str, policy: SessionPolicy) -> Actor:
    """Who holds this session. Raises ``NotAuthenticated`` when there is none or it has ended, idle or in all."""
    session, now = _secret_digest(secret), desk.database.clock()
    table = schema.session
    joined = select(table, schema.account.c.name, schema.account.c.disabled).join(schema.account)
    with desk.database.reading() as connection:
        row = connection.execute(joined.where(table.c.digest == session)).mappings().first()
        if row is None or row["disabled"]:
            raise NotAuthenticated(_ENDED)
        actor = _actor(connection, str(row["account_id"]), str(row["name"]), session)
    moment = _moment(now)
    idle = moment - _moment(row["seen_at"])
    if idle > policy.idle or moment - _moment(row["created_at"]) > policy.absolute:
        with desk.database.transaction() as connection:
            connection.execute(delete(table).where(table.c.digest == session))
        raise NotAuthenticated(_ENDED)
    if idle > min(_SEEN_STEP, policy.idle / 4):
        with desk.database.transaction() as connection:
            connection.execute(update(table).where(table.c.digest == session).values(seen_at=now))
    return actor


# --- tokens ---------------------------------------------------------------------------------------------------------


def create_token(
    desk: Desk, actor: Actor, name: str, days: int, *, random: Random = secrets.token_bytes
) -> tuple[Token, str]:
    """An API token of the actor's own account and its secret, which is shown this once. It always expires."""
    return create_token_for(desk, actor, actor.id, name, days, random=random)


def create_token_for(
    desk: Desk, actor: Actor, account_id: str, name: str, days: int, *, random: Random = secrets.token_bytes
) -> tuple[Token, str]:
    """As ``create_token``; the operator may make one for any account, everybody else for themselves."""
    if account_id != actor.id:
        _require_operator(actor)
    if not 1 <= days <= MAX_TOKEN_DAYS:
        raise InvalidInput(f"a token lasts 1 to {MAX_TOKEN_DAYS} days", field="days")
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise InvalidInput("a token's name is 1 to 100 printable characters", field="name")
    now = desk.database.clock()
    expires = _text(_moment(now) + timedelta(days=days))
    secret = TOKEN_PREFIX + random(32).hex()
    token = Token(str(uuid.uuid4()), name, now, expires, None)
    with desk.database.transaction() as connection:
        connection.execute(
            insert(schema.token).values(
                id=token.id,
                digest=_secret_digest(secret),
                account_id=account_id,
                name=name,
                created_at=now,
                expires_at=expires,
            )
        )
        desk.log.append(connection, entries.token_create(actor, now, token=token.id, expires_at=expires))
    return token, secret


def tokens(desk: Desk, actor: Actor) -> list[Token]:
    """The actor's own tokens that are neither revoked nor expired, newest first."""
    table = schema.token
    query = (
        select(table)
        .where(table.c.account_id == actor.id, table.c.revoked_at.is_(None))
        .where(table.c.expires_at > desk.database.clock())
        .order_by(table.c.created_at.desc())
    )
    with desk.database.reading() as connection:
        rows = connection.execute(query).mappings().all()
    return [Token(r["id"], r["name"], r["created_at"], r["expires_at"], r["used_at"]) for r in rows]


def revoke_token(desk: Desk, actor: Actor, token_id: str) -> None:
    """End a token of the actor's own account; the operator may end any. Raises ``NotFound``."""
    table, now = schema.token, desk.database.clock()
    which = (table.c.id == token_id) & table.c.revoked_at.is_(None)
    if actor.id != OPERATOR_ID:
        which &= table.c.account_id == actor.id
    with desk.database.transaction() as connection:
        if not connection.execute(update(table).where(which).values(revoked_at=now)).rowcount:
            raise NotFound("there is no such token")
        desk.log.append(connection, entries.token_revoke(actor, now, token=token_id))


def actor_of_token(desk: Desk, secret: str) -> Actor:
    """Whose token this is. Raises ``NotAuthenticated`` when it is unknown, revoked or expired."""
    now, table = desk.database.clock(), schema.token
    joined = select(table, schema.account.c.name.label("account"), schema.account.c.disabled).join(schema.account)
    with desk.database.reading() as connection:
        found = connection.execute(joined.where(table.c.digest == _secret_digest(secret))).mappings().first()
        if found is None or found["disabled"] or found["revoked_at"] is not None or found["expires_at"] <= now:
            raise NotAuthenticated("the token is not valid or has expired")
        actor = _actor(connection, str(found["account_id"]), str(found["account"]), str(found["digest"]))
    if found["used_at"] is None or _moment(now) - _moment(found["used_at"]) > _SEEN_STEP:
        with desk.database.transaction() as connection:
            connection.execute(update(table).where(table.c.id == found["id"]).values(used_at=now))
    return actor


def projects_of(desk: Desk, actor: Actor) -> list[Project]:
    """The projects the actor is a member of, by name."""
    table = schema.project
    with desk.database.reading() as connection:
        rows = connection.execute(select(table.c.id, table.c.name).where(table.c.id.in_(actor.roles))).all()
    return sorted((Project(row.id, row.name, actor.roles[row.id]) for row in rows), key=lambda p: p.name.casefold())


def names_of(connection: Connection, account_ids: set[str]) -> Mapping[str, str]:
    """Account names by id, for histories; the operator is among them."""
    table = schema.account
    rows = connection.execute(select(table.c.id, table.c.name).where(table.c.id.in_(account_ids))).all()
    return {row.id: row.name for row in rows} | {OPERATOR_ID: OPERATOR_ID}


# --- inner parts ----------------------------------------------------------------------------------------------------


def _actor(connection: Connection, account_id: str, name: str, session: str) -> Actor:
    table = schema.membership
    rows = connection.execute(select(table.c.project_id, table.c.role).where(table.c.account_id == account_id)).all()
    return Actor(account_id, name, {row.project_id: Role(row.role) for row in rows}, session)


def _require_operator(actor: Actor) -> None:
    if actor.id != OPERATOR_ID:
        raise NotPermitted("only the operator may do this, at the command line of the server")


def _acceptable(password: str, name: str) -> str:
    text = _normal(password)
    if not MIN_PASSWORD <= len(text) <= MAX_PASSWORD:
        raise InvalidInput(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters", field="password")
    if name in text.lower() or len(set(text)) < 5:
        raise InvalidInput(
            "a password must not contain the account name, and needs five different characters", field="password"
        )
    return text


def _normal(password: str) -> str:
    """One form for one look (NIST SP 800-63B 3.1.1.2): the same password from another keyboard is the same bytes."""
    return unicodedata.normalize("NFKC", password)


@cache
def _hasher() -> PasswordHash:
    return PasswordHash.recommended()


def _hash(text: str) -> str:
    with _HASHING:
        return _hasher().hash(text)


@cache
def _nobodys_hash() -> str:
    return _hash(secrets.token_hex(16))


def _verify(password: str, stored: str | None) -> tuple[bool, str | None]:
    """Whether it fits, and a newer hash where the parameters have moved on. Costs the same when there is no account."""
    known = stored if stored is not None else _nobodys_hash()
    if len(password) > MAX_PASSWORD:
        password = ""
    try:
        with _HASHING:
            fits, better = _hasher().verify_and_update(_normal(password), known)
    except (UnknownHashError, UnicodeEncodeError):
        return False, None
    return (fits, better) if stored is not None else (False, None)


def _secret_digest(secret: str) -> Digest:
    return digest(secret.encode("utf-8", "surrogatepass"))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

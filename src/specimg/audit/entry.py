"""Entry: one act, as the exact bytes the log commits to.

A leaf is RFC 8785 JSON with always the same keys; an absent value is ``null``::

    {"actor":{"id":"0b9c…","session":"sha256:…"},"detail":{"tool":"brush"},"id":"019aa5…","new_digest":"sha256:…",
     "object":{"id":"5f1e…","kind":"segmentation","version":3},"old_digest":"sha256:…","project":"77aa…",
     "reason":null,"time":"2026-11-21T10:15:00.000000Z","type":"segmentation.edit","v":1}

Leaves are forever, so nothing that may have to be erased can be in one: actors are account UUIDs, never names; a
person's words are a salted commitment (``audit.private``); ``detail`` takes identifiers, numbers and digests only, and
says so by refusing anything with a space in it.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from specimg.access import Actor
from specimg.digest import JSON, Digest, canonical, digest_json, parse_digest
from specimg.errors import InvalidInput, TooLarge

VERSION = 1
MAX_LEAF = 2**16 - 1
"""tlog-tiles prefixes an entry with 16 bits of length."""

Random = Callable[[int], bytes]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_WORD = re.compile(r"[A-Za-z0-9._:@+=,%*()\[\]-][A-Za-z0-9._:@+=,%*()\[\]/-]{0,255}|")


class EntryType(StrEnum):
    """What can happen. Names are part of the format: they are added to, never changed."""

    AUTH_LOGIN = "auth.login"
    AUTH_FAIL = "auth.fail"
    AUTH_LOGOUT = "auth.logout"
    TOKEN_CREATE = "token.create"  # noqa: S105 -- the name of an act, not a secret
    TOKEN_REVOKE = "token.revoke"  # noqa: S105 -- the name of an act, not a secret
    ACCOUNT_CREATE = "account.create"
    ROLE_CHANGE = "role.change"
    PROJECT_CREATE = "project.create"
    IMAGE_INGEST = "image.ingest"
    IMAGE_REFUSE = "image.refuse"
    IMAGE_VIEW = "image.view"
    ONTOLOGY_CHANGE = "ontology.change"
    SEGMENTATION_CREATE = "segmentation.create"
    SEGMENTATION_EDIT = "segmentation.edit"
    SEGMENTATION_REVERT = "segmentation.revert"
    SEGMENTATION_RESTORE = "segmentation.restore"
    PROPOSAL_RUN = "proposal.run"
    PROPOSAL_ACCEPT = "proposal.accept"
    PROPOSAL_REJECT = "proposal.reject"
    EXPORT_WRITE = "export.write"
    IMPORT_READ = "import.read"
    AUDIT_READ = "audit.read"
    PRIVATE_ERASE = "private.erase"
    LOG_START = "log.start"
    LOG_RECOVERY = "log.recovery"


@dataclass(frozen=True, slots=True)
class EntryActor:
    """Who: an account's UUID and a digest of the session or token. Both ``None`` when nobody was logged in."""

    id: str | None = None
    session: str | None = None

    @classmethod
    def of(cls, actor: Actor | None) -> EntryActor:
        """The pseudonymous part of an actor."""
        return cls() if actor is None else cls(actor.id, actor.session)


@dataclass(frozen=True, slots=True)
class EntryObject:
    """On what. ``version`` where the thing has versions."""

    kind: str
    id: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One act. ``old_digest`` and ``new_digest`` are of the object before and after it."""

    id: str
    type: EntryType
    time: str
    actor: EntryActor
    project: str | None = None
    object: EntryObject | None = None
    old_digest: Digest | None = None
    new_digest: Digest | None = None
    reason: Digest | None = None
    detail: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if _TIME.fullmatch(self.time) is None:
            raise ValueError("an entry's time is RFC 3339 UTC with microseconds")
        for value in (self.old_digest, self.new_digest, self.reason):
            if value is not None:
                parse_digest(value)
        _require_words([self.actor.id, self.actor.session, self.project])
        if self.object is not None:
            _require_words([self.object.kind, self.object.id])
        _require_words(self.detail)

    def leaf(self) -> bytes:
        """The bytes that are hashed, stored and shown. Raises ``TooLarge`` from 64 KiB."""
        actor: JSON = {"id": self.actor.id, "session": self.actor.session}
        target: JSON = None
        if self.object is not None:
            target = {"kind": self.object.kind, "id": self.object.id, "version": self.object.version}
        leaf = canonical(
            {
                "v": VERSION,
                "id": self.id,
                "type": self.type.value,
                "time": self.time,
                "actor": actor,
                "project": self.project,
                "object": target,
                "old_digest": self.old_digest,
                "new_digest": self.new_digest,
                "reason": self.reason,
                "detail": self.detail,
            }
        )
        if len(leaf) > MAX_LEAF:
            raise TooLarge(f"an audit entry of {len(leaf)} bytes is over the limit of {MAX_LEAF}; send digests")
        return leaf


def uuid7(milliseconds: int, random: bytes) -> str:
    """UUID version 7 (RFC 9562 §5.7): 48 bits of Unix time in ms, then 74 of the 80 random bits handed in."""
    if not 0 <= milliseconds < 2**48 or len(random) != 10:
        raise ValueError("a UUIDv7 takes 48 bits of milliseconds and 10 random bytes")
    tail = int.from_bytes(random, "big")
    value = milliseconds << 80 | 0x7 << 76 | (tail >> 68) << 64 | 0b10 << 62 | tail & (2**62 - 1)
    return str(uuid.UUID(int=value))


def new_id(time: str, random: Random = secrets.token_bytes) -> str:
    """An entry id whose time part is the entry's own time."""
    moment = datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%f%z")
    # Integer arithmetic: a float of seconds since 1970 has no room for every microsecond.
    since = moment - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return uuid7((since.days * 86400 + since.seconds) * 1000 + since.microseconds // 1000, random(10))


def entry(
    type: EntryType,
    actor: Actor | None,
    time: str,
    *,
    project: str | None = None,
    object: EntryObject | None = None,
    old: Digest | None = None,
    new: Digest | None = None,
    reason: Digest | None = None,
    detail: Mapping[str, JSON] | None = None,
    random: Random = secrets.token_bytes,
) -> Entry:
    """An entry with a fresh id. The constructors below say which fields a type has; this is for the plain ones."""
    return Entry(
        id=new_id(time, random),
        type=type,
        time=time,
        actor=EntryActor.of(actor),
        project=project,
        object=object,
        old_digest=old,
        new_digest=new,
        reason=reason,
        detail=detail or {},
    )


# --- people ---------------------------------------------------------------------------------------------------------


def auth(type: EntryType, actor: Actor | None, time: str, *, account: str | None, code: str | None = None) -> Entry:
    """``auth.login``, ``auth.fail`` or ``auth.logout``. ``account`` is null when the name given is nobody's.

    The name itself is not recorded: people type passwords into that field.
    """
    target = EntryObject("account", account) if account else None
    return entry(type, actor, time, object=target, detail={"code": code} if code else {})


def token_create(actor: Actor, time: str, *, token: str, expires_at: str) -> Entry:
    """An API token was made for the actor."""
    return entry(
        EntryType.TOKEN_CREATE, actor, time, object=EntryObject("token", token), detail={"expires_at": expires_at}
    )


def token_revoke(actor: Actor, time: str, *, token: str) -> Entry:
    """An API token stopped being valid."""
    return entry(EntryType.TOKEN_REVOKE, actor, time, object=EntryObject("token", token))


def account_create(actor: Actor | None, time: str, *, account: str) -> Entry:
    """An account was made; ``actor`` is ``None`` for the operator at the command line."""
    return entry(EntryType.ACCOUNT_CREATE, actor, time, object=EntryObject("account", account))


def role_change(
    actor: Actor | None, time: str, *, project: str, account: str, old: str | None, new: str | None
) -> Entry:
    """A membership came, changed or (``new`` is null) went."""
    return entry(
        EntryType.ROLE_CHANGE,
        actor,
        time,
        project=project,
        object=EntryObject("account", account),
        detail={"old": old, "new": new},
    )


def project_create(actor: Actor | None, time: str, *, project: str) -> Entry:
    """A project was made."""
    return entry(EntryType.PROJECT_CREATE, actor, time, project=project, object=EntryObject("project", project))


# --- images ---------------------------------------------------------------------------------------------------------


def image_ingest(
    actor: Actor | None, time: str, *, project: str, image: str, digest: Digest, originals: Sequence[Digest]
) -> Entry:
    """An image was published in a project. A series may have thousands of files, so its list is one digest.

    ``detail.originals`` is ``digest_json`` of the original files' digests in the order of ``image_original.position``.
    """
    return entry(
        EntryType.IMAGE_INGEST,
        actor,
        time,
        project=project,
        object=EntryObject("image", image),
        new=digest,
        detail={"files": len(originals), "originals": digest_json(list(originals))},
    )


def image_refuse(actor: Actor | None, time: str, *, project: str, code: str, field: str | None = None) -> Entry:
    """A source could not be used. File names often are patient names, so only the error's code is kept."""
    return entry(EntryType.IMAGE_REFUSE, actor, time, project=project, detail={"code": code, "field": _as_word(field)})


def image_view(actor: Actor, time: str, *, project: str, image: str) -> Entry:
    """First pixel of an image for this actor and session; written before it is served."""
    return entry(EntryType.IMAGE_VIEW, actor, time, project=project, object=EntryObject("image", image))


# --- labels ---------------------------------------------------------------------------------------------------------


def ontology_change(
    actor: Actor,
    time: str,
    *,
    project: str,
    ontology: str,
    version: int,
    old: Digest | None,
    classes: Sequence[JSON],
) -> Entry:
    """A version of an ontology was written; ``new_digest`` is ``digest_json`` of its classes."""
    target = EntryObject("ontology", ontology, version)
    new = digest_json(list(classes))
    return entry(EntryType.ONTOLOGY_CHANGE, actor, time, project=project, object=target, old=old, new=new)


def segmentation_create(
    actor: Actor, time: str, *, project: str, segmentation: str, image: str, ontology: str
) -> Entry:
    """An empty segmentation, version 0."""
    return entry(
        EntryType.SEGMENTATION_CREATE,
        actor,
        time,
        project=project,
        object=EntryObject("segmentation", segmentation, 0),
        new=digest_json({"segmentation": segmentation}),
        detail={"image": image, "ontology": ontology},
    )


def segmentation_edit(
    actor: Actor,
    time: str,
    *,
    project: str,
    segmentation: str,
    version: int,
    old: Digest,
    new: Digest,
    type: EntryType = EntryType.SEGMENTATION_EDIT,
    reason: Digest | None = None,
    detail: Mapping[str, JSON] | None = None,
    id: str | None = None,
) -> Entry:
    """A new version of a segmentation: ``new`` is the edit's digest, ``old`` that of the version before.

    Every type that makes a version goes through here (``.edit``, ``.revert``, ``.restore``, ``proposal.accept``,
    ``import.read``): the verifier pairs exactly one such leaf with every edit row. ``id`` is the edit row's
    ``entry_id`` where it had to be known before the digest.
    """
    return Entry(
        id=id or new_id(time),
        type=type,
        time=time,
        actor=EntryActor.of(actor),
        project=project,
        object=EntryObject("segmentation", segmentation, version),
        old_digest=old,
        new_digest=new,
        reason=reason,
        detail=detail or {},
    )


# --- models ---------------------------------------------------------------------------------------------------------


def proposal_run(
    actor: Actor,
    time: str,
    *,
    project: str,
    proposal: str,
    segmentation: str,
    spans: Digest,
    model: JSON,
    prompts: JSON,
) -> Entry:
    """A model answered. ``spans`` is the digest of what it proposed; model and prompts are committed by digest."""
    return entry(
        EntryType.PROPOSAL_RUN,
        actor,
        time,
        project=project,
        object=EntryObject("proposal", proposal),
        new=spans,
        detail={"segmentation": segmentation, "model": digest_json(model), "prompts": digest_json(prompts)},
    )


def proposal_accept(
    actor: Actor,
    time: str,
    *,
    project: str,
    segmentation: str,
    version: int,
    old: Digest,
    new: Digest,
    proposal: str,
    spans: Digest,
    id: str | None = None,
) -> Entry:
    """A person made a proposal their own: a new version of the segmentation, naming the proposal it came from."""
    return segmentation_edit(
        actor,
        time,
        project=project,
        segmentation=segmentation,
        version=version,
        old=old,
        new=new,
        type=EntryType.PROPOSAL_ACCEPT,
        detail={"proposal": proposal, "spans": spans},
        id=id,
    )


def proposal_reject(actor: Actor, time: str, *, project: str, proposal: str, spans: Digest) -> Entry:
    """A person turned a proposal down."""
    return entry(
        EntryType.PROPOSAL_REJECT, actor, time, project=project, object=EntryObject("proposal", proposal), old=spans
    )


# --- in and out -----------------------------------------------------------------------------------------------------


def export_write(
    actor: Actor, time: str, *, project: str, segmentation: str, version: int, format: str, file: Digest
) -> Entry:
    """Labels left the server; ``file`` is the digest of what was handed out."""
    return entry(
        EntryType.EXPORT_WRITE,
        actor,
        time,
        project=project,
        object=EntryObject("segmentation", segmentation, version),
        new=file,
        detail={"format": format},
    )


def audit_read(actor: Actor, time: str, *, project: str | None, object: str | None = None) -> Entry:
    """Someone read the log."""
    target = EntryObject("entries", object) if object else None
    return entry(EntryType.AUDIT_READ, actor, time, project=project, object=target)


def private_erase(actor: Actor | None, time: str, *, commitments: Sequence[Digest], basis: str) -> Entry:
    """Words were erased. ``basis`` is a code, such as ``gdpr.17``. At most 500 commitments fit one leaf with room."""
    if len(commitments) > 500:
        raise TooLarge("erase at most 500 values with one entry")
    return entry(EntryType.PRIVATE_ERASE, actor, time, detail={"commitments": list(commitments), "basis": basis})


# --- the log itself -------------------------------------------------------------------------------------------------


def log_start(time: str, *, vkey: str, software: str) -> Entry:
    """The server began to write."""
    return entry(EntryType.LOG_START, None, time, detail={"key": digest_json(vkey), "software": software})


def log_recovery(
    actor: Actor | None, time: str, *, reason: Digest, lost: Mapping[str, JSON], found: Mapping[str, JSON]
) -> Entry:
    """An operator declares that history after a restored backup is gone. See ``Log.recover``."""
    return entry(EntryType.LOG_RECOVERY, actor, time, reason=reason, detail={"lost": dict(lost), "found": dict(found)})


def _as_word(text: str | None) -> str | None:
    """A field's name for ``detail``: what is not a plain word is left out rather than kept forever."""
    return text if text is not None and _WORD.fullmatch(text) else None


def _require_words(value: JSON) -> None:
    if isinstance(value, str):
        if _WORD.fullmatch(value) is None:
            raise InvalidInput(
                "an audit entry takes identifiers, numbers and digests only; commit people's words with audit.private",
                field="detail",
            )
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _require_words(key)
            _require_words(item)
    elif isinstance(value, Sequence):
        for item in value:
            _require_words(item)

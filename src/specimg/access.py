"""Who may do what. Deny by default: a permission that no rule grants is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from specimg.errors import NotFound, NotPermitted


class Role(StrEnum):
    """A person's role in one project, each including the ones before it."""

    VIEWER = "viewer"
    ANNOTATOR = "annotator"
    REVIEWER = "reviewer"
    ADMIN = "admin"


class Permission(StrEnum):
    """What a request needs."""

    VIEW = "view"
    """See images, labels and their history in a project."""
    EXPORT = "export"
    """Take labels out of the server."""
    ANNOTATE = "annotate"
    """Write labels, ask models, accept proposals."""
    REVIEW = "review"
    """Restore an earlier version over other people's work; read the project's audit entries."""
    ADMINISTER = "administer"
    """Change ontologies and members."""


_GRANTS: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.VIEW}),
    Role.ANNOTATOR: frozenset({Permission.VIEW, Permission.EXPORT, Permission.ANNOTATE}),
    Role.REVIEWER: frozenset({Permission.VIEW, Permission.EXPORT, Permission.ANNOTATE, Permission.REVIEW}),
    Role.ADMIN: frozenset(Permission),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. ``id`` is never reused; ``name`` is what people see; ``roles`` maps project id to role.

    ``session`` is a digest of the session or token, so that entries can tell two sessions of one person apart.
    A model that acts on someone's behalf is named in the entry beside its actor, never instead.
    """

    id: str
    name: str
    roles: Mapping[str, Role] = field(default_factory=dict)
    session: str | None = None

    def may(self, permission: Permission, project_id: str) -> bool:
        """Whether a rule grants it."""
        role = self.roles.get(project_id)
        return role is not None and permission in _GRANTS[role]


def require(actor: Actor, permission: Permission, project_id: str) -> None:
    """Raise unless granted. Outsiders get ``NotFound``: whether a thing exists is itself knowledge."""
    if actor.may(permission, project_id):
        return
    if not actor.may(Permission.VIEW, project_id):
        raise NotFound("there is nothing here by that name")
    raise NotPermitted(f"your role in this project does not include '{permission}'")

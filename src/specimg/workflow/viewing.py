"""Viewing: that someone saw an image is itself an act."""

from __future__ import annotations

from specimg.access import Actor, Permission, require
from specimg.audit import entry as entries
from specimg.workflow.desk import Desk


def record_view(desk: Desk, actor: Actor, image_id: str, project_id: str) -> None:
    """Record that this actor sees pixels of an image. Returns once it is on disk; serve them only then."""
    require(actor, Permission.VIEW, project_id)
    now = desk.database.clock()
    with desk.database.transaction() as connection:
        desk.log.append(connection, entries.image_view(actor, now, project=project_id, image=image_id))


def record_audit_read(desk: Desk, actor: Actor, project_id: str, object_id: str | None) -> None:
    """Record that this actor reads the log of a project."""
    require(actor, Permission.REVIEW, project_id)
    now = desk.database.clock()
    with desk.database.transaction() as connection:
        desk.log.append(connection, entries.audit_read(actor, now, project=project_id, object=object_id))

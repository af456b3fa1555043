"""Where shapes lie: one row for each state of a shape, from the first version that shows it to the last.

Rows are added and closed, never changed otherwise, so every version can be read for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, update

from specimg.digest import Digest
from specimg.labels.shapes import Shape
from specimg.store import schema

_row = schema.shape_version.c


def shape_at(connection: Connection, segmentation_id: str, shape_id: str, version: int) -> Shape | None:
    """One shape as of a version; ``None`` if it is not there."""
    found = connection.execute(
        select(_row.shape).where(_row.segmentation_id == segmentation_id, _row.shape_id == shape_id, _visible(version))
    ).first()
    return None if found is None else Shape.from_json(found.shape)


def shapes_at(
    connection: Connection,
    segmentation_id: str,
    version: int,
    box: tuple[Sequence[float], Sequence[float]] | None = None,
) -> list[Shape]:
    """Shapes of a version, by id; with ``box`` those whose own box meets it (borders count), in continuous indices."""
    query = select(_row.shape).where(_row.segmentation_id == segmentation_id, _visible(version)).order_by(_row.shape_id)
    if box is not None:
        (z0, y0, x0), (z1, y1, x1) = box
        query = query.where(
            and_(_row.z0 <= z1, _row.z1 >= z0, _row.y0 <= y1, _row.y1 >= y0, _row.x0 <= x1, _row.x1 >= x0)
        )
    return [Shape.from_json(row.shape) for row in connection.execute(query)]


def put_shape(connection: Connection, segmentation_id: str, version: int, shape: Shape) -> Digest:
    """Show this shape from ``version`` on, instead of the state before it."""
    close_shape(connection, segmentation_id, version, shape.id)
    (z0, y0, x0), (z1, y1, x1) = shape.box
    values: dict[str, Any] = {
        "segmentation_id": segmentation_id,
        "shape_id": shape.id,
        "first_version": version,
        "last_version": None,
        "digest": shape.digest,
        "shape": shape.to_json(),
        "z0": z0, "y0": y0, "x0": x0, "z1": z1, "y1": y1, "x1": x1,
    }  # fmt: skip
    connection.execute(schema.shape_version.insert(), values)
    return shape.digest


def close_shape(connection: Connection, segmentation_id: str, version: int, shape_id: str) -> None:
    """Show this shape no longer from ``version`` on."""
    connection.execute(
        update(schema.shape_version)
        .where(_row.segmentation_id == segmentation_id, _row.shape_id == shape_id, _row.last_version.is_(None))
        .values(last_version=version - 1)
    )


def shapes_of_edit(connection: Connection, segmentation_id: str, version: int) -> dict[str, Digest | None]:
    """What an edit did to shapes: id to the digest it put, or ``None`` where it took the shape away."""
    inside = _row.segmentation_id == segmentation_id
    closed = select(_row.shape_id).where(inside, _row.last_version == version - 1)
    acts: dict[str, Digest | None] = {row.shape_id: None for row in connection.execute(closed)}
    put = select(_row.shape_id, _row.digest).where(inside, _row.first_version == version)
    acts.update((row.shape_id, Digest(row.digest)) for row in connection.execute(put))
    return dict(sorted(acts.items()))


def changed_shapes(connection: Connection, segmentation_id: str, after: int, until: int) -> list[str]:
    """Ids of shapes that an edit in ``after < version <= until`` put or took away."""
    rows: Sequence[Row[Any]] = connection.execute(
        select(_row.shape_id)
        .distinct()
        .where(_row.segmentation_id == segmentation_id)
        .where(
            or_(
                and_(_row.first_version > after, _row.first_version <= until),
                and_(_row.last_version >= after, _row.last_version < until),
            )
        )
    ).all()
    return sorted(row.shape_id for row in rows)


def _visible(version: int) -> ColumnElement[bool]:
    return and_(_row.first_version <= version, or_(_row.last_version.is_(None), _row.last_version >= version))

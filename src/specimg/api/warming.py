"""Warming: what libraries set up on first use is paid for at start, not by the first person who opens an image."""

from __future__ import annotations

import numpy as np
from sqlalchemy import select

from specimg.errors import SpecimgError
from specimg.render.encode import encode
from specimg.store import schema
from specimg.workflow.desk import Desk


def warm(desk: Desk) -> None:
    """Load encoders, compile the queries of an image and open the newest one. Shows nobody anything; never fails."""
    for format in ("png", "jpeg", "webp"):
        encode(np.zeros((8, 8), np.uint8), format)
    table = schema.project_image
    with desk.database.reading() as connection:
        newest = connection.scalar(select(table.c.image_id).order_by(table.c.added_at.desc()).limit(1))
    if newest is None:
        return
    try:
        image = desk.images.open(newest)
        image.read_plane("z", 0, level=len(image.levels) - 1)
    except SpecimgError:
        # A damaged image is for whoever opens it to hear about; the others must still be served.
        return

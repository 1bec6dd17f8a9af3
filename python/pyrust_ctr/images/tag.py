"""`tag`: a further name for an image."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from pyrust_ctr.errors import InvalidReference
from pyrust_ctr.images import find
from pyrust_ctr.images.table import point
from pyrust_ctr.refs import Reference

if TYPE_CHECKING:
    from pyrust_ctr.images.context import ImageContext
    from pyrust_ctr.models.image import Image


def tag(context: ImageContext, image: Image, name: str, target: str) -> None:
    """Makes the reference `target` stand for `image`, which the user called `name`."""
    reference = Reference.parse(target)
    if reference.digest is not None:
        raise InvalidReference(f"cannot tag an image as `{target}`: a digest is not a name that can be given")
    try:
        with context.database.write() as connection:
            point(connection, reference.canonical, image.id)
    except sqlite3.IntegrityError:  # removed in the meantime
        raise find.not_found(name) from None

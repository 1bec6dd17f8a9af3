"""From what a user writes to an image: a reference first, then an id or a unique beginning of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyrust_ctr import ids
from pyrust_ctr.errors import ImageNotFound, InvalidArgument, InvalidReference
from pyrust_ctr.refs import Reference

if TYPE_CHECKING:
    from pyrust_ctr.images.context import ImageContext
    from pyrust_ctr.models.image import Image


@dataclass(frozen=True, slots=True)
class Found:
    """An image, and the canonical name that led to it (None when it was an id)."""

    image: Image
    canonical: str | None


def find(context: ImageContext, name: str) -> Found | None:
    """The image called `name`, or None. A malformed reference raises `InvalidReference`."""
    problem: InvalidReference | None = None
    try:
        canonical = Reference.parse(name).canonical
    except InvalidReference as failure:
        problem = failure
    else:
        image = context.table.by_name(canonical)
        if image is not None:
            return Found(image, canonical)
    digits = name.removeprefix("sha256:")
    if ids.is_id_prefix(digits):
        matches = context.table.by_id_prefix(digits)
        if len(matches) > 1:
            raise InvalidArgument(f"`{name}` is the beginning of more than one image id: write more of it")
        return Found(matches[0], None) if matches else None
    if problem is not None:
        raise problem
    return None


def get(context: ImageContext, name: str) -> Found:
    """The image called `name`; `ImageNotFound` when there is none."""
    found = find(context, name)
    if found is None:
        raise not_found(name)
    return found


def not_found(name: str) -> ImageNotFound:
    """The error for a name that no image here has."""
    return ImageNotFound(
        f"No such image: {name}", hint=f"`pctr pull {name}` downloads it, if a registry has it."
    )

"""`ls`: the images that are here, filtered as Docker filters them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyrust_ctr.errors import InvalidArgument
from pyrust_ctr.images import find
from pyrust_ctr.images.content import config_of
from pyrust_ctr.refs import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyrust_ctr.images.context import ImageContext
    from pyrust_ctr.models.image import Image

FILTERS = ("before", "dangling", "label", "reference", "since")


def list_images(context: ImageContext, filters: Mapping[str, Sequence[str]]) -> list[Image]:
    """Images, the latest first. Values of one filter widen it, several filters narrow the list."""
    for key in filters:
        if key not in FILTERS:
            choices = ", ".join(f"`{name}`" for name in FILTERS)
            raise InvalidArgument(f"`{key}` is not a filter for images; there are {choices}")
    images = context.table.all()
    if values := filters.get("dangling"):
        wanted = {_boolean(value) for value in values}
        images = [image for image in images if image.is_dangling in wanted]
    if patterns := filters.get("reference"):
        images = [
            image for image in images if any(matches_reference(name, patterns) for name in image.references)
        ]
    if values := filters.get("label"):
        images = [image for image in images if _has_labels(context, image, values)]
    for value in filters.get("before", ()):
        limit = find.get(context, value).image.created_at_ns
        images = [image for image in images if image.created_at_ns < limit]
    for value in filters.get("since", ()):
        limit = find.get(context, value).image.created_at_ns
        images = [image for image in images if image.created_at_ns > limit]
    return images


def matches_reference(canonical: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns fits a name, as people write it, with or without its tag."""
    reference = Reference.parse(canonical)
    texts = (reference.familiar, reference.familiar_name, canonical, reference.repository)
    return any(_glob(pattern).fullmatch(text) is not None for pattern in patterns for text in texts)


def _glob(pattern: str) -> re.Pattern[str]:
    """A shell pattern whose `*` and `?` do not cross a slash."""
    pieces = []
    for piece in re.findall(r"\\.|\[\^?[^]]+\]|.", pattern, re.DOTALL):
        if piece == "*":
            pieces.append("[^/]*")
        elif piece == "?":
            pieces.append("[^/]")
        elif piece.startswith("[") and len(piece) > 1:
            pieces.append(piece)
        else:
            pieces.append(re.escape(piece[-1]))
    try:
        return re.compile("".join(pieces))
    except re.error:
        raise InvalidArgument(f"the pattern `{pattern}` is malformed") from None


def _has_labels(context: ImageContext, image: Image, wanted: Sequence[str]) -> bool:
    labels = config_of(context, image, image.short_id).labels
    for item in wanted:
        key, equals, value = item.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def _boolean(value: str) -> bool:
    if value.lower() in {"true", "1"}:
        return True
    if value.lower() in {"false", "0"}:
        return False
    raise InvalidArgument(f"the filter `dangling` is `true` or `false`, not `{value}`")

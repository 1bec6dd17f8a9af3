"""Content that rows need, and the deletion of content that none needs any more.

Whoever adds layers holds the lock shared until the row is written; deletion holds it alone and looks at the
rows afterwards. So a layer that a running pull has found here cannot vanish under it.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pyrust_ctr.errors import ContentError, Error, ImageNotFound, NotFound
from pyrust_ctr.images.image_config import parse_config
from pyrust_ctr.state import locks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrust_ctr.images.context import ImageContext
    from pyrust_ctr.models.image import Image, ImageConfig


@contextmanager
def adding(context: ImageContext) -> Iterator[None]:
    """Meanwhile, no content is deleted; afterwards what had to wait for that is."""
    try:
        with locks.shared(context.lock):
            # What a killed pull left gives its space to this one.
            context.store.sweep()
            yield
    finally:
        if context.overdue.exists():
            # Not this caller's errand: when it fails, the mark stays for the next one, and `prune` tells why.
            with suppress(Error):
                delete_unused(context)


def is_complete(context: ImageContext, image: Image) -> bool:
    """Whether everything that the image's row promises is here."""
    blobs = [image.id, *([image.manifest_digest] if image.manifest_digest else [])]
    return all(context.store.has_blob(digest) for digest in blobs) and all(
        context.store.layer(diff_id) is not None for diff_id in image.layers
    )


def config_of(context: ImageContext, image: Image, name: str) -> ImageConfig:
    """The configuration of an image whose row was read; `name` is what the user calls it."""
    with present(context, image, name):
        return parse_config(context.store.read_blob(image.id), name)


@contextmanager
def present(context: ImageContext, image: Image, name: str) -> Iterator[None]:
    """Meanwhile, content of the image that is not there means: removed a moment ago, else a damaged store."""
    try:
        yield
    except NotFound as cause:
        if context.table.by_id(image.id) is None:
            raise ImageNotFound(f"No such image: {name}") from cause
        raise ContentError(
            f"the image `{name}` is damaged: {cause.message}", hint="Pull or load it again."
        ) from cause


def delete_unused(context: ImageContext) -> tuple[tuple[str, ...], int]:
    """Deletes layers and blobs that no image has; returns the layers' diff ids and the bytes freed.

    While somebody adds content nothing is deleted, and who adds does it when finished.
    """
    removed = _delete_if_alone(context)
    if removed is None:
        context.overdue.touch()
        # Whoever held the lock may have looked for the mark just before it was made.
        removed = _delete_if_alone(context)
    context.store.sweep()
    return removed if removed is not None else ((), 0)


def _delete_if_alone(context: ImageContext) -> tuple[tuple[str, ...], int] | None:
    with locks.exclusive_if_free(context.lock) as is_held:
        if not is_held:
            return None
        layers, blobs = _needed(context)
        removed: list[str] = []
        freed = 0
        for diff_id in context.store.layers():
            if diff_id not in layers:
                freed += context.store.remove_layer(diff_id)
                removed.append(diff_id)
        for digest in context.store.blobs():
            if digest not in blobs:
                context.store.remove_blob(digest)
        context.overdue.unlink(missing_ok=True)
    return tuple(removed), freed


def _needed(context: ImageContext) -> tuple[set[str], set[str]]:
    layers: set[str] = set()
    blobs: set[str] = set()
    for image in context.table.all():
        layers.update(image.layers)
        blobs.update((image.id, image.manifest_digest))
        blobs.update(name.partition("@")[2] for name in image.references if "@" in name)
    return layers, blobs

"""`rm` and `prune`: names first, then rows, then the content that nobody has any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrust_ctr import ids
from pyrust_ctr.errors import Conflict, ImageInUse
from pyrust_ctr.images import content, find
from pyrust_ctr.models.image import Removal
from pyrust_ctr.refs import Reference

if TYPE_CHECKING:
    import sqlite3

    from pyrust_ctr.images.context import ImageContext


def remove(context: ImageContext, name: str, *, force: bool) -> Removal:
    """Takes a name from an image, and the image away with its last tag.

    Named by id the whole image goes; with names in several repositories only by force. An image that a
    container was made from keeps its content: `ImageInUse`, or with `force` only its names go.
    """
    found = find.get(context, name)
    with context.database.write() as connection:
        names = _names(connection, found.image.id)
        going = _names_to_drop(found, names, force=force)
        is_last = set(going) == set(names)
        if is_last and (user := _user(connection, found.image.id)) is not None:
            if not force:
                raise ImageInUse(
                    f"cannot remove the image `{name}`: the container `{ids.short(user)}` uses it",
                    hint="Remove the container first; `--force` takes only the image's names.",
                )
            is_last = False
        _drop(connection, found.image.id, going, with_image=is_last)
    if not is_last:
        return Removal(untagged=_familiar(going))
    layers, freed = content.delete_unused(context)
    return Removal(_familiar(going), (found.image.id, *layers), freed)


def prune(context: ImageContext, *, every_unused: bool) -> Removal:
    """Removes the images without a tag, or every image that no container was made from, and content without
    an image.
    """
    untagged: list[str] = []
    deleted: list[str] = []
    for image in context.table.all():
        if not every_unused and not image.is_dangling:
            continue
        with context.database.write() as connection:
            names = _names(connection, image.id)
            # Looked at again inside the transaction: a container or a tag may have come meanwhile.
            if _user(connection, image.id) is not None or (
                not every_unused and any("@" not in one for one in names)
            ):
                continue
            _drop(connection, image.id, names, with_image=True)
        untagged += _familiar(names)
        deleted.append(image.id)
    layers, freed = content.delete_unused(context)
    return Removal(tuple(untagged), (*deleted, *layers), freed)


def _names_to_drop(found: find.Found, names: list[str], *, force: bool) -> list[str]:
    tags = [name for name in names if "@" not in name]
    if found.canonical is None:
        repositories = {Reference.parse(tag).repository for tag in tags}
        if len(repositories) > 1 and not force:
            raise Conflict(
                f"cannot remove the image `{found.image.short_id}`: several repositories name it: "
                + ", ".join(f"`{tag}`" for tag in _familiar(tags)),
                hint="Remove it by name, or use `--force`.",
            )
        return names
    others = [name for name in names if name != found.canonical]
    if "@" in found.canonical:
        return [found.canonical] if others else names
    repository = Reference.parse(found.canonical).repository
    if not any("@" not in name for name in others):
        return names
    if any(Reference.parse(name).repository == repository for name in others if "@" not in name):
        return [found.canonical]
    # The digests of a repository go with its last tag.
    return [found.canonical, *(name for name in others if name.startswith(f"{repository}@"))]


def _names(connection: sqlite3.Connection, image_id: str) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM image_references WHERE image_id = ? ORDER BY name", (image_id,)
    )
    return [row["name"] for row in rows]


def _user(connection: sqlite3.Connection, image_id: str) -> str | None:
    row = connection.execute("SELECT id FROM containers WHERE image_id = ? LIMIT 1", (image_id,)).fetchone()
    return row["id"] if row is not None else None


def _drop(connection: sqlite3.Connection, image_id: str, names: list[str], *, with_image: bool) -> None:
    connection.executemany(
        "DELETE FROM image_references WHERE name = ? AND image_id = ?", [(name, image_id) for name in names]
    )
    if with_image:
        connection.execute("DELETE FROM images WHERE id = ?", (image_id,))


def _familiar(names: list[str]) -> tuple[str, ...]:
    return tuple(Reference.parse(name).familiar for name in names)

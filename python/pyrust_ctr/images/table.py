"""The rows of images and of their names. Content is `content`'s business."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pyrust_ctr.models.image import Image

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from pyrust_ctr.state.db import Database

# A name has no blank in it. One query instead of two: this stands on the start path.
_SELECT = (
    "SELECT id, manifest_digest, manifest_type, platform, layers, size_bytes, created_at_ns, pulled_at_ns,"
    " kind, (SELECT group_concat(name, ' ') FROM image_references WHERE image_id = images.id) AS names"
    " FROM images"
)
_SELECT_BY_NAME = f"{_SELECT} WHERE id = (SELECT image_id FROM image_references WHERE name = ?)"  # noqa: S608
_INSERT = """
    INSERT INTO images
        (id, manifest_digest, manifest_type, platform, layers, size_bytes, created_at_ns, pulled_at_ns, kind)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    -- What came from a registry knows its manifest; a later load of the same image does not.
    ON CONFLICT (id) DO UPDATE SET
        manifest_type = iif(excluded.manifest_digest = '', manifest_type, excluded.manifest_type),
        manifest_digest = iif(excluded.manifest_digest = '', manifest_digest, excluded.manifest_digest),
        size_bytes = excluded.size_bytes,
        pulled_at_ns = excluded.pulled_at_ns
"""


class ImageTable:
    """Reads and writes the tables `images` and `image_references`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Image]:
        """Every image, the latest first."""
        images = [_image(row) for row in self._database.read(_SELECT)]
        return sorted(images, key=lambda image: (-image.created_at_ns, image.references, image.id))

    def by_id(self, image_id: str) -> Image | None:
        """The image with that id, or None."""
        rows = self._database.read(_SELECT + " WHERE id = ?", (image_id,))
        return _image(rows[0]) if rows else None

    def by_name(self, canonical: str) -> Image | None:
        """The image that a canonical name stands for, or None."""
        rows = self._database.read(_SELECT_BY_NAME, (canonical,))
        return _image(rows[0]) if rows else None

    def by_id_prefix(self, digits: str) -> list[Image]:
        """At most two images whose id begins with these hexadecimal digits."""
        low = f"sha256:{digits}"
        rows = self._database.read(_SELECT + " WHERE id >= ? AND id < ? LIMIT 2", (low, f"{low}g"))
        return [_image(row) for row in rows]

    def put(self, image: Image, names: Iterable[str]) -> Image:
        """Writes the image, and points the names at it, in one transaction; returns it with all of its names.

        A moment later somebody may have removed it again.
        """
        with self._database.write() as connection:
            connection.execute(
                _INSERT,
                (
                    image.id,
                    image.manifest_digest,
                    image.manifest_type,
                    image.platform,
                    json.dumps(image.layers, separators=(",", ":")),
                    image.size_bytes,
                    image.created_at_ns,
                    image.pulled_at_ns,
                    image.kind,
                ),
            )
            for name in names:
                point(connection, name, image.id)
            return _image(connection.execute(_SELECT + " WHERE id = ?", (image.id,)).fetchone())


def point(connection: sqlite3.Connection, name: str, image_id: str) -> None:
    """Makes a canonical name stand for an image, taking it from another one if need be."""
    connection.execute(
        "INSERT INTO image_references (name, image_id) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET image_id = excluded.image_id",
        (name, image_id),
    )


def _image(row: sqlite3.Row) -> Image:
    return Image(
        id=row["id"],
        manifest_digest=row["manifest_digest"],
        manifest_type=row["manifest_type"],
        platform=row["platform"],
        layers=tuple(json.loads(row["layers"])),
        size_bytes=row["size_bytes"],
        created_at_ns=row["created_at_ns"],
        pulled_at_ns=row["pulled_at_ns"],
        kind=row["kind"],
        references=tuple(sorted((row["names"] or "").split())),
    )

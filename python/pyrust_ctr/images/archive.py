"""An unpacked archive of images: members opened beneath its folder, and what readers of its forms return."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyrust_ctr.errors import ContentError, DigestMismatch, MalformedArchive, NotFound, SizeMismatch, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrust_ctr.images.manifests import Descriptor, ImageManifest
    from pyrust_ctr.models.image import ImageConfig
    from pyrust_ctr.runtime.interface import Store

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ArchivedLayer:
    """Where a layer is in the archive, and what a manifest says about that file (None: nothing does)."""

    member: str
    descriptor: Descriptor | None = None


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """One image of an archive; as many layers as its configuration has diff ids."""

    config_bytes: bytes
    config: ImageConfig
    layers: tuple[ArchivedLayer, ...]
    names: tuple[str, ...]
    """Canonical references."""
    manifest: ImageManifest | None = None


class ArchiveFolder:
    """The folder that an archive was unpacked into. No member can lead out of it."""

    def __init__(self, store: Store, directory: str, name: str) -> None:
        self._store = store
        self._directory = directory
        self.name = name
        """What the user calls the archive."""

    @contextmanager
    def opened(self, member: str) -> Iterator[int]:
        """A descriptor of a regular file of the archive; links are followed within it."""
        try:
            descriptor = self._store.open_beneath(self._directory, member)
        except NotFound as cause:
            raise MalformedArchive(f"the archive `{self.name}` has no `{member}`, which it needs") from cause
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def has(self, member: str) -> bool:
        """Whether the archive has that file."""
        try:
            os.close(self._store.open_beneath(self._directory, member))
        except NotFound:
            return False
        return True

    def size(self, member: str) -> int:
        """Bytes of a file."""
        with self.opened(member) as descriptor:
            return os.fstat(descriptor).st_size

    def read(self, member: str, max_bytes: int) -> bytes:
        """A small file, whole."""
        with self.opened(member) as descriptor:
            if os.fstat(descriptor).st_size > max_bytes:
                raise TooLarge(f"`{member}` in `{self.name}` is larger than the limit of {max_bytes} bytes")
            with os.fdopen(os.dup(descriptor), "rb") as file:
                return file.read(max_bytes)

    def read_blob(self, member: str, descriptor: Descriptor, max_bytes: int) -> bytes:
        """A small file that must be what a descriptor says."""
        data = self.read(member, max_bytes)
        self._compare(member, descriptor, len(data), hashlib.sha256(data).hexdigest())
        return data

    def check(self, descriptor_fd: int, member: str, descriptor: Descriptor) -> None:
        """Reads an open file to its end, compares it with what a descriptor says, and winds it back."""
        hasher = hashlib.sha256()
        size = 0
        while piece := os.read(descriptor_fd, _PIECE_BYTES):
            hasher.update(piece)
            size += len(piece)
        os.lseek(descriptor_fd, 0, os.SEEK_SET)
        self._compare(member, descriptor, size, hasher.hexdigest())

    def _compare(self, member: str, descriptor: Descriptor, size: int, digest: str) -> None:
        if size != descriptor.size:
            raise SizeMismatch(
                f"`{member}` in `{self.name}` has {size} bytes, and its manifest says {descriptor.size}"
            )
        if f"sha256:{digest}" != descriptor.digest:
            raise DigestMismatch(
                f"`{member}` in `{self.name}` does not have the digest `{descriptor.digest}`"
            )

    def blob_member(self, digest: str) -> str:
        """Where an OCI layout keeps a blob."""
        algorithm, _, digits = digest.partition(":")
        return f"blobs/{algorithm}/{digits}"

    def contradiction(self, sentence: str) -> ContentError:
        """An error about what the archive says."""
        return ContentError(f"the archive `{self.name}` contradicts itself: {sentence}")

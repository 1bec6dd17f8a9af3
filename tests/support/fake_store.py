"""The store and registry half of the runtime in plain Python: for tests of policy without root."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.layers import sha256

from pyrust_ctr.errors import (
    Cancelled,
    DigestMismatch,
    Error,
    ManifestUnknown,
    NotFound,
    RegistryUnreachable,
    SizeMismatch,
    Unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.images import Document


@dataclass(slots=True)
class FakeProgress:
    """Counters that the fake raises."""

    current_bytes: int = 0
    total_bytes: int = 0
    phase: str = "waiting"
    cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        self.cancelled.set()


@dataclass(frozen=True, slots=True)
class FakeLayer:
    """A layer of the fake store."""

    diff_id: str
    archive_bytes: int
    disk_bytes: int
    entries: int


class FakeStore:
    """Blobs and layers in memory; unpacked archives in a real folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs_by_digest: dict[str, bytes] = {}
        self.layers_by_id: dict[str, FakeLayer] = {}
        self.applied: list[str] = []

    def put_blob(self, data: bytes, digest: str | None = None) -> str:
        actual = sha256(data)
        if digest is not None and digest != actual:
            raise DigestMismatch(f"the blob has the digest `{actual}`, not `{digest}`")
        self.blobs_by_digest[actual] = data
        return actual

    def read_blob(self, digest: str) -> bytes:
        try:
            return self.blobs_by_digest[digest]
        except KeyError:
            raise NotFound(f"no blob `{digest}`") from None

    def has_blob(self, digest: str) -> bool:
        return digest in self.blobs_by_digest

    def remove_blob(self, digest: str) -> None:
        self.blobs_by_digest.pop(digest, None)

    def blobs(self) -> list[str]:
        return list(self.blobs_by_digest)

    def layer(self, diff_id: str) -> FakeLayer | None:
        return self.layers_by_id.get(diff_id)

    def layers(self) -> list[str]:
        return list(self.layers_by_id)

    def remove_layer(self, diff_id: str) -> int:
        layer = self.layers_by_id.pop(diff_id, None)
        return layer.disk_bytes if layer is not None else 0

    def apply_layer(self, fd: int, *, diff_id: str | None, max_bytes: int, progress: Any = None) -> FakeLayer:
        with os.fdopen(os.dup(fd), "rb") as file:
            return self.keep(file.read(), diff_id)

    def keep(self, blob: bytes, diff_id: str | None) -> FakeLayer:
        archive = gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob
        actual = sha256(archive)
        if diff_id is not None and actual != diff_id:
            raise DigestMismatch(f"the layer has the diff id `{actual}`, not `{diff_id}`")
        with tarfile.open(fileobj=io.BytesIO(archive)) as reader:
            sizes = [member.size for member in reader]
        self.applied.append(actual)
        layer = FakeLayer(actual, len(archive), sum(sizes), len(sizes))
        return self.layers_by_id.setdefault(actual, layer)

    def rootfs_lowers(self, diff_ids: list[str]) -> list[str]:
        return [f"{self.root}/layers/{diff_id}" for diff_id in reversed(diff_ids)]

    def read_rootfs_file(self, diff_ids: list[str], path: str, max_bytes: int) -> bytes | None:
        return None

    def unpack_archive(self, fd: int, *, max_bytes: int, progress: Any = None) -> str:
        folder = self.root / "tmp" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        with os.fdopen(os.dup(fd), "rb") as file:
            data = file.read()
        with tarfile.open(fileobj=io.BytesIO(data)) as reader:
            reader.extractall(folder, filter="data")
        return str(folder)

    def open_beneath(self, directory: str, path: str) -> int:
        target = Path(directory, path).resolve()
        if not target.is_relative_to(Path(directory).resolve()) or not target.is_file():
            raise NotFound(f"no file `{path}`")
        return os.open(target, os.O_RDONLY)

    def discard(self, path: str) -> None:
        shutil.rmtree(path, ignore_errors=True)

    def sweep(self) -> None:
        shutil.rmtree(self.root / "tmp", ignore_errors=True)


@dataclass(frozen=True, slots=True)
class FakeResponse:
    """A manifest as the fake registry sends it."""

    body: bytes
    media_type: str
    digest: str | None


@dataclass(slots=True)
class FakeHub:
    """What the fake registries hold: documents by repository and reference, blobs by digest."""

    documents: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    answering: set[str] = field(default_factory=set)
    """Base URLs that answer; every one when empty."""
    passwords: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By base URL."""
    requests: list[str] = field(default_factory=list)
    opened: list[dict[str, Any]] = field(default_factory=list)
    before_layer: Callable[[str, FakeProgress], None] | None = None
    """Called on the worker's thread before a layer is kept."""

    def push(self, repository: str, tag: str, document: Document) -> str:
        """Keeps a document and everything beneath it; returns its digest."""
        for child in document.children:
            self.push(repository, child.digest, child)
        self.blobs.update(document.blobs)
        for reference in {tag, document.digest}:
            self.documents[repository, reference] = (document.data, document.media_type)
        return document.digest


class FakeRegistry:
    """One endpoint of a `FakeHub`."""

    def __init__(self, hub: FakeHub, options: dict[str, Any]) -> None:
        self._hub = hub
        self._options = options

    def _ask(self, what: str) -> None:
        url = self._options["base_url"]
        self._hub.requests.append(f"{url} {what}")
        if self._hub.answering and url not in self._hub.answering:
            raise RegistryUnreachable(f"cannot reach `{url}`")
        expected = self._hub.passwords.get(url)
        if expected is not None and (self._options["username"], self._options["password"]) != expected:
            raise Unauthorized(f"the registry `{url}` refused the request")

    def ping(self) -> None:
        self._ask("ping")

    def manifest(self, repository: str, reference: str, accept: list[str]) -> FakeResponse:
        self._ask(f"manifest {repository} {reference}")
        found = self._hub.documents.get((repository, reference))
        if found is None:
            raise ManifestUnknown("manifest unknown")
        return FakeResponse(found[0], found[1], sha256(found[0]))

    def blob(self, repository: str, digest: str, size: int) -> bytes:
        self._ask(f"blob {repository} {digest}")
        data = self._hub.blobs.get(digest)
        if data is None:
            raise Error(f"no blob `{digest}`")
        if len(data) != size:
            raise SizeMismatch(f"the blob `{digest}` has {len(data)} bytes, not {size}")
        return data

    def pull_layer(
        self,
        store: FakeStore,
        repository: str,
        digest: str,
        size: int,
        diff_id: str,
        *,
        max_bytes: int,
        progress: FakeProgress,
    ) -> FakeLayer:
        self._ask(f"layer {repository} {digest}")
        progress.phase = "downloading"
        if self._hub.before_layer is not None:
            self._hub.before_layer(digest, progress)
        if progress.cancelled.is_set():
            raise Cancelled("the operation was cancelled")
        layer = store.keep(self.blob(repository, digest, size), diff_id)
        progress.phase = "complete"
        return layer


class FakeImageRuntime:
    """What the image service needs of a `Runtime`."""

    def __init__(self, hub: FakeHub | None = None) -> None:
        self.hub = hub or FakeHub()

    def new_progress(self) -> FakeProgress:
        return FakeProgress()

    def open_registry(self, base_url: str, **options: Any) -> FakeRegistry:
        given = {"base_url": base_url, "username": None, "password": None, **options}
        self.hub.opened.append(given)
        return FakeRegistry(self.hub, given)

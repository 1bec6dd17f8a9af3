"""From a reference to one manifest and its configuration: indexes walked, platforms chosen, everything
checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyrust_ctr.errors import ContentError, DigestMismatch, PlatformMismatch, SizeMismatch, TooLarge
from pyrust_ctr.images import manifests, platform
from pyrust_ctr.images.documents import MAX_CONFIG_BYTES, MAX_DOCUMENT_BYTES
from pyrust_ctr.images.image_config import parse_config
from pyrust_ctr.images.manifests import Descriptor, ImageIndex, ImageManifest
from pyrust_ctr.models.image import ImageConfig, Platform
from pyrust_ctr.refs import Reference, is_digest

if TYPE_CHECKING:
    from pyrust_ctr.registry.client import RegistryClient
    from pyrust_ctr.runtime.interface import Store

_MAX_DOCUMENTS = 64
"""How many manifests one pull looks at: an index of a thousand unlabelled entries ends here."""
_ATTESTATION = "vnd.docker.reference.type"


@dataclass(frozen=True, slots=True)
class Resolved:
    """One image of one platform, documents only."""

    top: ImageManifest | ImageIndex
    """What the reference names."""
    manifest: ImageManifest
    config: ImageConfig
    config_bytes: bytes
    platform: Platform


class Resolver:
    """Walks from a reference to the image for a platform. Documents that are in the store are not fetched."""

    def __init__(
        self, client: RegistryClient, store: Store, reference: Reference, wanted: Platform | None
    ) -> None:
        self._client = client
        self._store = store
        self._reference = reference
        self._name = reference.familiar
        self._is_explicit = wanted is not None
        self._wanted = wanted or platform.host_platform()
        self._documents = 0
        self._offered: list[Platform] = []

    def resolve(self) -> Resolved:
        """The image; `PlatformMismatch` names the platforms that there are."""
        top = self._top()
        if isinstance(top, ImageManifest):
            return self._single(top)
        found = self._from_index(top, top, depth=1)
        if found is None:
            raise PlatformMismatch(
                f"the image `{self._name}` has nothing for `{self._wanted}`, "
                f"only for {platform.listed(self._offered)}",
                hint="" if self._is_explicit else "`--platform` chooses another one.",
            )
        return found

    def _top(self) -> ImageManifest | ImageIndex:
        wanted = self._reference.wanted
        if self._reference.digest is not None and self._store.has_blob(self._reference.digest):
            return manifests.parse(self._store.read_blob(self._reference.digest), self._name)
        self._count()
        response = self._client.manifest(self._reference.path, wanted, list(manifests.ACCEPTED))
        document = manifests.parse(response.body, self._name, announced=response.media_type)
        for claimed in (self._reference.digest, response.digest):
            if claimed is not None and is_digest(claimed) and claimed != document.digest:
                raise DigestMismatch(
                    f"the manifest of `{self._name}` has the digest `{document.digest}`, not `{claimed}`"
                )
        return document

    def _from_index(self, top: ImageIndex, index: ImageIndex, depth: int) -> Resolved | None:
        if depth > manifests.MAX_INDEX_DEPTH:
            raise ContentError(
                f"the manifest of `{self._name}` nests indexes more than {manifests.MAX_INDEX_DEPTH} deep"
            )
        entries = [entry for entry in index.manifests if _is_image(entry)]
        self._offered += [entry.platform for entry in entries if entry.platform is not None]
        chosen = platform.choose(self._wanted, [entry.platform for entry in entries])
        if chosen is not None:
            return self._from_entry(top, entries[chosen], depth)
        for entry in entries:
            if entry.platform is None and (found := self._from_entry(top, entry, depth)) is not None:
                return found
        return None

    def _from_entry(self, top: ImageIndex, entry: Descriptor, depth: int) -> Resolved | None:
        document = self._entry(entry)
        if isinstance(document, ImageIndex):
            return self._from_index(top, document, depth + 1)
        config_bytes, config = self._config(document)
        actual = _known(config.platform, entry.platform or self._wanted)
        if entry.platform is None:
            self._offered.append(actual)
            if platform.choose(self._wanted, [actual]) is None:
                return None
        elif not _is_same_machine(actual, entry.platform):
            raise PlatformMismatch(
                f"the image `{self._name}` contradicts itself: its index says `{entry.platform}`, "
                f"and its configuration `{actual}`"
            )
        return Resolved(top, document, config, config_bytes, actual)

    def _entry(self, entry: Descriptor) -> ImageManifest | ImageIndex:
        if entry.size > MAX_DOCUMENT_BYTES:
            raise TooLarge(f"a manifest of `{self._name}` has {entry.size} bytes, more than the limit")
        if self._store.has_blob(entry.digest):
            return manifests.parse(self._store.read_blob(entry.digest), self._name, descriptor=entry)
        self._count()
        response = self._client.manifest(self._reference.path, entry.digest, list(manifests.ACCEPTED))
        document = manifests.parse(response.body, self._name, announced=response.media_type, descriptor=entry)
        if document.digest != entry.digest:
            raise DigestMismatch(
                f"a manifest of `{self._name}` has the digest `{document.digest}`, not `{entry.digest}`"
            )
        return document

    def _single(self, manifest: ImageManifest) -> Resolved:
        config_bytes, config = self._config(manifest)
        actual = _known(config.platform, self._wanted)
        is_usable = platform.choose(self._wanted, [actual]) is not None
        if not is_usable and (self._is_explicit or not platform.can_run(actual)):
            raise PlatformMismatch(
                f"the image `{self._name}` is for `{actual}`, not for `{self._wanted}`",
                hint="" if self._is_explicit else f"`--platform {actual}` pulls it all the same.",
            )
        return Resolved(manifest, manifest, config, config_bytes, actual)

    def _config(self, manifest: ImageManifest) -> tuple[bytes, ImageConfig]:
        descriptor = manifest.config
        if descriptor.size > MAX_CONFIG_BYTES:
            raise TooLarge(
                f"the configuration of `{self._name}` has {descriptor.size} bytes, "
                f"more than the limit of {MAX_CONFIG_BYTES}"
            )
        if self._store.has_blob(descriptor.digest):
            data = self._store.read_blob(descriptor.digest)
            if len(data) != descriptor.size:
                raise SizeMismatch(
                    f"the configuration of `{self._name}` has {len(data)} bytes, "
                    f"and its manifest says {descriptor.size}"
                )
        else:
            data = self._client.blob(self._reference.path, descriptor.digest, descriptor.size)
        config = parse_config(data, self._name)
        if len(config.diff_ids) != len(manifest.layers):
            raise ContentError(
                f"the image `{self._name}` contradicts itself: "
                f"its manifest has {len(manifest.layers)} layers, "
                f"and its configuration {len(config.diff_ids)}"
            )
        return data, config

    def _count(self) -> None:
        self._documents += 1
        if self._documents > _MAX_DOCUMENTS:
            raise TooLarge(f"the index of `{self._name}` leads to more than {_MAX_DOCUMENTS} manifests")


def _is_image(entry: Descriptor) -> bool:
    if _ATTESTATION in entry.annotations or (entry.platform is not None and entry.platform.os == "unknown"):
        return False
    known = manifests.MANIFEST_TYPES | manifests.INDEX_TYPES
    return entry.media_type in known or not entry.media_type


def _known(stated: Platform, assumed: Platform) -> Platform:
    """The platform of a configuration; old images do not name their architecture."""
    if stated.architecture:
        return stated
    return Platform(stated.os, assumed.architecture, assumed.variant)


def _is_same_machine(one: Platform, other: Platform) -> bool:
    return platform.is_same(
        Platform(one.os, one.architecture, other.variant),
        Platform(other.os, other.architecture, other.variant),
    )

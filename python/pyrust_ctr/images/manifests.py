"""Manifests and indexes: Docker's schema 2 and OCI's, parsed into plain data and checked.

A document is believed only when it has one meaning: its media type, the one that was announced for it, and
its shape must agree (the confusion behind CVE-2021-41190).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from pyrust_ctr.errors import ContentError, SizeMismatch, TooLarge, UnsupportedOption
from pyrust_ctr.images.documents import mapping, parse_object, refuse_lookalike_keys, text
from pyrust_ctr.models.image import Platform
from pyrust_ctr.refs import is_digest

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPES = frozenset({DOCKER_MANIFEST, OCI_MANIFEST})
INDEX_TYPES = frozenset({DOCKER_LIST, OCI_INDEX})
ACCEPTED = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)
"""Media types to ask a registry for, the preferred ones first."""
SCHEMA1_TYPES = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
CONFIG_TYPES = frozenset(
    {"application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json"}
)
LAYER_TYPES = frozenset(
    {
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
    }
)

MAX_LAYERS = 500
"""The kernel's limit on the layers of one overlay."""
MAX_INDEX_ENTRIES = 1000
MAX_INDEX_DEPTH = 4

_KEYS = frozenset({"schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers", "annotations"})
_DESCRIPTOR_KEYS = frozenset({"mediaType", "digest", "size", "urls", "platform", "annotations"})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a document says about a blob; sizes in bytes."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """The parts of one image for one platform."""

    digest: str
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    """Bottom first, compressed."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """A list of manifests for several platforms, or of further indexes."""

    digest: str
    media_type: str
    manifests: tuple[Descriptor, ...]
    body: bytes = field(repr=False)


def parse(
    body: bytes, name: str, *, announced: str = "", descriptor: Descriptor | None = None
) -> ImageManifest | ImageIndex:
    """The manifest or index in `body`.

    `name` is for messages. `announced` is the media type that came with it (a header), `descriptor` what an
    index said about it.
    """
    what = f"the manifest of `{name}`"
    if descriptor is not None and len(body) != descriptor.size:
        raise SizeMismatch(f"{what} has {len(body)} bytes, and its index says {descriptor.size}")
    document = parse_object(body, what)
    refuse_lookalike_keys(document, _KEYS, what)
    media_type = _media_type(document, what, announced.partition(";")[0].strip(), descriptor)
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if media_type in INDEX_TYPES:
        return ImageIndex(digest, media_type, _index_entries(document, what), body)
    config = _descriptor(document.get("config"), f"the config in {what}")
    if config.media_type not in CONFIG_TYPES:
        raise ContentError(f"`{name}` is not a container image: its config is of type `{config.media_type}`")
    return ImageManifest(digest, media_type, config, _layers(document, what, name), body)


def _media_type(document: dict[str, Any], what: str, announced: str, descriptor: Descriptor | None) -> str:
    version = document.get("schemaVersion")
    stated = text(document, "mediaType", what)
    if version == 1 or "fsLayers" in document or {announced, stated} & SCHEMA1_TYPES:
        raise UnsupportedOption(
            f"{what} is in Docker's schema 1, which was given up in 2017: push the image again"
        )
    if version != 2:
        raise ContentError(f"{what} has the schema version `{version}`, expected 2")
    is_index, is_manifest = "manifests" in document, "layers" in document or "config" in document
    if is_index and is_manifest:
        raise ContentError(f"{what} is ambiguous: it is a manifest and an index at once")
    if not is_index and not is_manifest:
        raise ContentError(f"{what} has neither `layers` nor `manifests`")
    known = MANIFEST_TYPES | INDEX_TYPES
    if stated and stated not in known:
        raise ContentError(f"{what} is of the unknown type `{stated}`")
    claims = [
        claim for claim in (stated, announced, descriptor.media_type if descriptor else "") if claim in known
    ]
    if len(set(claims)) > 1:
        raise ContentError(
            f"{what} contradicts itself: it is of type `{claims[0]}` and of type `{claims[1]}`"
        )
    media_type = claims[0] if claims else (OCI_INDEX if is_index else OCI_MANIFEST)
    if (media_type in INDEX_TYPES) != is_index:
        raise ContentError(
            f"{what} contradicts itself: it does not have the shape of its type `{media_type}`"
        )
    return media_type


def _index_entries(document: dict[str, Any], what: str) -> tuple[Descriptor, ...]:
    entries = document["manifests"]
    if not isinstance(entries, list):
        raise ContentError(f"`manifests` of {what} is not a list")
    if len(entries) > MAX_INDEX_ENTRIES:
        raise TooLarge(f"{what} lists {len(entries)} manifests, more than the limit of {MAX_INDEX_ENTRIES}")
    return tuple(_descriptor(entry, f"entry {number} in {what}") for number, entry in enumerate(entries, 1))


def _layers(document: dict[str, Any], what: str, name: str) -> tuple[Descriptor, ...]:
    layers = document.get("layers")
    if not isinstance(layers, list):
        raise ContentError(f"`layers` of {what} is not a list")
    if len(layers) > MAX_LAYERS:
        raise TooLarge(f"{what} has {len(layers)} layers, more than the limit of {MAX_LAYERS}")
    parsed = []
    for number, layer in enumerate(layers, 1):
        found = _descriptor(layer, f"layer {number} in {what}")
        if "foreign" in found.media_type or "nondistributable" in found.media_type or layer.get("urls"):
            # Fetching them would send requests, perhaps with credentials, wherever the manifest points
            # (CVE-2020-15157).
            raise UnsupportedOption(
                f"layer {number} of `{name}` is kept outside of the registry, and is not fetched"
            )
        if found.media_type not in LAYER_TYPES:
            raise ContentError(f"layer {number} of `{name}` is of the unknown type `{found.media_type}`")
        parsed.append(found)
    return tuple(parsed)


def _descriptor(value: object, what: str) -> Descriptor:
    if not isinstance(value, dict):
        raise ContentError(f"{what} is not an object")
    refuse_lookalike_keys(value, _DESCRIPTOR_KEYS, what)
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ContentError(f"the digest of {what} is not `sha256:` and 64 hexadecimal digits")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < 1 << 63:
        raise ContentError(f"the size of {what} is not a number of bytes")
    annotations = mapping(value, "annotations", what)
    if not all(isinstance(item, str) for item in annotations.values()):
        raise ContentError(f"the annotations of {what} are not texts")
    platform = mapping(value, "platform", what)
    return Descriptor(
        text(value, "mediaType", what),
        digest,
        size,
        Platform(
            text(platform, "os", what), text(platform, "architecture", what), text(platform, "variant", what)
        )
        if platform
        else None,
        annotations,
    )

"""Docker archives: `manifest.json` (Docker 1.10 and later), and the older form with only `repositories`."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from pyrust_ctr.errors import ContentError, DigestMismatch, TooLarge
from pyrust_ctr.images.archive import ArchivedImage, ArchivedLayer, ArchiveFolder
from pyrust_ctr.images.documents import (
    MAX_CONFIG_BYTES,
    MAX_DOCUMENT_BYTES,
    mapping,
    parse_object,
    text,
    texts,
)
from pyrust_ctr.images.image_config import parse_config
from pyrust_ctr.images.manifests import MAX_LAYERS
from pyrust_ctr.refs import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_IMAGES = 1000
_DIGEST_IN_NAME = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?")
_LEGACY_ID = re.compile(r"[0-9a-f]{64}")


def read_docker_archive(folder: ArchiveFolder) -> list[ArchivedImage]:
    """The images that `manifest.json` lists."""
    what = f"`manifest.json` of `{folder.name}`"
    # A list at the top; wrapped, so that the one strict parser reads it.
    data = folder.read("manifest.json", MAX_DOCUMENT_BYTES)
    entries = parse_object(b'{"images":' + data + b"}", what, max_bytes=MAX_DOCUMENT_BYTES + 16).get("images")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ContentError(f"{what} is not a list of images")
    if len(entries) > _MAX_IMAGES:
        raise TooLarge(f"{what} lists {len(entries)} images, more than the limit of {_MAX_IMAGES}")
    return [_image(folder, entry, what) for entry in entries]


def _image(folder: ArchiveFolder, entry: dict[str, Any], what: str) -> ArchivedImage:
    config_member = text(entry, "Config", what)
    tags = texts(entry, "RepoTags", what) or ()
    members = texts(entry, "Layers", what) or ()
    name = tags[0] if tags else config_member[:12]
    data = folder.read(config_member, MAX_CONFIG_BYTES)
    digits = hashlib.sha256(data).hexdigest()
    named = _DIGEST_IN_NAME.fullmatch(config_member)
    if named is not None and named[1] != digits:
        raise DigestMismatch(
            f"the configuration `{config_member}` in `{folder.name}` has the digest `sha256:{digits}`"
        )
    config = parse_config(data, name)
    if len(config.diff_ids) != len(members):
        raise folder.contradiction(
            f"`{name}` has {len(members)} layers, and its configuration {len(config.diff_ids)}"
        )
    names = tuple(Reference.parse(tag).canonical for tag in tags)
    return ArchivedImage(data, config, tuple(ArchivedLayer(member) for member in members), names)


def read_legacy_archive(folder: ArchiveFolder, apply: Callable[[str], str]) -> list[ArchivedImage]:
    """The images that `repositories` lists: `{name: {tag: layer id}}`, each layer with its own `json` and
    parent.

    Nobody wrote the diff ids down: `apply` unpacks a layer and tells its diff id.
    """
    what = f"`repositories` of `{folder.name}`"
    document = parse_object(folder.read("repositories", MAX_DOCUMENT_BYTES), what)
    names: dict[str, list[str]] = {}
    for repository in document:
        for tag, layer_id in mapping(document, repository, what).items():
            if not isinstance(layer_id, str) or not _LEGACY_ID.fullmatch(layer_id):
                raise ContentError(f"{what} has a malformed layer id")
            names.setdefault(layer_id, []).append(Reference.parse(f"{repository}:{tag}").canonical)
    return [_legacy_image(folder, layer_id, tuple(found), apply) for layer_id, found in names.items()]


def _legacy_image(
    folder: ArchiveFolder, top: str, names: tuple[str, ...], apply: Callable[[str], str]
) -> ArchivedImage:
    chain: list[str] = []
    documents: list[dict[str, Any]] = []
    layer_id = top
    while layer_id:
        if layer_id in chain or len(chain) > MAX_LAYERS or not _LEGACY_ID.fullmatch(layer_id):
            raise ContentError(f"the layers of `{names[0]}` in `{folder.name}` are not a chain")
        what = f"`{layer_id[:12]}/json` of `{folder.name}`"
        document = parse_object(folder.read(f"{layer_id}/json", MAX_CONFIG_BYTES), what)
        chain.append(layer_id)
        documents.append(document)
        layer_id = text(document, "parent", what)
    members = [f"{found}/layer.tar" for found in reversed(chain)]
    diff_ids = [apply(member) for member in members]
    kept = ("architecture", "os", "variant", "created", "author", "docker_version", "config")
    config: dict[str, Any] = {key: documents[0][key] for key in kept if documents[0].get(key) is not None}
    config.setdefault("os", "linux")
    config["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    data = json.dumps(config, separators=(",", ":"), sort_keys=True).encode()
    layers = tuple(ArchivedLayer(member) for member in members)
    return ArchivedImage(data, parse_config(data, names[0]), layers, names)

"""OCI image layouts (`image-layout.md`): `index.json` leads to manifests, everything else is
`blobs/sha256/…`.
"""

from __future__ import annotations

from pyrust_ctr.errors import ContentError, InvalidReference, PlatformMismatch
from pyrust_ctr.images import manifests, platform
from pyrust_ctr.images.archive import ArchivedImage, ArchivedLayer, ArchiveFolder
from pyrust_ctr.images.documents import MAX_CONFIG_BYTES, MAX_DOCUMENT_BYTES
from pyrust_ctr.images.image_config import parse_config
from pyrust_ctr.images.manifests import Descriptor, ImageIndex, ImageManifest
from pyrust_ctr.refs import Reference

_FULL_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"
_ATTESTATION = "vnd.docker.reference.type"


def read_oci_layout(folder: ArchiveFolder) -> list[ArchivedImage]:
    """The images of a layout: every manifest that `index.json` names, and of every index the one for this
    machine.
    """
    top = manifests.parse(folder.read("index.json", MAX_DOCUMENT_BYTES), folder.name)
    if not isinstance(top, ImageIndex):
        raise ContentError(f"`index.json` of `{folder.name}` is not an index")
    images: dict[str, ArchivedImage] = {}
    for entry in top.manifests:
        if _ATTESTATION in entry.annotations:
            continue
        manifest = _manifest(folder, entry, depth=1)
        names = _names(entry)
        if manifest.digest in images:
            known = images[manifest.digest]
            names = tuple(dict.fromkeys((*known.names, *names)))
        images[manifest.digest] = _image(folder, manifest, names)
    return list(images.values())


def _manifest(folder: ArchiveFolder, entry: Descriptor, depth: int) -> ImageManifest:
    if depth > manifests.MAX_INDEX_DEPTH:
        raise ContentError(
            f"the archive `{folder.name}` nests indexes more than {manifests.MAX_INDEX_DEPTH} deep"
        )
    body = folder.read_blob(folder.blob_member(entry.digest), entry, MAX_DOCUMENT_BYTES)
    document = manifests.parse(body, folder.name, descriptor=entry)
    if isinstance(document, ImageManifest):
        return document
    entries = [
        found
        for found in document.manifests
        if _ATTESTATION not in found.annotations
        and (found.platform is None or found.platform.os != "unknown")
    ]
    chosen = platform.choose(platform.host_platform(), [found.platform for found in entries])
    if chosen is None and len(entries) == 1 and entries[0].platform is None:
        chosen = 0
    if chosen is None:
        offered = platform.listed(found.platform for found in entries)
        raise PlatformMismatch(
            f"an image in `{folder.name}` has nothing for `{platform.host_platform()}`, only for {offered}"
        )
    return _manifest(folder, entries[chosen], depth + 1)


def _image(folder: ArchiveFolder, manifest: ImageManifest, names: tuple[str, ...]) -> ArchivedImage:
    descriptor = manifest.config
    data = folder.read_blob(folder.blob_member(descriptor.digest), descriptor, MAX_CONFIG_BYTES)
    config = parse_config(data, names[0] if names else folder.name)
    if len(config.diff_ids) != len(manifest.layers):
        raise folder.contradiction(
            f"a manifest has {len(manifest.layers)} layers, and its configuration {len(config.diff_ids)}"
        )
    layers = tuple(ArchivedLayer(folder.blob_member(layer.digest), layer) for layer in manifest.layers)
    return ArchivedImage(data, config, layers, names, manifest)


def _names(entry: Descriptor) -> tuple[str, ...]:
    """What the entry is called. A bare `ref.name` such as `1.36` is a tag without a repository, and names
    nothing.
    """
    name = entry.annotations.get(_FULL_NAME, "")
    if not name:
        name = entry.annotations.get(_REF_NAME, "")
        if ":" not in name and "/" not in name and "@" not in name:
            return ()
    try:
        reference = Reference.parse(name)
    except InvalidReference:
        return ()
    return (reference.canonical,)

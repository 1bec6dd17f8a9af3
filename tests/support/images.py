"""Images made by code, pushed to a registry over its API, or written as docker-archive and OCI layout."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.support.layers import OCI_GZIP, OCI_PLAIN, Layer, busybox_archive, gzip_layer, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.support.registry import RegistryServer

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index, as bytes with a type."""

    data: bytes
    media_type: str
    platform: Mapping[str, str] = field(default_factory=dict)
    children: tuple[Document, ...] = ()
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    """Everything that the manifest names, by digest."""

    @property
    def digest(self) -> str:
        return sha256(self.data)


def image(
    layers: Sequence[Layer],
    *,
    oci: bool = False,
    config: Mapping[str, Any] | None = None,
    architecture: str | None = None,
    os: str = "linux",
    diff_ids: Sequence[str] | None = None,
) -> Document:
    """A manifest with its config; `diff_ids` replaces the true ones, for manifests that lie."""
    architecture = architecture or this_architecture()
    document = {
        "architecture": architecture,
        "os": os,
        "created": "2024-01-02T03:04:05.678901234Z",
        "config": {"Env": [DEFAULT_PATH], "Cmd": ["sh"], **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids or [layer.diff_id for layer in layers])},
        "history": [{"created_by": "made by a test"} for _ in layers],
    }
    config_blob = json.dumps(document).encode()
    media_type = OCI_MANIFEST if oci else DOCKER_MANIFEST
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config_blob, OCI_CONFIG if oci else DOCKER_CONFIG),
        "layers": [descriptor(layer.blob, _oci_type(layer) if oci else layer.media_type) for layer in layers],
    }
    blobs = {layer.digest: layer.blob for layer in layers} | {sha256(config_blob): config_blob}
    platform = {"architecture": architecture, "os": os}
    return Document(json.dumps(manifest).encode(), media_type, platform, (), blobs)


def index(children: Sequence[Document], *, oci: bool = False) -> Document:
    """A manifest list or an index; a child may be an index itself."""
    manifests = []
    for child in children:
        described: dict[str, Any] = descriptor(child.data, child.media_type)
        if child.platform:
            described["platform"] = dict(child.platform)
        manifests.append(described)
    media_type = OCI_INDEX if oci else DOCKER_LIST
    data = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).encode()
    return Document(data, media_type, {}, tuple(children))


def descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    """A content descriptor."""
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


@cache
def busybox_layer() -> Layer:
    """The busybox root file system, gzip."""
    return gzip_layer(busybox_archive())


def busybox_image(**changes: Any) -> Document:
    """One layer of busybox; `changes` are those of `image`."""
    return image([busybox_layer()], **changes)


def this_architecture() -> str:
    """This machine's architecture in the names that images use."""
    import platform

    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _oci_type(layer: Layer) -> str:
    if "docker" not in layer.media_type:
        return layer.media_type
    return OCI_GZIP if layer.media_type.endswith("gzip") else OCI_PLAIN


# --- pushing --------------------------------------------------------------------------------------------


def push(registry: RegistryServer, repository: str, tag: str, document: Document) -> str:
    """Pushes everything that `document` names; returns the reference to pull it by."""
    for child in document.children:
        push(registry, repository, child.digest, child)
    for digest, blob in document.blobs.items():
        push_blob(registry, repository, digest, blob)
    push_manifest(registry, repository, tag, document.data, document.media_type)
    separator = "@" if tag.startswith("sha256:") else ":"
    return f"{registry.host}/{repository}{separator}{tag}"


def push_blob(registry: RegistryServer, repository: str, digest: str, blob: bytes) -> None:
    """Uploads one blob, in one piece, unless the registry has it."""
    try:
        _call(registry, "HEAD", f"/v2/{repository}/blobs/{digest}", repository)
    except urllib.error.HTTPError as missing:
        missing.close()
    else:
        return
    begun = _call(registry, "POST", f"/v2/{repository}/blobs/uploads/", repository)
    location = begun["Location"]
    mark = "&" if "?" in location else "?"
    _call(
        registry,
        "PUT",
        location + mark + urllib.parse.urlencode({"digest": digest}),
        repository,
        data=blob,
        headers={"Content-Type": "application/octet-stream"},
    )


def push_manifest(
    registry: RegistryServer, repository: str, reference: str, data: bytes, media_type: str
) -> None:
    """Uploads a manifest as it is; its blobs must be there."""
    path = f"/v2/{repository}/manifests/{reference}"
    _call(registry, "PUT", path, repository, data=data, headers={"Content-Type": media_type})


def _call(
    registry: RegistryServer,
    method: str,
    location: str,
    repository: str,
    *,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Mapping[str, str]:
    url = location if location.startswith("http") else registry.url + location
    sent = dict(headers or {})
    basic = None
    if registry.username is not None:
        basic = "Basic " + base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
        sent["Authorization"] = basic
    try:
        return _send(method, url, data, sent)
    except urllib.error.HTTPError as refusal:
        challenge = refusal.headers.get("WWW-Authenticate", "")
        if refusal.code != 401 or not challenge.startswith("Bearer ") or basic is None:
            raise
        refusal.close()
    fields = dict(part.split("=", 1) for part in challenge.removeprefix("Bearer ").split('",'))
    service, realm = fields["service"].strip('"'), fields["realm"].strip('"')
    query = urllib.parse.urlencode({"service": service, "scope": f"repository:{repository}:pull,push"})
    request = urllib.request.Request(f"{realm}?{query}", headers={"Authorization": basic})
    with urllib.request.urlopen(request, timeout=20) as answer:
        token = json.load(answer)["token"]
    return _send(method, url, data, {**sent, "Authorization": f"Bearer {token}"})


def _send(method: str, url: str, data: bytes | None, headers: Mapping[str, str]) -> Mapping[str, str]:
    request = urllib.request.Request(url, data=data, method=method, headers=dict(headers))
    with urllib.request.urlopen(request, timeout=60) as answer:
        return dict(answer.headers)


# --- archives -------------------------------------------------------------------------------------------


def docker_archive(document: Document, tags: Sequence[str]) -> bytes:
    """What `docker save` writes: `manifest.json`, the config, one uncompressed archive a layer."""
    manifest = json.loads(document.data)
    config_name = manifest["config"]["digest"].removeprefix("sha256:") + ".json"
    stream = io.BytesIO()
    layer_names = []
    with tarfile.open(fileobj=stream, mode="w") as writer:
        _add(writer, config_name, document.blobs[manifest["config"]["digest"]])
        for number, described in enumerate(manifest["layers"]):
            name = f"{number:064x}/layer.tar"
            layer_names.append(name)
            _add(writer, name, _uncompressed(document.blobs[described["digest"]]))
        saved = [{"Config": config_name, "RepoTags": list(tags), "Layers": layer_names}]
        _add(writer, "manifest.json", json.dumps(saved).encode())
    return stream.getvalue()


def oci_layout(document: Document, tag: str) -> bytes:
    """An OCI image layout as one archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as writer:
        _add(writer, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        named = descriptor(document.data, document.media_type)
        named["annotations"] = {"org.opencontainers.image.ref.name": tag}
        _add(writer, "index.json", json.dumps({"schemaVersion": 2, "manifests": [named]}).encode())
        for digest, blob in _everything(document).items():
            _add(writer, "blobs/sha256/" + digest.removeprefix("sha256:"), blob)
    return stream.getvalue()


def write_oci_layout(document: Document, tag: str, directory: Path) -> Path:
    """An OCI image layout as a directory, as umoci and skopeo read it."""
    directory.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(oci_layout(document, tag))) as reader:
        reader.extractall(directory, filter="data")
    return directory


def _everything(document: Document) -> dict[str, bytes]:
    found = {document.digest: document.data, **document.blobs}
    for child in document.children:
        found |= _everything(child)
    return found


def _uncompressed(blob: bytes) -> bytes:
    import gzip
    import zlib

    if blob[:2] != b"\x1f\x8b":
        return blob
    try:
        return gzip.decompress(blob)
    except (OSError, EOFError, zlib.error):  # damaged on purpose
        return blob


def _add(writer: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    writer.addfile(info, io.BytesIO(data))

"""Registries and archives that lie to get at files, credentials or memory of the machine."""

from __future__ import annotations

import base64
import http.server
import io
import json
import tarfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.security.attacks import link
from tests.support import images, layers
from tests.support.faults import Fault, FaultyRegistry
from tests.support.layers import archive_of, entry

from pyrust_ctr import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.registry import RegistryServer

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root

REPOSITORY = "hostile/image"
UP = "../" * 40
SYMLINK, LINK = tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRUST_CTR_REGISTRY_TIMEOUT_S", "2")


@contextmanager
def listening(
    answer: int = 200, headers: dict[str, str] | None = None
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that answers everything alike and remembers what it was asked: host and requests' headers."""
    seen: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
            self.send_response(answer)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(b"{}")

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- layers, through a pull: the same code as for archives, in one stream with the transfer -----------------


@pytest.mark.parametrize("compress", ["plain", "gzip", "zstd"])
def test_layers_of_a_pull(engine: Engine, registry: RegistryServer, canary: Path, compress: str) -> None:
    path = str(canary).lstrip("/")
    stacks = {
        "climbs": [entry(f"{UP}{path}/new", b"x")],
        "absolute": [entry(f"/{path}/new", b"x")],
        "through-a-link": [link("a", f"/{path}"), entry("a/new", b"x")],
        "over-a-link": [link("a", f"/{path}/precious"), entry("a", b"evil")],
        "hard-link": [entry("a", kind=LINK, link=f"{UP}{path}/precious"), entry("a", b"evil")],
        "whiteout": [link("a", f"/{path}"), entry("a/.wh.precious", b"")],
        "opaque": [link("a", f"/{path}"), entry("a/.wh..wh..opq", b"")],
        "parent-replaced": [
            entry("a/"),
            link("a", f"/{path}"),
            entry("a/new", b"x"),
            entry("a/folder/new", b"x"),
        ],
        "pax-path": [entry("harmless", b"x", pax={"path": f"{UP}{path}/new"})],
        "pax-link": [entry("a", kind=LINK, link="b", pax={"linkpath": f"{UP}{path}/precious"})],
    }
    make = {"plain": layers.plain_layer, "gzip": layers.gzip_layer, "zstd": layers.zstd_layer}[compress]
    for name, members in stacks.items():
        bottom = archive_of([link("a", f"/{path}")])
        document = images.image([layers.plain_layer(bottom), make(archive_of(members))], oci=True)
        reference = images.push(registry, REPOSITORY, name, document)
        try:
            engine.images.pull(reference)
        except errors.ContentError as refusal:
            assert "\n" not in refusal.message


# --- manifests ------------------------------------------------------------------------------------------


def _answer(faulty: FaultyRegistry, body: bytes, media_type: str = images.DOCKER_MANIFEST) -> str:
    headers = {"Docker-Content-Digest": layers.sha256(body), "Content-Type": media_type}
    faulty.faults[:] = [Fault("/manifests/", body=body, headers=headers)]
    return f"{faulty.host}/{REPOSITORY}:evil"


def _manifest(registry: RegistryServer) -> dict[str, Any]:
    document = images.busybox_image()
    images.push(registry, REPOSITORY, "honest", document)
    manifest: dict[str, Any] = json.loads(document.data)
    return manifest


def test_documents_that_are_no_manifests(
    engine: Engine, registry: RegistryServer, faulty: FaultyRegistry
) -> None:
    honest = json.dumps(_manifest(registry))
    bodies = [
        b"[" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b"\xff\xfe" + honest.encode("utf-16-le"),
        honest.encode() + b"{}",
        honest.replace('"size": ', '"size": 1e', 1).encode(),
        honest.replace('"size": ', '"size": ' + "9" * 6000, 1).encode(),
        honest.replace('"size": ', '"size": NaN, "x": ', 1).encode(),
        honest.replace('"size": ', '"size": true, "x": ', 1).encode(),
        honest.replace('"size": ', '"size": "1", "x": ', 1).encode(),
        honest.replace('"layers"', '"layers": [], "layers"', 1).encode(),
        honest.replace('"layers"', '"Layers": [], "layers"', 1).encode(),
        honest.replace('"config"', '"config": {}, "config"', 1).encode(),
        honest.replace('"schemaVersion": 2', '"schemaVersion": 1').encode(),
        honest.replace('"schemaVersion": 2', '"schemaVersion": [2]').encode(),
        honest.replace("sha256:", "sha256:" + "0" * 64 + "/../").encode(),
        honest.replace("sha256:", "SHA256:").encode(),
        json.dumps({**json.loads(honest), "layers": json.loads(honest)["layers"] * 100_000}).encode()[
            : 32 << 20
        ],
        b" " * (8 << 20) + honest.encode(),
    ]
    for body in bodies:
        with pytest.raises(errors.Error) as refusal:
            engine.images.pull(_answer(faulty, body))
        assert "\n" not in refusal.value.message, body[:80]
        assert len(refusal.value.message) < 2000
    assert engine.images.list() == []


def test_manifest_and_index_in_one(engine: Engine, registry: RegistryServer, faulty: FaultyRegistry) -> None:
    """Two programs that read one document must not see two images (CVE-2021-41190)."""
    manifest = _manifest(registry)
    index = json.loads(images.index([images.busybox_image()]).data)
    for both in (
        {**manifest, "manifests": index["manifests"]},
        {**index, "layers": manifest["layers"], "config": manifest["config"]},
    ):
        body = json.dumps(both).encode()
        for media_type in (images.DOCKER_MANIFEST, images.DOCKER_LIST, images.OCI_INDEX, images.OCI_MANIFEST):
            with pytest.raises(errors.Error):
                engine.images.pull(_answer(faulty, body, media_type))
    for media_type in (images.DOCKER_LIST, images.OCI_INDEX):
        with pytest.raises(errors.Error):
            engine.images.pull(_answer(faulty, json.dumps(manifest).encode(), media_type))


def test_layers_from_elsewhere_are_not_fetched(
    engine: Engine, registry: RegistryServer, faulty: FaultyRegistry, canary: Path
) -> None:
    """`urls` of a layer made others send credentials to any host (CVE-2020-15157)."""
    manifest = _manifest(registry)
    with listening() as (host, seen):
        for media_type in (
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            layers.DOCKER_GZIP,
        ):
            for url in (f"http://{host}/layer", f"file://{canary}/precious"):
                manifest["layers"][0].update(mediaType=media_type, urls=[url])
                manifest["layers"][0]["digest"] = "sha256:" + "ab" * 32
                with pytest.raises(errors.Error):
                    engine.images.pull(_answer(faulty, json.dumps(manifest).encode()))
        assert seen == []


def test_redirects_to_other_protocols(
    engine: Engine, registry: RegistryServer, faulty: FaultyRegistry, canary: Path
) -> None:
    images.push(registry, REPOSITORY, "honest", images.busybox_image())
    for location in (
        f"file://{canary}/precious",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1:1/x",
        "data:,x",
        "//",
        "\\\\x",
    ):
        faulty.faults[:] = [Fault("/blobs/", status=307, headers={"Location": location})]
        with pytest.raises(errors.Error) as refusal:
            engine.images.pull(f"{faulty.host}/{REPOSITORY}:honest")
        assert "precious" not in refusal.value.message.replace(location, "")
    faulty.faults[:] = [
        Fault("/manifests/", status=307, headers={"Location": f"/v2/{REPOSITORY}/manifests/evil"})
    ]
    with pytest.raises(errors.Error):
        engine.images.pull(f"{faulty.host}/{REPOSITORY}:evil")


def test_credentials_do_not_go_to_where_a_redirect_leads(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        listening() as (elsewhere, seen),
        listening(307, {"Location": f"http://{elsewhere}/v2/"}) as (host, first),
    ):
        _log_in(tmp_path, monkeypatch, host)
        with pytest.raises(errors.Error):
            engine.images.pull(f"{host}/{REPOSITORY}:1")
        assert first
        for request in seen:
            assert "authorization" not in request


def _log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    settings = tmp_path / "docker"
    settings.mkdir()
    secret = base64.b64encode(b"user:secret").decode()
    (settings / "config.json").write_text(json.dumps({"auths": {host: {"auth": secret}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(settings))


def test_messages_of_a_registry_do_not_drive_the_terminal(
    engine: Engine, registry: RegistryServer, faulty: FaultyRegistry
) -> None:
    evil = "\x1b]0;evil\x07\x1b[2J\r\n\u009b31mdo this"
    body = json.dumps({"errors": [{"code": evil, "message": evil * 2000, "detail": evil}]}).encode()
    for status in (400, 403, 404, 451, 500):
        faulty.faults[:] = [Fault("/manifests/", status=status, body=body)]
        with pytest.raises(errors.Error) as refusal:
            engine.images.pull(f"{faulty.host}/{REPOSITORY}:1")
        assert all(character.isprintable() for character in refusal.value.message), refusal.value.message
        assert len(refusal.value.message) < 2000


# --- archives ---------------------------------------------------------------------------------------------


def _tar(members: dict[str, bytes | str]) -> bytes:
    """A text is the target of a link."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as writer:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = (
                    (LINK, content[5:]) if content.startswith("hard:") else (SYMLINK, content)
                )
                writer.addfile(info)
            else:
                info.size = len(content)
                writer.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def test_members_of_an_archive_that_lead_elsewhere(engine: Engine, tmp_path: Path, canary: Path) -> None:
    """`load` reads members by names that the archive itself gives."""
    layer = archive_of([entry("file", b"x")])
    (canary / "layer.tar").write_bytes(layer)
    (canary / "config.json").write_bytes(
        images.image([layers.plain_layer(layer)]).blobs[
            json.loads(images.image([layers.plain_layer(layer)]).data)["config"]["digest"]
        ]
    )
    config = (canary / "config.json").read_bytes()
    up = f"{UP}{str(canary)[1:]}"

    def manifest(config_name: str, layer_name: str) -> bytes:
        return json.dumps([{"Config": config_name, "RepoTags": ["evil:1"], "Layers": [layer_name]}]).encode()

    archives = [
        _tar({"config.json": config, "manifest.json": manifest("config.json", f"{up}/layer.tar")}),
        _tar({"config.json": config, "manifest.json": manifest("config.json", f"{canary}/layer.tar")}),
        _tar({"layer.tar": layer, "manifest.json": manifest(f"{canary}/config.json", "layer.tar")}),
        _tar(
            {
                "config.json": config,
                "layer.tar": f"{canary}/layer.tar",
                "manifest.json": manifest("config.json", "layer.tar"),
            }
        ),
        _tar(
            {
                "config.json": config,
                "layer.tar": f"{up}/layer.tar",
                "manifest.json": manifest("config.json", "layer.tar"),
            }
        ),
        _tar(
            {
                "config.json": config,
                "layer.tar": f"hard:{up}/layer.tar",
                "manifest.json": manifest("config.json", "layer.tar"),
            }
        ),
        _tar(
            {
                "config.json": f"{canary}/config.json",
                "layer.tar": layer,
                "manifest.json": manifest("config.json", "layer.tar"),
            }
        ),
        _tar(
            {"d": str(canary), "config.json": config, "manifest.json": manifest("config.json", "d/layer.tar")}
        ),
        _tar({"manifest.json": f"{canary}/precious"}),
        _tar({"a": "b", "b": "a", "config.json": config, "manifest.json": manifest("config.json", "a")}),
        _tar(
            {f"{up}/new": b"x", "config.json": config, "manifest.json": manifest("config.json", "layer.tar")}
        ),
        _tar({"index.json": b'{"schemaVersion":2,"manifests":[]}', "oci-layout": f"{canary}/precious"}),
        _tar({"repositories": json.dumps({"evil": {"1": "../" * 9 + "x"}}).encode()}),
        _tar(
            {
                "repositories": json.dumps({"evil": {"1": "a" * 64}}).encode(),
                f"{'a' * 64}/json": json.dumps({"parent": "a" * 64}).encode(),
            }
        ),
        _tar({"manifest.json": b"[" * 100_000}),
        _tar({"manifest.json": b'[], "images": []'}),
    ]
    for archive in archives:
        path = tmp_path / "evil.tar"
        path.write_bytes(archive)
        with pytest.raises(errors.Error) as refusal:
            engine.images.load(path)
        assert "\n" not in refusal.value.message
        assert engine.images.list() == []
    for name in ("layer.tar", "config.json"):
        (canary / name).unlink()


def test_a_directory_that_is_a_layout_with_links(engine: Engine, tmp_path: Path, canary: Path) -> None:
    """A layout on disk may be somebody else's too."""
    layout = images.write_oci_layout(images.busybox_image(oci=True), "1", tmp_path / "layout")
    (canary / "index.json").write_bytes((layout / "index.json").read_bytes())
    for path in sorted((layout / "blobs" / "sha256").iterdir())[:1]:
        target = canary / path.name
        path.rename(target)
        path.symlink_to(target)
        try:
            engine.images.load(layout)
        except errors.Error as refusal:
            assert "\n" not in refusal.message
        target.unlink()
    (canary / "index.json").unlink()

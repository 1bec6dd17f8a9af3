"""Debian's `docker-registry` on a free loopback port: open, with basic authentication, or with tokens."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.support.processes import end, free_port, need_program, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USERNAME = "alice"
PASSWORD = "correct horse"


@dataclass(frozen=True, slots=True)
class RegistryServer:
    """A running registry."""

    host: str
    """`localhost:PORT`, as it stands in an image reference."""
    storage: Path
    username: str | None = None
    password: str | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def blob_file(self, digest: str) -> Path:
        """Where the registry keeps a blob: for tests that damage it."""
        hexadecimal = digest.removeprefix("sha256:")
        return self.storage / f"docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"


@contextmanager
def open_registry(directory: Path) -> Iterator[RegistryServer]:
    """A registry that everybody may push to and pull from."""
    with _serve(directory, "") as (host, storage):
        yield RegistryServer(host, storage)


@contextmanager
def basic_registry(directory: Path) -> Iterator[RegistryServer]:
    """A registry that wants `USERNAME` and `PASSWORD` by HTTP basic authentication."""
    passwords = directory / "htpasswd"
    made = subprocess.run(
        [need_program("htpasswd"), "-Bbn", USERNAME, PASSWORD], capture_output=True, check=True, timeout=20
    )
    passwords.write_bytes(made.stdout)
    auth = f"auth:\n  htpasswd:\n    realm: test\n    path: {passwords}\n"
    with _serve(directory, auth) as (host, storage):
        yield RegistryServer(host, storage, USERNAME, PASSWORD)


@contextmanager
def token_registry(directory: Path) -> Iterator[RegistryServer]:
    """A registry that wants bearer tokens, which a service of ours signs for `USERNAME` and `PASSWORD`."""
    key, certificate = directory / "token.key", directory / "token.crt"
    subject = ["-subj", "/CN=test token service", "-days", "2"]
    subprocess.run(
        [
            need_program("openssl"),
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            *subject,
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        capture_output=True,
        check=True,
        timeout=30,
    )
    service = _TokenService(key, certificate)
    thread = threading.Thread(target=service.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        auth = (
            "auth:\n  token:\n"
            f"    realm: http://localhost:{service.server_address[1]}/token\n"
            f"    service: test-registry\n    issuer: test-issuer\n    rootcertbundle: {certificate}\n"
        )
        with _serve(directory, auth) as (host, storage):
            yield RegistryServer(host, storage, USERNAME, PASSWORD)
    finally:
        service.shutdown()
        service.server_close()
        thread.join()


@contextmanager
def _serve(directory: Path, auth: str) -> Iterator[tuple[str, Path]]:
    program = need_program("docker-registry")
    port = free_port()
    storage = directory / "storage"
    configuration = directory / "config.yml"
    configuration.write_text(
        "version: 0.1\n"
        "log:\n  level: error\n  accesslog:\n    disabled: true\n"
        f"storage:\n  filesystem:\n    rootdirectory: {storage}\n  delete:\n    enabled: true\n"
        f"http:\n  addr: 127.0.0.1:{port}\n{auth}"
    )
    with (directory / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/v2/"), "the registry's first answer")
        yield f"localhost:{port}", storage
    finally:
        end(process)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as answer:
        answer.close()
        return answer.code == 401
    except OSError:
        return False


class _TokenService(ThreadingHTTPServer):
    """Signs the tokens of the distribution project's token specification (RS256, certificate in `x5c`)."""

    daemon_threads = True

    def __init__(self, key: Path, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _TokenRequest)
        self.key = key
        lines = certificate.read_text().splitlines()
        self.chain = ["".join(line for line in lines if not line.startswith("-----"))]

    def sign(self, subject: str, access: list[dict[str, object]]) -> str:
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": self.chain}
        claims = {
            "iss": "test-issuer",
            "sub": subject,
            "aud": "test-registry",
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": str(time.monotonic_ns()),
            "access": access,
        }
        signed = b".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = subprocess.run(
            [need_program("openssl"), "dgst", "-sha256", "-sign", str(self.key)],
            input=signed,
            capture_output=True,
            check=True,
            timeout=20,
        ).stdout
        return (signed + b"." + _base64url(signature)).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class _TokenRequest(BaseHTTPRequestHandler):
    server: _TokenService

    def do_GET(self) -> None:
        expected = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        given = self.headers.get("Authorization")
        if given is not None and given != f"Basic {expected}":
            self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]})
            return
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        access: list[dict[str, object]] = []
        for scope in query.get("scope", []):
            kind, name, actions = scope.split(":")
            # Nobody in particular may do nothing in particular.
            granted = actions.split(",") if given is not None else []
            access.append({"type": kind, "name": name, "actions": granted})
        self._answer(200, {"token": self.server.sign(USERNAME if given else "", access), "expires_in": 300})

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass

"""A registry that misbehaves: a small server in front of the real one breaks what it is told to."""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.registry import RegistryServer

_FORWARDED = ("Accept", "Authorization", "Content-Type", "Range", "User-Agent")


@dataclass(slots=True)
class Fault:
    """What to do with requests whose path holds `path`: at most `times` times, after `skip` good ones."""

    path: str
    status: int | None = None
    """Answer with this status instead."""
    headers: dict[str, str] = field(default_factory=dict)
    """… and with these headers."""
    body: bytes | None = None
    """… or answer 200 with this body."""
    change: Callable[[bytes], bytes] | None = None
    """Change the real body; its length is announced as it is after the change."""
    cut_after: int | None = None
    """Announce the whole length, send this many bytes, and close the connection."""
    hang: bool = False
    """Accept the request and never answer."""
    hang_after: int | None = None
    """Send this many bytes of the body and then nothing."""
    ignore_range: bool = False
    """Answer range requests with the whole."""
    times: int = 1_000_000
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]


class FaultyRegistry(ThreadingHTTPServer):
    """Fronts `upstream`; `faults` may be changed at any time."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, upstream: RegistryServer) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.over = threading.Event()
        self._guard = threading.Lock()

    @property
    def host(self) -> str:
        """`localhost:PORT`."""
        return f"localhost:{self.server_address[1]}"

    def requests_for(self, part: str, method: str = "GET") -> list[Seen]:
        """Requests whose path holds `part`."""
        return [request for request in self.seen if part in request.path and request.method == method]

    def fault_for(self, path: str) -> Fault | None:
        """The fault to play for this request, counted."""
        with self._guard:
            for fault in self.faults:
                if fault.path not in path:
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    return None
                if fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are the point of these tests."""


class _Request(BaseHTTPRequestHandler):
    server: FaultyRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        # Names of headers have no case; here they are all written in one way.
        headers = {name.title(): value for name, value in self.headers.items()}
        self.server.seen.append(Seen(self.command, self.path, headers))
        fault = self.server.fault_for(self.path)
        if fault is None:
            self._answer(*self._fetch())
        else:
            self._misbehave(fault)

    do_HEAD = do_GET  # noqa: N815 - the name that the library looks for

    def _misbehave(self, fault: Fault) -> None:
        if fault.hang:
            self.server.over.wait(60)
            self.close_connection = True
            return
        if fault.status is not None:
            self._answer(fault.status, fault.headers, fault.body or b'{"errors": []}')
            return
        status, headers, body = self._fetch(ranged=not fault.ignore_range)
        if fault.body is not None:
            status, body = 200, fault.body
        if fault.change is not None:
            body = fault.change(body)
        headers = headers | fault.headers
        if fault.cut_after is None and fault.hang_after is None:
            self._answer(status, headers, body)
            return
        sent = fault.cut_after if fault.cut_after is not None else fault.hang_after
        self._answer(status, headers, body, sent=sent)
        self.wfile.flush()
        if fault.hang_after is not None:
            self.server.over.wait(60)
        self.close_connection = True

    def _fetch(self, *, ranged: bool = True) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(self.server.upstream.host, timeout=30)
        try:
            sent = {name: self.headers[name] for name in _FORWARDED if self.headers[name] is not None}
            if not ranged:
                sent.pop("Range", None)
            upstream.request("GET" if self.command == "HEAD" else self.command, self.path, headers=sent)
            answer = upstream.getresponse()
            kept = {
                "Content-Type",
                "Docker-Content-Digest",
                "Www-Authenticate",
                "Content-Range",
                "Accept-Ranges",
            }
            headers = {name: value for name, value in answer.getheaders() if name.title() in kept}
            return answer.status, headers, answer.read()
        finally:
            upstream.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, *, sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if sent is None else body[:sent])

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def faulty_registry(upstream: RegistryServer) -> Iterator[FaultyRegistry]:
    """A front that behaves until it is told otherwise."""
    server = FaultyRegistry(upstream)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()

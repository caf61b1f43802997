# SPDX-License-Identifier: Apache-2.0
"""A server of files on this machine: what it serves, how badly, and what it was asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CONTENT = b"\x89HDF" + bytes(range(256)) * 800


class Server(ThreadingHTTPServer):
    """The same `content` at every address, or that of `contents` by the path below /files."""

    content = CONTENT
    status = 200
    stop_after: int | None = None
    knows_ranges = True
    says_length = True
    etag = ""
    drips = False  # a line of the header now and then, for ever
    leads_to = ""  # where a redirection leads

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.closing = threading.Event()
        self.authorised: list[str | None] = []
        self.contents: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers["Range"]
        server.asked.append((self.path, wanted))
        server.authorised.append(self.headers["Authorization"])
        if server.leads_to:
            self.send_response(302)
            self.send_header("Location", server.leads_to)
            self.end_headers()
            return
        if server.drips:
            self.wfile.write(b"HTTP/1.0 200 OK\r\n")
            with suppress(OSError):
                while not server.closing.wait(0.1):
                    self.wfile.write(b"X-Wait: a little\r\n")
            return
        same = self.headers["If-Range"] in {None, server.etag}
        content = server.contents.get(self.path.removeprefix("/files/"), server.content)
        start = int(wanted[6:-1]) if wanted and server.knows_ranges and same else 0
        body = content[start:]
        self.send_response(206 if start and server.status == 200 else server.status)
        if server.says_length:
            self.send_header("Content-Length", str(len(body)))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        with suppress(ConnectionError):  # who asked has heard enough
            self.wfile.write(body if server.stop_after is None else body[: server.stop_after])

    def log_message(self, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that runs; nobody pauses before asking it again."""
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("encephalon.io.http.time.sleep", lambda _: None)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()

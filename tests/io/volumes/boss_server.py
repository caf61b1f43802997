# SPDX-License-Identifier: Apache-2.0
"""A server on this machine that answers as BossDB does, and fails as servers do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import imagecodecs
import numpy as np

Trouble = Callable[["Handler"], bool]
"""Answers in its own way, and says whether it did."""


@dataclass
class Boss:
    """One channel of a volume (z, y, x) that begins at `start`, and what was asked of it.

    asked    path and headers of every request
    trouble  what happens to the next requests, one after the other
    """

    volume: np.ndarray
    start: tuple[int, int, int] = (0, 0, 0)
    token: str = "public"
    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    trouble: list[Trouble] = field(default_factory=list)
    frame: dict[str, Any] = field(default_factory=dict)
    channel: dict[str, Any] = field(default_factory=dict)

    def paths(self, kind: str = "cutout") -> list[str]:
        """The paths asked for of that kind."""
        return [path for path, _ in self.asked if path.startswith(f"/v1/{kind}/")]

    def said(self, path: str) -> Any:
        """The JSON that there is at a path, or None."""
        sides = {"z": 0, "y": 1, "x": 2}
        frame = {f"{n}_start": self.start[at] for n, at in sides.items()}
        frame |= {f"{n}_stop": self.start[at] + self.volume.shape[at] for n, at in sides.items()}
        frame |= {"x_voxel_size": 1170, "y_voxel_size": 585, "z_voxel_size": 2340}
        frame |= {"voxel_unit": "nanometers", **self.frame}
        study = {"coord_frame": "frame of 1", "num_hierarchy_levels": 2}
        channel = {"datatype": str(self.volume.dtype), "downsample_status": "DOWNSAMPLED"}
        z, y, x = (-(-n // 2) for n in self.volume.shape)
        return {
            "/v1/collection/col/experiment/exp/channel/chan/": channel | self.channel,
            "/v1/collection/col/experiment/exp/": study,
            "/v1/coord/frame%20of%201/": frame,
            "/v1/downsample/col/exp/chan": {
                "voxel_size": {"1": [2340, 1170, 4680]},
                "extent": {"1": [x, y, z]},
            },
        }.get(path)

    def cut(self, path: str) -> np.ndarray:
        """The voxels (z, y, x) that a path asks for; 0 outside, as BossDB has it."""
        _, _, _, *names, level, x, y, z, end = path.split("/")
        assert (names, end) == (["col", "exp", "chan"], "")
        step = 2 ** int(level)
        data = self.volume[::step, ::step, ::step]
        spans = [tuple(map(int, one.split(":"))) for one in (z, y, x)]
        found = np.zeros([b - a for a, b in spans], data.dtype)
        start = [n // step for n in self.start]
        inner = data[tuple(slice(a - n, b - n) for (a, b), n in zip(spans, start, strict=True))]
        found[tuple(slice(n) for n in inner.shape)] = inner
        return found


class Handler(BaseHTTPRequestHandler):
    """Answers for the `boss` of its server."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        boss: Boss = self.server.boss
        boss.asked.append((self.path, dict(self.headers)))
        if boss.trouble and boss.trouble.pop(0)(self):
            return
        if self.headers.get("Authorization") != f"Token {boss.token}":
            self.answer(b'{"detail": "Invalid token."}', 401)
        elif self.path.startswith("/v1/cutout/"):
            self.answer(packed(boss.cut(self.path)))
        elif (found := boss.said(self.path)) is not None:
            self.answer(json.dumps(found).encode())
        else:
            self.answer(b"{}", 404)

    def answer(self, content: bytes, status: int = 200, length: int | None = None) -> None:
        """Send it, and say that it has that length."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def packed(data: np.ndarray) -> bytes:
    """As BossDB sends it: C order of z, y, x, in blosc."""
    content = np.ascontiguousarray(data).tobytes()
    return bytes(imagecodecs.blosc_encode(content, typesize=data.dtype.itemsize))


def status(code: int) -> Trouble:
    """An answer of that status."""

    def act(handler: Handler) -> bool:
        handler.answer(b"no", code)
        return True

    return act


def body(change: Callable[[bytes], bytes], length: int | None = None) -> Trouble:
    """The right answer, changed; `length` is what its header says."""

    def act(handler: Handler) -> bool:
        content = change(packed(handler.server.boss.cut(handler.path)))
        handler.answer(content, 200, length)
        handler.close_connection = True
        return True

    return act


def slow(seconds: float, *, headers: bool = False) -> Trouble:
    """An answer, or only its headers, of which a byte comes every so many seconds."""

    def act(handler: Handler) -> bool:
        start = b"" if headers else b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n"
        handler.wfile.write(start)
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 400:
            try:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
            except OSError:
                break
            time.sleep(seconds)
        handler.close_connection = True
        return True

    return act


def hang_up(handler: Handler) -> bool:
    """The connection ends without an answer."""
    handler.close_connection = True
    return True


@contextmanager
def serving(boss: Boss) -> Iterator[Boss]:
    """The server, at an address of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.boss = boss  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    boss.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield boss
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)

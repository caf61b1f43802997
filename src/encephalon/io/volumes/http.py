# SPDX-License-Identifier: Apache-2.0
"""Answers of a server, whole and within a bounded time, or the reason why there is none."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from encephalon.errors import UsageError, require_extra
from encephalon.io.volumes.volume import public

_log = logging.getLogger(__name__)
_PIECE = 1 << 16
_REFUSALS = {
    401: "the server wants a token that may read this",
    403: "the server wants a token that may read this",
    404: "the server has no such thing",
}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, seconds.

    attempts  how often a question is asked at most
    pause     before the second time; each further one is twice as long
    connect   until there is a connection
    silence   between two pieces of an answer
    answer    until an answer is whole, however slowly it comes
    total     after which a question is not asked again
    """

    attempts: int = 5
    pause: float = 1.0
    connect: float = 10.0
    silence: float = 60.0
    answer: float = 300.0
    total: float = 900.0


PATIENCE = Patience()
"""Our choice: a block of 2 MiB comes within the time at 7 kB/s, and a server may restart."""


class RefusedError(Exception):
    """A server that says no, or something that will not become right by asking again."""


class PassingError(Exception):
    """What may pass: a server too busy, an answer that broke off."""


def get(
    url: str,
    headers: Mapping[str, str],
    most: int,
    patience: Patience,
    token: str,
    use: Callable[[bytes], _T],
) -> _T:
    """What `use` makes of the body of the answer to a GET, asked again while PassingError comes.

    The body has at most `most` bytes; no redirection is followed. `token` goes into the header
    Authorization, and into nothing else. Raises RefusedError, with the last reason when the
    patience is used up, whose text holds neither token nor password.
    """
    require_extra("requests", "volumes", f"Reading from {urlsplit(url).hostname}")
    begun, pause, number = time.monotonic(), patience.pause, 0
    while True:
        number += 1
        try:
            return use(_within(patience.answer, lambda: _body(url, headers, most, patience, token)))
        except PassingError as error:
            if number == patience.attempts or time.monotonic() - begun + pause > patience.total:
                raise RefusedError(f"{error}, {number} times") from error
            _log.info("%s; asking again in %.1f s", error, pause)
            time.sleep(pause)
            pause *= 2


def need_safe(url: str) -> None:
    """Raise UsageError unless an address is https:// or http://; warn of http:// to elsewhere."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{public(url)}: expected an address that begins with https://.")
    here = re.fullmatch(r"localhost|127(\.\d+){3}|::1", parts.hostname)
    if parts.scheme == "http" and not here:
        _log.warning("%s is not encrypted: others can read and change what comes.", public(url))


def _within(seconds: float, call: Callable[[], _T]) -> _T:
    """What `call` gives, in a thread that may be left: names and proxies have no time limit."""
    outcome: Future[_T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:  # noqa: BLE001 -- raised again where it is waited for
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return outcome.result(seconds)
    except TimeoutError:
        raise PassingError(f"no whole answer came within {seconds:g} s") from None


def _body(url: str, headers: Mapping[str, str], most: int, patience: Patience, token: str) -> bytes:
    import requests
    import urllib3

    def authorised(request: Any) -> Any:  # otherwise a .netrc would take the place of the token
        if token:
            request.headers["Authorization"] = f"Token {token}"
        return request

    ends = time.monotonic() + patience.answer
    try:
        with requests.get(
            url,
            headers={"Accept-Encoding": "identity", **headers},
            auth=authorised,
            stream=True,
            timeout=(patience.connect, patience.silence),
            allow_redirects=False,
        ) as answer:
            code = answer.status_code
            if code == 429 or code >= 500:
                raise PassingError(f"the server answered {code}")
            if code != 200:
                raise RefusedError(f"{_REFUSALS.get(code, 'the server refused')} (HTTP {code})")
            return _whole(answer, most, ends)
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        late = isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError)
        kind = "the server was silent" if late else "the connection broke"
        raise PassingError(f"{kind} ({type(error).__name__})") from error
    except requests.RequestException as error:
        said = public(f"{type(error).__name__}: {error}").replace(token or "\0", "")
        raise RefusedError(said) from None


def _whole(answer: Any, most: int, ends: float) -> bytes:
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise RefusedError("the answer is packed in a way that was not asked for")
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > most:
        raise RefusedError(f"the answer has {int(length):,} bytes, more than {most:,}")
    content = bytearray()
    while piece := answer.raw.read1(_PIECE):
        content += piece
        if len(content) > most:
            raise RefusedError(f"the answer has more than {most:,} bytes")
        if time.monotonic() > ends:
            raise PassingError("the answer came too slowly")
    if length.isdecimal() and len(content) != int(length):
        raise PassingError(f"the answer broke off after {len(content):,} of {int(length):,} bytes")
    return bytes(content)

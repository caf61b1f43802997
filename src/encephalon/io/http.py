# SPDX-License-Identifier: Apache-2.0
"""Answers of a server and files from it, within a bounded time, or the reason why there is none."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from encephalon.errors import UsageError, require_extra

_log = logging.getLogger(__name__)
_PIECE = 1 << 16
"""Bytes read at a time, and so the most that a broken connection loses."""
_LARGEST = 1 << 34
"""Bytes of a file whose size nobody says; above it, the server sends without end."""
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
    grace     after which a file must have come faster than `slowest` bytes a second on average
    file      until a file is whole, however often it breaks off and however it drips
    """

    attempts: int = 5
    pause: float = 1.0
    connect: float = 10.0
    silence: float = 60.0
    answer: float = 300.0
    total: float = 900.0
    grace: float = 60.0
    slowest: float = 10_000.0
    file: float = 6 * 3600.0


PATIENCE = Patience()
"""Our choice: a block of 2 MiB comes within the time at 7 kB/s, 1.5 GB at 70 kB/s, and a server may
restart."""


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
    body = partial(_body, url, headers, most, patience, token)
    return _asked_again(patience, lambda: use(_within(patience.answer, body)))


def download(
    url: str,
    path: Path,
    size: int = 0,
    *,
    compared: bool = False,
    patience: Patience = PATIENCE,
    token: str = "",
) -> None:
    """Write the body of the answer to a GET to `path`, following redirections.

    Bytes that are in `path` already stay, and only the rest is asked for: where what comes is
    `compared` with a hash later, or the server says that the file is still the same (its ETag is
    kept in PATH.etag). `size` is how many bytes there must be, 0 if nobody knows. `token` is given
    to the server of `url` alone, not to where it leads. A connection that breaks is counted among
    the attempts only where it brought nothing on.
    Raises RefusedError, with the last reason when the patience is used up.
    """
    require_extra("requests", "download", f"Fetching from {urlsplit(url).hostname}")
    ends = time.monotonic() + patience.file

    def come_further() -> bool:
        before = _size(path)
        try:
            _append(url, path, size, compared, patience, ends, token)
        except PassingError:
            if patience.attempts == 1 or _size(path) < before + _PIECE:
                raise
            time.sleep(patience.pause)
            return True
        return False

    while _asked_again(patience, come_further):
        _log.info("%s: %s bytes have come; going on", public(url), f"{_size(path):,}")
    _tag(path).unlink(missing_ok=True)


def _asked_again(patience: Patience, call: Callable[[], _T]) -> _T:
    """What `call` gives, called again while PassingError comes."""
    begun, pause, number = time.monotonic(), patience.pause, 0
    while True:
        number += 1
        try:
            return call()
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
    """What `call` gives, in a thread that may be left: names and proxies have no time limit.

    An answer that comes after that is closed, or its connection would stay open.
    """
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
        outcome.add_done_callback(_close)
        raise PassingError(f"no whole answer came within {seconds:g} s") from None


def _close(outcome: Future[Any]) -> None:
    if outcome.exception() is None and hasattr(outcome.result(), "close"):
        outcome.result().close()


def _body(url: str, headers: Mapping[str, str], most: int, patience: Patience, token: str) -> bytes:
    ends = time.monotonic() + patience.answer
    with _answer(url, headers, patience, token) as answer:
        if answer.status_code != 200:
            raise _refusal(answer.status_code)
        return _whole(answer, most, ends)


@contextmanager
def _answer(
    url: str, headers: Mapping[str, str], patience: Patience, token: str = "", follow: bool = False
) -> Iterator[Any]:
    """The answer to a GET, its body not read yet; what goes wrong on the way in two kinds."""
    import requests
    import urllib3

    def authorised(request: Any) -> Any:  # otherwise a .netrc would take the place of the token
        if token:
            request.headers["Authorization"] = f"{'Bearer' if follow else 'Token'} {token}"
        return request

    asked = partial(
        requests.get,
        url,
        headers={"Accept-Encoding": "identity", **headers},
        auth=None if follow and not token else authorised,
        stream=True,
        timeout=(patience.connect, patience.silence),
        allow_redirects=follow,
    )
    try:
        # Lines of a header may drip as slowly as anything else.
        with _within(patience.answer, asked) as answer:
            code = answer.status_code
            if code == 429 or code >= 500:
                raise PassingError(f"the server answered {code}")
            # Some servers say of what is packed on the disk, like .nii.gz, that they packed it.
            packed = answer.headers.get("Content-Encoding", "identity") != "identity"
            if packed and not urlsplit(url).path.endswith("gz"):
                raise RefusedError("the answer is packed in a way that was not asked for")
            yield answer
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        late = isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError)
        kind = "the server was silent" if late else "the connection broke"
        raise PassingError(f"{kind} ({type(error).__name__})") from error
    except requests.RequestException as error:
        said = public(f"{type(error).__name__}: {error}").replace(token or "\0", "")
        raise RefusedError(said) from None


def _refusal(code: int) -> RefusedError:
    return RefusedError(f"{_REFUSALS.get(code, 'the server refused')} (HTTP {code})")


def _whole(answer: Any, most: int, ends: float) -> bytes:
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


def _tag(path: Path) -> Path:
    return path.with_name(f"{path.name}.etag")


def _forget(path: Path) -> None:
    path.unlink()
    _tag(path).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(
    url: str,
    path: Path,
    size: int,
    compared: bool,
    patience: Patience,
    ends: float,
    token: str,
) -> None:
    have, tag = _size(path), _tag(path)
    if size and have == size and compared:
        return
    same = tag.read_text("ascii") if tag.exists() else ""
    headers = {"Range": f"bytes={have}-"} if have and (compared or same) else {}
    headers |= {"If-Range": same} if headers and same else {}
    with _answer(url, headers, patience, token, follow=True) as answer:
        if url.startswith("https:") and not answer.url.startswith("https:"):
            raise RefusedError("the server leads to an address that is not encrypted")
        if answer.status_code == 416:  # there is no rest: what is here is of another file
            _forget(path)
            raise PassingError("the file is another one now")
        if answer.status_code not in {200, 206}:
            raise _refusal(answer.status_code)
        # A server that knows no ranges answers 200 with the whole file.
        goes_on = answer.status_code == 206
        have = have if goes_on else 0
        length = answer.headers.get("Content-Length", "")
        whole = have + int(length) if length.isdecimal() else size
        # A page that asks for a password or says sorry is far shorter than any file of data.
        if size and whole != size:
            raise RefusedError(
                f"expected {size:,} bytes, but the server offers {whole:,}: this is another file"
            )
        etag = answer.headers.get("ETag", "")
        tag.write_text(etag if etag.startswith('"') and etag.isascii() else "", "ascii")
        with path.open("ab" if goes_on else "wb") as file:
            _write_rest(answer, file, whole or _LARGEST, patience, ends)
    came = path.stat().st_size
    if came > (whole or _LARGEST):
        _forget(path)
        raise RefusedError(f"more than {whole or _LARGEST:,} bytes came: this is another file")
    if came < whole:
        raise PassingError(f"it broke off after {came:,} of {whole:,} bytes")


def _write_rest(answer: Any, file: IO[bytes], whole: int, patience: Patience, ends: float) -> None:
    """Write what comes to the end of `file`, until there is more than `whole`."""
    begun, start = time.monotonic(), file.tell()
    # What has come, however little: a piece may never be filled.
    while piece := answer.raw.read1(_PIECE):
        file.write(piece)
        seconds, came = time.monotonic() - begun, file.tell() - start
        if file.tell() > whole:
            return
        if seconds > patience.grace and came < patience.slowest * seconds:
            raise RefusedError(f"only {came:,} bytes came in {seconds:.0f} seconds")
        if time.monotonic() > ends and file.tell() < whole:
            raise RefusedError(f"it was not whole within {patience.file:g} seconds")


def public(text: str) -> str:
    """The text without the user and password, and without the query, of addresses in it."""
    return re.sub(r"(://[^\s?]*)\?\S*", r"\1", re.sub(r"(?<=://)[^/@\s]*@", "", text))

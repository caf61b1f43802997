# SPDX-License-Identifier: Apache-2.0
"""Fetch a file that lies elsewhere: by hash, whole or not at all, and never when offline.

Where nobody has published a sha256, that of the first fetch is recorded in `$ENCEPHALON_HOME` under
the address of the file, and whatever comes from there, or from a mirror, is compared with it ever
after.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from encephalon.errors import InputError, ModelError, UnreadableFileError
from encephalon.io.atomic import (
    explained,
    flush,
    flush_folder,
    locked,
    make_folder,
    sha256,
    write_json,
)
from encephalon.io.files import exists, expanded, is_file, is_folder, opened, stand_in
from encephalon.io.home import encephalon_home, offline_by_environment
from encephalon.io.http import Patience, RefusedError, download, need_safe, public
from encephalon.io.text import read_json

MIRROR_VARIABLE = "ENCEPHALON_MIRROR"
HUB = "https://huggingface.co"
RECORDS = "fetched.json"

_PATIENCE = Patience(attempts=3)
"""Seconds, not minutes, until somebody without a network is told so; what has come is kept."""

_PIECE = 1 << 20
"""Bytes copied at a time."""
_LARGEST = 1 << 34
"""Bytes of a file whose size nobody says; above it, it is a trap or a mistake."""
_log = logging.getLogger(__name__)
Places = str | Sequence[str] | None
"""Mirrors: addresses, folders or archives; of the environment between semicolons."""


@dataclass(frozen=True)
class Record:
    """What a file was at its first fetch."""

    sha256: str
    size: int
    date: str
    source: str
    """The address, or the mirror, that it came from."""


@dataclass(frozen=True)
class Remote:
    """A file that lies elsewhere.

    what     what sentences call it: "the model 'brainy'"
    address  where it is published, https; "" where no such place is known
    place    its path below a mirror
    size     bytes, at least where no sha256 was published; 0 where nobody has said
    sha256   as it was published; "" where it was not
    mirrors  further addresses of the same file
    obtain   a sentence on other ways to the file
    at_hand  what to do with the file once it was had in another way
    """

    what: str
    address: str
    place: str
    size: int = 0
    sha256: str = ""
    obtain: str = ""
    at_hand: str = "give its path"
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Local:
    """The file `name` in a folder or an archive of this machine."""

    path: Path
    name: str

    @property
    def is_there(self) -> bool:
        return is_file(self.path / self.name) if is_folder(self.path) else is_file(self.path)

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open for reading; raises InputError where it cannot be read."""
        if not is_folder(self.path):
            from encephalon.io.archives import archived  # quick listings need no archives

            with archived(self.path, self.name) as stream:
                yield stream
            return
        with opened(self.path / self.name) as file:
            yield file

    def __str__(self) -> str:
        return str(self.path / self.name)


def fetch(
    remote: Remote,
    final: Path,
    *,
    offline: bool = False,
    mirror: Places = None,
    limit: float | None = None,
) -> Record | None:
    """Put the file at `final`, where nothing is until it is whole and has the right sha256.

    The addresses of `remote` are asked in turn, until one has the file. `mirror`, or
    `$ENCEPHALON_MIRROR`, takes their place: any http(s) addresses or folders that hold the file at
    its `place`, or archives that hold it anywhere, asked in turn as well. What broke off goes on
    where it stopped; what is not whole after `limit` seconds (6 hours) is given up, and kept. With
    `offline`, or `$ENCEPHALON_OFFLINE` set to anything but 0, the network is never touched. The
    caller keeps others away from `final`.
    Files of the Hugging Face Hub come from `$HF_ENDPOINT`, where that is set, which alone is given
    `$HF_TOKEN`.
    Returns the record that the file was compared with, or that is new; None for a published sha256.
    Raises InputError where the file cannot be had, or is another one than it should be.
    """
    sources = _sources(remote, offline or offline_by_environment(), mirror)
    patience = _PATIENCE if limit is None else replace(_PATIENCE, file=limit)
    reasons: list[str] = []
    for number, source in enumerate(sources, 1):
        try:
            return _fetched(remote, source, final, patience)
        except InputError as error:
            if len(sources) == 1:
                raise
            reasons.append(str(error))
            if number < len(sources):
                _log.warning("%s Trying the next place, %s.", error, public(str(sources[number])))
    raise UnreadableFileError(
        f"{_begun(remote)} could not be had from any of {len(sources)} places: {' '.join(reasons)}"
    )


def _fetched(
    remote: Remote, source: _Local | str, final: Path, patience: Patience
) -> Record | None:
    """Put the file of one source at `final`."""
    record = None if remote.sha256 else recorded(remote.address)
    known = remote.sha256 or (record.sha256 if record else "")
    part = make_folder(final.parent) / f".{final.name}.part"
    with explained(final):
        if isinstance(source, _Local):
            _copy(source, part)
        else:
            size = remote.size if remote.sha256 else 0
            _download(remote, source, part, size, bool(known), patience)
        found = sha256(part)
        if not known:
            record = _record(remote, part, found, source)
            known = record.sha256  # of another process, if that was faster
        if found != known:
            part.unlink()
            raise UnreadableFileError(_another(remote, source, known, found, record))
        flush(part)
        part.replace(final)
        flush_folder(final.parent)
    return record


def _copy(source: _Local, part: Path) -> None:
    with source.opened() as stream, part.open("wb") as copy:
        while piece := stream.read(_PIECE):
            copy.write(piece)
            if copy.tell() > _LARGEST:
                raise UnreadableFileError(
                    f"{source}: more than {_LARGEST:,} bytes is no such file."
                )


def recorded(address: str) -> Record | None:
    """What was recorded of the file at `address` when it was first fetched; None if it never was.

    Raises UnreadableFileError where the records are damaged.
    """
    with suppress(ModelError):  # without a home nothing was recorded
        return _records(encephalon_home() / RECORDS).get(address)
    return None


def _records(path: Path) -> dict[str, Record]:
    try:
        found = read_json(path) if is_file(path) else {}
        return {address: Record(**told) for address, told in found.items()}
    except (AttributeError, TypeError) as error:
        raise UnreadableFileError(
            f"{path}: expected what was recorded of fetched files ({error}): restore it from a "
            "backup, or delete it to trust the next fetch of each."
        ) from error


def _sources(remote: Remote, offline: bool, mirror: Places) -> list[_Local | str]:
    """Where to get the file: places of this machine and addresses, in the order to ask them.

    Raises InputError when there is none, UsageError for an address of another kind.
    """
    if not (remote.sha256 or remote.address):
        raise InputError(
            f"{_begun(remote)} cannot be fetched, because neither an address nor a sha256 of it is "
            f"known: {remote.obtain} Fetch it there and {remote.at_hand}."
        )
    places: list[_Local | str] = [one for one in (remote.address, *remote.mirrors) if one]
    if given := _given(mirror):
        places = [
            f"{one.rstrip('/')}/{remote.place}"
            if "://" in one
            else _Local(expanded(one), remote.place)
            for one in given
        ]
    asked = [place for place in places if isinstance(place, _Local) or not offline]
    if offline and not asked:
        raise InputError(
            f"{_begun(remote)} is not on this machine and the network is not to be used: get "
            f"{Path(remote.place).name} elsewhere, then {remote.at_hand}."
        )
    if not asked:
        raise InputError(
            f"No address is known for {remote.what}. {remote.obtain} Fetch it there and "
            f"{remote.at_hand}, or name a mirror that has it."
        )
    for place in asked:
        if isinstance(place, str):
            need_safe(place)
        elif len(asked) == 1 and not place.is_there:
            raise InputError(
                f"The mirror {given[0]} has no file {remote.place}: check the folder or the "
                "address."
            )
    return asked


def _given(mirror: Places) -> list[str]:
    if not mirror:
        mirror = os.environ.get(MIRROR_VARIABLE, "").split(";")
    words = [mirror] if isinstance(mirror, str) else mirror
    return [word.strip() for word in words if word.strip()]


def _begun(remote: Remote) -> str:
    return remote.what[:1].upper() + remote.what[1:]


def _download(
    remote: Remote, address: str, part: Path, size: int, compared: bool, patience: Patience
) -> None:
    size_text = f" ({size / 1e6:.1f} MB)" if size else ""
    address, token = _of_hub(address)
    _log.info("fetching %s%s from %s", remote.what, size_text, public(address))
    try:
        download(address, part, size, compared=compared, patience=patience, token=token)
    except RefusedError as error:
        kept = "; what has come is kept" if exists(part) else ""
        raise UnreadableFileError(
            f"{public(address)}: {remote.what} could not be fetched ({error}): check the network, "
            f"or name a mirror{kept}."
        ) from error


def _of_hub(address: str) -> tuple[str, str]:
    """The address of a file at the Hub's endpoint, and the token for it; any other as it is."""
    if not address.startswith(f"{HUB}/"):
        return address, ""
    endpoint = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or HUB
    need_safe(endpoint)
    is_safe = urlsplit(endpoint).scheme == "https" or urlsplit(endpoint).hostname == "127.0.0.1"
    token = os.environ.get("HF_TOKEN", "").strip() if is_safe else ""
    return address.replace(HUB, endpoint, 1), token


def _another(
    remote: Remote, source: _Local | str, known: str, found: str, record: Record | None
) -> str:
    place = public(str(source))
    if record is None:
        return (
            f"{place}: expected the published sha256 {known} of {remote.what}, but what came has "
            f"{found}, so it was thrown away: try another mirror."
        )
    return (
        f"{place}: expected the sha256 {known} of {remote.what}, recorded on {record.date} at the "
        f"first fetch from {record.source}, but what came has {found}, so it was thrown away: ask "
        f"its authors what has changed; to take the new file, delete the old one's entry in "
        f"{encephalon_home() / RECORDS}."
    )


def _record(remote: Remote, part: Path, found: str, source: _Local | str) -> Record:
    """Record the sha256 of a file that nobody has published one of."""
    with opened(part, expected=remote.what) as stream:
        what = stand_in(stream.read(64))
    size = part.stat().st_size
    if what is None and size < remote.size:
        what = f"cut: it has {size:,} bytes, and there are {remote.size:,} at least"
    if what is not None:
        part.unlink()
        raise UnreadableFileError(
            f"{public(str(source))}: expected {remote.what}, but it is {what}."
        )
    record = Record(found, size, date.today().isoformat(), public(str(source)))
    path = encephalon_home() / RECORDS
    with locked(path.with_name(f".{RECORDS}")):
        records = _records(path)
        if (other := records.get(remote.address)) is not None:
            return other
        write_json(path, records | {remote.address: record})
    _log.warning(
        "Nobody has published a sha256 of %s: %s of this first fetch is recorded, and compared "
        "from now on.",
        *(remote.what, found),
    )
    return record

# SPDX-License-Identifier: Apache-2.0
"""Fetch a file that lies elsewhere: by hash, whole or not at all, and never when offline.

Where nobody has published a sha256, that of the first fetch is recorded in `$ENCEPHALON_HOME` under
the address of the file, and whatever comes from there, or from a mirror, is compared with it ever
after.
"""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

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
from encephalon.io.files import exists, expanded, is_file, opened, stand_in
from encephalon.io.home import encephalon_home, offline_by_environment
from encephalon.io.http import Patience, RefusedError, download, need_safe, public
from encephalon.io.text import read_json

MIRROR_VARIABLE = "ENCEPHALON_MIRROR"
RECORDS = "fetched.json"

_PATIENCE = Patience(attempts=3)
"""Seconds, not minutes, until somebody without a network is told so; what has come is kept."""

_log = logging.getLogger(__name__)


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


def fetch(
    remote: Remote, final: Path, *, offline: bool = False, mirror: str | None = None
) -> Record | None:
    """Put the file at `final`, where nothing is until it is whole and has the right sha256.

    `mirror`, or `$ENCEPHALON_MIRROR`, may be any http(s) address or folder that holds the file at
    its `place`. What broke off goes on where it stopped. With `offline`, or `$ENCEPHALON_OFFLINE`
    set to anything but 0, the network is never touched. The caller keeps others away from `final`.
    Returns the record that the file was compared with, or that is new; None for a published sha256.
    Raises InputError where the file cannot be had, or is another one than it should be.
    """
    record = None if remote.sha256 else recorded(remote.address)
    known = remote.sha256 or (record.sha256 if record else "")
    source = _source(remote, offline or offline_by_environment(), mirror)
    part = make_folder(final.parent) / f".{final.name}.part"
    with explained(final):
        if isinstance(source, Path):
            with opened(source) as stream, part.open("wb") as copy:
                shutil.copyfileobj(stream, copy)
        else:
            _download(remote, source, part, remote.size if remote.sha256 else 0, bool(known))
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


def _source(remote: Remote, offline: bool, mirror: str | None) -> Path | str:
    """Where to get the file: a path, or an address. Raises InputError when there is neither."""
    what = remote.what
    begun = what[:1].upper() + what[1:]
    if not (remote.sha256 or remote.address):
        raise InputError(
            f"{begun} cannot be fetched, because neither an address nor a sha256 of it is known: "
            f"{remote.obtain} Fetch it there and {remote.at_hand}."
        )
    given = mirror or os.environ.get(MIRROR_VARIABLE, "").strip()
    if given and "://" not in given:
        path = expanded(given) / remote.place
        if not is_file(path):
            raise InputError(
                f"The mirror {given} has no file {remote.place}: check the folder or the address."
            )
        return path
    if offline:
        raise InputError(
            f"{begun} is not on this machine and the network is not to be used: get "
            f"{Path(remote.place).name} elsewhere, then {remote.at_hand}."
        )
    address = f"{given.rstrip('/')}/{remote.place}" if given else remote.address
    if not address:
        raise InputError(
            f"No address is known for {what}. {remote.obtain} Fetch it there and "
            f"{remote.at_hand}, or name a mirror that has it."
        )
    need_safe(address)
    return address


def _download(remote: Remote, address: str, part: Path, size: int, compared: bool) -> None:
    size_text = f" ({size / 1e6:.1f} MB)" if size else ""
    _log.info("fetching %s%s from %s", remote.what, size_text, public(address))
    try:
        download(address, part, size, compared=compared, patience=_PATIENCE)
    except RefusedError as error:
        kept = "; what has come is kept" if exists(part) else ""
        raise UnreadableFileError(
            f"{public(address)}: {remote.what} could not be fetched ({error}): check the network, "
            f"or name a mirror{kept}."
        ) from error


def _another(
    remote: Remote, source: Path | str, known: str, found: str, record: Record | None
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


def _record(remote: Remote, part: Path, found: str, source: Path | str) -> Record:
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

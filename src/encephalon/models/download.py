# SPDX-License-Identifier: Apache-2.0
"""Fetch a registered model: by hash, in one atomic step, once, and never when offline."""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import EncephalonError, ModelError, require_extra
from encephalon.io.atomic import explained, locked, sha256
from encephalon.io.files import exists, expanded, is_file
from encephalon.models import files
from encephalon.models.catalogue import find_folder, find_model
from encephalon.models.exchange import install_registered
from encephalon.models.registry import RegistryEntry, published_path, registry_entries

if TYPE_CHECKING:
    from encephalon.models.folder import ModelFolder
    from encephalon.models.published import PublishedFile

__all__ = ["MIRROR_VARIABLE", "OFFLINE_VARIABLE", "get_model"]

MIRROR_VARIABLE = "ENCEPHALON_MIRROR"
OFFLINE_VARIABLE = "ENCEPHALON_OFFLINE"

_log = logging.getLogger(__name__)

_TIMEOUT = (10, 60)
"""Seconds to connect, and between two pieces of the answer."""
_GRACE = 60
"""Seconds after which a download must have been faster than `_SLOWEST` on average."""
_SLOWEST = 1000
"""Bytes a second."""
_PIECE = 64 * 1024
"""Bytes read at a time, and so the most that a broken connection loses."""


def get_model(
    name: str, *, offline: bool = False, mirror: str | None = None
) -> ModelFolder | PublishedFile:
    """Return the model `name`, downloaded unless it is on this machine already.

    The file is compared with the sha256 of the registry before anything uses it, so `mirror` (or
    `$ENCEPHALON_MIRROR`) may be any http(s) address or folder that holds it under its own name.
    A download that broke off goes on where it stopped. With `offline`, or `$ENCEPHALON_OFFLINE`
    set to anything but 0, the network is never touched.
    Raises ModelError when the model is unknown, cannot be had, or is not what it should be.
    """
    entry = registry_entries().get(name)
    # Looked at before locking, as a shared installation is often read-only.
    if entry is not None and not _is_there(entry):
        place = _source(entry, offline or _offline_by_environment(), mirror)
        with locked(files.installed_folder() / f".{entry.name}"):
            if not _is_there(entry):
                _fetch(entry, place)
    return find_model(name)


def _source(entry: RegistryEntry, offline: bool, mirror: str | None) -> Path | str:
    """Where to get the model: a file, or an address. Raises ModelError when there is neither.

    Without a sha256 to compare with, nothing is fetched.
    """
    if not entry.sha256:
        raise ModelError(
            f"The model {entry.name!r} cannot be fetched, because no sha256 is recorded to compare "
            f"it with: {entry.obtain} Fetch {entry.file} from there and give its path."
        )
    source = mirror or os.environ.get(MIRROR_VARIABLE, "").strip()
    local = _local_source(source, entry)
    if local is not None:
        return local
    if offline:
        raise ModelError(
            f"The model {entry.name!r} is not on this machine and the network is not to be used: "
            f"get {entry.file} elsewhere, then run  encephalon models import {entry.file}"
        )
    address = f"{source.rstrip('/')}/{entry.file}" if source else entry.url
    if not address:
        raise ModelError(
            f"No address is known for the model {entry.name!r}. {entry.obtain} Fetch {entry.file} "
            "from there and give its path, or name a mirror that has it."
        )
    return address


def _fetch(entry: RegistryEntry, place: Path | str) -> None:
    if isinstance(place, Path):
        install_registered(place, entry)
        return
    part = files.installed_folder() / f".{entry.file}.part"
    _download(place, part, entry)
    install_registered(part, entry)
    part.unlink(missing_ok=True)


def _offline_by_environment() -> bool:
    return os.environ.get(OFFLINE_VARIABLE, "0").strip() not in {"", "0"}


def _is_there(entry: RegistryEntry) -> bool:
    if find_folder(entry.name) is not None:
        return True
    path = published_path(entry)
    return is_file(path) and (not entry.sha256 or sha256(path) == entry.sha256)


def _local_source(source: str, entry: RegistryEntry) -> Path | None:
    """Return the file in a mirror that is a folder; None where the mirror is an address."""
    if not source or "://" in source:
        return None
    path = expanded(source) / entry.file
    if not is_file(path):
        raise ModelError(
            f"The mirror {source} has no file {entry.file}: check the folder or the address."
        )
    return path


def _download(address: str, part: Path, entry: RegistryEntry) -> None:
    require_extra("pooch", "download", f"Downloading the model {entry.name!r}")
    import pooch

    if not address.startswith(("https://", "http://")):
        raise ModelError(
            f"{_public(address)}: expected an address that begins with https://, or a folder."
        )
    # pooch announces each download on its own; this program's log does so instead.
    pooch.get_logger().setLevel(logging.WARNING)
    _log.info("downloading %s (%.1f MB) from %s", entry.name, entry.size / 1e6, _public(address))
    try:
        with explained(part):
            _retrieve(address, part, entry)
    except EncephalonError:
        raise
    except ValueError as error:
        raise ModelError(
            f"{_public(address)}: what came has not the sha256 {entry.sha256} of {entry.file}, so "
            "it was thrown away: try another mirror."
        ) from error


def _retrieve(address: str, part: Path, entry: RegistryEntry) -> None:
    import pooch
    import requests
    import urllib3

    try:
        pooch.retrieve(
            address,
            known_hash=f"sha256:{entry.sha256}",
            fname=part.name,
            path=part.parent,
            downloader=_Resuming(part.with_suffix(".partial"), entry.size),
        )
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ModelError(
            f"The model {entry.name!r} could not be downloaded from {_public(address)} "
            f"({_public(str(error))}): check the network, or name a mirror; what has come is kept."
        ) from error


def _refuse_trickle(came: int, seconds: float) -> None:
    import requests

    if seconds > _GRACE and came < _SLOWEST * seconds:
        raise requests.ConnectionError(f"only {came:,} bytes came in {seconds:.0f} seconds")


def _public(text: str) -> str:
    """The text without the user and password of an address."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


class _Resuming:
    """A downloader for pooch that keeps what has come and asks only for the rest."""

    def __init__(self, partial: Path, size: int) -> None:
        self.partial = partial
        self.size = size

    def __call__(self, url: str, output_file: str | Path, pooch: Any) -> None:  # noqa: ARG002
        have = self.partial.stat().st_size if exists(self.partial) else 0
        if have != self.size:
            self._append(url, have if have < self.size else 0)
        # Complete or wrong, it is no longer partial: pooch compares the hash of what it gets.
        self.partial.replace(output_file)

    def _append(self, url: str, have: int) -> None:
        import requests

        headers = {"Accept-Encoding": "identity"}
        headers |= {"Range": f"bytes={have}-"} if have else {}
        begun = time.monotonic()
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            answer.raise_for_status()
            # A server that knows no ranges answers 200 with the whole file.
            goes_on = answer.status_code == requests.codes.partial_content
            length = answer.headers.get("Content-Length")
            if length is not None:
                self._check_size(int(length) + (have if goes_on else 0), url)
            with self.partial.open("ab" if goes_on else "wb") as file:
                # What has come, however little: a piece may never be filled.
                while piece := answer.raw.read1(_PIECE):
                    file.write(piece)
                    if file.tell() > self.size:
                        break
                    _refuse_trickle(file.tell() - have, time.monotonic() - begun)
        if self.partial.stat().st_size < self.size:
            raise requests.ConnectionError(
                f"it broke off after {self.partial.stat().st_size:,} of {self.size:,} bytes"
            )

    def _check_size(self, offered: int, url: str) -> None:
        # A page that asks for a password or says sorry is far shorter than any model.
        if offered != self.size:
            raise ModelError(
                f"{_public(url)}: expected {self.size:,} bytes, but the server offers {offered:,}: "
                "this is another file; try another mirror."
            )

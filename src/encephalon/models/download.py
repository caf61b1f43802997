# SPDX-License-Identifier: Apache-2.0
"""Fetch a registered model: by hash, in one atomic step, once, and never when offline."""

from __future__ import annotations

import logging
import os
import re
import time
from functools import partial
from pathlib import Path
from typing import Any

from encephalon.errors import EncephalonError, ModelError, require_extra
from encephalon.io.atomic import explained, locked, sha256
from encephalon.io.files import exists, expanded, is_file
from encephalon.io.home import offline_by_environment
from encephalon.models import files
from encephalon.models.catalogue import find_folder, find_model
from encephalon.models.exchange import install_registered
from encephalon.models.folder import ModelFolder
from encephalon.models.published import PublishedFile
from encephalon.models.registry import RegistryEntry, published_path, registry_entries

MIRROR_VARIABLE = "ENCEPHALON_MIRROR"

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
    offline = offline or offline_by_environment()
    # Looked at before locking, as a shared installation is often read-only.
    if entry is not None and not _is_there(entry):
        place, home = _source(entry, offline, mirror), files.installed_folder()
        with locked(home / f".{entry.name}"):
            if _is_there(entry):
                pass  # another process was quicker
            elif isinstance(place, Path):
                install_registered(place, entry)
            else:
                part = home / f".{entry.file}.part"
                _download(place, part, entry)
                install_registered(part, entry)
                part.unlink(missing_ok=True)
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
    if source and "://" not in source:
        path = expanded(source) / entry.file
        if not is_file(path):
            raise ModelError(
                f"The mirror {source} has no file {entry.file}: check the folder or the address."
            )
        return path
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


def _is_there(entry: RegistryEntry) -> bool:
    if find_folder(entry.name) is not None:
        return True
    path = published_path(entry)
    return is_file(path) and (not entry.sha256 or sha256(path) == entry.sha256)


def _download(address: str, part: Path, entry: RegistryEntry) -> None:
    require_extra("pooch", "download", f"Downloading the model {entry.name!r}")
    import pooch
    import requests
    import urllib3

    shown = _public(address)
    if not address.startswith(("https://", "http://")):
        raise ModelError(f"{shown}: expected an address that begins with https://, or a folder.")
    # pooch announces each download on its own; this program's log does so instead.
    pooch.get_logger().setLevel(logging.WARNING)
    _log.info("downloading %s (%.1f MB) from %s", entry.name, entry.size / 1e6, shown)
    downloader = partial(_resume, kept=part.with_suffix(".partial"), size=entry.size)
    with explained(part):
        try:
            pooch.retrieve(
                address, f"sha256:{entry.sha256}", part.name, part.parent, downloader=downloader
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise ModelError(
                f"The model {entry.name!r} could not be downloaded from {shown} "
                f"({_public(str(error))}): check the network, or name a mirror; what has come is "
                "kept."
            ) from error
        except EncephalonError:
            raise
        except ValueError as error:
            raise ModelError(
                f"{shown}: what came has not the sha256 {entry.sha256} of {entry.file}, so "
                "it was thrown away: try another mirror."
            ) from error


def _public(text: str) -> str:
    """The text without the user and password of an address."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def _resume(url: str, output_file: str | Path, _pooch: Any, *, kept: Path, size: int) -> None:
    """Download as pooch has it done, but keep what has come and ask only for the rest."""
    have = kept.stat().st_size if exists(kept) else 0
    if have != size:
        _append(url, kept, size, have if have < size else 0)
    # Complete or wrong, it is no longer partial: pooch compares the hash of what it gets.
    kept.replace(output_file)


def _append(url: str, kept: Path, size: int, have: int) -> None:
    import requests

    headers = {"Accept-Encoding": "identity"}
    headers |= {"Range": f"bytes={have}-"} if have else {}
    begun = time.monotonic()
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        answer.raise_for_status()
        # A server that knows no ranges answers 200 with the whole file.
        goes_on = answer.status_code == requests.codes.partial_content
        length = answer.headers.get("Content-Length")
        offered = size if length is None else int(length) + (have if goes_on else 0)
        # A page that asks for a password or says sorry is far shorter than any model.
        if offered != size:
            raise ModelError(
                f"{_public(url)}: expected {size:,} bytes, but the server offers {offered:,}: "
                "this is another file; try another mirror."
            )
        with kept.open("ab" if goes_on else "wb") as file:
            # What has come, however little: a piece may never be filled.
            while piece := answer.raw.read1(_PIECE):
                file.write(piece)
                if file.tell() > size:
                    break
                _refuse_trickle(file.tell() - have, time.monotonic() - begun)
    if kept.stat().st_size < size:
        raise requests.ConnectionError(
            f"it broke off after {kept.stat().st_size:,} of {size:,} bytes"
        )


def _refuse_trickle(came: int, seconds: float) -> None:
    import requests

    if seconds > _GRACE and came < _SLOWEST * seconds:
        raise requests.ConnectionError(f"only {came:,} bytes came in {seconds:.0f} seconds")

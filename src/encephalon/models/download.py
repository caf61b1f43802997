# SPDX-License-Identifier: Apache-2.0
"""Fetch a registered model: by hash, in one atomic step, once, and never when offline."""

from __future__ import annotations

from encephalon.errors import InputError, ModelError
from encephalon.io.atomic import locked, sha256
from encephalon.io.fetch import Remote, fetch
from encephalon.io.files import is_file
from encephalon.models import files
from encephalon.models.catalogue import find_folder, find_model
from encephalon.models.exchange import install_zip
from encephalon.models.folder import ModelFolder
from encephalon.models.published import PublishedFile
from encephalon.models.registry import RegistryEntry, published_path, registry_entries


def get_model(
    name: str, *, offline: bool = False, mirror: str | None = None
) -> ModelFolder | PublishedFile:
    """Return the model `name`, fetched unless it is on this machine already.

    The file is compared with the sha256 of the registry, or that of the first fetch where nobody
    has published one, before anything uses it. `offline` and `mirror` are those of `fetch`.
    Raises ModelError when the model is unknown, cannot be had, or is not what it should be.
    """
    entry = registry_entries().get(name)
    # Looked at before locking, as a shared installation is often read-only.
    if entry is not None and entry.kind != "listed" and not _is_there(entry):
        with locked(files.installed_folder() / f".{entry.name}"):
            if not _is_there(entry):  # another process was not quicker
                _fetch(entry, offline, mirror)
    return find_model(name)


def _is_there(entry: RegistryEntry) -> bool:
    if find_folder(entry.name) is not None:
        return True
    path = published_path(entry)
    return is_file(path) and (not entry.sha256 or sha256(path) == entry.sha256)


def _fetch(entry: RegistryEntry, offline: bool, mirror: str | None) -> None:
    remote = Remote(
        f"the model {entry.name!r}",
        entry.url,
        entry.file,
        entry.size,
        entry.sha256 if entry.is_published else "",
        entry.obtain,
        f"run  encephalon models import {entry.file}" if entry.sha256 else "give its path",
    )
    is_zip = entry.kind == "folder"
    place = files.installed_folder() / f".{entry.file}" if is_zip else published_path(entry)
    try:
        fetch(remote, place, offline=offline, mirror=mirror)
    except InputError as error:
        raise ModelError(str(error)) from error
    if is_zip:
        install_zip(place, overwrite=True, entry=entry)
        place.unlink()

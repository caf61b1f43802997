# SPDX-License-Identifier: Apache-2.0
"""Fetch a registered model: by hash, in one atomic step, once, and never when offline."""

from __future__ import annotations

from encephalon.errors import InputError, ModelError
from encephalon.io.atomic import locked, sha256
from encephalon.io.fetch import Places, Remote, fetch
from encephalon.io.files import is_file
from encephalon.io.http import PATIENCE
from encephalon.models import files, hub
from encephalon.models.catalogue import find_folder, find_model
from encephalon.models.exchange import install_zip
from encephalon.models.folder import ModelFolder
from encephalon.models.published import PublishedFile
from encephalon.models.registry import RegistryEntry, published_path, registry_entries


def get_model(
    name: str, *, offline: bool = False, mirror: Places = None, limit: float | None = None
) -> ModelFolder | PublishedFile:
    """Return the model `name`, fetched unless it is on this machine already.

    The file is compared with the sha256 of the registry, or that of the first fetch where nobody
    has published one, before anything uses it. `name` may be a model folder of the Hugging Face
    Hub, `hf://OWNER/NAME` or `hf://OWNER/NAME@REVISION`. `offline`, `mirror` and `limit`, seconds,
    are those of `fetch`; another process that fetches the same is waited for.
    Raises ModelError when the model is unknown, cannot be had, or is not what it should be.
    """
    if name.startswith(hub.SCHEME):
        return hub.get_from_hub(name, offline=offline, mirror=mirror, limit=limit)
    entry = registry_entries().get(name)
    # Looked at before locking, as a shared installation is often read-only.
    if entry is not None and entry.kind != "listed" and not _is_there(entry):
        with locked(files.installed_folder() / f".{entry.name}", limit or PATIENCE.file):
            # Looked up again: another process may have been quicker, and recorded the sha256.
            entry = registry_entries()[name]
            if not _is_there(entry):
                _fetch(entry, offline, mirror, limit)
    return find_model(name)


def _is_there(entry: RegistryEntry) -> bool:
    if find_folder(entry.name) is not None:
        return True
    path = published_path(entry)
    return is_file(path) and (not entry.sha256 or sha256(path) == entry.sha256)


def _fetch(entry: RegistryEntry, offline: bool, mirror: Places, limit: float | None) -> None:
    remote = Remote(
        f"the model {entry.name!r}",
        entry.url,
        entry.file,
        entry.size,
        entry.sha256 if entry.is_published else "",
        entry.obtain,
        f"run  encephalon models import {entry.file}" if entry.sha256 else "give its path",
        entry.mirrors,
    )
    is_zip = entry.kind == "folder"
    place = files.installed_folder() / f".{entry.file}" if is_zip else published_path(entry)
    try:
        fetch(remote, place, offline=offline, mirror=mirror, limit=limit)
    except InputError as error:
        raise ModelError(str(error)) from error
    if is_zip:
        install_zip(place, overwrite=True, entry=entry)
        place.unlink()

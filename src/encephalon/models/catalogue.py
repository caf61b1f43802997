# SPDX-License-Identifier: Apache-2.0
"""Which models there are, what a name or a path means, and what is known of each, whole or not.

Quick: listing and naming read text files only, never weights.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import EncephalonError, MissingFileError, ModelError, did_you_mean
from encephalon.io.files import exists, expanded, is_file, is_folder
from encephalon.models import files
from encephalon.models.description import CARD_SECTIONS, UNKNOWN, ModelDescription
from encephalon.models.registry import RegistryEntry, published_path, registry_entries

if TYPE_CHECKING:
    from encephalon.models.folder import ModelFolder
    from encephalon.models.published import PublishedFile


_log = logging.getLogger(__name__)

# A word that ends so is the path of a file, not the name of a model.
_FILE_SUFFIXES = {
    *(".h5", ".hdf5", ".zip", ".toml", ".keras", ".onnx", ".safetensors"),
    *(".pt", ".pth", ".ckpt", ".pkl", ".pickle"),
}


@dataclass(frozen=True)
class ModelSummary:
    """One line of `encephalon models list`."""

    name: str
    version: str
    title: str
    study: str
    task: str
    mode: str
    licence: str
    where: str
    """"packaged", "installed", "remote", or "broken" with the reason in `title`."""
    size: int
    """Bytes on disk, or to download."""
    path: Path | None = None


def list_models() -> list[ModelSummary]:
    """Return every model that can be named: packaged, installed, and registered elsewhere."""
    found = {summary.name: summary for summary in _local_summaries()}
    for entry in registry_entries().values():
        found.setdefault(entry.name, _entry_summary(entry))
    return sorted(found.values(), key=lambda summary: summary.name)


def find_model(name_or_path: str | Path) -> ModelFolder | PublishedFile:
    """Return the model that a name or a path means, its files verified.

    A name wins over a folder of that name in the working directory: write `./name` for the folder.
    A path may be a model folder, its `model.toml`, a run folder that holds `model/`, or a
    published `.h5` or `.pt` file. Nothing is downloaded.
    Raises ModelError for an unknown name (with the nearest known one), a known one that is not
    on this machine, and a file of another kind; MissingFileError for a path to nothing.
    """
    from encephalon.models.folder import open_model
    from encephalon.models.published import open_published

    name = str(name_or_path)
    if isinstance(name_or_path, Path) or not _is_name(name):
        return _find_path(expanded(name_or_path))
    folder = find_folder(name)
    if folder is not None:
        return open_model(folder)
    entry = registry_entries().get(name)
    if entry is not None and exists(published_path(entry)):
        return open_published(published_path(entry), entry)
    if entry is not None:
        raise ModelError(
            f"The model {name!r} is not on this machine: run  encephalon models get {name}"
        )
    if exists(Path(name)):
        return _find_path(Path(name))
    names = [summary.name for summary in list_models()]
    meant = did_you_mean(name, names, "known models:")
    raise ModelError(f"Unknown model {name!r}; {meant}")


def find_folder(name: str) -> Path | None:
    """Return the folder of the packaged or installed model `name`, packaged first."""
    for _, root in files.model_roots():
        if is_file(root / name / "model.toml"):
            return root / name
    return None


def _is_name(text: str) -> bool:
    plain = Path(text).name == text and text not in {"", ".", ".."}
    return plain and Path(text).suffix.lower() not in _FILE_SUFFIXES


def _find_path(path: Path) -> ModelFolder | PublishedFile:
    from encephalon.models.folder import DESCRIPTION, open_model
    from encephalon.models.published import PUBLISHED_SUFFIXES, open_published

    if path.name == DESCRIPTION:
        path = path.parent
    if is_folder(path):
        in_run = path / "model"
        is_run = not exists(path / DESCRIPTION) and is_file(in_run / DESCRIPTION)
        return open_model(in_run if is_run else path)
    suffix = path.suffix.lower()
    if suffix in PUBLISHED_SUFFIXES:
        return open_published(path)
    if suffix == ".zip":
        raise ModelError(
            f"{path}: a zipped model is imported first: run  encephalon models import {path}"
        )
    if is_file(path):
        raise ModelError(
            f"{path}: expected a model folder or published weights (.h5, .pt, .pth), but got a "
            f"{suffix or 'plain'} file: nothing else is ever unpickled, so give the model folder."
        )
    raise MissingFileError(
        f"{path}: expected a model, but there is no such file or folder: check the path."
    )


def _local_summaries() -> Iterator[ModelSummary]:
    # Installed first, so that a packaged model of the same name replaces it in the listing.
    roots = list(files.model_roots())
    for where, root in reversed(roots):
        folders = sorted(root.iterdir()) if is_folder(root) else []
        for folder in folders:
            if is_file(folder / "model.toml") and not folder.name.startswith("."):
                yield _folder_summary(folder, where)
    for entry in registry_entries().values() if len(roots) > 1 else ():
        if is_file(published_path(entry)):
            yield _entry_summary(entry, published_path(entry))


def _folder_summary(folder: Path, where: str) -> ModelSummary:
    from encephalon.models.folder import read_description

    size = sum(path.stat().st_size for path in folder.iterdir() if is_file(path))
    try:
        about = read_description(folder)
    except EncephalonError as error:
        _log.warning("%s", error)
        blank = dict.fromkeys(("version", "study", "task", "mode", "licence"), "unknown")
        return ModelSummary(
            name=folder.name, title=str(error), where="broken", size=size, path=folder, **blank
        )
    return _summary(about, where, size, folder)


def _entry_summary(entry: RegistryEntry, path: Path | None = None) -> ModelSummary:
    if path is None:
        return _summary(entry, "remote", entry.size, None)
    return _summary(entry, "installed", path.stat().st_size, path)


def _summary(
    about: ModelDescription | RegistryEntry, where: str, size: int, path: Path | None
) -> ModelSummary:
    return ModelSummary(
        name=about.name,
        version=about.version,
        title=about.title or about.name,
        study=about.study,
        task=about.task,
        mode=about.mode,
        licence=about.licence,
        where=where,
        size=size,
        path=path,
    )


def model_info(name_or_path: str | Path) -> dict[str, Any]:
    """Return every field of a model's description, "unknown" where nothing was said.

    Works for a model that is not on this machine, if it is registered. `path` is where the model
    lies, None when it has to be fetched. Files are not hashed: see `verify_model`.
    """
    from encephalon.models.folder import ModelFolder, read_description

    name = str(name_or_path)
    entry = registry_entries().get(name)
    folder = None if isinstance(name_or_path, Path) or "/" in name else find_folder(name)
    if folder is not None:
        return _folder_info(read_description(folder), folder)
    if entry is not None:
        path = published_path(entry)
        return _entry_info(entry, path if exists(path) else None)
    model = find_model(name_or_path)
    if isinstance(model, ModelFolder):
        return _folder_info(model.description, model.path)
    if model.entry is not None:
        return _entry_info(model.entry, model.path)
    return {**model.describe(), "path": model.path, "network": model.network}


def verify_model(name_or_path: str | Path) -> dict[str, str]:
    """Return file name to sha256 of a model whose files are all what they should be.

    Hashes every file and reads the tensors. Raises ModelError or MissingFileError otherwise, and
    ModelError for published weights that are in no registry, as there is nothing to compare.
    """
    from encephalon.errors import ModelError
    from encephalon.models.folder import ModelFolder

    model = find_model(name_or_path)
    if isinstance(model, ModelFolder):
        if model.weights is not None:
            model.tensors()
        return dict(model.description.files)
    if model.entry is None or not model.entry.sha256:
        raise ModelError(
            f"{model.path}: sha256 {model.sha256} is not that of any published file, so there is "
            "nothing to compare it with: use it only if you know where it comes from."
        )
    return {model.path.name: model.sha256}


def _folder_info(description: ModelDescription, path: Path) -> dict[str, Any]:
    info = {item.name: _filled(getattr(description, item.name)) for item in fields(description)}
    return {**info, "card": _sections(description.card), "path": path}


def _entry_info(entry: RegistryEntry, path: Path | None) -> dict[str, Any]:
    info = {item.name: _filled(getattr(entry, item.name)) for item in fields(entry)}
    return {**info, "card": _sections(entry.card), "path": path}


def _filled(value: Any) -> Any:
    return UNKNOWN if value in ("", {}, None) else value


def _sections(card: Any) -> dict[str, str]:
    return {key: card.get(key, "").strip() or UNKNOWN for key in CARD_SECTIONS}

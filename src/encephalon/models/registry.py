# SPDX-License-Identifier: Apache-2.0
"""Which models there are, and which one a name or a path means. Quick: text files only.

The entries of `registry.toml`: models that live elsewhere, known by their sha256 if by any.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from encephalon.errors import EncephalonError, MissingFileError, ModelError, did_you_mean
from encephalon.io.files import exists, expanded, is_file, is_folder
from encephalon.models import locations

if TYPE_CHECKING:
    from encephalon.models.description import ModelDescription
    from encephalon.models.folder import ModelFolder
    from encephalon.models.published import PublishedFile

__all__ = [
    "ModelSummary",
    "RegistryEntry",
    "find_folder",
    "find_model",
    "list_models",
    "parse_registry",
    "published_path",
    "registry_entries",
]

_log = logging.getLogger(__name__)

# A word that ends so is the path of a file, not the name of a model.
_FILE_SUFFIXES = {".h5", ".hdf5", ".zip", ".toml", ".keras", ".onnx", ".safetensors"}


_FILE_SUFFIXES |= {".pt", ".pth", ".ckpt", ".pkl", ".pickle"}


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
    for _, root in locations.model_roots():
        if is_file(root / name / "model.toml"):
            return root / name
    return None


def published_path(entry: RegistryEntry) -> Path:
    """Return where the downloaded file of a published model lies, whether it is there or not."""
    return locations.installed_folder() / entry.name / entry.file


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
    roots = list(locations.model_roots())
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


@dataclass(frozen=True)
class RegistryEntry:
    """One model that can be had by name: a published weights file, or a zipped model folder."""

    name: str
    kind: Literal["published", "folder"]
    title: str
    version: str
    study: str
    task: str
    mode: str
    file: str
    size: int
    """Bytes."""
    sha256: str
    """Of the file; "" where nobody has recorded it, so that nothing is fetched or taken for it."""
    licence: str
    citation: str = "unknown"
    network: str = ""
    """For published weights: the network that they belong to."""
    recipe: str = ""
    """For published weights: the built-in recipe whose columns and settings they go with."""
    url: str = ""
    """Address of the file, https; empty when none is known."""
    obtain: str = ""
    """A sentence on other ways to the file."""
    labels: Mapping[int, str] = field(default_factory=dict)
    card: Mapping[str, str] = field(default_factory=dict)


@cache
def registry_entries() -> Mapping[str, RegistryEntry]:
    """Return the entries that ship with the package, by name."""
    path = Path(__file__).with_name("registry.toml")
    return parse_registry(path.read_text(encoding="utf-8"), str(path))


def parse_registry(text: str, source: str) -> dict[str, RegistryEntry]:
    """Parse the text of a registry; raises ModelError for anything that it should not hold."""
    try:
        models = tomllib.loads(text)["model"]
        entries = [_entry(dict(model)) for model in models]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{source}: expected a registry of models ({error}): install encephalon again."
        ) from error
    return {entry.name: entry for entry in entries}


def _entry(values: dict[str, Any]) -> RegistryEntry:
    name = values.get("name")
    unknown = set(values) - {item.name for item in fields(RegistryEntry)}
    if unknown:
        raise ModelError(f"{name!r} has the unknown keys {sorted(unknown)}")
    if values.get("url") and not values["url"].startswith("https://"):
        raise ModelError(f"the address of {name!r} is not https")
    labels = {int(key): name for key, name in values.get("labels", {}).items()}
    return RegistryEntry(**{**values, "labels": labels})

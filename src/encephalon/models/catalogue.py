# SPDX-License-Identifier: Apache-2.0
"""Which models there are, what a name or a path means, and what is known of each, whole or not.

Quick: listing and naming read text files only, never weights.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from encephalon.errors import EncephalonError, MissingFileError, ModelError, did_you_mean
from encephalon.io.files import exists, expanded, is_file, is_folder
from encephalon.models import files
from encephalon.models.card import CARD_SECTIONS, UNKNOWN, Figure, figures_of, gaps
from encephalon.models.description import ModelDescription
from encephalon.models.folder import DESCRIPTION, ModelFolder, open_model, read_description
from encephalon.models.published import PUBLISHED_SUFFIXES, PublishedFile, open_published
from encephalon.models.registry import RegistryEntry, published_path, registry_entries

_log = logging.getLogger(__name__)

# A word that ends so is the path of a file, not the name of a model.
_FILE_SUFFIXES = {
    *(".h5", ".hdf5", ".zip", ".toml", ".keras", ".onnx", ".safetensors"),
    *(".pt", ".pth", ".ckpt", ".pkl", ".pickle"),
}

_PLACES = ("packaged", "installed", "broken", "remote", "listed")

# What a summary repeats of a description.
_TOLD = ("version", "study", "task", "mode", "licence")
# And of a registered model beside.
_TOLD_OF_REGISTERED = ("source", "published_mode", "sha256", "sha256_is")


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
    """"packaged", "installed", "remote", "listed" (not to be had), or "broken"; why, in `title`."""
    size: int
    """Bytes on disk, or to download; 0 where nobody has said."""
    inputs: str = UNKNOWN
    source: str = ""
    """Where its authors host it; "" for a model of this machine alone."""
    published_mode: str = ""
    """What the mode "published" does with weights that were published elsewhere."""
    figures: tuple[Figure, ...] = ()
    sha256: str = ""
    """Of the file of a registered model, where it is known."""
    path: Path | None = None
    sha256_is: str = "in model.toml"
    """Where that of its files is from, see `RegistryEntry`."""


def list_models() -> list[ModelSummary]:
    """Return every model that can be named: packaged, installed, and registered elsewhere.

    What is on this machine comes first, then what can be fetched, then what is only listed.
    """
    roots, entries = list(files.model_roots()), registry_entries().values()
    found = {
        entry.name: _summary(entry, "listed" if entry.kind == "listed" else "remote", entry.size)
        for entry in entries
    }
    # Installed first, so that a packaged model of the same name replaces it in the listing.
    for where, root in reversed(roots):
        for folder in sorted(root.iterdir()) if is_folder(root) else ():
            if is_file(folder / DESCRIPTION) and not folder.name.startswith("."):
                summary = _folder_summary(folder, where)
                found[summary.name] = summary
    for entry in entries if len(roots) > 1 else ():
        if is_file(path := published_path(entry)):
            found[entry.name] = _summary(entry, "installed", path.stat().st_size, path)
    return sorted(found.values(), key=lambda summary: (_PLACES.index(summary.where), summary.name))


def find_model(name_or_path: str | Path) -> ModelFolder | PublishedFile:
    """Return the model that a name or a path means, its files verified.

    A name wins over a folder of that name in the working directory: write `./name` for the folder.
    A path may be a model folder, its `model.toml`, a run folder that holds `model/`, a bundle of
    MONAI that `models export` wrote, or a published `.h5` or `.pt` file. Nothing is downloaded.
    Raises ModelError for an unknown name (with the nearest known one), a known one that is not
    on this machine, and a file of another kind; MissingFileError for a path to nothing.
    """
    name = str(name_or_path)
    is_plain = Path(name).name == name and name not in {"", ".", ".."}
    is_name = is_plain and Path(name).suffix.lower() not in _FILE_SUFFIXES
    if isinstance(name_or_path, Path) or not is_name:
        return _find_path(expanded(name_or_path))
    folder = find_folder(name)
    if folder is not None:
        return open_model(folder)
    if (entry := registry_entries().get(name)) is not None:
        if exists(published_path(entry)):
            return open_published(published_path(entry), entry)
        if entry.kind == "listed":
            raise ModelError(f"The model {name!r} cannot be used here. {entry.obtain}")
        raise ModelError(
            f"The model {name!r} is not on this machine: run  encephalon models get {name}"
        )
    if exists(Path(name)):
        return _find_path(Path(name))
    usable = sorted(one.name for one in list_models() if one.where != "listed")
    meant = did_you_mean(name, usable, "known models:")
    raise ModelError(f"Unknown model {name!r}; {meant}")


def find_folder(name: str) -> Path | None:
    """Return the folder of the packaged or installed model `name`, packaged first."""
    for _, root in files.model_roots():
        if is_file(root / name / DESCRIPTION):
            return root / name
    return None


def _find_path(path: Path) -> ModelFolder | PublishedFile:
    if path.name == DESCRIPTION:
        path = path.parent
    if is_folder(path):
        if exists(path / "configs") and not exists(path / DESCRIPTION):
            from encephalon.models.bundle import is_bundle, open_bundle

            if is_bundle(path):
                return open_bundle(path)
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


def _folder_summary(folder: Path, where: str) -> ModelSummary:
    size = sum(path.stat().st_size for path in folder.iterdir() if is_file(path))
    try:
        about = read_description(folder)
    except EncephalonError as error:
        _log.warning("%s", error)
        told: dict[str, Any] = {"name": folder.name, **dict.fromkeys(_TOLD, UNKNOWN)}
        return ModelSummary(**told, title=str(error), where="broken", size=size, path=folder)
    return _summary(about, where, size, folder)


def _summary(
    about: ModelDescription | RegistryEntry, where: str, size: int, path: Path | None = None
) -> ModelSummary:
    told: dict[str, Any] = {name: getattr(about, name) for name in ("name", *_TOLD)}
    if isinstance(about, RegistryEntry):
        told |= {name: getattr(about, name) for name in _TOLD_OF_REGISTERED}
    return ModelSummary(
        **told,
        title=about.title or about.name,
        inputs=about.card.get("inputs") or UNKNOWN,
        figures=_figures(about),
        where=where,
        size=size,
        path=path,
    )


def _figures(about: ModelDescription | RegistryEntry) -> tuple[Figure, ...]:
    return about.figures if isinstance(about, RegistryEntry) else figures_of(about.scores)


def model_info(name_or_path: str | Path) -> dict[str, Any]:
    """Return every field of a model's description, "unknown" where nothing was said.

    Works for a model that is not on this machine, if it is registered. `path` is where the model
    lies, None when it has to be fetched; `figures` are those of `figures_of`, or as published, and
    `missing` is what its card leaves out. Files are not hashed: see `verify_model`.
    """
    name = str(name_or_path)
    entry = registry_entries().get(name)
    folder = None if isinstance(name_or_path, Path) or "/" in name else find_folder(name)
    if folder is not None:
        return _info(read_description(folder), folder)
    if entry is not None:
        path = published_path(entry)
        return _info(entry, path if exists(path) else None)
    return info_of(find_model(name_or_path))


def info_of(model: ModelFolder | PublishedFile) -> dict[str, Any]:
    """The same of a model that was found; of weights that nobody registered, it is little."""
    if isinstance(model, ModelFolder):
        return _info(model.description, model.bundle or model.path)
    if model.entry is not None:
        return _info(model.entry, model.path)
    return {**model.describe(), "path": model.path, "network": model.network}


def verify_model(name_or_path: str | Path) -> dict[str, str]:
    """Return file name to sha256 of a model whose files are all what they should be.

    Hashes every file and reads the tensors; of a bundle of MONAI it also compares what MONAI would
    run with what an export writes. Raises ModelError or MissingFileError otherwise, and ModelError
    for published weights that are in no registry, as there is nothing to compare.
    """
    model = find_model(name_or_path)
    if isinstance(model, ModelFolder):
        if model.weights is not None:
            model.tensors()
        if model.bundle is not None:
            from encephalon.models.bundle import check_configuration

            check_configuration(model, model.bundle)
        return dict(model.description.files)
    if model.entry is None or not model.entry.sha256:
        raise ModelError(
            f"{model.path}: sha256 {model.sha256} is not that of any published file, so there is "
            "nothing to compare it with: use it only if you know where it comes from."
        )
    return {model.path.name: model.sha256}


def _info(about: ModelDescription | RegistryEntry, path: Path | None) -> dict[str, Any]:
    told = {item.name: getattr(about, item.name) for item in fields(about)}
    info = {key: UNKNOWN if value in ("", {}, (), None) else value for key, value in told.items()}
    card = {key: about.card.get(key, "").strip() or UNKNOWN for key in CARD_SECTIONS}
    figures = _figures(about)
    missing = gaps(card, figures, about.licence)
    shown = [asdict(figure) for figure in figures]
    return {**info, "card": card, "figures": shown, "missing": missing, "path": path}

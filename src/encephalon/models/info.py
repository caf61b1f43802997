# SPDX-License-Identifier: Apache-2.0
"""What is known of a model, on this machine or not, and whether its files are whole."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from encephalon.io.files import exists
from encephalon.models.card import UNKNOWN
from encephalon.models.description import CARD_SECTIONS, ModelDescription
from encephalon.models.registry import (
    RegistryEntry,
    find_folder,
    find_model,
    published_path,
    registry_entries,
)

__all__ = ["model_info", "verify_model"]


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

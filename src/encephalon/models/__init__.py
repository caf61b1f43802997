# SPDX-License-Identifier: Apache-2.0
"""Model folders and published weights: found, downloaded, verified, described, moved.

Nothing here imports torch, and listing models imports no numerical package at all. Names resolve
when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encephalon._lazy import lazy

if TYPE_CHECKING:
    from encephalon.models.card import render_card
    from encephalon.models.description import ModelDescription
    from encephalon.models.download import get_model
    from encephalon.models.exchange import export_model, import_model
    from encephalon.models.folder import ModelFolder, check_state, open_model, save_model
    from encephalon.models.info import model_info, verify_model
    from encephalon.models.keras import read_keras_h5
    from encephalon.models.published import PublishedFile, open_published
    from encephalon.models.registry import ModelSummary, find_model, list_models

__all__ = [
    "ModelDescription",
    "ModelFolder",
    "ModelSummary",
    "PublishedFile",
    "check_state",
    "export_model",
    "find_model",
    "get_model",
    "import_model",
    "list_models",
    "model_info",
    "open_model",
    "open_published",
    "read_keras_h5",
    "render_card",
    "save_model",
    "verify_model",
]

__getattr__ = lazy(
    __name__,
    {
        "card": ("render_card",),
        "description": ("ModelDescription",),
        "download": ("get_model",),
        "exchange": ("export_model", "import_model"),
        "folder": ("ModelFolder", "check_state", "open_model", "save_model"),
        "info": ("model_info", "verify_model"),
        "keras": ("read_keras_h5",),
        "published": ("PublishedFile", "open_published"),
        "registry": ("ModelSummary", "find_model", "list_models"),
    },
)

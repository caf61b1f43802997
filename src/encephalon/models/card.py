# SPDX-License-Identifier: Apache-2.0
"""The model card: README.md written from `model.toml`, every field filled or "unknown"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encephalon.models.description import CARD_SECTIONS, ModelDescription

__all__ = ["UNKNOWN", "render_card"]

UNKNOWN = "unknown"

_TABLES = {
    "labels": "Labels in the output",
    "preprocessing": "Preprocessing",
    "training_data": "Training data, in figures",
    "scores": "Scores",
    "recipe": "Recipe",
    "versions": "Versions",
    "files": "Files and their sha256",
}


def render_card(description: ModelDescription) -> str:
    """Return the card of a model in Markdown.

    Every section is there whether it was filled or not: a gap reads "unknown", so that nobody
    takes silence for good news.
    """
    title = description.title or description.name
    parts = [f"# {title}", _details(description)]
    for key, heading in CARD_SECTIONS.items():
        parts.append(f"## {heading}\n\n{description.card.get(key, '').strip() or UNKNOWN}")
    for key, heading in _TABLES.items():
        parts.append(f"## {heading}\n\n{_table(getattr(description, key))}")
    return "\n\n".join(parts) + "\n"


def _details(description: ModelDescription) -> str:
    rows = {
        "Name": description.name,
        "Version": description.version,
        "Study": description.study,
        "Task": description.task,
        "Mode": description.mode,
        "Licence": description.licence,
        "Citation": description.citation,
    }
    return _table(rows)


def _table(values: Mapping[Any, Any]) -> str:
    rows = [f"| {_cell(key)} | {_cell(value)} |" for key, value in _flat(values)]
    return "\n".join(["| | |", "|---|---|", *rows]) if rows else UNKNOWN


def _flat(values: Mapping[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            pairs += _flat(value, f"{name}.")
        else:
            pairs.append((name, value))
    return pairs


def _cell(value: Any) -> str:
    """Return the text of one table cell: a figure to four digits, nothing as "unknown"."""
    if value is None or (hasattr(value, "__len__") and len(value) == 0):
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value)
    return " ".join(str(value).split()).replace("|", "\\|") or UNKNOWN

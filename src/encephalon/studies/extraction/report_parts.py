# SPDX-License-Identifier: Apache-2.0
"""What the pages of this study share: pictures of scans, facts about models, cells of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine
from encephalon.reports import Html, Overlay, Picture, axial_series, facts, tag, three_planes
from encephalon.reports.layers import AMBER

LAYER = "prediction"
_FACTS = {
    "name": "Model",
    "version": "Version",
    "mode": "Mode",
    "runtime": "Runtime",
    "device": "Device",
    "border_mm": "Border, mm",
    "threshold": "Threshold",
    "licence": "Licence",
    "sha256": "SHA-256",
}


def scan_pictures(data: NDArray[Any], affine: Affine, mask: NDArray[Any]) -> tuple[Picture, ...]:
    """Draw a scan (I, J, K) with the outline of its mask: three planes, and eight axial slices."""
    overlays = [Overlay(np.asarray(mask), LAYER, AMBER)]
    return three_planes(data, affine, overlays), axial_series(data, affine, overlays)


def model_facts(about: Mapping[str, Any]) -> Html:
    """Show what is known of the model: name, version, hash, mode, runtime, device."""
    known, shown = about_model(about), dict[str, Any]()
    for key, label in _FACTS.items():
        value = known.get(key)
        if value not in (None, ""):
            shown[label] = tag("code", value) if key == "sha256" else value
    return facts(shown)


def about_model(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a predictor says of itself, the entry `model` opened if it holds several things."""
    model = about.get("model")
    inner = dict(model) if isinstance(model, Mapping) else {"name": model}
    return {**about, **inner}


def pictures_of(shown: Any) -> Sequence[Picture]:
    pictures = getattr(shown, "pictures", None) if hasattr(shown, "images") else shown
    if pictures is None and hasattr(shown, "images"):
        mask = next((each for each in shown.images.values() if each.suffix == "mask"), None)
        if mask is not None and mask.like is not None:
            pictures = scan_pictures(mask.like.data, mask.like.affine, mask.data)
    if callable(pictures):
        pictures = pictures()
    return list(pictures or ())


def status(row: Mapping[str, Any]) -> str:
    return str(row.get("quality") or "")


def reasons(row: Mapping[str, Any]) -> list[str]:
    given = row.get("reasons") or ()
    parts = given.split("; ") if isinstance(given, str) else list(given)
    return [str(part) for part in parts if part]


def number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    return None if value is None or value == "" else float(value)


def numbers(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [value for row in rows if (value := number(row, key)) is not None]


def spread(values: Sequence[float]) -> str | None:
    return f"{min(values):.0f} to {max(values):.0f} mL" if len(values) > 1 else None


def file_name(path: Any) -> Html | None:
    return tag("code", Path(str(path)).name) if path else None

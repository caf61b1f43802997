# SPDX-License-Identifier: Apache-2.0
"""What the pages of this study share: pictures of scans, facts about models, cells of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine
from encephalon.reports import (
    Html,
    Overlay,
    Picture,
    axial_series,
    details,
    facts,
    figure,
    tag,
    three_planes,
)
from encephalon.reports.layers import AMBER, SKY
from encephalon.reports.markup import sentence

__all__ = [
    "PREDICTION",
    "REFERENCE",
    "Row",
    "about_model",
    "file_name",
    "model_facts",
    "model_name",
    "number_of",
    "numbers_of",
    "picture_blocks",
    "pictures_of",
    "reasons_of",
    "scan_pictures",
    "status_of",
]

Row = Mapping[str, Any]

PREDICTION, REFERENCE = "prediction", "reference"
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


def scan_pictures(
    data: NDArray[Any],
    affine: Affine,
    mask: NDArray[Any],
    reference: NDArray[Any] | None = None,
) -> tuple[Picture, ...]:
    """Draw a scan (I, J, K) with the outline of its mask: three planes, and eight axial slices.

    A reference mask is outlined below it in a second colour.
    """
    overlays = [Overlay(np.asarray(mask), PREDICTION, AMBER)]
    if reference is not None:
        overlays.insert(0, Overlay(np.asarray(reference), REFERENCE, SKY))
    return three_planes(data, affine, overlays), axial_series(data, affine, overlays)


def pictures_of(shown: Any) -> Sequence[Picture]:
    """Return pictures as they are, and make them if `shown` is a function."""
    return list((shown() if callable(shown) else shown) or ())


def picture_blocks(pictures: Sequence[Html]) -> tuple[Html | None, Html | None]:
    """The main picture of a card, and the others folded away; None for what there is not."""
    framed = [tag("div", picture, class_="frame") for picture in pictures]
    main = figure(framed[0]) if framed else None
    return main, details("Axial slices", *framed[1:]) if framed[1:] else None


def model_facts(about: Mapping[str, Any]) -> Html:
    """Show what is known of the model: name, version, mode, runtime, device, hash."""
    known, shown = about_model(about), dict[str, Any]()
    for key, label in _FACTS.items():
        value = known.get(key)
        if value not in (None, ""):
            shown[label] = tag("code", value) if key == "sha256" else value
    return facts(shown)


def model_name(about: Mapping[str, Any]) -> str:
    """Name and version of the model."""
    known = about_model(about)
    name, version = str(known.get("name") or "unknown model"), known.get("version")
    return f"{name} {version}" if version else name


def about_model(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a predictor says of itself, the entry `model` opened if it holds several things."""
    model = about.get("model")
    inner = dict(model) if isinstance(model, Mapping) else {"name": model}
    return {**about, **inner}


def status_of(row: Row) -> str:
    """The quality status of a row, or nothing."""
    return str(row.get("quality") or "")


def reasons_of(row: Row) -> list[str]:
    """The reasons for the status, as sentences."""
    given = row.get("reasons") or ()
    parts = given.split("; ") if isinstance(given, str) else list(given)
    return [sentence(str(part)) for part in parts if part]


def number_of(row: Row, key: str) -> float | None:
    """A cell as a number; None where it is empty."""
    value = row.get(key)
    return None if value is None or value == "" else float(value)


def numbers_of(rows: Sequence[Row], key: str) -> list[float]:
    """The numbers of a column, without its empty cells."""
    return [value for row in rows if (value := number_of(row, key)) is not None]


def file_name(path: Any) -> Html | None:
    """The last part of a path."""
    return tag("code", Path(str(path)).name) if path else None

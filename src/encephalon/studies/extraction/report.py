# SPDX-License-Identifier: Apache-2.0
"""What the pages of brain extraction show of a scan: its mask outlined in it, and its volume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine
from encephalon.reports.batch import BatchReport, Column, Row, numbers_of, status_of
from encephalon.reports.blocks import StatCard, details, figure
from encephalon.reports.images import AMBER, SKY
from encephalon.reports.markup import Html, tag
from encephalon.reports.page import Legend
from encephalon.reports.pictures import Picture
from encephalon.reports.slices import Overlay, axial_series, three_planes

__all__ = ["PREDICTION", "REFERENCE", "batch_report", "framed", "scan_pictures"]

PREDICTION, REFERENCE = "prediction", "reference"


def batch_report(about: Mapping[str, Any]) -> BatchReport:
    """The page of a batch of masks; `about` is `Predictor.describe()`."""
    structure = "tumour" if about.get("notice") else "brain"
    return BatchReport(
        about,
        title=f"{structure.capitalize()} masks",
        missing="Without a mask",
        columns=(
            Column("Volume", "volume_ml", "mL", decimals=1),
            Column("Time", "seconds", "s", decimals=1),
        ),
        files={"source": "Scan", "mask": "Mask"},
        pictures=_pictures,
        hint="Slices run through the middle of the mask, the left side of the body on the left.",
        stats=lambda rows: _volume_cards(rows, structure),
        legend=[Legend(PREDICTION, f"Outline of the {structure} mask", AMBER)],
    )


def _pictures(row: Row, shown: Any, folder: Path) -> list[Html]:
    """`shown` are the pictures of a scan, the main one first, or a function that draws them."""
    del row, folder
    return framed(picture.html for picture in (shown() if callable(shown) else shown))


def framed(pictures: Iterable[Html]) -> list[Html]:
    """The main picture of a scan, and the others folded away."""
    frames = [tag("div", picture, class_="frame") for picture in pictures]
    more = [details("Axial slices", *frames[1:])] if frames[1:] else []
    return [*map(figure, frames[:1]), *more]


def _volume_cards(rows: Sequence[Row], structure: str) -> list[StatCard]:
    volumes = numbers_of([row for row in rows if status_of(row) != "fail"], "volume_ml")
    if len(volumes) < 2:
        return [StatCard(f"{volume:.0f} mL", f"{structure} volume") for volume in volumes]
    spread = f"{min(volumes):.0f} to {max(volumes):.0f} mL"
    return [StatCard(f"{median(volumes):.0f} mL", f"median {structure}", spread)]


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

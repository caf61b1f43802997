# SPDX-License-Identifier: Apache-2.0
"""The card of a model on a page: what it is for, how good it is, and where it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from encephalon.reports.blocks import details, paragraph, table
from encephalon.reports.format import Html, tag

__all__ = ["model_card"]

_FIGURES = {
    "name": "Figure",
    "value": "Value",
    "unit": "Unit",
    "statistic": "Of the cases",
    "low": "From",
    "high": "To",
    "interval": "Interval",
    "n": "Cases",
}


def model_card(
    sections: Mapping[str, str], figures: Sequence[Mapping[str, Any]], missing: Sequence[str]
) -> Html:
    """A card to be opened.

    sections  heading to text, in the order of the page
    figures   the fields of figures: name, value, unit, statistic, low, high, interval, n
    missing   headings of what the card leaves out, which the page says
    """
    blocks: list[Html] = []
    for heading, text in sections.items():
        blocks += [tag("h3", heading), paragraph(text)]
    if figures:
        rows = [{**figure, "n": figure.get("n") or None} for figure in figures]
        blocks += [tag("h3", "Figures"), table(_FIGURES, rows)]
    if missing:
        blocks.append(paragraph(f"The card leaves out: {', '.join(missing).lower()}."))
    return details("What the model is for, how good it is, and where it fails", *blocks)

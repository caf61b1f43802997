# SPDX-License-Identifier: Apache-2.0
"""The comparison of the cells of a grid where their study has none of its own: a row a cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from encephalon.evaluation.run import read_summary
from encephalon.experiments.grid_folder import CellState
from encephalon.io.text import write_records
from encephalon.reports.blocks import table
from encephalon.reports.page import Page

__all__ = ["compare_summaries"]

SHOWN = 10
"""Numbers on the page, which all lie in the CSV."""
DETAILS = {"low", "high", "level", "minimum", "maximum", "model", "n", "seconds", "sd", "units"}
"""What a summary says of its numbers, and of what made them."""


def compare_summaries(cells: Sequence[CellState], output: Path) -> Path:
    """Write comparison.csv and comparison.html of finished cells; returns the page.

    The columns are the axes, and every number that all summaries have, by its keys.
    """
    numbers = [dict(_numbers(read_summary(cell.evaluation))) for cell in cells]
    shared = [name for name in numbers[0] if all(name in each for each in numbers)]
    axes = list(dict.fromkeys(axis for cell in cells for axis in cell.values))
    rows = [
        {axis: cell.values.get(axis) for axis in axes} | {name: each[name] for name in shared}
        for cell, each in zip(cells, numbers, strict=True)
    ]
    write_records(rows, output / "comparison.csv")
    page = Page("Comparison", lead=f"{len(cells)} evaluations.")
    page.add(table([*axes, *shared[:SHOWN]], rows))
    if len(shared) > SHOWN:
        page.lead = f"{len(cells)} evaluations; comparison.csv has {len(shared)} numbers of each."
    return page.write(output / "comparison.html", overwrite=True)


def _numbers(said: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a summary, by its keys."""
    if isinstance(said, Mapping):
        for key, value in said.items():
            if key not in DETAILS:
                yield from _numbers(value, place if key == "value" else f"{place} {key}".strip())
    elif isinstance(said, int | float) and not isinstance(said, bool):
        yield place, float(said)

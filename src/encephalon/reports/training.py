# SPDX-License-Identifier: Apache-2.0
"""The page of a training run: its curves, its best epoch, its last figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from encephalon.reports.blocks import StatCard, facts, figure, grid, stat_cards, table
from encephalon.reports.charts import Series, line_chart
from encephalon.reports.format import format_number
from encephalon.reports.markup import Html
from encephalon.reports.page import Page

__all__ = ["training_page"]

_PARTS = {"train": "training", "val": "validation"}


def training_page(
    history: Sequence[Mapping[str, float]],
    title: str,
    *,
    best: Mapping[str, float] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Page:
    """Make the page of a run from its history: one row an epoch, numbers by column name.

    Columns `train_NAME` and `val_NAME` share the chart NAME; every other column but `epoch` has
    one of its own. `best` is the row of the epoch that was kept, if one was.
    """
    rows: list[Mapping[str, float]] = [
        {"epoch": place, **row} for place, row in enumerate(history, start=1)
    ]
    page = Page(title=title, kicker="Encephalon · training", lead=f"{len(rows)} epochs.")
    if best:
        page.lead = f"{len(rows)} epochs, the best of them {best['epoch']:.0f}."
        names = [name for name in best if name.startswith("val_")]
        page.add(
            stat_cards([StatCard(format_number(best[name], 4), _label(name)) for name in names])
        )
    page.section("Curves", grid(*_charts(rows)))
    if rows:
        columns = {name: _label(name) for name in rows[-1]}
        last = [{**row, "epoch": int(row["epoch"])} for row in rows[-10:]]
        page.section("Last epochs", table(columns, last))
    return page.section("Run", facts(about)) if about else page


def _charts(history: Sequence[Mapping[str, float]]) -> list[Html]:
    charts: dict[str, list[Series]] = {}
    epochs = [row["epoch"] for row in history]
    for name in dict.fromkeys(key for row in history for key in row if key != "epoch"):
        part, _, rest = name.partition("_")
        metric = rest if part in _PARTS and rest else name
        values = [row.get(name, float("nan")) for row in history]
        curve = Series(_PARTS.get(part, _label(name)), epochs, values)
        charts.setdefault(metric, []).append(curve)
    return [
        figure(line_chart(series, "epoch", metric, whole=True), _label(metric).capitalize())
        for metric, series in charts.items()
    ]


def _label(name: str) -> str:
    part, _, rest = name.partition("_")
    words = f"{_PARTS[part]} {rest}" if part in _PARTS and rest else name
    return words.replace("_", " ")

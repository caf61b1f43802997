# SPDX-License-Identifier: Apache-2.0
"""What is written of the finished cells of a grid: their comparison, and the statistics of results.

comparison.csv, .html  a row a cell, where the study has no comparison of its own
results.csv, .parquet  a row a model, target and set of inputs: see `experiments.results_table`
published.csv          the same in the columns of the published table
coefficients.csv       what each input adds, by several methods: see `experiments.input_effects`
best.csv               the best inputs of each target, and what is as good
costs.csv              minutes of trainings by their sets of inputs
graph.json             what targets have in common: see `experiments.target_graph`
dashboard.html         a page on which all of this is explored
overview.json          how much there is, how long it took, and how much tells nothing
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from encephalon.errors import MissingExtraError
from encephalon.evaluation.run import read_summary
from encephalon.experiments.analyses import analyse
from encephalon.experiments.best_inputs import BestInputs
from encephalon.experiments.costs import CostOfSet
from encephalon.experiments.dashboard import dashboard_data
from encephalon.experiments.grid_folder import CellState, GridStatus
from encephalon.experiments.input_effects import InputEffect
from encephalon.experiments.results_table import ResultsTable
from encephalon.io.atomic import write_json
from encephalon.io.text import write_records
from encephalon.reports.blocks import table
from encephalon.reports.dashboard import dashboard_page
from encephalon.reports.page import Page

__all__ = ["OVERVIEW", "GridReport", "compare_summaries", "write_statistics"]

logger = logging.getLogger(__name__)
OVERVIEW = "overview.json"
SHOWN = 10
"""Numbers on the page, which all lie in the CSV."""
DETAILS = {"low", "high", "level", "minimum", "maximum", "model", "n", "seconds", "sd", "units"}
"""What a summary says of its numbers, and of what made them."""


@dataclass(frozen=True)
class GridReport:
    """What was written of a grid, or of a table of results.

    page      that compares the cells; None of a table
    dashboard the page to explore; None without the extra `grid`
    tables    and other files of the statistics; none where the study has no results
    overview  see `ResultsTable.overview`
    """

    folder: Path
    page: Path | None = None
    dashboard: Path | None = None
    tables: tuple[Path, ...] = ()
    overview: Mapping[str, Any] = field(default_factory=dict)


def write_statistics(
    results: ResultsTable,
    folder: Path,
    *,
    page: Path | None = None,
    people: int | None = None,
    status: GridStatus | None = None,
) -> GridReport:
    """Write the files above, but for the comparison, into a folder that is there.

    people  who were scored, where the results do not say it
    status  of the grid that they are of, for the dashboard

    Without the extra `grid` there are no coefficients and no dashboard, and without `parquet` no
    Parquet, which the first are logged of. Raises OutputError where nothing can be written.
    """
    found, overview = analyse(results, people=people), results.overview()
    files = [results.write(folder / "results.csv")]
    if find_spec("pyarrow"):
        files.append(results.write(folder / "results.parquet"))
    files.append(results.write(folder / "published.csv", published=True))
    tables: dict[str, Sequence[InputEffect | BestInputs | CostOfSet]] = {
        "best": found.best,
        "costs": found.costs,
        "coefficients": found.effects,
    }
    for name, rows in tables.items():
        if rows:
            files.append(write_records([each.record() for each in rows], folder / f"{name}.csv"))
    files.append(write_json(folder / OVERVIEW, overview))
    if found.graph:
        files.append(write_json(folder / "graph.json", found.graph.record()))
    try:
        shown = dashboard_page(dashboard_data(found, folder, status))
    except MissingExtraError as error:
        logger.warning("there is no dashboard: %s", error)
        return GridReport(folder, page, None, tuple(files), overview)
    dashboard = shown.write(folder / "dashboard.html", overwrite=True)
    return GridReport(folder, page, dashboard, tuple(files), overview)


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
    page = Page("Comparison", lead=f"{len(cells)} evaluations.", dated=False)
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

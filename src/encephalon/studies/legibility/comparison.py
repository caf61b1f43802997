# SPDX-License-Identifier: Apache-2.0
"""What the models of a grid tell of each target, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from encephalon.experiments.grid import axis_words
from encephalon.experiments.grid_folder import CellState
from encephalon.io.text import write_records
from encephalon.models.folder import open_model
from encephalon.reports.blocks import figure, note, table
from encephalon.reports.charts import DotGroup, dot_chart
from encephalon.reports.format import format_estimate
from encephalon.reports.page import Page
from encephalon.statistics.intervals import Interval
from encephalon.studies.legibility.evaluation_page import NAMES
from encephalon.studies.legibility.settings import Cohort

__all__ = ["compare_people"]

Row = dict[str, Any]
#: The axis of a grid that is told by the inputs themselves.
INPUTS = "study.inputs"
HONEST = (
    "Each score is of people whom the network that was asked had not learnt from, told from "
    "whatever they have of the inputs, with its 95 % interval over people or their groups. What "
    "tells nothing has an R² of 0, or the balanced accuracy of 1 divided by the number of classes."
)


def compare_people(cells: Sequence[CellState], output: Path) -> Path:
    """Write comparison.csv and comparison.html of finished cells; returns the page.

    A row for each cell and target: its main metric with the ends of its interval, as the model
    itself says it. The models of a cross-validation have all been taught everybody in the end, so
    that their evaluation on the same table would flatter them.
    """
    rows = [row for number, cell in enumerate(cells, start=1) for row in _rows(number, cell)]
    write_records(rows, output / "comparison.csv")
    page = Page("Comparison", lead=f"{len(cells)} models.", kicker="Encephalon · legibility")
    models = list({row["model"]: row for row in rows}.values())
    page.add(table({"model": "Model", "trained": "Trained with", "inputs": "Inputs"}, models))
    of_target: dict[str, list[Row]] = {}
    for row in rows:
        of_target.setdefault(row["target"], []).append(row)
    columns = {"target": "Target", "metric": "Metric"} | {
        row["model"]: row["model"] for row in models
    }
    told = [
        {"target": name, "metric": NAMES[some[0]["metric"]]}
        | {row["model"]: format_estimate(Interval.of_cells(row, "score")) for row in some}
        for name, some in of_target.items()
    ]
    page.add(table(columns, told), note(HONEST))
    for name, some in of_target.items():
        groups = [DotGroup(row["model"], (), Interval.of_cells(row, "score")) for row in some]
        page.section(name, figure(dot_chart(groups, NAMES[some[0]["metric"]])))
    return page.write(output / "comparison.html", overwrite=True)


def _rows(number: int, cell: CellState) -> Iterator[Row]:
    about = open_model(cell.folder / "run" / "model").description
    inputs = ", ".join(Cohort.model_validate(about.recipe["study"]["cohort"]).inputs)
    trained = {axis: value for axis, value in cell.values.items() if axis != INPUTS}
    model = {"model": f"Model {number}", "trained": ", ".join(axis_words(trained))}
    for target, scores in about.scores.items():
        main = next(name for name in NAMES if name in scores)
        score = Interval.of_cells(scores, main).cells("score")
        yield {**model, "inputs": inputs, "target": target, "metric": main, **score}

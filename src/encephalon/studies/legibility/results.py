# SPDX-License-Identifier: Apache-2.0
"""What the models of a grid tell of each target from each set of inputs, as a table of results.

The scores are those of the run itself, of people whom the network that was asked had not learnt
from: the models of a cross-validation have all been taught everybody in the end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from encephalon.errors import EncephalonError
from encephalon.experiments.grid_choice import model_folder
from encephalon.experiments.grid_folder import CellState
from encephalon.experiments.results_table import ENDS, METRICS, ResultsTable
from encephalon.io.text import read_records
from encephalon.models.folder import open_model
from encephalon.studies.legibility.predictions import MODEL, WHATEVER
from encephalon.studies.legibility.settings import Cohort
from encephalon.tables.encoding import as_number

__all__ = ["results_of_people", "rows_of", "scores_of"]

logger = logging.getLogger(__name__)


def results_of_people(cells: Sequence[CellState]) -> ResultsTable:
    """A row for each cell, target and set of inputs that anybody was scored on.

    A cell whose run is no longer as it was written is left out, and that is logged. Raises
    TableError where none is left.
    """
    rows: list[dict[str, Any]] = []
    for cell in cells:
        try:
            own = list(rows_of(cell, open_model(model_folder(cell)).description.recipe))
            ResultsTable.of(own, str(scores_of(cell)))  # so that what is wrong is told of its file
            rows += own
        except (EncephalonError, KeyError, ValueError) as error:
            logger.warning("%s is left out of the results: %s", cell.folder, error)
    return ResultsTable.of(rows, "the grid")


def scores_of(cell: CellState) -> Path:
    """The scores of its run."""
    return model_folder(cell).parent / "evaluation" / "scores.csv"


def rows_of(cell: CellState, recipe: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of one cell, whose model was taught by `recipe`."""
    model = model_folder(cell)
    targets = Cohort.model_validate(recipe["study"]["cohort"]).targets
    _, scores = read_records(scores_of(cell))
    metrics = [f"{name}{end}" for name in METRICS for end in ENDS]
    for row in scores:
        if row["method"] != MODEL or row["inputs"] == WHATEVER or not as_number(row["n"]) > 0:
            continue
        target = targets[row["target"]]
        continuous = target.kind == "continuous"
        yield {
            "target": row["target"],
            "domain": target.domain,
            "kind": "regression" if continuous else "classification",
            "inputs": row["inputs"],
            **{name: as_number(row[name]) for name in metrics if row.get(name)},
            "minutes": cell.seconds / 60,
            "seed": recipe["training"]["seed"],
            "model": model,
            "n": as_number(row["n"]),
            "chance": 0.0 if continuous else 1 / target.count,
        }

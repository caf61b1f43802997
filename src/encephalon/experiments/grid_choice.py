# SPDX-License-Identifier: Apache-2.0
"""Which of the finished models of a grid predicts, where the grid is named in place of a model.

The larger the main score of its evaluation, the better; of two that are equal the one whose
interval begins higher, and then the one that comes first in the grid. What is not scored comes
last. A model whose files are gone, or not as they were written, is passed over, which is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import isfinite, nan
from pathlib import Path
from typing import Any

from encephalon.errors import EncephalonError, ModelError
from encephalon.evaluation.report import METRICS
from encephalon.experiments.grid_folder import CellState, GridFolder, GridStatus
from encephalon.models.folder import ModelFolder, open_model

__all__ = [
    "Choice",
    "GridModels",
    "Scored",
    "best_model",
    "model_folder",
    "models_of",
    "none_left",
    "note_on",
    "passed_over",
    "preferred",
]

logger = logging.getLogger(__name__)
FLATTERED = (
    "The best of several is best by luck too: expect less of it than this score, which chose it; "
    "best.csv of  encephalon grid report  says how much is left, where that is known."
)


@dataclass(frozen=True)
class Scored:
    """The main score of a model on `n` samples; `low` is the lower end of its interval, or NaN."""

    metric: str = ""
    value: float = nan
    low: float = nan
    n: int = 0

    @classmethod
    def of(cls, metric: str, told: Any, n: int) -> Scored:
        """By what a summary says: an interval, or a number; NaN where it says nothing."""
        cells = told if isinstance(told, Mapping) else {"value": told}
        value, low = (nan if cells.get(k) is None else float(cells[k]) for k in ("value", "low"))
        return cls(metric, value, low, n)


@dataclass(frozen=True)
class Choice:
    """The model that was chosen: the name of its cell's folder, its score, and of how many."""

    model: str
    scored: Scored
    candidates: int

    def record(self) -> dict[str, Any]:
        """For a row, or a sidecar; no score where none is known."""
        known = isfinite(self.scored.value)
        return {
            "model": self.model,
            "metric": self.scored.metric or None,
            "score": self.scored.value if known else None,
            "scored": self.scored.n if known else None,
            "candidates": self.candidates,
        }

    def __str__(self) -> str:
        """A few words for a page."""
        metric = METRICS.get(self.scored.metric, self.scored.metric)
        score = f"{metric} {self.scored.value:.3g}, n = {self.scored.n}"
        known = score if isfinite(self.scored.value) else "not scored from just these inputs"
        return f"{self.model}, the best of {self.candidates} ({known})"


@dataclass(frozen=True)
class GridModels:
    """The finished models of a grid."""

    path: Path
    name: str
    study: str
    cells: tuple[CellState, ...]


def note_on(said: str, candidates: int) -> str:
    """What is said of a choice, with what several to choose of do to its score."""
    return f"{said}. {FLATTERED}" if candidates > 1 else f"{said}."


def preferred(scored: Scored) -> tuple[float, float]:
    """What candidates are ranked by, the largest first."""
    value, low = (end if isfinite(end) else -float("inf") for end in (scored.value, scored.low))
    return value, low


def models_of(path: Path) -> GridModels:
    """The finished cells of the grid in a folder; raises ModelError for none."""
    status: GridStatus = GridFolder(path).status()
    done = tuple(status.of("done"))
    if not done:
        raise ModelError(
            f"{path}: no cell of the grid is done, so there is no model yet: go on with  "
            "encephalon grid run."
        )
    return GridModels(path, status.grid, status.study, done)


def best_model(
    grid: GridModels, score: Callable[[CellState], Scored] | None
) -> tuple[ModelFolder, GridModels]:
    """The best model of the grid, which tells how it was chosen, and those not passed over.

    score  the main score of a cell, the larger the better; None for any model

    Raises ModelError where scores cannot be compared, or no model can be opened.
    """
    scored = [(cell, score(cell) if score else Scored()) for cell in grid.cells]
    if len(metrics := sorted({one.metric for _, one in scored})) > 1:
        raise ModelError(
            f"{grid.path}: its cells were scored by {' and '.join(metrics)}, which cannot be "
            f"compared: give the run of one of them, such as {scored[0][0].folder / 'run'}."
        )
    passed: dict[Path, str] = {}
    ranked = sorted(scored, key=lambda pair: preferred(pair[1]), reverse=True)
    for cell, found in ranked:
        try:
            model = open_model(model_folder(cell))
        except EncephalonError as error:
            passed[cell.folder] = passed_over(cell.folder, error)
            continue
        choice = Choice(cell.folder.name, found, len(ranked) - len(passed))
        told = {"name": choice.model, "grid": grid.name}
        chosen = {**choice.record(), "note": note_on(str(choice), choice.candidates)}
        left = tuple(each for each in grid.cells if each.folder not in passed)
        return replace(model, told={**told, "chosen": chosen}), replace(grid, cells=left)
    raise none_left(grid, next(iter(passed.values())))


def passed_over(folder: Path, error: Exception) -> str:
    """Say in the log that the model of a cell is not used, and return why."""
    logger.warning("%s is passed over: %s", folder, error)
    return str(error)


def none_left(grid: GridModels, first: str) -> ModelError:
    """What is raised where no model can be opened; `first` says why not that of the first."""
    return ModelError(
        f"{grid.path}: none of its {len(grid.cells)} models can be used; first: {first}"
    )


def model_folder(cell: CellState) -> Path:
    """Where the model of a finished cell lies."""
    return cell.folder / "run" / "model"

# SPDX-License-Identifier: Apache-2.0
"""Train a network for every fold and, after a cross-validation, the one that ships.

Each fold is a run folder of its own. What it says of the rows that it did not learn is written down
when it is done, and from then on that is all that is asked of it: a run that was killed goes on in
the middle of the fold that it was at.

What a trained network leaves in its folder: the sign that it need not be trained again.

What the networks of a run say together: honest predictions, and the decision that ships.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import median_low

import numpy as np
from numpy.typing import NDArray

from encephalon.evaluation.decision import Decision, decide
from encephalon.evaluation.predictions import Scored, concatenate
from encephalon.experiments.folds import Fold, Plan
from encephalon.io.atomic import write_text
from encephalon.io.text import csv_text, read_records
from encephalon.recipes import dump_recipe, load_recipe
from encephalon.recipes.schema import Recipe, Training
from encephalon.studies.micrographs.data import Cohort, Rows
from encephalon.studies.micrographs.fitting import Fitted, fit
from encephalon.studies.micrographs.settings import class_names, micrograph_settings
from encephalon.training.checkpoint import load_own_checkpoint
from encephalon.training.loop import Progress
from encephalon.training.runs import Means, Report, RunFolder, best_row

__all__ = [
    "CrossedRun",
    "Crossing",
    "Outcome",
    "Part",
    "PlacedProgress",
    "Pooled",
    "is_finished",
    "placed_report",
    "pool",
    "read_history",
    "read_outcome",
    "write_outcome",
]


SCORES = "scores.csv"
Row = dict[str, float]
logger = logging.getLogger(__name__)


class CrossedRun(RunFolder):
    """The folder of a run whose networks lie in `folds/0`, `folds/1` ... and `final`."""

    @property
    def evaluation(self) -> Path:
        """Predictions and figures."""
        return self.path / "evaluation"

    def fold(self, number: int) -> RunFolder:
        """The run of one fold."""
        return RunFolder(self.path / "folds" / str(number))

    @property
    def final(self) -> RunFolder:
        """The run of the network that ships."""
        return RunFolder(self.path / "final")


@dataclass
class PlacedProgress(Progress):
    """Where a whole run is: `step` counts over all its networks, `place` names the present one."""

    place: str = ""


@dataclass(frozen=True, eq=False)
class Crossing:
    """All that training needs: `cohort` is learnt as `recipe` and `plan` say, in `run`."""

    recipe: Recipe
    plan: Plan
    cohort: Cohort
    run: CrossedRun
    means: Means

    def train_folds(self) -> list[Outcome]:
        """Train every fold that is not finished; what each says of the rows it did not learn."""
        more = [] if self.plan.crossed else [self.plan.held_out, self.plan.others]
        return [
            self._outcome(self.recipe_of(fold), fold, fold.unseen(*more))
            for fold in self.plan.folds
        ]

    def train_final(self, outcomes: Sequence[Outcome]) -> Outcome:
        """Train on every row of the folds, and return what that says of the rows of none.

        Without a cross-validation the only fold is the end of it.
        """
        if not self.plan.crossed:
            return outcomes[0]
        asked = np.concatenate([self.plan.held_out, self.plan.others])
        return self._outcome(self.final_recipe(outcomes), self._whole, asked)

    def recipe_of(self, fold: Fold) -> Recipe:
        """The recipe of a fold, with what the search inside it found best, if there is one."""
        if not micrograph_settings(self.recipe).search.trials:
            return self.recipe
        from encephalon.experiments.search import best_overrides

        folder = self._folder(fold).path / "search"
        found = best_overrides(self.recipe, lambda *trial: self._try(fold, folder, *trial), folder)
        return self._changed(folder, found)

    def final_recipe(self, outcomes: Sequence[Outcome]) -> Recipe:
        """That of the network that ships: it trains for the median of the folds' best epochs.

        Where hyper-parameters were searched for, it has those of the fold that validated best.
        """
        training = self.recipe.training
        best = max(self.plan.folds, key=lambda fold: outcomes[fold.number].best_value(training))
        recipe = self.recipe_of(best)
        epochs = median_low([one.best_epoch(training) for one in outcomes])
        changed = recipe.training.model_copy(update={"epochs": epochs, "patience": None})
        return recipe.model_copy(update={"training": changed})

    def networks(self) -> list[Fitted]:
        """The network of every finished fold, from its checkpoint."""
        return [self._again(self.recipe_of(fold), fold) for fold in self.plan.folds]

    def shipped(self, outcomes: Sequence[Outcome]) -> Fitted:
        """The network that ships, from its checkpoint, when it is finished."""
        if not self.plan.crossed:
            return self.networks()[0]
        return self._again(self.final_recipe(outcomes), self._whole)

    @property
    def seen(self) -> Rows:
        """The rows that the network which ships was taught."""
        return self.plan.learnt if self.plan.crossed else self.plan.folds[0].train

    @property
    def _whole(self) -> Fold:
        """What the network that ships learns: every row of the folds, judged by none."""
        nothing = np.array([], np.int64)
        return Fold(len(self.plan.folds), self.plan.learnt, nothing, nothing)

    def _folder(self, fold: Fold) -> RunFolder:
        return self.run.final if fold.number == len(self.plan.folds) else self.run.fold(fold.number)

    def _outcome(self, recipe: Recipe, fold: Fold, asked: Rows) -> Outcome:
        run, ids = self._folder(fold), self.cohort.table.ids
        if not is_finished(run):
            means = replace(self.means, report=self._placed(fold))
            fitted = fit(recipe, self.cohort, fold, run, means)
            write_outcome(run, ids, fitted.logits(asked), class_names(self.recipe))
        elif run.checkpoint.exists():
            load_own_checkpoint(run)  # which is needed again at the end: a fault is told now
        # Read back even when just written, so that a run that was killed sees the same digits.
        return read_outcome(run, ids)

    def _again(self, recipe: Recipe, fold: Fold) -> Fitted:
        means = replace(self.means, resume=True, report=None)
        return fit(recipe, self.cohort, fold, self._folder(fold), means)

    def _try(self, fold: Fold, folder: Path, number: int, overrides: Mapping[str, str]) -> float:
        """Train `fold` with `overrides` for a few epochs; the best value of what is monitored."""
        epochs = micrograph_settings(self.recipe).search.epochs
        changes = {**overrides, "training.epochs": str(epochs)}
        recipe, run = self._changed(folder, changes), RunFolder(folder / str(number))
        training = recipe.training
        fit(recipe, self.cohort, fold, run, replace(self.means, report=None))
        return best_row(read_history(run), training)[training.monitor]

    def _changed(self, folder: Path, overrides: Mapping[str, str]) -> Recipe:
        """The recipe with overrides, by way of a file in `folder`, where it is read again."""
        return load_recipe(write_text(folder / "recipe.toml", dump_recipe(self.recipe)), overrides)

    def _placed(self, fold: Fold) -> Report | None:
        """The report of one network as that of the whole run."""
        training, count = self.recipe.training, len(self.plan.folds)
        before = fold.number * training.epochs * training.steps_per_epoch
        # As the folders are named, so that everything can be found again.
        place = "final" if fold.number == count else f"folds/{fold.number}"
        return placed_report(self.means.report, before, place if count > 1 else "")


def placed_report(report: Report | None, before: int, place: str) -> Report | None:
    """Tell `report` of a network that has the name `place`, after `before` steps of others."""
    if report is None:
        return None

    def placed(progress: Progress, losses: Mapping[str, float]) -> None:
        here = {one.name: getattr(progress, one.name) for one in fields(Progress)}
        here["step"] += before
        report(PlacedProgress(**here, place=place), losses)

    return placed


@dataclass(frozen=True)
class Outcome:
    """What is kept of a network.

    history  one row an epoch
    logits   (classes) of the rows that it was asked about, by their number in the table
    """

    history: list[Row]
    logits: Mapping[int, NDArray[np.float64]] = field(repr=False)

    def of(self, rows: Rows, classes: int) -> NDArray[np.float64]:
        """The logits (B, classes) of these rows."""
        return np.array([self.logits[int(row)] for row in rows]).reshape(len(rows), classes)

    def best_epoch(self, training: Training) -> int:
        """The epoch, from 1, whose weights were kept."""
        return int(best_row(self.history, training)["epoch"])

    def best_value(self, training: Training) -> float:
        """How good that epoch was by what is monitored: larger is better."""
        value = best_row(self.history, training)[training.monitor]
        return value if training.monitor_mode == "max" else -value


def is_finished(run: RunFolder) -> bool:
    """Whether `write_outcome` was there, and what it left is as it was written.

    What is not is made again from the checkpoint, and that is logged.
    """
    changed = [name for name in (SCORES, run.history.name) if not run.is_unchanged(name)]
    if changed and (run.path / SCORES).exists():
        logger.warning("%s is not as it was written: it is made again.", run.path / changed[0])
    return not changed


def write_outcome(
    run: RunFolder,
    ids: Sequence[str],
    logits: Mapping[int, NDArray[np.float32]],
    classes: Sequence[str],
) -> None:
    """Keep the logits (classes) of each row; `ids` are those of the whole table."""
    names = [f"logit_{name}" for name in classes]
    records = [
        {"id": ids[row], **dict(zip(names, map(float, values), strict=True))}
        for row, values in logits.items()
    ]
    write_text(run.path / SCORES, csv_text(records, ["id", *names]))
    run.record_trained(SCORES, run.history.name)


def read_outcome(run: RunFolder, ids: Sequence[str]) -> Outcome:
    """What `write_outcome` kept in `run`, with the history of the training."""
    place = {name: row for row, name in enumerate(ids)}
    logits = {
        place[row.pop("id")]: np.array([float(value) for value in row.values()])
        for row in read_records(run.path / SCORES)[1]
    }
    return Outcome(read_history(run), logits)


def read_history(run: RunFolder) -> list[Row]:
    """The history that training wrote, one row an epoch."""
    return [{k: float(v) for k, v in row.items() if v} for row in read_records(run.history)[1]]


@dataclass(frozen=True, eq=False)
class Part:
    """Predictions of some rows of the table, in its order, and the light of each ("" for none)."""

    rows: Rows
    scored: Scored
    lights: list[str]


@dataclass(frozen=True, eq=False)
class Pooled:
    """All predictions of a run.

    decision    how the logits of the network that ships are read
    tested      each row by the network of the fold that tests it, read as this fold's own
                validation rows say; empty without test rows
    validated   each row by the network that it judged, read with `decision`, which it shaped
    held_out    rows that no fold knew, by the network that ships
    others      rows without a class that is learnt, by the same
    """

    decision: Decision
    tested: Part
    validated: Part
    held_out: Part
    others: Part

    @property
    def assessed(self) -> Part:
        """What the figures of the report are of: the test rows or, for want of them, those that
        validated, which flatters the model.
        """
        return self.tested if len(self.tested.rows) else self.validated


def pool(
    recipe: Recipe,
    plan: Plan,
    cohort: Cohort,
    outcomes: Sequence[Outcome],
    final: Outcome | None = None,
) -> Pooled:
    """Gather what the folds said of the rows of `cohort`, and the network that ships, if any."""
    scores = _Scores(recipe, cohort)
    folds = list(zip(plan.folds, outcomes, strict=True))
    judged = [scores.of(outcome, fold.validation, fold.number) for fold, outcome in folds]
    decision = scores.decide(judged)
    tested = [
        scores.part(scores.decide([own]), scores.of(outcome, fold.test, fold.number), fold.test)
        for (fold, outcome), own in zip(folds, judged, strict=True)
    ]
    validated = [
        scores.part(decision, own, fold.validation)
        for (fold, _), own in zip(folds, judged, strict=True)
    ]
    # Without a final network nobody knows of the other rows.
    rest = [rows if final else rows[:0] for rows in (plan.held_out, plan.others)]
    held_out, others = (
        scores.part(decision, scores.of(final or outcomes[0], rows, 0), rows) for rows in rest
    )
    return Pooled(decision, _join(tested), _join(validated), held_out, others)


class _Scores:
    """Makes predictions from logits."""

    def __init__(self, recipe: Recipe, cohort: Cohort) -> None:
        self.settings, self.classes = micrograph_settings(recipe), class_names(recipe)
        self.group, self.cohort = recipe.table.group, cohort
        self.ids, self.cells = cohort.table.ids, cohort.cells()

    def of(self, outcome: Outcome, rows: Rows, fold: int) -> Scored:
        """The predictions of these rows, with probabilities that are not read yet."""
        logits = outcome.of(rows, len(self.classes))
        return Scored(
            ids=[self.ids[row] for row in rows],
            classes=self.classes,
            logits=logits,
            probabilities=np.full_like(logits, np.nan),
            truth=self.cohort.truth[rows],
            rows=[self.cells[row] for row in rows],
            fold=np.full(len(rows), fold, np.int64),
        )

    def decide(self, validation: Sequence[Scored]) -> Decision:
        return decide(validation, self.settings, self.group)

    def part(self, decision: Decision, scored: Scored, rows: Rows) -> Part:
        read = decision.read(scored)
        return Part(rows, read, decision.lights(read.probabilities))


def _join(parts: Sequence[Part]) -> Part:
    """The parts as one, in the order of the table."""
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    lights = [light for part in parts for light in part.lights]
    scored = concatenate([part.scored for part in parts]).select(order)
    return Part(rows[order], scored, [lights[place] for place in order])

# SPDX-License-Identifier: Apache-2.0
"""Train a network for every fold and, after a cross-validation, the one that ships.

Each fold is a run folder of its own. What it says of the rows that it did not learn is written down
when it is done, and from then on that is all that is asked of it: a run that was killed goes on in
the middle of the fold that it was at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import median_low

import numpy as np

from encephalon.io.atomic import write_text
from encephalon.recipes import dump_recipe, load_recipe
from encephalon.recipes.schema import Recipe
from encephalon.studies.micrographs.fitting import Fitted, Means, fit
from encephalon.studies.micrographs.outcome import (
    Outcome,
    is_finished,
    read_history,
    read_outcome,
    write_outcome,
)
from encephalon.studies.micrographs.parting import Fold, Plan
from encephalon.studies.micrographs.preparing import Cohort, Rows
from encephalon.studies.micrographs.recipe import class_names, micrograph_settings
from encephalon.training.checkpoint import load_own_checkpoint
from encephalon.training.loop import Progress, Report
from encephalon.training.runs import RunFolder, best_row

__all__ = ["CrossedRun", "Crossing", "PlacedProgress", "placed_report"]


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
        from encephalon.studies.micrographs.search import best_overrides

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

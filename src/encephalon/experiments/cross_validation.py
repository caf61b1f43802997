# SPDX-License-Identifier: Apache-2.0
"""Train a network for every fold and, after a cross-validation, the one that ships.

Each fold is a run folder of its own. What it says of the rows that it did not learn is written down
when it is done, and from then on that is all that is asked of it: a run that was killed goes on in
the middle of the fold that it was at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from statistics import median_low
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import InputError
from encephalon.experiments.folds import Fold, Rows, Splits
from encephalon.experiments.search import best_overrides
from encephalon.inference.runtimes import resolve_threads
from encephalon.inference.workers import HERE, in_workers
from encephalon.io.atomic import write_text
from encephalon.io.text import csv_text, read_records
from encephalon.recipes.loading import dump_recipe, load_recipe
from encephalon.recipes.schema import Recipe, Training, Validated
from encephalon.training.checkpoint import load_own_checkpoint
from encephalon.training.runs import (
    Progress,
    Report,
    RunFolder,
    TrainingContext,
    alone,
    best_row,
)

if TYPE_CHECKING:
    from torch import nn

    from encephalon.tables.schema import Table

__all__ = [
    "CrossValidation",
    "CrossValidationRun",
    "Dataset",
    "FittedNetwork",
    "FoldResult",
    "PlacedProgress",
    "is_finished",
    "read_fold_result",
    "read_history",
    "write_fold_result",
]

SCORES = "scores.csv"
#: Seconds between looks at what other processes have written.
OFTEN = 2.0
Row = dict[str, float]
logger = logging.getLogger(__name__)


class CrossValidationRun(RunFolder):
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


class Dataset(Protocol):
    """The samples of a table as a study prepared them.

    table  its rows
    """

    @property
    def table(self) -> Table: ...


class FittedNetwork(Protocol):
    """A network that has learnt the training rows of a fold.

    recipe   that it was trained as
    network  in evaluation mode
    """

    @property
    def recipe(self) -> Recipe: ...
    @property
    def network(self) -> nn.Module: ...

    def answers(self, rows: Rows) -> Mapping[int, NDArray[np.float32]]:
        """What it answers (outputs) to each of these rows."""
        ...


Samples = TypeVar("Samples", bound=Dataset)
Fitted = TypeVar("Fitted", bound=FittedNetwork)


@dataclass(frozen=True, eq=False)
class CrossValidation(Generic[Samples, Fitted]):
    """Networks for the folds of a dataset and the one that ships: all that their training needs.

    recipe, settings  how they are trained, and what their study says of their validation
    splits, dataset   which rows are for what, and what is learnt of them
    run, context      where, and with what
    fit               trains a network as a recipe says on a dataset and a fold of it, in a folder;
                      or goes on there
    outputs           names of what a network answers to a row, in its order
    """

    recipe: Recipe
    settings: Validated
    splits: Splits
    dataset: Samples
    run: CrossValidationRun
    context: TrainingContext
    fit: Callable[[Recipe, Any, Fold, RunFolder, TrainingContext], Fitted]
    outputs: Sequence[str]

    def train_folds(self) -> list[FoldResult]:
        """Train every fold that is not finished; what each says of the rows it did not learn.

        `context.jobs` may train them, each in a process of its own, wherever that is: their epochs
        are then told from the histories that they write.
        """
        left = [fold for fold in self.splits.folds if not is_finished(self._folder(fold))]
        if self.context.jobs.elsewhere and left:
            jobs = self.context.jobs
            threads = jobs.threads_each(self.context.threads)
            there = replace(self.context, report=None, jobs=HERE, threads=threads)
            apart = replace(self, context=there, run=CrossValidationRun(self.run.path.absolute()))
            with _now_and_then(partial(self._tell, self.context.report, left)):
                for _ in in_workers(apart.train_fold, left, jobs, "dask"):
                    pass
        return [self._fold_result(fold) for fold in self.splits.folds]

    def train_fold(self, fold: Fold) -> None:
        """Train a fold in a process that may have nothing to do with the others."""
        import torch

        with alone(self._folder(fold).path / ".fold"):
            torch.set_num_threads(resolve_threads(self.context.threads))
            self._fold_result(fold)

    def _tell(self, report: Report | None, folds: Sequence[Fold]) -> None:
        """Tell `report` of each of these folds the epochs that are over, whoever trains it."""
        training, told = self.recipe.training, [_epochs(self._folder(fold)) for fold in folds]
        epochs = (len(self.splits.folds) - len(folds)) * training.epochs + sum(map(len, told))
        for fold, history in zip(folds, told, strict=True):
            if report is not None:
                progress = PlacedProgress(epochs * training.steps_per_epoch, history=history)
                progress.resumed = len(history) + 1 if history else 0
                progress.place = _place(fold)
                report(progress, history[-1] if history else {})

    def _fold_result(self, fold: Fold) -> FoldResult:
        more = [] if self.splits.cross_validated else [self.splits.held_out, self.splits.others]
        return self._result(self.recipe_of(fold), fold, fold.unseen(*more))

    def train_final(self, results: Sequence[FoldResult]) -> FoldResult:
        """Train on every row of the folds, and return what that says of the rows of none.

        Without a cross-validation the only fold is the end of it.
        """
        if not self.splits.cross_validated:
            return results[0]
        asked = np.concatenate([self.splits.held_out, self.splits.others])
        return self._result(self.final_recipe(results), self._whole, asked)

    def recipe_of(self, fold: Fold) -> Recipe:
        """The recipe of a fold, with what the search inside it found best, if there is one."""
        if not self.settings.search.trials:
            return self.recipe
        folder = self._folder(fold).path / "search"

        def attempt(number: int, overrides: Mapping[str, str]) -> float:
            """Train for a few epochs; the best value of what is monitored."""
            changes = {**overrides, "training.epochs": str(self.settings.search.epochs)}
            recipe, run = self._changed(folder, changes), RunFolder(folder / str(number))
            self.fit(recipe, self.dataset, fold, run, replace(self.context, report=None))
            return best_row(read_history(run), recipe.training)[recipe.training.monitor]

        found = best_overrides(self.settings.search, self.recipe.training, attempt, folder)
        return self._changed(folder, found)

    def final_recipe(self, results: Sequence[FoldResult]) -> Recipe:
        """That of the network that ships: it trains for the median of the folds' best epochs.

        Where hyper-parameters were searched for, it has those of the fold that validated best.
        """
        training = self.recipe.training
        best = max(self.splits.folds, key=lambda fold: results[fold.number].best_value(training))
        recipe = self.recipe_of(best)
        epochs = median_low([one.best_epoch(training) for one in results])
        changed = recipe.training.model_copy(update={"epochs": epochs, "patience": None})
        return recipe.model_copy(update={"training": changed})

    def networks(self) -> list[Fitted]:
        """The network of every finished fold, from its checkpoint."""
        return [self._again(self.recipe_of(fold), fold) for fold in self.splits.folds]

    def shipped(self, results: Sequence[FoldResult]) -> Fitted:
        """The network that ships, from its checkpoint, when it is finished."""
        if not self.splits.cross_validated:
            return self.networks()[0]
        return self._again(self.final_recipe(results), self._whole)

    def alone(self, fold: Fold, folder: str, networks: int, place: str) -> Self:
        """The same for one fold by itself, in a `folder` of the run, called `place`.

        networks  that are trained before it
        """
        training, nothing = self.recipe.training, np.array([], np.int64)
        before = networks * training.epochs * training.steps_per_epoch
        return replace(
            self,
            splits=replace(self.splits, folds=(fold,), held_out=nothing, others=nothing),
            run=CrossValidationRun(self.run.path / folder),
            context=replace(
                self.context, report=_placed_report(self.context.report, before, place)
            ),
        )

    @property
    def seen(self) -> Rows:
        """The rows that the network which ships was taught."""
        return self.splits.learnt if self.splits.cross_validated else self.splits.folds[0].train

    @property
    def _whole(self) -> Fold:
        """What the network that ships learns: every row of the folds, judged by none."""
        nothing = np.array([], np.int64)
        return Fold(len(self.splits.folds), self.splits.learnt, nothing, nothing)

    def _folder(self, fold: Fold) -> RunFolder:
        final = fold.number == len(self.splits.folds)
        return self.run.final if final else self.run.fold(fold.number)

    def _result(self, recipe: Recipe, fold: Fold, asked: Rows) -> FoldResult:
        run, ids = self._folder(fold), self.dataset.table.ids
        if not is_finished(run):
            training, count = self.recipe.training, len(self.splits.folds)
            before = fold.number * training.epochs * training.steps_per_epoch
            place = "final" if fold.number == count else _place(fold)
            report = _placed_report(self.context.report, before, place if count > 1 else "")
            context = replace(self.context, report=report)
            fitted = self.fit(recipe, self.dataset, fold, run, context)
            answers = fitted.answers(asked) if len(asked) else {}
            write_fold_result(run, ids, answers, self.outputs)
        elif run.checkpoint.exists():
            load_own_checkpoint(run)  # which is needed again at the end: a fault is told now
        # Read back even when just written, so that a run that was killed sees the same digits.
        return read_fold_result(run, ids)

    def _again(self, recipe: Recipe, fold: Fold) -> Fitted:
        # By itself: further processes ended when training was over.
        context = replace(self.context, devices=1, resume=True, report=None)
        return self.fit(recipe, self.dataset, fold, self._folder(fold), context)

    def _changed(self, folder: Path, overrides: Mapping[str, str]) -> Recipe:
        """The recipe with overrides, by way of a file in `folder`, where it is read again."""
        return load_recipe(write_text(folder / "recipe.toml", dump_recipe(self.recipe)), overrides)


def _epochs(run: RunFolder) -> list[Row]:
    """The history so far; none where there is none to be read, which its training will make."""
    with suppress(InputError, ValueError):
        return read_history(run)
    return []


def _place(fold: Fold) -> str:
    """As its folder is named, so that everything can be found again."""
    return f"folds/{fold.number}"


@contextmanager
def _now_and_then(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` at the beginning, every few seconds meanwhile, and at the end."""
    over = Event()

    def ask() -> None:
        while not over.wait(OFTEN):
            tell()

    tell()
    thread = Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    tell()


def _placed_report(report: Report | None, before: int, place: str) -> Report | None:
    """Tell `report` of a network that has the name `place`, after `before` steps of others."""
    if report is None:
        return None

    def placed(progress: Progress, losses: Mapping[str, float]) -> None:
        here = {one.name: getattr(progress, one.name) for one in fields(Progress)}
        here["step"] += before
        report(PlacedProgress(**here, place=place), losses)

    return placed


@dataclass(frozen=True)
class FoldResult:
    """What is kept of a network; NaN is what it does not answer.

    history  one row an epoch
    answers  (outputs) to the rows that it was asked about, by their number in the table
    """

    history: list[Row]
    answers: Mapping[int, NDArray[np.float64]] = field(repr=False)

    def of(self, rows: Rows, outputs: int) -> NDArray[np.float64]:
        """The answers (B, outputs) to these rows."""
        return np.array([self.answers[int(row)] for row in rows]).reshape(len(rows), outputs)

    def best_epoch(self, training: Training) -> int:
        """The epoch, from 1, whose weights were kept."""
        return int(best_row(self.history, training)["epoch"])

    def best_value(self, training: Training) -> float:
        """How good that epoch was by what is monitored: larger is better."""
        value = best_row(self.history, training)[training.monitor]
        return value if training.monitor_mode == "max" else -value


def is_finished(run: RunFolder) -> bool:
    """Whether `write_fold_result` was there, and what it left is as it was written.

    What is not is made again from the checkpoint, and that is logged.
    """
    changed = [name for name in (SCORES, run.history.name) if not run.is_unchanged(name)]
    if changed and (run.path / SCORES).exists():
        logger.warning("%s is not as it was written: it is made again.", run.path / changed[0])
    return not changed


def write_fold_result(
    run: RunFolder,
    ids: Sequence[str],
    answers: Mapping[int, NDArray[np.float32]],
    outputs: Sequence[str],
) -> None:
    """Keep the answers, named by `outputs`, to each row; `ids` are those of the whole table."""
    records = [
        {"id": ids[row], **dict(zip(outputs, map(float, values), strict=True))}
        for row, values in answers.items()
    ]
    write_text(run.path / SCORES, csv_text(records, ["id", *outputs]))
    run.record_trained(SCORES, run.history.name)


def read_fold_result(run: RunFolder, ids: Sequence[str]) -> FoldResult:
    """What `write_fold_result` kept in `run`, with the history of the training."""
    place = {name: row for row, name in enumerate(ids)}
    answers = {
        place[row.pop("id")]: np.array([float(value or "nan") for value in row.values()])
        for row in read_records(run.path / SCORES)[1]
    }
    return FoldResult(read_history(run), answers)


def read_history(run: RunFolder) -> list[Row]:
    """The history that training wrote, one row an epoch."""
    return [{k: float(v) for k, v in row.items() if v} for row in read_records(run.history)[1]]

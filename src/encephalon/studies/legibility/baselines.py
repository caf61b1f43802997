# SPDX-License-Identifier: Apache-2.0
"""What simple models say of the same people from the same inputs: what a network must beat.

Each learns from all that the network of a fold knows, those who train and those who validate. No
target is told from what is of its own domain.

mean       the mean, or how frequent each class is
linear     ridge regression, or logistic regression
trees      boosted trees, which need no value for what is unknown
confounds  the linear model of the columns that the cohort names as `confounds` alone: what it tells
           need not have been read from the brain
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import require_extra
from encephalon.experiments.folds import Fold, Rows
from encephalon.statistics.stacking import losses
from encephalon.studies.legibility.data import Encoding, People, load_image
from encephalon.studies.legibility.input_sets import (
    Flags,
    InputSet,
    Values,
    has_all,
    visible_sets,
)
from encephalon.studies.legibility.predictions import (
    WHATEVER,
    Predicted,
    scored_rows,
    set_name,
    unplaced,
)
from encephalon.studies.legibility.reading import Answered
from encephalon.studies.legibility.settings import LegibilitySettings

__all__ = ["CONFOUNDS", "baseline_predictions", "components"]

CONFOUNDS = "confounds"
#: Voxels along a side of what linear models and trees are given of an image (our choice).
SIDE = 16
#: Principal components of an input for linear models, and for trees (ours).
MOST_COMPONENTS, OF_TREES = 500, 30
#: Penalties of ridge regression, and inverse ones of logistic regression, for inputs whose mean
#: square over people is 1 (ours).
PENALTIES = tuple(10.0 ** (power / 2) for power in range(-6, 9))
STRENGTHS = tuple(10.0**power for power in range(-2, 5))
#: Of boosted trees: how many, and how much each counts (ours).
TREES, RATE = 100, 0.05
#: With fewer people there is nothing to fit but their mean (ours).
FEWEST = 10
#: The probability of a class that nobody had.
UNSEEN = 1e-6

Said = dict[tuple[str, int, str], Values]


def baseline_predictions(
    people: People,
    folds: Sequence[Fold],
    settings: LegibilitySettings,
    *,
    seed: int = 0,
    workers: int = 1,
) -> Iterator[Predicted]:
    """What `settings.baselines`, and the confounds if there are any, say of each target and set.

    A set's model learns from everybody who has something of it. Raises MissingExtraError without
    scikit-learn.
    """
    require_extra("sklearn", "train", "A baseline")
    methods = list(settings.baselines)
    images = {
        name: np.stack([_flat(path) for path in paths]) for name, paths in people.images.items()
    }
    jobs = [_Job(people, fold, methods, images, seed) for fold in folds]
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(_Job.answers, jobs))
    for target, about in people.cohort.targets.items():
        sets = list(visible_sets(people.cohort, target))
        has = has_all(people.cohort, sets, people.present)
        tested = np.concatenate([scored_rows(fold, folds) for fold in folds])
        known = np.isin(np.arange(len(people)), tested) & np.isfinite(people.truth[target])
        for method in dict.fromkeys(
            name for said in found for one, _, name in said if one == target
        ):
            for place, inputs in enumerate(sets):
                values = np.full((len(people), about.count), np.nan)
                for fold, said in zip(folds, found, strict=True):
                    rows = scored_rows(fold, folds)
                    values[rows] = said[target, place, method][rows]
                answered = _answered(values)
                there = known & answered.known
                yield Predicted(target, set_name(inputs), method, there & has[:, place], answered)
                if place == len(sets) - 1:
                    yield Predicted(target, WHATEVER, method, there, answered)


def components(values: NDArray[Any], rows: Rows, most: int = MOST_COMPONENTS) -> Values:
    """Principal components (N, K) of values (N, F), found in these rows; rows of NaN stay NaN.

    They are scaled so that the mean square of a row is 1. Of many more columns than rows the
    products of rows are enough.
    """
    known = np.isfinite(values).all(axis=1)
    learnt = rows[known[rows]]
    found = np.full((len(values), max(1, min(most, len(learnt) - 1))), np.nan)
    if len(learnt) < 2:
        found[known] = 0.0
        return found
    centred = np.asarray(values - values[learnt].mean(axis=0, dtype=np.float64), np.float32)
    mine = centred[learnt]
    spread, vectors = np.linalg.eigh((mine @ mine.T).astype(np.float64))
    kept = np.argsort(-spread)[: found.shape[1]]
    kept = kept[spread[kept] > spread.max() * 1e-6]
    axes = vectors[:, kept] / np.sqrt(spread[kept])
    scores = (centred[known] @ mine.T).astype(np.float64) @ axes
    found = found[:, : max(1, len(kept))]
    size = np.sqrt(spread[kept].sum() / len(learnt)) if len(kept) else 1.0
    found[known] = scores / size if len(kept) else 0.0
    return found


@dataclass(frozen=True, eq=False)
class _Job:
    """The baselines of one fold."""

    people: People
    fold: Fold
    methods: Sequence[str]
    images: Mapping[str, Values]
    seed: int

    def answers(self) -> Said:
        """Of each target, set and method what is said of everybody (N, W)."""
        found: Said = {}
        for target in self.people.cohort.targets:
            sets = list(visible_sets(self.people.cohort, target))
            confounds = self._confounds(target)
            for place, inputs in enumerate(sets):
                has = self._has(inputs)
                for method in self.methods:
                    features = self._features(inputs, trees=method == "trees")
                    found[target, place, method] = self._fitted(method, target, features, has)
                if confounds is not None:
                    first = found.get((target, 0, CONFOUNDS))
                    everybody = np.ones(len(self.people), dtype=bool)
                    found[target, place, CONFOUNDS] = (
                        self._fitted("linear", target, confounds, everybody)
                        if first is None
                        else first
                    )
        return found

    def _has(self, inputs: InputSet) -> Flags:
        places = [self.people.cohort.inputs.index(name) for name in inputs]
        return np.asarray(self.people.present[:, places].any(axis=1))

    @cached_property
    def _rows(self) -> Rows:
        return np.concatenate([self.fold.train, self.fold.validation])

    @cached_property
    def _inputs(self) -> dict[str, Values]:
        """Each input (N, K): components, or the standardised numbers of a block; NaN if unknown."""
        encoding = Encoding.fit(self.people, self._rows)
        given: dict[str, Any] = dict(self.images)
        given |= {n: encoding.features(n, one) for n, one in self.people.connectivity.items()}
        found = {name: components(one, self._rows) for name, one in given.items()}
        for name, one in self.people.values.items():
            found[name] = encoding.block(name, one).astype(np.float64) / np.sqrt(one.shape[1])
        return found

    def _features(self, inputs: InputSet, *, trees: bool) -> Values:
        if trees:
            sizes = {n: OF_TREES if n not in self.people.values else None for n in inputs}
            return np.hstack([self._inputs[name][:, : sizes[name]] for name in inputs])
        return np.hstack([_filled(self._inputs[name], self._rows) for name in inputs])

    def _confounds(self, target: str) -> Values | None:
        """The confounds (N, F) but for those of the target's own domain; None for none."""
        cohort, table = self.people.cohort, self.people.table
        own = {cohort.targets[target].column or target}
        own |= {c for name in cohort.hidden_from(target) for c in cohort.blocks[name].columns}
        columns = []
        for name in cohort.confounds:
            if name in own:
                continue
            cells, numbers = np.array(table.texts(name)), table.numbers(name)
            if np.isfinite(numbers[cells != ""]).all():
                known = numbers[self._rows]
                columns.append((numbers - np.nanmean(known)) / (np.nanstd(known) or 1.0))
            else:
                columns += [(cells == one).astype(float) for one in np.unique(cells[self._rows])]
        return _filled(np.stack(columns, axis=1), self._rows) if columns else None

    def _fitted(self, method: str, target: str, features: Values, has: Flags) -> Values:
        """What one model says of those who have something (N, W); NaN of the others."""
        truth, count = self.people.truth[target], self.people.cohort.targets[target].count
        usable = has & np.isfinite(truth)
        train, tune = (rows[usable[rows]] for rows in (self.fold.train, self.fold.validation))
        both = np.concatenate([train, tune])
        found = np.full((len(truth), count), np.nan)
        if not both.size:
            return found
        one_class = count > 1 and np.unique(truth[both]).size == 1
        if method == "mean" or one_class or both.size < FEWEST:
            shares = np.bincount(truth[both].astype(int), minlength=count) if count > 1 else 0
            found[has] = truth[both].mean() if count == 1 else shares / len(both)
        elif count == 1:
            model = _trees(self.seed, number=True) if method == "trees" else _ridge()
            found[has] = model.fit(features[both], truth[both]).predict(features[has])[:, None]
        else:
            model = (
                _trees(self.seed, number=False)
                if method == "trees"
                else _logistic(features, truth, train, tune)
            )
            model.fit(features[both], truth[both].astype(int))
            found[has] = _chances(model, features[has], count)
        return found


def _filled(values: Values, rows: Rows) -> Values:
    """Values (N, F) with the medians of these rows for what is NaN, and flags of what was."""
    unknown = ~np.isfinite(values)
    known = np.where(unknown[rows].all(axis=0), 0.0, values[rows])
    medians = np.nanmedian(known, axis=0) if len(rows) else np.zeros(values.shape[1])
    # One flag does for what is missing together.
    flags = np.unique(unknown[:, unknown[rows].any(axis=0)].astype(np.float64), axis=1)
    return np.hstack([np.where(unknown, medians, values), flags])


def _flat(path: Any) -> Values:
    """The means of blocks of an image, flat; NaN for no image."""
    if path is None:
        return np.full(SIDE**3, np.nan)
    return load_image(path, SIDE).ravel().astype(np.float64)


def _ridge() -> Any:
    from sklearn.linear_model import RidgeCV

    return RidgeCV(alphas=PENALTIES)


def _logistic(features: Values, truth: Values, train: Rows, tune: Rows) -> Any:
    """A logistic regression with the penalty that is best for those who validate."""
    from sklearn.linear_model import LogisticRegression

    def scored(strength: float) -> float:
        model = LogisticRegression(C=strength, max_iter=1000)
        model.fit(features[train], truth[train].astype(int))
        count = int(max(truth[train].max(), truth[tune].max())) + 1
        return float(losses(_chances(model, features[tune], count), truth[tune]).mean())

    able = len(tune) and np.unique(truth[train]).size > 1
    best = min(STRENGTHS, key=scored) if able else 1.0
    return LogisticRegression(C=best, max_iter=1000)


def _trees(seed: int, *, number: bool) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    made = HistGradientBoostingRegressor if number else HistGradientBoostingClassifier
    return made(max_iter=TREES, learning_rate=RATE, early_stopping=False, random_state=seed)


def _chances(model: Any, features: Values, count: int) -> Values:
    found = np.full((len(features), count), UNSEEN)
    found[:, model.classes_] = np.clip(model.predict_proba(features), UNSEEN, 1.0)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _answered(values: Values) -> Answered:
    """Answers without intervals or sets, which are the model's alone."""
    nothing = unplaced(*values.shape)
    return Answered(values, nothing.low, nothing.high, nothing.may_be)

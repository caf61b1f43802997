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
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from encephalon.errors import require_extra
from encephalon.experiments.folds import Fold, Rows
from encephalon.experiments.simple_models import components, filled, fit_simple
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
from encephalon.studies.legibility.settings import LegibilitySettings

__all__ = ["CONFOUNDS", "baseline_predictions", "flat_images", "predicted_by"]

CONFOUNDS = "confounds"
#: Voxels along a side of what linear models and trees are given of an image (our choice).
SIDE = 16
#: Principal components of an input for trees; linear models have `MOST_COMPONENTS` (ours).
OF_TREES = 30

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
    images = flat_images(people)
    jobs = [_Job(people, fold, methods, images, seed) for fold in folds]
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(_Job.answers, jobs))
    for target, about in people.cohort.targets.items():
        for method in dict.fromkeys(name for one, _, name in found[0] if one == target):
            values = {}
            for place, inputs in enumerate(visible_sets(people.cohort, target)):
                values[inputs] = np.full((len(people), about.count), np.nan)
                for fold, said in zip(folds, found, strict=True):
                    rows = scored_rows(fold, folds)
                    values[inputs][rows] = said[target, place, method][rows]
            yield from predicted_by(method, target, values, people, folds)


def predicted_by(
    method: str,
    target: str,
    values: Mapping[InputSet, Values],
    people: People,
    folds: Sequence[Fold],
) -> Iterator[Predicted]:
    """What a method says of everybody (N, W) from each set of inputs, and from whatever there is.

    `values` are those of all visible sets of the target, the last of all its inputs.
    """
    has = has_all(people.cohort, list(values), people.present)
    tested = np.concatenate([scored_rows(fold, folds) for fold in folds])
    known = np.isin(np.arange(len(people)), tested) & np.isfinite(people.truth[target])
    for place, (inputs, each) in enumerate(values.items()):
        # Intervals and sets are the model's alone.
        answered = replace(unplaced(*each.shape), values=each)
        there = known & answered.known
        yield Predicted(target, set_name(inputs), method, there & has[:, place], answered)
        if place == len(values) - 1:
            yield Predicted(target, WHATEVER, method, there, answered)


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
            for place, inputs in enumerate(sets):
                has = self._has(inputs)
                for method in self.methods:
                    features = self._features(inputs, trees=method == "trees")
                    found[target, place, method] = self._told(method, target, features, has)
            if (confounds := self._confounds(target)) is not None:
                everybody = np.ones(len(self.people), dtype=bool)
                told = self._told("linear", target, confounds, everybody)
                found |= {(target, place, CONFOUNDS): told for place in range(len(sets))}
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
        return np.hstack([filled(self._inputs[name], self._rows) for name in inputs])

    def _confounds(self, target: str) -> Values | None:
        """The confounds (N, F) but for those of the target's own domain; None for none."""
        cohort, table = self.people.cohort, self.people.table
        own, columns = cohort.own_columns(target), []
        for name in cohort.confounds:
            if name in own:
                continue
            cells, numbers = np.array(table.texts(name)), table.numbers(name)
            if np.isfinite(numbers[cells != ""]).all():
                known = numbers[self._rows]
                columns.append((numbers - np.nanmean(known)) / (np.nanstd(known) or 1.0))
            else:
                columns += [(cells == one).astype(float) for one in np.unique(cells[self._rows])]
        return filled(np.stack(columns, axis=1), self._rows) if columns else None

    def _told(self, method: str, target: str, features: Values, has: Flags) -> Values:
        """What one model says of those who have something (N, W); NaN of the others."""
        truth, count = self.people.truth[target], self.people.cohort.targets[target].count
        parts = self.fold.train, self.fold.validation
        return fit_simple(method, features, truth, count, parts, has, self.seed)


def flat_images(people: People) -> dict[str, Values]:
    """The images of each source as everybody's columns (N, SIDE^3), NaN for no image."""
    return {n: np.stack([_flat(path) for path in paths]) for n, paths in people.images.items()}


def _flat(path: Any) -> Values:
    """The means of blocks of an image, flat; NaN for no image."""
    if path is None:
        return np.full(SIDE**3, np.nan)
    return load_image(path, SIDE).ravel().astype(np.float64)

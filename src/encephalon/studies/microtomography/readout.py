# SPDX-License-Identifier: Apache-2.0
"""What a linear model can read out of frozen representations: regions, and semantic features.

Everything is fitted on the tiles that train, chosen on those that validate and scored once on those
that test. What the published code does instead, fitting and scoring on the same tiles, is given as
the in-sample R2 beside it, with what shuffled answers reach: 512 numbers explain some of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UsageError, require_extra
from encephalon.statistics.intervals import Interval
from encephalon.statistics.projections import standardised
from encephalon.statistics.weighted_metric import r2_metric

__all__ = ["PROBES", "Parts", "Probe", "ReadOut", "probe", "read_out"]

Values = NDArray[np.float64]
Kind = Literal["linear", "knn", "ridge"]
PROBES: tuple[Kind, ...] = ("linear", "knn", "ridge")

PARTS = ("train", "validation", "test")
#: What is tried, the simplest first: ridge penalties, relative to the number of tiles, inverse
#: penalties of the logistic regression, and numbers of neighbours.
PENALTIES = tuple(10.0**power for power in range(2, -6, -1))
INVERSE_PENALTIES = tuple(10.0**power for power in range(-4, 3))
NEIGHBOURS = (50, 20, 10, 5, 3, 1)
#: Shufflings whose mean R2 is the floor.
SHUFFLES = 10


@dataclass(frozen=True, eq=False)
class Parts:
    """Representations (N, F) of tiles, and which of them train, validate and test."""

    features: Values
    split: NDArray[np.str_]
    groups: Sequence[str]

    def __post_init__(self) -> None:
        """Refuse what is not a number."""
        if not np.isfinite(self.features).all():
            bad = int(np.flatnonzero(~np.isfinite(self.features).all(axis=1))[0])
            raise UsageError(
                f"The representation of tile {bad} holds NaN or infinity: check the encoder."
            )

    @property
    def complete(self) -> bool:
        """Whether there are tiles to fit, to choose by and to score."""
        return set(PARTS) <= set(self.split.tolist())

    @property
    def scaled(self) -> Values:
        """The representations, each number standardised by the tiles that train."""
        known = self.features[self.split == "train"] if self.complete else self.features
        return standardised(self.features, known)


@dataclass(frozen=True)
class ReadOut:
    """How well a ridge regression predicts one feature from representations.

    r2         on the tiles that test, with the interval of a bootstrap of whole groups
    floor      the same R2 after fitting shuffled answers: the mean of several shufflings
    in_sample  R2 of least squares on the tiles that it was fitted on, all of them
    in_sample_floor  the same for shuffled answers
    penalty    the strength that was best on the tiles that validate
    tiles      how many of the tiles that test have the feature
    """

    target: str
    r2: Interval
    floor: float
    in_sample: float
    in_sample_floor: float
    penalty: float
    tiles: int


def read_out(parts: Parts, target: str, values: Values, seed: int = 0) -> ReadOut:
    """Read one feature (N,) out of representations; tiles where it is NaN are left out.

    R2 on the tiles that test is NaN where a part has fewer than two tiles with the feature: then
    there is the in-sample R2 alone.
    """
    require_extra("sklearn", "train", "A read-out")
    known = np.isfinite(values)
    features, answers, split = parts.scaled[known], values[known], parts.split[known]
    generator = np.random.default_rng(seed)
    held_out = Interval(np.nan, np.nan, np.nan, 0.95, 0, "none"), np.nan, np.nan
    if all((split == part).sum() > 1 for part in PARTS):
        groups = np.array(parts.groups)[known][split == "test"]
        held_out = _held_out(features, answers, split, groups.tolist(), generator, seed)
    return ReadOut(
        target,
        *held_out[:2],
        _in_sample(features, answers),
        float(np.mean([_in_sample(features, generator.permutation(answers)) for _ in range(3)])),
        held_out[2],
        int((split == "test").sum()),
    )


def _held_out(
    features: Values,
    answers: Values,
    split: NDArray[np.str_],
    groups: Sequence[str],
    generator: np.random.Generator,
    seed: int,
) -> tuple[Interval, float, float]:
    """R2 on the tiles that test, that of shuffled answers, and the penalty."""
    from sklearn.linear_model import Ridge

    train, validation, test = (split == part for part in PARTS)
    # The answers and the shuffled ones are fitted at once, each with the penalty that suits it.
    shuffled = [generator.permutation(answers[train]) for _ in range(SHUFFLES)]
    columns = np.column_stack([answers[train], *shuffled])
    fits = [Ridge(penalty * len(columns)).fit(features[train], columns) for penalty in PENALTIES]
    right = [
        [_r2(answers[validation], each) for each in fit.predict(features[validation]).T]
        for fit in fits
    ]
    best = np.argmax(right, axis=0).tolist()
    found, *floors = (fits[n].predict(features[test])[:, k] for k, n in enumerate(best))
    interval = r2_metric(answers[test], found).interval(groups, seed=seed)
    floor = float(np.mean([_r2(answers[test], each) for each in floors]))
    return interval, floor, PENALTIES[best[0]]


@dataclass(frozen=True, eq=False)
class Probe:
    """A classifier of frozen representations, and what it says of every tile.

    chosen     the hyper-parameter that was best on the tiles that validate
    predicted  (N,) number of the class of each tile, of whatever part
    """

    chosen: float
    predicted: NDArray[np.int64]


def probe(parts: Parts, kind: Kind, truth: NDArray[np.int64]) -> Probe:
    """Fit a probe to the classes (N,) of the tiles that train, -1 being no class.

    "linear" is a logistic regression, "knn" votes of the nearest by cosine, "ridge" a ridge
    regression to the classes. Ties between hyper-parameters go to the stronger penalty.
    """
    require_extra("sklearn", "train", "A probe")
    features, known = parts.scaled, truth >= 0
    train, validation = ((parts.split == part) & known for part in ("train", "validation"))
    fitted = [
        (value, make(value).fit(features[train], truth[train]))
        for make, values in [_family(kind, int(train.sum()))]
        for value in values
    ]
    value, model = max(
        fitted, key=lambda one: one[1].score(features[validation], truth[validation])
    )
    return Probe(value, model.predict(features).astype(np.int64))


def _family(kind: Kind, tiles: int) -> tuple[Callable[[float], Any], Sequence[float]]:
    """What makes a classifier of a hyper-parameter, and those to try, the simplest first."""
    from sklearn.linear_model import LogisticRegression, RidgeClassifier
    from sklearn.neighbors import KNeighborsClassifier

    if kind == "linear":
        return lambda inverse: LogisticRegression(C=inverse, max_iter=2000), INVERSE_PENALTIES
    if kind == "ridge":
        return lambda penalty: RidgeClassifier(alpha=penalty * tiles), PENALTIES
    counts = [count for count in NEIGHBOURS if count <= tiles]
    return lambda count: KNeighborsClassifier(int(count), metric="cosine"), counts


def _r2(truth: Values, predicted: Values) -> float:
    value = r2_metric(truth, predicted).value
    return value if np.isfinite(value) else -np.inf


def _in_sample(features: Values, answers: Values) -> float:
    design = np.column_stack([features, np.ones(len(features))])
    solved = np.linalg.lstsq(design, answers, rcond=None)[0]
    return r2_metric(answers, design @ solved).value

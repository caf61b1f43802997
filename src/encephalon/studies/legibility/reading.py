# SPDX-License-Identifier: Apache-2.0
"""How the answer to a set of inputs is read: weighed, corrected, and with what it may be besides.

All of it is fitted on people that the network did not learn from and is not tested on. How far an
answer may be from the truth is told by people whom the weights and the correction do not know
either: they are fitted anew without each fifth of the people, whose errors are then counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.metrics.calibration import Calibration, fit_calibration, fit_line
from encephalon.statistics.conformal import EVERYONE, thresholds
from encephalon.statistics.intervals import units_of
from encephalon.statistics.stacking import SMALLEST, combine, stacking_weights
from encephalon.studies.legibility.input_sets import Flags, InputSet, Values, parts_of

__all__ = ["Answered", "Reading", "fit_readings", "lowest_of"]

Rows = NDArray[np.int64]
#: Parts of the people, each of which is answered by what the others gave (our choice).
PARTS = 5


@dataclass(frozen=True, eq=False)
class Answered:
    """Answers to N people.

    values     (N, W) the number, or the probability of each class; NaN for who has nothing
    low, high  (N,) ends of the interval of a number; NaN for classes
    may_be     (N, W) the classes that it may be; of a number whether there is an answer
    """

    values: Values
    low: Values
    high: Values
    may_be: Flags

    def holds(self, truth: Values) -> Flags:
        """Whether the interval or set of each person has the truth (N,) in it."""
        if self.values.shape[1] == 1:
            return np.asarray((self.low <= truth) & (truth <= self.high))
        known = np.where(np.isfinite(truth), truth, 0).astype(np.int64)
        return np.asarray(self.may_be[np.arange(len(truth)), known] & np.isfinite(truth))

    @property
    def known(self) -> Flags:
        """Who has an answer."""
        return np.asarray(np.isfinite(self.values).all(axis=1))

    @property
    def sizes(self) -> Values:
        """How wide each interval is, or how many classes each set has."""
        wide = self.high - self.low
        return wide if self.values.shape[1] == 1 else self.may_be.sum(axis=1).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Reading:
    """How the answer to one set is read, by the places of its parts among all sets.

    parts, weights  what it is made of
    calibration     of classes: of the logarithm of the weighed probabilities
    line            of numbers: intercept and slope of what is made of the weighed answer
    lowest          of numbers: no answer is below, and no end of its interval
    thresholds      how far the truth may be, of everyone and of subgroups that are large enough
    people          how many it was fitted on
    """

    parts: tuple[int, ...]
    weights: tuple[float, ...]
    calibration: Calibration | None = None
    line: tuple[float, float] = (0.0, 1.0)
    lowest: float = -inf
    thresholds: Mapping[str, float] = field(default_factory=lambda: {EVERYONE: inf})
    people: int = 0

    def values(self, answers: Values) -> Values:
        """The number, or the probabilities (N, W), of the answers (N, sets, W) to all sets."""
        made = combine(answers[:, list(self.parts)], np.array(self.weights))
        if self.calibration is None:
            return np.maximum(self.line[0] + self.line[1] * made, self.lowest)
        return self.calibration.apply(np.log(np.clip(made, SMALLEST, 1.0)))

    def read(self, answers: Values, subgroups: Sequence[str] | None = None) -> Answered:
        """All that is said of people by the answers (N, sets, W); see `fit_readings`."""
        values = self.values(answers)
        everyone = self.thresholds[EVERYONE]
        names = [EVERYONE] * len(values) if subgroups is None else subgroups
        limits = np.array([self.thresholds.get(name, everyone) for name in names]).reshape(-1, 1)
        if values.shape[1] == 1:
            known = np.isfinite(values)
            low, high = (np.where(known, values + sign * limits, np.nan)[:, 0] for sign in (-1, 1))
            return Answered(values, np.maximum(low, self.lowest), high, known)
        # The likeliest class is in every set, which then is never empty.
        likeliest = values == values.max(axis=1, keepdims=True)
        nothing = np.full(len(values), np.nan)
        return Answered(values, nothing, nothing, (1.0 - values <= limits) | likeliest)

    def share(self, first: int) -> float:
        """How much the parts from the place `first` on count, from 0 to 1."""
        return sum(w for n, w in zip(self.parts, self.weights, strict=True) if n >= first)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for model.toml."""
        said = {"parts": list(self.parts), "weights": list(self.weights), "line": list(self.line)}
        if self.calibration is not None:
            said["calibration"] = self.calibration.as_dict()
        if isfinite(self.lowest):
            said["lowest"] = self.lowest
        return {**said, "thresholds": dict(self.thresholds), "people": self.people}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Reading:
        """Read what `as_dict` gave."""
        known = said.get("calibration")
        return cls(
            tuple(said["parts"]),
            tuple(said["weights"]),
            None if known is None else Calibration.from_dict(known),
            (said["line"][0], said["line"][1]),
            said.get("lowest", -inf),
            dict(said["thresholds"]),
            said["people"],
        )


def fit_readings(
    answers: Values,
    truth: Values,
    has: Flags,
    sets: Sequence[InputSet],
    *,
    stacked: bool = True,
    alpha: float = 0.1,
    groups: Sequence[str] | None = None,
    subgroups: Sequence[str] | None = None,
    shift: bool = True,
    lowest: float = -inf,
) -> list[Reading]:
    """How the answer to each set is read, fitted on N people who have all of it.

    answers    (N, sets, W), see `input_sets`, of people that the network did not learn from; or
               (N, 2 * sets, W), where linear models answer too
    truth      (N,) NaN where it is unknown
    has        (N, sets) who has all of each set
    stacked    whether the parts of a set count, or its own answer alone
    alpha      share of intervals and sets that may miss the truth
    groups     (N,) whose people are not independent
    subgroups  (N,) that have a threshold of their own where they are large enough
    shift      whether classes may become more or less likely than the network has them, which one
               that was taught with balanced classes should not
    lowest     that a number can be, see `lowest_of`
    """
    owners = np.array([str(n) for n in range(len(truth))] if groups is None else list(groups))
    known = np.isfinite(truth)
    found = []
    for place, inputs in enumerate(sets):
        parts = parts_of(sets, inputs, answers.shape[1]) if stacked else [place]
        complete = np.isfinite(answers[:, parts]).all(axis=(1, 2))
        rows = np.flatnonzero(known & has[:, place] & complete)
        fit = _Fit(parts, answers, truth, owners, shift, lowest)
        names = None if subgroups is None else [subgroups[row] for row in rows]
        limits = thresholds(_scores(fit, rows), alpha, names)
        found.append(replace(fit(rows), thresholds=limits, people=len(rows)))
    return found


def lowest_of(truth: Values) -> float:
    """0 for numbers (N,) of which none is below, such as ages; -inf for all others.

    An interval that ends there then misses a new person alone whose number is below 0 while none
    of N others was, which has at most the chance 1 / (N + 1). The smallest and the largest that
    were seen are no such ends: who is older than everybody would be promised to be younger.
    """
    known = truth[np.isfinite(truth)]
    return 0.0 if known.size and known.min() >= 0 else -inf


@dataclass(frozen=True, eq=False)
class _Fit:
    """Weights and correction of one set from some of the people."""

    parts: list[int]
    answers: Values
    truth: Values
    owners: NDArray[np.str_]
    shift: bool
    lowest: float

    def __call__(self, rows: Rows) -> Reading:
        answers, truth = self.answers[rows][:, self.parts], self.truth[rows]
        groups = self.owners[rows].tolist()
        weights = stacking_weights(answers, truth, len(set(groups)))
        parts, shares = tuple(self.parts), tuple(weights.tolist())
        made = combine(answers, weights)
        if made.shape[1] == 1:
            return Reading(parts, shares, line=fit_line(made[:, 0], truth), lowest=self.lowest)
        logs = np.log(np.clip(made, SMALLEST, 1.0))
        fitted = fit_calibration(logs, truth.astype(np.int64), groups, shift=self.shift)
        return Reading(parts, shares, fitted)


def _scores(fit: _Fit, rows: Rows) -> Values:
    """How wrong each of these people (n,) is answered by what all but its fifth gave."""
    units = units_of(len(rows), fit.owners[rows].tolist())
    order = np.random.default_rng(0).permutation(len(units))
    scores = np.zeros(len(rows))
    for part in range(min(PARTS, len(units))):
        inside = np.concatenate([units[place] for place in order[part::PARTS]])
        others = np.delete(rows, inside)
        here = rows[inside]
        scores[inside] = _errors(fit(others).values(fit.answers[here]), fit.truth[here])
    return scores


def _errors(values: Values, truth: Values) -> Values:
    if values.shape[1] == 1:
        return np.abs(truth - values[:, 0])
    return np.asarray(1.0 - values[np.arange(len(truth)), truth.astype(np.int64)])

# SPDX-License-Identifier: Apache-2.0
"""What answers are worth: every metric with its interval, and what one answer has over another.

All figures are of people whom nothing knew that answered them. Intervals draw people, or whole
groups of them, and pairs are drawn together. `gain` is written so that more is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from encephalon.experiments.folds import Fold
from encephalon.metrics.calibration import calibration_error_metric, checked_probabilities
from encephalon.metrics.classification import classification_metrics, decision_metrics
from encephalon.metrics.regression import regression_metrics
from encephalon.statistics.comparison import holm
from encephalon.statistics.conformal import coverage
from encephalon.statistics.intervals import Interval, affordable_repeats
from encephalon.statistics.weighted_metric import WeightedMetric, paired_difference
from encephalon.studies.legibility.data import People
from encephalon.studies.legibility.input_sets import Flags, Values, visible_sets
from encephalon.studies.legibility.predictions import (
    ATTENTION,
    MODEL,
    Predicted,
    groups_of,
    is_honest,
    scored_rows,
    set_name,
    subgroups_of,
)
from encephalon.studies.legibility.settings import Target

__all__ = ["COMPARED", "LOWER", "MAIN", "Evaluation", "evaluate", "is_collapsed", "metrics_of"]

Record = dict[str, Any]

#: Metrics of which less is better.
LOWER = frozenset({"mae", "rmse", "log_loss", "brier", "calibration_error"})
#: The metric that sets are ranked by, of numbers and of classes, as published.
MAIN = {True: "r2", False: "balanced_accuracy"}
#: What is compared between methods and sets.
COMPARED = {True: ("r2", "mae"), False: ("balanced_accuracy", "roc_auc", "log_loss")}
#: Answers whose standard deviation in a fold is a smaller share of that of the truth say the same
#: of everybody (our choice).
COLLAPSED = 0.01


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that is known of the answers to people, as records that tables are made of.

    fold         (N,) the number of the fold that each is scored in, -1 for none
    honest       whether those scored were tested; else they validated, which flatters the model
    scores       a row for each target, set and method: every metric with its interval
    comparisons  a row for each pair and metric, see `_Scoring.comparisons`
    coverage     how often intervals and sets hold the truth, of everyone and of subgroups
    subgroups    the main metric of the same
    """

    people: People
    fold: Any
    predicted: Sequence[Predicted]
    honest: bool
    alpha: float
    scores: list[Record]
    comparisons: list[Record]
    coverage: list[Record]
    subgroups: list[Record]

    def promise(self) -> list[Record]:
        """The comparisons of sets with the best of their subsets."""
        return [row for row in self.comparisons if row["kind"] == "subset"]


def evaluate(
    people: People,
    folds: Sequence[Fold],
    predicted: Iterable[Predicted],
    alpha: float = 0.1,
    threads: int = 1,
) -> Evaluation:
    """Score what the model and the baselines say of the people who were tested.

    folds      who trained, validated and tested which network
    predicted  by `predictions.model_predictions` and `baselines.baseline_predictions`
    alpha      share of intervals and sets that may miss the truth
    threads    that draw people for the intervals
    """
    known = list(predicted)
    fold = np.full(len(people), -1)
    for one in folds:
        fold[scored_rows(one, folds)] = one.number
    scoring = _Scoring(people, groups_of(people), subgroups_of(people), fold)
    with ThreadPoolExecutor(threads) as pool:
        scores = list(pool.map(scoring.scores, known))
        each = pool.map(partial(scoring.comparisons, predicted=known), people.cohort.targets)
        compared = [row for rows in each for row in rows]
    parts = [row for one in known if one.method == MODEL for row in scoring.of_parts(one, alpha)]
    return Evaluation(
        people,
        fold,
        known,
        is_honest(folds),
        alpha,
        scores,
        compared,
        [coverage for coverage, _ in parts],
        [score for _, score in parts],
    )


def metrics_of(values: Values, truth: Values) -> dict[str, WeightedMetric]:
    """Every metric of numbers (N, 1), or of the probabilities of classes (N, C), by name."""
    if values.shape[1] == 1:
        return regression_metrics(truth, values[:, 0])
    known = truth.astype(np.int64)
    plain = classification_metrics(known, values)
    names = ("balanced_accuracy", "roc_auc", "pr_auc", "log_loss", "brier", "accuracy")
    return {
        **{name: plain[name] for name in names},
        **decision_metrics(known, values.argmax(axis=1), values.shape[1]),
        "calibration_error": calibration_error_metric(*checked_probabilities(values, known)),
    }


def is_collapsed(values: Values, truth: Values, fold: Any) -> bool:
    """Whether answers (N, W) say the same of everybody in each fold (N,): they know nothing."""
    if not len(values):
        return False
    parts = [np.flatnonzero(fold == number) for number in np.unique(fold)]
    if values.shape[1] > 1:
        return all(np.unique(values[rows].argmax(axis=1)).size == 1 for rows in parts)
    spread = np.std(truth)
    return all(bool(np.std(values[rows, 0]) <= COLLAPSED * spread) for rows in parts)


@dataclass(frozen=True, eq=False)
class _Scoring:
    """The people, what is drawn of them, the parts they are cut into, and their fold (N,)."""

    people: People
    groups: list[str] | None
    parts: Mapping[str, list[str]]
    fold: Any

    def scores(self, one: Predicted) -> Record:
        """Every metric of one method on one set, with `NAME_low` and `NAME_high`."""
        rows, target = np.flatnonzero(one.scored), self._target(one)
        row: Record = {
            "target": one.target,
            "inputs": one.inputs,
            "method": one.method,
            "n": len(rows),
            "units": len(set(self._of(self.groups, rows) or rows.tolist())),
            "main": MAIN[target.kind == "continuous"],
            "collapsed": False,
        }
        if not len(rows):
            return row
        values, truth = self._values(one, one.scored)
        row["collapsed"] = is_collapsed(values, truth, self.fold[rows])
        for name, metric in metrics_of(values, truth).items():
            row |= self._interval(metric, rows).cells(name)
        return row

    def comparisons(self, target: str, predicted: Sequence[Predicted]) -> list[Record]:
        """Pairs of answers to the same people: `first` and `second`, `gain` with its interval, and
        p, also corrected by Holm for all pairs of a kind and metric.

        kind  "baseline": the model beside another method on the same set; "method": beside the
              network without weighing parts; "subset": the model given a set, beside itself given
              the best proper subset of it, by the main metric on the very people who are compared,
              which is the hardest to match
        """
        here = {(one.inputs, one.method): one for one in predicted if one.target == target}
        pairs = []
        for (inputs, method), one in here.items():
            if method != MODEL and (inputs, MODEL) in here:
                kind = "method" if method == ATTENTION else "baseline"
                pairs.append((kind, here[inputs, MODEL], one, method))
        model = {inputs: one for (inputs, method), one in here.items() if method == MODEL}
        sets = {set_name(some): some for some in visible_sets(self.people.cohort, target)}
        for inputs, whole in sets.items():
            smaller = [n for n, some in sets.items() if set(some) < set(whole) and n in model]
            if inputs in model and (best := self._best(model, smaller, model[inputs].scored)):
                pairs.append(("subset", model[inputs], model[best], best))
        rows = [row for pair in pairs for row in self._compared(target, *pair)]
        for kind, metric in {(row["kind"], row["metric"]) for row in rows}:
            same = [row for row in rows if (row["kind"], row["metric"]) == (kind, metric)]
            for row, p in zip(same, holm([row["p_value"] for row in same]), strict=True):
                row["p_corrected"] = p
        return rows

    def of_parts(self, one: Predicted, alpha: float) -> Iterator[tuple[Record, Record]]:
        """Of everybody and of each part of the people what one set of inputs comes to.

        How often its intervals or sets hold the truth, and how large they are; and the main metric.
        """
        main = MAIN[self._target(one).kind == "continuous"]
        held = one.answered.holds(self.people.truth[one.target])
        for column, names in {"": [""] * len(self.people), **self.parts}.items():
            for value in sorted(set(names)):
                inside = one.scored & np.array([name == value for name in names])
                if not (rows := np.flatnonzero(inside)).size:
                    continue
                part: Record = {"target": one.target, "inputs": one.inputs, "column": column}
                part |= {"value": value, "n": len(rows)}
                share = coverage(held[rows], units=self._of(self.groups, rows))["all"]
                sizes = one.answered.sizes[rows]
                finite = sizes[np.isfinite(sizes)]
                metric = metrics_of(*self._values(one, inside))[main]
                yield (
                    {
                        **{**part, "promised": 1 - alpha, **share.cells("coverage")},
                        "mean_size": float(finite.mean()) if finite.size else np.nan,
                        "unbounded": len(sizes) - len(finite),
                    },
                    {**part, "metric": main, **self._interval(metric, rows).cells("score")},
                )

    def _best(
        self, model: Mapping[str, Predicted], names: Sequence[str], scored: Flags
    ) -> str | None:
        """The set of these that is best for the people who are scored."""
        if not names or not scored.any():
            return None
        main = MAIN[self._target(model[names[0]]).kind == "continuous"]
        values = {n: metrics_of(*self._values(model[n], scored))[main].value for n in names}
        return max(names, key=lambda name: -np.inf if np.isnan(values[name]) else values[name])

    def _compared(
        self, target: str, kind: str, first: Predicted, second: Predicted, beside: str
    ) -> list[Record]:
        answered = np.isfinite(second.answered.values).all(axis=1)
        inside = first.scored & answered
        if not inside.any():
            return []
        rows = np.flatnonzero(inside)
        one, two = (metrics_of(*self._values(each, inside)) for each in (first, second))
        found = []
        for name in COMPARED[self._target(first).kind == "continuous"]:
            better = (two[name], one[name]) if name in LOWER else (one[name], two[name])
            gain, p = paired_difference(
                *better, self._of(self.groups, rows), repeats=affordable_repeats(len(rows))
            )
            found.append(
                {
                    **{"target": target, "inputs": first.inputs, "kind": kind, "beside": beside},
                    **{"metric": name, "n": len(rows), "units": gain.units},
                    **{"first": one[name].value, "second": two[name].value},
                    **gain.cells("gain"),
                    **{"p_value": p, "p_corrected": np.nan},
                }
            )
        return found

    def _values(self, one: Predicted, inside: Flags) -> tuple[Values, Values]:
        return one.answered.values[inside], self.people.truth[one.target][inside]

    def _interval(self, metric: WeightedMetric, rows: Any) -> Interval:
        return metric.interval(self._of(self.groups, rows), repeats=affordable_repeats(len(rows)))

    def _target(self, one: Predicted) -> Target:
        return self.people.cohort.targets[one.target]

    def _of(self, names: list[str] | None, rows: Any) -> list[str] | None:
        return None if names is None else [names[row] for row in rows]

# SPDX-License-Identifier: Apache-2.0
"""The most that anybody could tell of a target, as the same people measured again agree so far.

The truth that a model is scored with has chance of its own. What is measured is taken for what
lasts and an error that knows nothing of it: of numbers the reliability is then the R2 of what lasts
(Nunnally 1970); of classes each is mistaken for any other alike often.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from encephalon.metrics.classification import most_balanced_accuracy
from encephalon.statistics.intervals import LEVEL, Interval, units_of
from encephalon.statistics.weighted_metric import mean_metric, pearson_metric
from encephalon.studies.legibility.data import People
from encephalon.studies.legibility.evaluation import MAIN, Record

__all__ = ["Ceiling", "ceilings"]


@dataclass(frozen=True)
class Ceiling:
    """The most that the metric of a target can be, of the people with two sessions.

    source  "sessions", or "reliability" where the cohort says it
    """

    target: str
    metric: str
    value: Interval
    people: int
    source: str

    def record(self) -> Record:
        """As a row of a table."""
        said = {"target": self.target, "metric": self.metric, "source": self.source}
        return {**said, "people": self.people, **self.value.cells("score")}


def ceilings(people: People) -> list[Ceiling]:
    """That of each target whose reliability is told, or seen in two sessions of some people."""
    pairs, found = _sessions(people), list[Ceiling]()
    for name, target in people.cohort.targets.items():
        truth, number = people.truth[name], target.kind == "continuous"
        first, second = truth[pairs[:, 0]], truth[pairs[:, 1]]
        both = np.isfinite(first) & np.isfinite(second)
        first, second, count = first[both], second[both], int(both.sum())
        if target.reliability:
            agreed = Interval(target.reliability, np.nan, np.nan, LEVEL, 0, "none")
            source, count = "reliability", 0
        elif count > 1:
            metric = pearson_metric(first, second) if number else mean_metric(first == second)
            agreed, source = metric.interval(), "sessions"
        else:
            continue
        most = agreed
        if not number:
            known = truth[np.isfinite(truth)].astype(np.int64)
            shares = np.bincount(known, minlength=target.count) / max(len(known), 1)
            ends = (agreed.value, agreed.low, agreed.high)
            value, low, high = (most_balanced_accuracy(one, shares) for one in ends)
            most = replace(agreed, value=value, low=low, high=high)
        found.append(Ceiling(name, MAIN[number], most, count, source))
    return found


def _sessions(people: People) -> NDArray[np.int64]:
    """The first two rows of each person who has as many (P, 2)."""
    table, column = people.table, people.cohort.person
    names = table.texts(column) if table.has(column or None) else [""] * len(table)
    owned = units_of(len(names), names)
    pairs = [rows[:2] for rows in owned if names[rows[0]] and len(rows) > 1]
    return np.array(pairs, np.int64).reshape(-1, 2)

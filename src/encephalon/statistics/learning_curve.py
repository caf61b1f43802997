# SPDX-License-Identifier: Apache-2.0
"""How a score grows with what is learnt from, and what more of it would bring.

A power law, score = top - gap * n^-rate, is what learning curves mostly follow once there is enough
to learn from at all (Hestness et al. 2017, arXiv:1712.00409; Viering and Loog 2023,
doi:10.1109/TPAMI.2022.3220744). It is fitted again to each draw of a bootstrap of those who are
tested, the same for all sizes, so that what is said of other sizes has an interval. That holds what
chance in the test makes of it, not what another training would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UsageError
from encephalon.statistics.intervals import LEVEL, Interval, bootstrap_draws, percentile_ends
from encephalon.statistics.weighted_metric import WeightedMetric

__all__ = ["LearningCurve", "learning_curve"]

Values = NDArray[np.float64]

#: Sizes that a law of three numbers needs.
FEWEST = 3
#: Rates that are tried: below these, curves hardly bend; above, they have ended.
RATES = tuple(np.geomspace(0.05, 3.0, 60).tolist())


@dataclass(frozen=True)
class LearningCurve:
    """Scores by how much was learnt from, and what is expected of other sizes.

    scores    by size, each with its interval
    expected  by size, from the power law; nothing of fewer than FEWEST sizes
    top       what the law comes to without end; None for no law
    """

    scores: Mapping[int, Interval]
    expected: Mapping[int, Interval]
    top: Interval | None


def learning_curve(
    sizes: Sequence[int],
    metrics: Sequence[WeightedMetric],
    ahead: Sequence[int] = (),
    groups: Sequence[str] | None = None,
    *,
    best: float = 1.0,
    seed: int = 0,
) -> LearningCurve:
    """The curve of one metric, larger is better, of the same samples after learning from each size.

    ahead   sizes that are asked of the law
    groups  of the samples (N,), drawn as a whole
    best    that the metric can be

    Raises UsageError for sizes that are not one a metric, or metrics of different samples.
    """
    if len(sizes) != len(metrics) or len({each.size for each in metrics}) != 1:
        raise UsageError(
            f"A learning curve needs a metric of the same samples for each size, but there are "
            f"{len(sizes)} sizes and metrics of {[each.size for each in metrics]} samples."
        )
    found = [each.interval(groups, seed=seed) for each in metrics]
    scores = dict(zip(map(int, sizes), found, strict=True))
    values = np.array([each.value for each in found])
    if len(scores) < FEWEST or not np.isfinite(values).all():
        return LearningCurve(scores, {}, None)
    draws = bootstrap_draws(
        np.arange(metrics[0].size),
        lambda _, counts: np.stack([one.weigh(counts.astype(np.float64)) for one in metrics], 1),
        groups=groups,
        seed=seed,
    )
    draws = draws[np.isfinite(draws).all(axis=1)]
    known = np.asarray(sizes, np.float64)
    spread = np.maximum(draws.std(axis=0), 1e-3) if len(draws) > 1 else np.ones(len(known))
    laws = _laws(known, np.vstack([values, draws]), spread, best)

    def said(size: float) -> Interval:
        each = laws[:, 0] - laws[:, 1] * size ** -laws[:, 2]
        low, high = percentile_ends(each[1:]) if len(each) > 1 else (np.nan, np.nan)
        return Interval(float(each[0]), low, high, LEVEL, found[0].units, "bootstrap")

    return LearningCurve(scores, {int(size): said(size) for size in ahead}, said(np.inf))


def _laws(sizes: Values, scores: Values, spread: Values, best: float) -> Values:
    """The top, gap and rate (R, 3) that fit the scores (R, K) best, whose deviations are `spread`.

    At a given rate the rest is a straight line of size^-rate, by weighted least squares.
    """
    weight, found, least = spread**-2 / (spread**-2).sum(), [], []
    for rate in RATES:
        # In units of the largest size, so that no number is too small.
        missing = (sizes / sizes.max()) ** -rate
        middle, mean = weight @ missing, scores @ weight
        slope = (scores - mean[:, None]) @ (weight * (missing - middle))
        gap = np.maximum(-slope / (weight @ (missing - middle) ** 2), 0.0)
        top = mean + gap * middle
        beyond = top > best
        gap = np.where(beyond, ((best - scores) @ (weight * missing)) / (weight @ missing**2), gap)
        top = np.where(beyond, best, top)
        error = (scores - top[:, None] + gap[:, None] * missing) ** 2 @ weight
        found.append(np.stack([top, gap * sizes.max() ** rate, np.full(len(top), rate)], axis=1))
        least.append(error)
    chosen = np.argmin(least, axis=0)
    fitted: Values = np.array(found)[chosen, np.arange(len(scores))]
    return fitted

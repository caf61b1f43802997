# SPDX-License-Identifier: Apache-2.0
"""One answer of those of several predictors, which few rows are enough to weigh.

Weights are exponential in what each predictor gets wrong on validation rows, which is as good as
choosing the best one and never much worse, however few the rows: Dalalyan and Tsybakov 2008
(doi:10.1007/s10994-008-5051-0). Of 14 rows, least squares would fit the noise.

An answer (W) is one number, or the probability of each class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SMALLEST", "combine", "losses", "stacking_weights"]

Values = NDArray[np.float64]

#: No probability is taken for less: one certain error must not outvote all else.
SMALLEST = 1e-7


def losses(values: Values, truth: Values) -> Values:
    """Squared error, or log loss where there are classes, of answers (N, ..., W): (N, ...)."""
    if values.shape[-1] == 1:
        known = truth.reshape(-1, *[1] * (values.ndim - 2))
        return np.asarray((values[..., 0] - known) ** 2)
    given = np.clip(values, SMALLEST, 1.0)
    place = truth.astype(np.int64).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(-np.log(np.take_along_axis(given, place, axis=-1)[..., 0]))


def stacking_weights(answers: Values, truth: Values, units: int) -> Values:
    """Weights (T,) of predictors by their answers (n, T, W) to rows whose truth (n,) is known.

    A weight is exp(-units * loss / 2), normalised: of classes the log loss, so that it is the root
    of what Bayes' rule would say; of numbers the squared error in units of twice that of the best
    one, the temperature of four variances of the theorem. `units` is the number of independent
    rows. Without rows, all weigh alike.
    """
    count = answers.shape[1]
    if not len(truth):
        return np.full(count, 1.0 / count)
    mean = losses(answers, truth).mean(axis=0)
    if answers.shape[2] == 1:
        mean = mean / max(2 * mean.min(), np.finfo(np.float64).tiny)
    weights = np.exp(-units * (mean - mean.min()) / 2)
    return np.asarray(weights / weights.sum())


def combine(answers: Values, weights: Values) -> Values:
    """The weighed answer (N, W) of answers (N, T, W); what is NaN does not count.

    A row without an answer that weighs has that of the last predictor.
    """
    known = np.asarray(np.isfinite(answers).all(axis=2))
    shares = known * weights
    total: Values = shares.sum(axis=1, keepdims=True)
    alone = np.eye(len(weights))[-1]
    shares = np.where(total > 0, shares / np.where(total > 0, total, 1.0), alone)
    filled = np.where(known[..., None], answers, 0.0)
    made = np.einsum("nt,ntw->nw", shares, filled)
    return np.asarray(np.where(known[:, -1:] | (total > 0), made, np.nan))

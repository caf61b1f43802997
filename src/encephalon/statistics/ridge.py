# SPDX-License-Identifier: Apache-2.0
"""Ridge regression whose penalty is chosen by leaving out rows, in closed form.

Hastie, Tibshirani and Friedman 2009, section 3.4.1 and equation 7.64. scikit-learn's `RidgeCV`
chooses alike, but does not give the predictions of rows that were left out, which tell how sure a
linear model of classes may be.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.statistics.intervals import units_of

__all__ = ["PENALTIES", "Ridge", "fit_ridge"]

Values = NDArray[np.float64]

#: For features whose mean square over rows is about 1 (ours).
PENALTIES = tuple(10.0 ** (power / 2) for power in range(-6, 9))


@dataclass(frozen=True, eq=False)
class Ridge:
    """weights (F, W), intercept (W,), and what each row (n, W) is told by all that are left in."""

    weights: Values
    intercept: Values
    left_out: Values


def fit_ridge(features: Values, truth: Values, groups: Sequence[Hashable] | None = None) -> Ridge:
    """Fit truth (n, W) by features (n, F), both finite, with the penalty that is best.

    That is by what is told of rows that are left out, each alone or with its group (n,). Where
    every penalty does worse than the mean, as of fewer than three rows, it is the mean.
    """
    count = len(truth)
    mean = truth.mean(axis=0) if count else np.zeros(truth.shape[1])
    best = Ridge(np.zeros((features.shape[1], truth.shape[1])), mean, 0 * truth + mean)
    if count < 3:
        return best
    middle, around, units = features.mean(axis=0), truth - mean, units_of(count, groups)
    left, sizes, right = np.linalg.svd(features - middle, full_matrices=False)
    told = left.T @ around
    residual = _left_out(np.full((count, 1), count**-0.5), around, units)
    best = Ridge(best.weights, mean, truth - residual)
    error = np.square(residual).sum()
    for penalty in PENALTIES:
        shrunk = sizes**2 / (sizes**2 + penalty)
        roots = np.hstack([np.full((count, 1), count**-0.5), left * np.sqrt(shrunk)])
        residual = _left_out(roots, around - left @ (shrunk[:, None] * told), units)
        if (missed := np.square(residual).sum()) < error:
            weights = right.T @ ((sizes / (sizes**2 + penalty))[:, None] * told)
            best, error = Ridge(weights, mean - middle @ weights, truth - residual), missed
    return best


def _left_out(roots: Values, residual: Values, units: Sequence[NDArray[np.int64]]) -> Values:
    """Residuals (n, W) of rows that are left out, by those of a fit whose hat matrix is R R'."""
    found: Values = residual / (1 - np.square(roots).sum(axis=1))[:, None]
    for rows in units:
        if 1 < len(rows) < len(residual):
            hat = roots[rows] @ roots[rows].T
            found[rows] = np.linalg.solve(np.eye(len(rows)) - hat, residual[rows])
    return found

# SPDX-License-Identifier: Apache-2.0
"""How good a predicted number is: how much of it is explained, and how far off it is.

The errors are in the unit of the values, so a target that was scaled for training is scaled back
first. What cannot be had, such as the correlation with a constant, is NaN and no error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from encephalon.errors import UsageError
from encephalon.statistics.weighted_metric import (
    WeightedMetric,
    mean_metric,
    pearson_metric,
    r2_metric,
)

__all__ = ["regression_metrics", "regression_scores"]


def regression_scores(truth: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """The metrics of `regression_metrics` as plain numbers."""
    return {name: each.value for name, each in regression_metrics(truth, predicted).items()}


def regression_metrics(truth: ArrayLike, predicted: ArrayLike) -> dict[str, WeightedMetric]:
    """Every metric of true and predicted values (N,) by name, ready for intervals.

    r2         share of the variance that is explained; below 0 where the mean would do better,
               NaN for constant truth
    pearson_r  correlation, which forgives any scale and shift; NaN where either is constant
    mae        mean absolute error
    rmse       root of the mean squared error
    All are NaN where a value is not finite. Raises UsageError for different lengths.
    """
    known, found = (np.asarray(each, dtype=np.float64) for each in (truth, predicted))
    if known.shape != found.shape or known.ndim != 1:
        raise UsageError(
            "There must be one predicted value for each true one, but the shapes are "
            f"{known.shape} and {found.shape}."
        )
    if not (np.isfinite(known).all() and np.isfinite(found).all()):
        known = found = np.full(known.shape, np.nan)
    error = found - known
    squares = mean_metric(error**2)
    return {
        "r2": r2_metric(known, found),
        "pearson_r": pearson_metric(known, found),
        "mae": mean_metric(np.abs(error)),
        "rmse": WeightedMetric(known.size, lambda weights: np.sqrt(squares.weigh(weights))),
    }

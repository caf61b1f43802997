# SPDX-License-Identifier: Apache-2.0
"""How much a model relies on a covariate: what it loses when the values are permuted.

Permutation importance (Breiman 2001, doi:10.1023/A:1010933404324) on the log loss. Scikit-learn's
works on estimators and gives no interval; samples of one group are not independent, so here whole
groups are the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.evaluation.intervals import Interval
from encephalon.evaluation.weighted import bootstrap_weighted, mean_of

__all__ = ["permutation_importance"]

Values = NDArray[np.float64]
# Probabilities below this count as this, so that one sure mistake does not make a loss infinite.
_SMALLEST = 1e-12


def permutation_importance(
    predict: Callable[[NDArray[np.float32]], Values],
    values: NDArray[np.float32],
    truth: NDArray[np.int64],
    blocks: Mapping[str, Sequence[int]],
    *,
    groups: Sequence[Any] | None = None,
    repeats: int = 20,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return, for each block of columns, by how much the mean log loss grows without it (nats).

    predict  from covariates (N, W) to probabilities (N, C) of the same N samples
    values   (N, W) the covariates as they are
    truth    (N,) index of the true class
    blocks   the columns that belong to one covariate (a one-hot code), by its name
    repeats  permutations that are averaged over

    Zero means that the model does not use it. The interval draws samples, or whole `groups`.
    """
    generator = np.random.default_rng(seed)
    known = _losses(predict(values), truth)
    found = {}
    for name, columns in blocks.items():
        growth = np.zeros(len(truth))
        for _ in range(repeats):
            dealt = values.copy()
            dealt[:, list(columns)] = values[generator.permutation(len(truth))][:, list(columns)]
            growth += _losses(predict(dealt), truth) - known
        found[name] = bootstrap_weighted(growth / repeats, mean_of, groups=groups, seed=seed)
    return found


def _losses(probabilities: Values, truth: NDArray[np.int64]) -> Values:
    """(N,) the log loss of each sample."""
    given = probabilities[np.arange(len(truth)), truth]
    return np.asarray(-np.log(np.maximum(given, _SMALLEST)))

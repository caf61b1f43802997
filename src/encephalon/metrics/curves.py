# SPDX-License-Identifier: Apache-2.0
"""Curves of a classifier over every threshold: ROC, and precision against recall."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["precision_recall_curve", "roc_curve"]

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def roc_curve(truth: ArrayLike, scores: ArrayLike) -> Curve:
    """False positive rate and true positive rate, from the highest threshold to the lowest.

    truth   (N,) True for the positive class
    scores  (N,) the higher, the more positive; images of one score are called positive together

    Corners only: points on a straight line between two others are left out. Both are empty where
    one of the classes is missing.
    """
    above, true = _counts(truth, scores)
    if not above.size or true[-1] in (0, above[-1]):
        return np.empty(0), np.empty(0)
    false = above - true
    x, y = np.append(0, false / false[-1]), np.append(0, true / true[-1])
    steps = np.diff(np.stack([x, y]))
    turns = np.ones(x.size, dtype=bool)
    turns[1:-1] = np.abs(steps[0, :-1] * steps[1, 1:] - steps[1, :-1] * steps[0, 1:]) > 1e-12
    return x[turns], y[turns]


def precision_recall_curve(truth: ArrayLike, scores: ArrayLike) -> Curve:
    """Recall and precision, from the highest threshold to the lowest.

    truth   (N,) True for the positive class
    scores  (N,) the higher, the more positive

    There is no point of recall 0, where precision means nothing. Both are empty without positives.
    """
    above, true = _counts(truth, scores)
    if not above.size or not true[-1]:
        return np.empty(0), np.empty(0)
    found = true > 0
    return true[found] / true[-1], true[found] / above[found]


def _counts(truth: ArrayLike, scores: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images at or above each score, from the highest on, and the positive ones among them."""
    positive, values = np.asarray(truth, bool), np.asarray(scores, np.float64)
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.diff(values[order], append=-np.inf) != 0)
    return ends + 1, np.cumsum(positive[order])[ends]

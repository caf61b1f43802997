# SPDX-License-Identifier: Apache-2.0
"""Simple models of numbers and classes, from columns: means, linear models and boosted trees."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.experiments.folds import Rows
from encephalon.statistics.ridge import PENALTIES
from encephalon.statistics.stacking import losses

__all__ = ["components", "filled", "fit_simple"]

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Principal components at the most (ours).
MOST_COMPONENTS = 500
#: Inverse penalties of logistic regression, for inputs whose mean square over people is 1 (ours).
STRENGTHS = tuple(10.0**power for power in range(-2, 5))
#: Of boosted trees: how many, and how much each counts (ours).
TREES, RATE = 100, 0.05
#: With fewer people there is nothing to fit but their mean (ours).
FEWEST = 10
#: The probability of a class that nobody had.
UNSEEN = 1e-6


def components(values: NDArray[Any], rows: Rows, most: int = MOST_COMPONENTS) -> Values:
    """Principal components (N, K) of values (N, F), found in these rows; rows of NaN stay NaN.

    They are scaled so that the mean square of a row is 1. Of many more columns than rows the
    products of rows are enough.
    """
    known = np.isfinite(values).all(axis=1)
    learnt = rows[known[rows]]
    found = np.full((len(values), max(1, min(most, len(learnt) - 1))), np.nan)
    if len(learnt) < 2:
        found[known] = 0.0
        return found
    centred = np.asarray(values - values[learnt].mean(axis=0, dtype=np.float64), np.float32)
    mine = centred[learnt]
    spread, vectors = np.linalg.eigh((mine @ mine.T).astype(np.float64))
    kept = np.argsort(-spread)[: found.shape[1]]
    kept = kept[spread[kept] > spread.max() * 1e-6]
    axes = vectors[:, kept] / np.sqrt(spread[kept])
    scores = (centred[known] @ mine.T).astype(np.float64) @ axes
    found = found[:, : max(1, len(kept))]
    size = np.sqrt(spread[kept].sum() / len(learnt)) if len(kept) else 1.0
    found[known] = scores / size if len(kept) else 0.0
    return found


def filled(values: Values, rows: Rows) -> Values:
    """Values (N, F) with the medians of these rows for what is NaN, and flags of what was."""
    unknown = ~np.isfinite(values)
    known = np.where(unknown[rows].all(axis=0), 0.0, values[rows])
    medians = np.nanmedian(known, axis=0) if len(rows) else np.zeros(values.shape[1])
    # One flag does for what is missing together.
    flags = np.unique(unknown[:, unknown[rows].any(axis=0)].astype(np.float64), axis=1)
    return np.hstack([np.where(unknown, medians, values), flags])


def fit_simple(
    method: str,
    features: Values,
    truth: Values,
    count: int,
    parts: tuple[Rows, Rows],
    has: Flags,
    seed: int = 0,
) -> Values:
    """What one model says of the rows that have something (N, W), NaN of the others.

    method    "mean", the mean or how frequent each class is; "linear", ridge regression, or
              logistic regression with the penalty that is best for the second part; "trees",
              boosted trees
    features  (N, F); of trees they may be NaN
    truth     (N,) a number, or the place of one of `count` classes; NaN where unknown
    count     of classes; 1 for numbers
    parts     rows that train and that validate: the model learns from both
    has       (N,)

    The mean stands in for models of fewer than FEWEST rows, and where all are of one class.
    """
    usable = has & np.isfinite(truth)
    train, tune = (rows[usable[rows]] for rows in parts)
    both = np.concatenate([train, tune])
    found = np.full((len(truth), count), np.nan)
    if not both.size:
        return found
    one_class = count > 1 and np.unique(truth[both]).size == 1
    if method == "mean" or one_class or both.size < FEWEST:
        shares = np.bincount(truth[both].astype(int), minlength=count) if count > 1 else 0
        found[has] = truth[both].mean() if count == 1 else shares / len(both)
    elif count == 1:
        model = _trees(seed, number=True) if method == "trees" else _ridge()
        found[has] = model.fit(features[both], truth[both]).predict(features[has])[:, None]
    else:
        model = (
            _trees(seed, number=False)
            if method == "trees"
            else _logistic(features, truth, train, tune)
        )
        model.fit(features[both], truth[both].astype(int))
        found[has] = _chances(model, features[has], count)
    return found


def _ridge() -> Any:
    from sklearn.linear_model import RidgeCV

    return RidgeCV(alphas=PENALTIES)


def _logistic(features: Values, truth: Values, train: Rows, tune: Rows) -> Any:
    """A logistic regression with the penalty that is best for those who validate."""
    from sklearn.linear_model import LogisticRegression

    def scored(strength: float) -> float:
        model = LogisticRegression(C=strength, max_iter=1000)
        model.fit(features[train], truth[train].astype(int))
        count = int(max(truth[train].max(), truth[tune].max())) + 1
        return float(losses(_chances(model, features[tune], count), truth[tune]).mean())

    able = len(tune) and np.unique(truth[train]).size > 1
    best = min(STRENGTHS, key=scored) if able else 1.0
    return LogisticRegression(C=best, max_iter=1000)


def _trees(seed: int, *, number: bool) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    made = HistGradientBoostingRegressor if number else HistGradientBoostingClassifier
    return made(max_iter=TREES, learning_rate=RATE, early_stopping=False, random_state=seed)


def _chances(model: Any, features: Values, count: int) -> Values:
    found = np.full((len(features), count), UNSEEN)
    found[:, model.classes_] = np.clip(model.predict_proba(features), UNSEEN, 1.0)
    return np.asarray(found / found.sum(axis=1, keepdims=True))

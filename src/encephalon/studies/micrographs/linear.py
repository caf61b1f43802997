# SPDX-License-Identifier: Apache-2.0
"""Logistic regression on features or covariates: the baselines beside which a network stands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import require_extra

__all__ = ["STRENGTHS", "fit_linear"]

Features = NDArray[np.float64]

#: Inverse strengths of the penalty that are tried on the validation part: our choice.
STRENGTHS = tuple(10.0**power for power in range(-4, 3))


def fit_linear(
    train: tuple[Features, NDArray[np.int64]],
    validation: tuple[Features, NDArray[np.int64]],
    wanted: Features,
    classes: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a balanced logistic regression; log probabilities (N, C) of validation and wanted rows.

    Features (N, F) are standardised by the training part; the penalty is that whose validation
    balanced accuracy is best, the stronger of equals. A class without a training row has the log
    probability of 1e-6. Raises MissingExtraError without scikit-learn.
    """
    require_extra("sklearn", "train", "The linear baseline")
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    best, best_score = None, -1.0
    for strength in STRENGTHS:
        regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
        model = make_pipeline(StandardScaler(), regression).fit(*train)
        score = balanced_accuracy_score(validation[1], model.predict(validation[0]))
        if score > best_score:
            best, best_score = model, float(score)
    assert best is not None
    known = best.classes_
    return _logs(best, validation[0], known, classes), _logs(best, wanted, known, classes)


def _logs(
    model: object, features: Features, known: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    found = np.full((len(features), classes), 1e-6)
    if len(features):
        found[:, known] = model.predict_proba(features)  # type: ignore[attr-defined]
    return np.asarray(np.log(np.clip(found, 1e-6, 1.0)))

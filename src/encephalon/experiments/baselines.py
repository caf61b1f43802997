# SPDX-License-Identifier: Apache-2.0
"""What a network has to beat on the same folds: classical features, covariates, and chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import require_extra
from encephalon.evaluation.predictions import Predictions
from encephalon.experiments.classifiers import ClassValidation
from encephalon.experiments.cross_validation import FoldResult
from encephalon.experiments.folds import Fold
from encephalon.experiments.out_of_fold import out_of_fold

__all__ = ["STRENGTHS", "fit_linear", "run_baselines"]

Features = NDArray[np.float64]

#: Inverse strengths of the penalty that are tried on the validation part: our choice.
STRENGTHS = tuple(10.0**power for power in range(-4, 3))


def run_baselines(cv: ClassValidation) -> dict[str, Predictions]:
    """Train what `settings.baselines` names on the folds of `cv`; their predictions, by name.

    "texture" (classical features) and "covariates" are logistic regressions, whose penalty the
    validation rows choose. "shuffled" is the network itself, taught permuted classes in the first
    fold alone. A single such network scatters around chance; one that comes near the model's own
    score has found a leak. A baseline that nothing can be learnt from is left out: texture where
    there are no images to see, covariates where there are none.
    """
    makers: Mapping[str, Callable[[ClassValidation], Predictions | None]] = {
        "texture": _texture,
        "covariates": _covariates,
        "shuffled": _shuffled,
    }
    found = {name: makers[name](cv) for name in cv.settings.baselines}
    return {name: predictions for name, predictions in found.items() if predictions is not None}


def _texture(cv: ClassValidation) -> Predictions | None:
    """On classical features, and on the covariates too where the network sees both."""
    inputs, describe = cv.settings.inputs, cv.classical_features
    if inputs == "covariates" or describe is None:
        return None
    known = np.sort(np.concatenate([cv.splits.learnt, cv.splits.held_out]))
    with ThreadPoolExecutor() as pool:
        described = list(pool.map(describe, known.tolist()))
    features = np.zeros((len(cv.dataset.truth), len(described[0])))
    features[known] = described
    if inputs == "image":
        return _linear(cv, lambda _: features)
    return _linear(cv, lambda fold: np.hstack([features, cv.dataset.encoded(fold.train)]))


def _covariates(cv: ClassValidation) -> Predictions | None:
    if not cv.recipe.table.covariates:
        return None
    return _linear(cv, lambda fold: cv.dataset.encoded(fold.train).astype(np.float64))


def _linear(cv: ClassValidation, describe: Callable[[Fold], Features]) -> Predictions:
    """The predictions of a logistic regression, gathered and read as the network's are.

    `describe` gives the features (N, F) of every row, as the training rows of a fold see them.
    """
    truth, results = cv.dataset.truth, []
    for fold in cv.splits.folds:
        features = describe(fold)
        judged, tested = fit_linear(
            (features[fold.train], truth[fold.train]),
            (features[fold.validation], truth[fold.validation]),
            features[fold.test],
            len(cv.classes),
        )
        said = [*zip(fold.validation, judged, strict=True), *zip(fold.test, tested, strict=True)]
        results.append(FoldResult([], {int(row): logits for row, logits in said}))
    return out_of_fold(cv, results).assessed.predictions


def _shuffled(cv: ClassValidation) -> Predictions:
    """The network of the first fold, taught classes that were permuted among its rows."""
    fold, dataset = cv.splits.folds[0], cv.dataset
    truth = dataset.truth.copy()
    rng = np.random.default_rng(cv.recipe.training.seed)
    for rows in (fold.train, fold.validation):
        truth[rows] = rng.permutation(truth[rows])
    networks = len(cv.splits.folds) + 1
    alone = cv.alone(fold, "baselines/shuffled", networks, "shuffled classes")
    results = replace(alone, dataset=dataset.with_truth(truth)).train_folds()
    # Read with the true classes: what it says of them is what counts.
    return out_of_fold(alone, results).assessed.predictions


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
    logs = []
    for features in (validation[0], wanted):
        found = np.full((len(features), classes), 1e-6)
        if len(features):
            found[:, best.classes_] = best.predict_proba(features)
        logs.append(np.log(np.clip(found, 1e-6, 1.0)))
    return logs[0], logs[1]

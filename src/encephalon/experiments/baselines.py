# SPDX-License-Identifier: Apache-2.0
"""What a network has to beat on the same folds: texture, covariates alone, and chance.

Logistic regression on features or covariates: the baselines beside which a network stands.

Texture features of a picture, for the classical baseline that a network has to beat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import require_extra
from encephalon.evaluation.predictions import Scored
from encephalon.experiments.crossval import CrossedRun, Crossing, Outcome, placed_report, pool
from encephalon.experiments.folds import Fold
from encephalon.studies.micrographs.data import Rows
from encephalon.studies.micrographs.settings import class_names, micrograph_settings

__all__ = ["STRENGTHS", "fit_linear", "run_baselines", "texture_features"]

Features = NDArray[np.float64]


Describe = Callable[[Fold], Features]


"""The features (N, F) of every row of the table, as a fold's training rows standardise them."""


#: Inverse strengths of the penalty that are tried on the validation part: our choice.
STRENGTHS = tuple(10.0**power for power in range(-4, 3))
#: Radii of the local binary patterns, each with 8 neighbours a pixel of radius (Ojala et al. 2002).
RADII = (1, 2, 3)
#: Distances, in pixels, and angles of the grey-level co-occurrence matrices (Haralick et al. 1973).
DISTANCES = (1, 2, 4)
ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
PROPERTIES = ("contrast", "homogeneity", "energy", "correlation")
#: Grey levels of the co-occurrence matrices and bins of the histogram: our choice.
LEVELS, BINS = 32, 16
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def run_baselines(crossing: Crossing) -> dict[str, Scored]:
    """Train what `study.baselines` names on the folds of `crossing`; their predictions, by name.

    "texture" and "covariates" are logistic regressions, whose penalty the validation rows choose.
    "shuffled" is the network itself, taught permuted classes in the first fold alone. A single such
    network scatters around chance; one that comes near the model's own score has found a leak. A
    baseline that nothing can be learnt from is left out: texture where there are no images to see,
    covariates where there are none.
    """
    wanted = micrograph_settings(crossing.recipe).baselines
    makers: Mapping[str, Callable[[Crossing], Scored | None]] = {
        "texture": _texture,
        "covariates": _covariates,
        "shuffled": _shuffled,
    }
    found = {name: makers[name](crossing) for name in wanted}
    return {name: scored for name, scored in found.items() if scored is not None}


def _texture(crossing: Crossing) -> Scored | None:
    """On texture, and on the covariates too where the network sees both."""
    inputs = micrograph_settings(crossing.recipe).inputs
    if inputs == "covariates":
        return None
    pictures = crossing.cohort.pictures
    known = np.sort(np.concatenate([crossing.plan.learnt, crossing.plan.held_out]))

    def describe(row: int) -> Features:
        return texture_features(pictures.read(np.array([row]))[0, 0])

    with ThreadPoolExecutor() as pool_of_threads:
        described = list(pool_of_threads.map(describe, known.tolist()))
    texture = np.zeros((len(crossing.cohort.truth), len(described[0])))
    texture[known] = described
    if inputs == "image":
        return _linear(crossing, lambda _: texture)
    return _linear(crossing, lambda fold: np.hstack([texture, _encoded(crossing, fold)]))


def _covariates(crossing: Crossing) -> Scored | None:
    if not crossing.recipe.table.covariates:
        return None
    return _linear(crossing, lambda fold: _encoded(crossing, fold))


def _encoded(crossing: Crossing, fold: Fold) -> Features:
    cohort = crossing.cohort
    return cohort.covariates(cohort.scaling(fold.train)).astype(np.float64)


def _linear(crossing: Crossing, describe: Describe) -> Scored:
    """The predictions of a logistic regression, gathered and read as the network's are."""
    truth, classes = crossing.cohort.truth, len(class_names(crossing.recipe))
    outcomes = []
    for fold in crossing.plan.folds:
        features = describe(fold)

        def known(rows: Rows, features: Features = features) -> tuple[Features, NDArray[np.int64]]:
            return features[rows], truth[rows]

        judged, tested = fit_linear(
            known(fold.train), known(fold.validation), features[fold.test], classes
        )
        said = [*zip(fold.validation, judged, strict=True), *zip(fold.test, tested, strict=True)]
        outcomes.append(Outcome([], {int(row): logits for row, logits in said}))
    return pool(crossing.recipe, crossing.plan, crossing.cohort, outcomes).assessed.scored


def _shuffled(crossing: Crossing) -> Scored:
    """The network of the first fold, taught classes that were permuted among its rows."""
    fold, cohort = crossing.plan.folds[0], crossing.cohort
    truth = cohort.truth.copy()
    rng = np.random.default_rng(crossing.recipe.training.seed)
    for rows in (fold.train, fold.validation):
        truth[rows] = rng.permutation(truth[rows])
    training, name = crossing.recipe.training, "shuffled classes"
    before = (len(crossing.plan.folds) + 1) * training.epochs * training.steps_per_epoch
    nothing = np.array([], np.int64)
    plan = replace(crossing.plan, folds=(fold,), held_out=nothing, others=nothing)
    dealt = replace(
        crossing,
        plan=plan,
        cohort=cohort.with_truth(truth),
        run=CrossedRun(crossing.run.path / "baselines" / "shuffled"),
        means=replace(crossing.means, report=placed_report(crossing.means.report, before, name)),
    )
    # Read with the true classes: what it says of them is what counts.
    return pool(crossing.recipe, plan, cohort, dealt.train_folds()).assessed.scored


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


def texture_features(picture: NDArray[np.float32]) -> NDArray[np.float64]:
    """Local binary patterns, co-occurrence properties and grey levels of a picture (rows, columns).

    Grey levels are stretched to their own range first. No feature knows of places, so that none
    can tell where in the picture something lies. Raises MissingExtraError without scikit-image.
    """
    require_extra("skimage", "train", "The texture baseline")
    low, high = float(picture.min()), float(picture.max())
    stretched = (picture - low) / max(high - low, 1e-6)
    levels = np.round(255 * stretched).astype(np.uint8)
    shares = np.histogram(stretched, BINS, (0, 1))[0] / stretched.size
    quantiles = np.quantile(stretched, QUANTILES)
    return np.concatenate([_patterns(levels), _co_occurrence(levels), shares, quantiles])


def _patterns(levels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Histograms of rotation-invariant uniform local binary patterns at every radius."""
    from skimage.feature import local_binary_pattern

    histograms = []
    for radius in RADII:
        points = 8 * radius
        codes = local_binary_pattern(  # type: ignore[no-untyped-call]
            levels, points, radius, "uniform"
        ).astype(int)
        histograms.append(np.bincount(codes.ravel(), minlength=points + 2) / codes.size)
    return np.concatenate(histograms)


def _co_occurrence(levels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Properties of the co-occurrence matrices, at every distance and angle."""
    from skimage.feature import graycomatrix, graycoprops

    coarse = (levels.astype(np.uint16) * LEVELS // 256).astype(np.uint8)
    matrices: Any = graycomatrix(  # type: ignore[no-untyped-call]
        coarse, DISTANCES, ANGLES, LEVELS, symmetric=True, normed=True
    )
    properties = [graycoprops(matrices, name) for name in PROPERTIES]  # type: ignore[no-untyped-call]
    return np.concatenate([each.ravel() for each in properties])

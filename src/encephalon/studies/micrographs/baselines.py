# SPDX-License-Identifier: Apache-2.0
"""What a network has to beat on the same folds: texture, covariates alone, and chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from encephalon.studies.micrographs.crossing import CrossedRun, Crossing, placed_report
from encephalon.studies.micrographs.linear import fit_linear
from encephalon.studies.micrographs.outcome import Outcome
from encephalon.studies.micrographs.parting import Fold
from encephalon.studies.micrographs.pooling import pool
from encephalon.studies.micrographs.preparing import Rows
from encephalon.studies.micrographs.recipe import class_names, micrograph_settings
from encephalon.studies.micrographs.scored import Scored
from encephalon.studies.micrographs.texture import texture_features

__all__ = ["run_baselines"]

Features = NDArray[np.float64]
Describe = Callable[[Fold], Features]
"""The features (N, F) of every row of the table, as a fold's training rows standardise them."""


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

# SPDX-License-Identifier: Apache-2.0
"""Simple models learn from the same people and inputs, as scikit-learn has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV

from encephalon.experiments.simple_models import PENALTIES, components
from encephalon.metrics.regression import regression_scores
from encephalon.studies.legibility.baselines import baseline_predictions
from encephalon.studies.legibility.data import People
from encephalon.studies.legibility.predictions import Predicted
from encephalon.studies.legibility.settings import LegibilitySettings
from tests.studies.legibility.planted import make_folds, make_people

Found = dict[tuple[str, str, str], Predicted]


def predict(people: People, folds: int = 3, **changes: object) -> Found:
    settings = LegibilitySettings.model_validate(changes)
    found = baseline_predictions(people, make_folds(len(people), folds), settings)
    return {(one.target, one.inputs, one.method): one for one in found}


def r2(people: People, one: Predicted) -> float:
    rows = one.scored
    return regression_scores(people.truth["age"][rows], one.answered.values[rows, 0])["r2"]


def test_ridge_regression_is_that_of_scikit_learn() -> None:
    people = make_people(80)
    found = predict(people, baselines=["linear"])["age", "strong", "linear"]
    fold = make_folds(80, 3)[0]
    both = np.concatenate([fold.train, fold.validation])
    known = people.values["strong"]
    scaled = (known - known[both].mean(0)) / known[both].std(0) / np.sqrt(known.shape[1])
    model = RidgeCV(alphas=PENALTIES).fit(scaled[both], people.truth["age"][both])
    expected = model.predict(scaled[fold.test])
    np.testing.assert_allclose(found.answered.values[fold.test, 0], expected, rtol=1e-5)


def test_baselines_find_what_is_planted_and_the_mean_does_not() -> None:
    people = make_people(200, confounds=("head",))
    found = predict(people, 2)
    whole = "strong + weak + noise"
    assert r2(people, found["age", whole, "linear"]) > 0.4
    assert r2(people, found["age", whole, "trees"]) > 0.2
    assert -0.1 < r2(people, found["age", whole, "mean"]) <= 0.02
    assert r2(people, found["age", "noise", "linear"]) < 0.05
    assert 0.1 < r2(people, found["age", "noise", "confounds"]) < 0.6  # whatever the inputs are
    chances = found["sex", "strong + weak", "linear"].answered.values
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert np.mean(chances.argmax(axis=1) == people.truth["sex"]) > 0.7


@pytest.mark.parametrize("method", ["linear", "trees"])
def test_nothing_of_the_tested_people_reaches_a_baseline(method: str) -> None:
    people = make_people(60)
    fold = make_folds(60)[0]
    truth = {name: known.copy() for name, known in people.truth.items()}
    truth["age"][fold.test] = 1e6
    settings = LegibilitySettings.model_validate({"baselines": [method]})
    first, second = (
        next(iter(baseline_predictions(each, [fold], settings)))
        for each in (people, replace(people, truth=truth))
    )
    np.testing.assert_array_equal(first.answered.values, second.answered.values)


def test_what_is_of_the_targets_domain_reaches_no_baseline_of_it() -> None:
    targets = {"age": {"kind": "continuous", "domain": "strong"}}
    people = make_people(60, targets=targets, confounds=("strong_0", "age"))
    table = people.table.with_column("strong_0", ["1.5"] * 60)
    people = replace(people, table=table)
    found = predict(people, baselines=["mean", "linear"])
    assert {inputs for _, inputs, _ in found} == {
        "weak",
        "noise",
        "weak + noise",
        "whatever there is",
    }
    assert not [one for one in found if one[2] == "confounds"]
    changed = {**people.values, "strong": 100 * people.values["strong"]}
    again = predict(replace(people, values=changed), baselines=["mean", "linear"])
    for key, one in found.items():
        np.testing.assert_array_equal(one.answered.values, again[key].answered.values)


def test_people_without_an_input_are_imputed_and_those_with_nothing_not_answered() -> None:
    people = make_people(90, missing=0.4)
    found = predict(people)
    alone = found["age", "strong", "linear"]
    assert (np.isfinite(alone.answered.values[:, 0]) == people.present[:, 0]).all()
    assert found["age", "whatever there is", "trees"].scored.all()
    whole = found["age", "strong + weak + noise", "linear"]
    assert (whole.scored == people.present.all(axis=1)).all()
    assert np.isfinite(whole.answered.values).all()


def test_components_are_those_of_scikit_learn_up_to_their_sign_and_scale() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 200))
    values[7] = np.nan
    rows = np.arange(20)
    found = components(values, rows, most=5)
    learnt = values[[row for row in rows if row != 7]]
    expected = PCA(5).fit(learnt).transform(np.delete(values, 7, axis=0))
    expected /= np.sqrt(np.square(PCA(5).fit_transform(learnt)).sum(axis=1).mean())
    np.testing.assert_allclose(np.abs(np.delete(found, 7, axis=0)), np.abs(expected), atol=1e-4)
    assert np.isnan(found[7]).all()


def test_a_class_that_nobody_had_keeps_a_small_chance() -> None:
    targets = {"type": {"kind": "multiclass", "classes": ["A", "B", "O"]}}
    people = make_people(60, targets=targets)
    truth = {"type": (people.values["strong"][:, 0] > 0).astype(float)}
    found = predict(replace(people, truth=truth), baselines=["mean", "linear"])
    for one in found.values():
        known = one.answered.values
        assert (known[:, 2] < 1e-4).all()
        np.testing.assert_allclose(known.sum(axis=1), 1)

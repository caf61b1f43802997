# SPDX-License-Identifier: Apache-2.0
"""What is said from sets of inputs, and how their parts are weighed on few people."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.experiments.folds import Fold
from encephalon.studies.legibility.evaluation import evaluate
from encephalon.studies.legibility.input_sets import (
    answers_of,
    has_all,
    parts_of,
    visible_sets,
    what_people_have,
)
from encephalon.studies.legibility.predictions import MODEL, model_predictions, shipped_readings
from encephalon.studies.legibility.reading import Reading, fit_readings, lowest_of
from encephalon.studies.legibility.settings import Cohort, LegibilitySettings
from tests.studies.legibility.planted import make_answers, make_folds, make_people

DOMAINS = Cohort.model_validate(
    {
        "blocks": {"blood": {"columns": ["iron"]}, "mind": {"columns": ["mood"]}},
        "sources": {"t1": {"kind": "image"}},
        "targets": {
            "age": {"kind": "continuous"},
            "anaemia": {"kind": "ordinal", "classes": ["none", "mild", "bad"], "domain": "blood"},
            "type": {"kind": "multiclass", "classes": ["A", "B", "O"]},
            "sex": {"kind": "binary", "classes": ["F", "M"]},
        },
    }
)


def test_own_domain_inputs_make_no_set_of_their_own() -> None:
    assert list(visible_sets(DOMAINS, "anaemia")) == [("t1",), ("mind",), ("t1", "mind")]
    assert len(visible_sets(DOMAINS, "age")) == 7
    assert list(visible_sets(DOMAINS, "age"))[-1] == DOMAINS.inputs
    places = visible_sets(DOMAINS, "anaemia")
    sets = DOMAINS.input_sets()
    assert [sets[place] for place in places.values()] == list(places)


def test_the_networks_columns_become_numbers_and_probabilities() -> None:
    raw = np.zeros((1, 7, 1 + 2 + 3 + 1))
    raw[:, :, 0] = 2.0  # age, standardised
    raw[:, :, 1:3] = np.log([[3.0, 1 / 3]])  # 75 % above none, 25 % above mild
    raw[:, :, 3:6] = np.log([1.0, 2.0, 1.0])
    raw[:, :, 6] = np.log(4.0)
    found = answers_of(raw.reshape(1, -1), DOMAINS, lambda _, values: 40 + 10 * values)
    assert found["age"].shape == (1, 7, 1)
    assert found["age"][0, 0, 0] == 60
    assert found["anaemia"].shape == (1, 3, 3)
    np.testing.assert_allclose(found["anaemia"][0, 0], [0.25, 0.5, 0.25])
    np.testing.assert_allclose(found["type"][0, 0], [0.25, 0.5, 0.25])
    np.testing.assert_allclose(found["sex"][0, 0], [0.2, 0.8])


def test_who_has_all_of_a_set_and_which_set_is_all_that_somebody_has() -> None:
    sets = list(visible_sets(DOMAINS, "anaemia"))  # inputs: t1, blood, mind
    present = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=bool)
    assert has_all(DOMAINS, sets, present).tolist() == [
        [True, False, False],
        [True, True, True],
        [False, False, False],
    ]
    assert what_people_have(DOMAINS, sets, present).tolist() == [0, 2, 2]
    assert parts_of(sets, ("t1", "mind"), 3) == [0, 1, 2]
    # Of a network, and of linear models after it.
    assert parts_of(sets, sets[1], 6) == [1, 4]


@pytest.mark.parametrize("count", [72, 300])
def test_a_superset_is_not_worse_than_its_best_subset(count: int) -> None:
    people = make_people(count)
    folds = make_folds(count)
    answers = make_answers(people, folds)
    stacked, plain = (
        evaluate(
            people, folds, model_predictions(people, folds, answers, LegibilitySettings(fusion=how))
        ).promise()
        for how in ("stacked", "attention")
    )
    worse = [row for row in plain if row["gain_high"] < 0]
    assert {"strong + weak + noise"} <= {row["inputs"] for row in worse}
    assert not [row for row in stacked if row["gain_high"] < 0]


def test_nothing_of_the_tested_people_reaches_how_they_are_read() -> None:
    people, settings = make_people(60), LegibilitySettings()
    folds = make_folds(60)
    answers = make_answers(people, folds)
    first = {one.target: one for one in model_predictions(people, folds, answers, settings)}
    for fold in folds:
        changed = {**people.truth, "age": people.truth["age"].copy()}
        changed["age"][fold.test] = -1000.0
        other = type(people)(**{**vars(people), "truth": changed})
        again = {
            one.target: one
            for one in model_predictions(other, [fold], [answers[fold.number]], settings)
        }
        here = fold.test
        np.testing.assert_array_equal(
            first["age"].answered.values[here], again["age"].answered.values[here]
        )
        np.testing.assert_array_equal(
            first["age"].answered.high[here], again["age"].answered.high[here]
        )


def test_a_reading_comes_back_from_a_model_as_it_was() -> None:
    people, settings = make_people(80), LegibilitySettings()
    folds = make_folds(80)
    answers = make_answers(people, folds)
    for target, readings in shipped_readings(people, folds, answers, settings).items():
        for inputs, reading in readings.items():
            again = Reading.from_dict(reading.as_dict())
            assert again == reading or vars(again) == vars(reading), inputs
            assert reading.people == 80
            assert sum(reading.weights) == pytest.approx(1)
            given = answers[0][target]
            np.testing.assert_array_equal(again.values(given), reading.values(given))


def test_predictions_that_are_drawn_to_the_mean_are_put_right_and_good_ones_left_alone() -> None:
    rng = np.random.default_rng(0)
    truth = 50 + 10 * rng.normal(size=60)
    drawn = 50 + 0.5 * (truth - 50) + rng.normal(size=60)
    has, sets = np.ones((60, 1), dtype=bool), [("t1",)]
    (reading,) = fit_readings(drawn[:, None, None], truth, has, sets)
    assert reading.line[1] == pytest.approx(2, abs=0.1)
    good = truth + 3 * rng.normal(size=60)
    (reading,) = fit_readings(good[:, None, None], truth, has, sets)
    assert reading.line == (0.0, 1.0)


def test_nobody_to_fit_on_leaves_answers_as_they_are_and_intervals_without_an_end() -> None:
    answers = np.ones((4, 1, 1))
    (reading,) = fit_readings(answers, np.full(4, np.nan), np.ones((4, 1), dtype=bool), [("t1",)])
    found = reading.read(answers)
    assert found.values[0, 0] == 1
    assert found.low[0] == -np.inf
    chances = np.full((4, 1, 2), 0.5)
    (reading,) = fit_readings(chances, np.full(4, np.nan), np.ones((4, 1), dtype=bool), [("t1",)])
    assert reading.read(chances).may_be.all()


def test_everybody_is_answered_from_what_they_have() -> None:
    people, settings = make_people(90, missing=0.4), LegibilitySettings()
    folds = make_folds(90)
    found = list(model_predictions(people, folds, make_answers(people, folds), settings))
    whole = {one.inputs: one for one in found if (one.target, one.method) == ("age", MODEL)}
    anybody = whole["whatever there is"]
    assert anybody.scored.all()
    only = (people.present == [True, False, False]).all(axis=1)
    np.testing.assert_array_equal(
        anybody.answered.values[only], whole["strong"].answered.values[only]
    )
    assert (whole["strong + weak"].scored == people.present[:, :2].all(axis=1)).all()


def test_a_fold_that_tests_nobody_scores_those_who_validate() -> None:
    people = make_people(60)
    fold = make_folds(60)[0]
    alone = Fold(0, fold.train, fold.validation, fold.test[:0])
    found = list(
        model_predictions(people, [alone], make_answers(people, [alone]), LegibilitySettings())
    )
    assert np.flatnonzero(found[0].scored).tolist() == fold.validation.tolist()
    assert not evaluate(people, [alone], found).honest


def test_what_is_never_below_zero_is_never_told_to_be() -> None:
    rng = np.random.default_rng(0)
    answers, has = rng.normal(3, 3, size=(200, 1, 1)), np.ones((200, 1), dtype=bool)
    ages = np.abs(answers[:, 0, 0] + rng.normal(size=200))
    (reading,) = fit_readings(answers, ages, has, [("t1",)], lowest=lowest_of(ages))
    found = Reading.from_dict(reading.as_dict()).read(answers)
    (without,) = fit_readings(answers, ages, has, [("t1",)])
    assert min(found.low.min(), found.values.min()) == 0 > without.read(answers).low.min()
    assert found.holds(ages).mean() >= 0.9
    assert lowest_of(ages - 1) == -np.inf == lowest_of(np.full(3, np.nan))

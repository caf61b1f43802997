# SPDX-License-Identifier: Apache-2.0
"""Predictions of another program: read, put in the order of the people, and put right."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import TableError
from encephalon.experiments.external import External, read_external, recalibrated
from encephalon.experiments.folds import Fold

PEOPLE = ["a", "b", "c"]
TARGETS = {
    "age": (),
    "sex": ("1", "2"),
    "grade": ("low", "middle", "high"),
}
ROWS = np.arange(60)
FOLDS = [
    Fold(k, ROWS[(ROWS + k) % 3 == 0], ROWS[(ROWS + k) % 3 == 1], ROWS[(ROWS + k) % 3 == 2])
    for k in range(3)
]


def read(tmp_path: Path, *rows: str) -> External:
    path = tmp_path / "their-model.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return read_external(path, PEOPLE, TARGETS)


def test_predictions_come_in_the_order_of_the_people(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of whom nothing is said it is NaN, and who is in one of file and table alone is named."""
    with caplog.at_level(logging.WARNING):
        found = read(tmp_path, "id,age,grade", "c,30.5,", "x,99,low", "a,20,high")
    assert found.name == "their-model"
    np.testing.assert_array_equal(found.answers["age"], [[20], [np.nan], [30.5]])
    np.testing.assert_array_equal(found.answers["grade"][0], [0, 0, 1])
    assert np.isnan(found.answers["grade"][1:]).all()
    assert "sex" not in found.answers
    lacking, unknown = (record.getMessage() for record in caplog.records)
    assert lacking.endswith("lacks 1 of the 3 people, who do not count for it: b.")
    assert unknown.endswith("has 1 people who are not in the table, and are left out: x.")


def test_classes_called_by_numbers_are_not_taken_for_probabilities(tmp_path: Path) -> None:
    """A column of class names alone is one of classes; any other is of probabilities."""
    named = read(tmp_path, "id,sex", "a,1", "b,2", "c,").answers["sex"]
    assert named[:2].tolist() == [[1, 0], [0, 1]]
    chances = read(tmp_path, "id,sex", "a,1", "b,0.25", "c,").answers["sex"]
    assert chances[:2].tolist() == [[0, 1], [0.75, 0.25]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["name,age", "a,20"], "has no column 'id', of the ids of people; did you mean|it has"),
        (["id,age", "a,20", "a,21"], "row 3: 'a' has a row already: keep one of them"),
        (["id,age", "a,20", ",21"], "row 3: there is no id"),
        (["id,aeg", "a,20"], "the column 'aeg' is no target; did you mean 'age'.* leave it out"),
        (["id,age", "a,old"], "row 2: 'age' must be a number, or empty, but is 'old'"),
        (["id,sex", "a,1.5"], "'sex' must be 1 or 2, or throughout the probability of '2', from"),
        (["id,grade", "a,1"], "'grade' must be low, middle or high, or empty, but is '1'"),
        (["id,age", "x,20"], "none of the 3 people that are scored: .* 'a' in place of 'x'"),
        (["id,age"], "none of the 3 people that are scored: .* 'a'[.]"),
        (["id", "a"], "predicts nothing: give it a column of age, sex or grade"),
        (["id,age", "a,", "b,"], "predicts nothing"),
    ],
)
def test_what_is_no_prediction_is_said(tmp_path: Path, rows: list[str], message: str) -> None:
    """With its row or column."""
    with pytest.raises(TableError, match=message):
        read(tmp_path, *rows)


def test_a_line_is_fitted_off_the_test_of_each_fold() -> None:
    """Moving the truth of those who are tested moves no answer of theirs."""
    said = np.random.default_rng(0).normal(50, 10, (60, 1))
    truth = 2 * said[:, 0] - 20
    np.testing.assert_allclose(recalibrated(said, truth, FOLDS)[:, 0], truth)
    tested = FOLDS[0].test
    moved = truth.copy()
    moved[tested] = 0
    right = recalibrated(said, moved, FOLDS)[tested, 0]
    np.testing.assert_allclose(right, truth[tested])


def test_probabilities_of_another_population_are_put_right() -> None:
    """A program that is far too sure of a class that is rare here is right about it more often."""
    rng = np.random.default_rng(1)
    truth = (rng.random(60) < 0.3).astype(float)
    positive = np.where(truth == 1, 0.99, np.where(rng.random(60) < 0.5, 0.98, 0.2))
    said = np.stack([1 - positive, positive], axis=1)
    right = recalibrated(said, truth, FOLDS, [str(row // 2) for row in ROWS])
    np.testing.assert_allclose(right.sum(axis=1), 1)

    def loss(answers: np.ndarray) -> float:
        return float(-np.log(answers[ROWS, truth.astype(int)]).mean())

    assert loss(right) < loss(said)


def test_too_few_people_leave_answers_as_they_are_and_others_have_none() -> None:
    """Nor is what is not told of somebody made up; rows of no fold are NaN."""
    said, truth = ROWS[:8, None].astype(float), np.full(8, 1.0)
    said[4] = np.nan
    fold = Fold(0, ROWS[:2], ROWS[2:4], ROWS[4:6])
    right = recalibrated(said, truth, [fold])[:, 0]
    np.testing.assert_array_equal(right, [np.nan] * 5 + [5] + [np.nan] * 2)

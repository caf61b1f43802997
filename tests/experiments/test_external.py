# SPDX-License-Identifier: Apache-2.0
"""Predictions of another program: read, put in the order of the people, and recalibrated."""

from __future__ import annotations

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


def read(tmp_path: Path, *rows: str, header: str = "id,target,prediction") -> External:
    path = tmp_path / "their-model.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return read_external(path, PEOPLE, TARGETS)


def test_predictions_come_in_the_order_of_the_people(tmp_path: Path) -> None:
    """Others are left out; of whom nothing is said it is NaN."""
    found = read(tmp_path, "c,age,30.5", "x,age,99", "a,age,20", "b,age,", "b,grade,high")
    assert found.name == "their-model"
    np.testing.assert_array_equal(found.answers["age"], [20, np.nan, 30.5])
    np.testing.assert_array_equal(found.answers["grade"][1], [0, 0, 1])
    assert np.isnan(found.answers["grade"][[0, 2]]).all()
    assert "sex" not in found.answers


def test_classes_called_by_numbers_are_not_taken_for_probabilities(tmp_path: Path) -> None:
    """A column of class names alone is one of classes; any other is of probabilities."""
    named = read(tmp_path, "a,sex,1", "b,sex,2").answers["sex"]
    assert named[:2].tolist() == [[1, 0], [0, 1]]
    chances = read(tmp_path, "a,sex,1", "b,sex,0.25").answers["sex"]
    assert chances[:2].tolist() == [[0, 1], [0.75, 0.25]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,age,20", "a,age,21"], "row 3: 'age' of 'a' is predicted twice"),
        (["a,aeg,20"], "row 2: there is no target 'aeg'; did you mean 'age'"),
        (["a,age,old"], "row 2: the prediction must be a number, or empty, but is 'old'"),
        (["a,sex,1.5"], "must be 1 or 2, or throughout the probability of '2', or empty"),
        (["a,grade,1"], "must be low, middle or high, or empty, but is '1'"),
        (["x,age,20"], "predicts none of the 3 people that are scored: .* such as 'a'"),
    ],
)
def test_what_is_no_prediction_is_said(tmp_path: Path, rows: list[str], message: str) -> None:
    """With its row."""
    with pytest.raises(TableError, match=message):
        read(tmp_path, *rows)


def test_a_file_without_the_columns_is_refused(tmp_path: Path) -> None:
    """The column that is missing is named."""
    with pytest.raises(TableError, match="has no column 'prediction'; did you mean 'predicted'"):
        read(tmp_path, "a,age,1", header="id,target,predicted")


def test_a_line_is_fitted_off_the_test_of_each_fold() -> None:
    """Moving the truth of those who are tested moves no answer of theirs."""
    rng, rows = np.random.default_rng(0), np.arange(30)
    said = rng.normal(50, 10, 30)
    truth = 2 * said - 20
    parts = [rows[:10], rows[10:20], rows[20:]]
    folds = [Fold(k, parts[k - 2], parts[k - 1], parts[k]) for k in range(3)]
    np.testing.assert_allclose(recalibrated(said, truth, folds), truth)
    moved = np.where(rows < 10, rng.normal(size=30), truth)
    np.testing.assert_allclose(recalibrated(said, moved, folds)[:10], truth[:10])


def test_a_fold_with_nothing_to_fit_has_no_answers() -> None:
    """Nor have rows of no fold; two people do not make a line."""
    rows, said = np.arange(8), np.arange(8.0)
    truth = np.where(rows < 2, 1.0, np.nan)
    fold = Fold(0, rows[:2], rows[2:4], rows[4:6])
    assert np.isnan(recalibrated(said, truth, [fold])).all()
    assert np.isnan(recalibrated(np.ones(8), said, [fold])).all()

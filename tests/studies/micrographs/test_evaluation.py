# SPDX-License-Identifier: Apache-2.0
"""A loaded model against the truth: the figures, what was not scored, and another model beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.api import load_model
from encephalon.errors import MissingFileError, OutputExistsError, TableError
from encephalon.evaluation.predictions import read_predictions
from encephalon.evaluation.run import EvaluationResult
from encephalon.evaluation.run import evaluate as score
from encephalon.studies.micrographs.evaluation import ClassEvaluation, ClassSummary
from tests.studies.micrographs.linear_model import (
    open_linear,
    write_pictures,
)
from tests.studies.micrographs.rows import read_rows, write_rows


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of this test's own, so that nothing is cached elsewhere."""
    monkeypatch.setenv("ENCEPHALON_HOME", str(tmp_path / "home"))


def changed(table: Path, **cells: dict[str, Any]) -> Path:
    """The table with other cells in the rows named by id; a new column is empty elsewhere."""
    rows = read_rows(table)
    names = dict.fromkeys([*rows[0], *(name for new in cells.values() for name in new)])
    full = [{**dict.fromkeys(names, ""), **row, **cells.get(row["id"], {})} for row in rows]
    return write_rows(table, full)


def evaluate_table(
    model: Any, table: Path, output: Path, overwrite: bool = False
) -> EvaluationResult[ClassSummary]:
    """As the study evaluates."""
    return score(ClassEvaluation(model, table), output, overwrite=overwrite)


def evaluate(folder: Path, table: Path, **options: Any) -> EvaluationResult[ClassSummary]:
    return evaluate_table(open_linear(folder, **options), table, folder / "out")


def test_a_model_that_is_right_scores_one(tmp_path: Path) -> None:
    """All files are written, and the figures are those of the images, vessels and animals."""
    table = write_pictures(tmp_path, 16)
    result = evaluate(tmp_path, table)
    found = result.summary.assessment
    assert found.figures["balanced_accuracy"].value == found.figures["roc_auc"].value == 1
    assert (found.n, found.group, found.units) == (16, "animal", 4)
    assert [level.level for level in found.levels] == ["image", "vessel", "animal"]
    assert {part.column for part in found.strata} == {"sex", "region"}
    rows = read_rows(tmp_path / "out" / "predictions.csv")
    assert [row["class"] for row in rows] == [row["predicted"] for row in rows]
    assert float(rows[0]["logit_Young"]) == pytest.approx(0.3)  # a female in CC, dark on the right
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert summary["assessment"]["figures"]["balanced_accuracy"]["value"] == 1
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    for words in (
        "Classes against the truth",
        "Subgroups",
        "Confusion matrix",
        "The least certain",
    ):
        assert words in page
    assert "balanced accuracy: 1" in str(result)
    assert "95 % percentile bootstrap over" in str(result)


def test_wrong_images_are_shown_with_their_true_class(tmp_path: Path) -> None:
    """The page names what was mistaken for what."""
    table = changed(write_pictures(tmp_path), S0={"class": "Aged"})
    result = evaluate(tmp_path, table)
    assert result.summary.assessment.confusion == ((3, 0), (1, 4))
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    wrong = page[page.index("Wrong, the most certain first") :]
    assert "S0" in wrong[: wrong.index("The most certain")]
    assert "true: Aged" in page


def test_unlabelled_and_score_only_images_are_predicted_and_not_scored(tmp_path: Path) -> None:
    """An empty class and "Middle age" have a prediction and no part in any figure."""
    table = changed(write_pictures(tmp_path), S0={"class": ""}, S5={"class": "Middle age"})
    found = evaluate(tmp_path, table).summary.assessment
    assert (found.n, found.unlabelled) == (6, 2)
    rows = read_rows(tmp_path / "out" / "predictions.csv")
    assert [row["class"] for row in rows][:2] == ["", "Young"]
    assert rows[5]["predicted"] == "Aged"


def test_images_that_cannot_be_read_are_listed_and_the_rest_is_scored(tmp_path: Path) -> None:
    """Truncated, missing and unknown category: one sentence each."""
    table = changed(write_pictures(tmp_path), S2={"sex": "X"})
    (tmp_path / "S0.tif").write_bytes(b"II*\0")
    (tmp_path / "S1.tif").unlink()
    result = evaluate(tmp_path, table)
    assert [each["id"] for each in result.failures] == ["S0", "S1", "S2"]
    assert result.summary.assessment.n == 5
    errors = {row["id"]: row["error"] for row in read_rows(tmp_path / "out" / "predictions.csv")}
    assert "S1.tif" in errors["S1"]
    assert "failed: S2" in str(result)


def test_of_a_split_table_only_the_test_part_is_scored(tmp_path: Path) -> None:
    """A model is not scored on what it may have learnt from."""
    table = write_pictures(tmp_path)
    parts = {f"S{n}": {"split": "test" if n in {1, 2, 5, 6} else "train"} for n in range(8)}
    assert evaluate(tmp_path, changed(table, **parts)).summary.assessment.n == 4
    for cells in parts.values():
        cells["split"] = "train"
    with pytest.raises(TableError, match="no row whose 'split' is 'test'"):
        evaluate(tmp_path, changed(table, **parts))


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"S1": {"id": "S0"}}, "already that of row"),
        ({"S1": {"class": "Yuong"}}, "row 3, 'class'"),
        ({f"S{n}": {"class": ""} for n in range(8)}, "nothing to score"),
    ],
)
def test_a_table_that_cannot_be_scored_is_one_sentence(
    cells: dict[str, dict[str, str]], words: str, tmp_path: Path
) -> None:
    """Duplicate ids, a class that is none, no class at all."""
    table = changed(write_pictures(tmp_path), **cells)
    with pytest.raises(TableError, match=words):
        evaluate(tmp_path, table)


def test_one_class_alone_is_scored_as_far_as_it_goes(tmp_path: Path) -> None:
    """What needs two classes is not known; nothing fails."""
    table = write_rows(tmp_path / "t.csv", read_rows(write_pictures(tmp_path))[:4])
    found = evaluate(tmp_path, table).summary.assessment
    assert np.isnan(found.figures["roc_auc"].value)
    assert found.figures["accuracy"].value == 1


def test_results_are_not_replaced_unasked(tmp_path: Path) -> None:
    """A second evaluation into the same folder needs `overwrite`."""
    table = write_pictures(tmp_path)
    evaluate(tmp_path, table)
    with pytest.raises(OutputExistsError):
        evaluate(tmp_path, table)
    model = load_model(tmp_path / "model", device="cpu")
    assert evaluate_table(model, table, tmp_path / "out", overwrite=True).summary.assessment.n == 8


def test_another_model_is_compared_on_the_same_images(tmp_path: Path) -> None:
    """The truth is that of the table, and the difference of the balanced accuracies is told."""
    table = write_pictures(tmp_path)
    other = [
        {"id": f"S{n}", "p_Young": 0.9, "p_Aged": 0.1, "error": ""} for n in (0, 1, 2, 4, 5, 6)
    ]
    other.append({"id": "S7", "p_Young": "", "p_Aged": "", "error": "it was truncated"})
    other.append({"id": "elsewhere", "p_Young": 0.5, "p_Aged": 0.5, "error": ""})
    path = write_rows(tmp_path / "other.csv", other)
    comparison = evaluate(tmp_path, table, compare=str(path)).summary.comparison
    assert comparison is not None
    assert comparison["n"] == 6
    assert comparison["difference"].value == pytest.approx(0.5)
    assert "Beside another model" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_predictions_of_other_kinds_are_refused(tmp_path: Path) -> None:
    """No such file, other classes, two rows of one image: one sentence before any work."""
    rows = [{"id": "S0", "p_Young": 0.5, "p_Aged": 0.5}] * 2
    twice = write_rows(tmp_path / "twice.csv", rows)
    with pytest.raises(TableError, match="'S0' has 2 rows"):
        read_predictions(twice, ("Young", "Aged"))
    with pytest.raises(TableError, match="p_Old"):
        read_predictions(twice, ("Young", "Old"))
    table = write_pictures(tmp_path)
    with pytest.raises(MissingFileError, match=r"nowhere\.csv"):
        evaluate(tmp_path, table, compare=str(tmp_path / "nowhere.csv"))
    assert not (tmp_path / "out").exists()


def test_of_a_training_run_the_tested_images_are_compared(tmp_path: Path) -> None:
    """Rows that only shaped the decision are left out, unless there are no others."""
    rows = [
        {"id": name, "part": part, "p_Young": 0.5, "p_Aged": 0.5}
        for name, part in (("a", "test"), ("b", "held-out"), ("c", "validation"))
    ]
    path = write_rows(tmp_path / "p.csv", rows)
    assert read_predictions(path, ("Young", "Aged")).ids == ["a", "b"]
    path = write_rows(tmp_path / "p.csv", rows[2:])
    assert read_predictions(path, ("Young", "Aged")).ids == ["c"]


def test_a_table_of_which_nothing_can_be_read_says_why(tmp_path: Path) -> None:
    """When every image fails, the sentence is that of the first and not about its class."""
    table = write_pictures(tmp_path, 4)
    for path in tmp_path.rglob("*.tif"):
        path.write_bytes(b"II*\0")
    with pytest.raises(TableError, match=r"None of the 4 rows could be scored.*\.tif"):
        evaluate(tmp_path, table)

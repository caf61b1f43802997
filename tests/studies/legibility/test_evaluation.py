# SPDX-License-Identifier: Apache-2.0
"""Scores agree with scikit-learn, intervals hold what they promise, and files and page say so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from encephalon.io.text import read_json, read_records
from encephalon.statistics import intervals
from encephalon.statistics.weighted_metric import mean_metric, paired_difference
from encephalon.studies.legibility.baselines import baseline_predictions
from encephalon.studies.legibility.evaluation import (
    LOWER,
    Evaluation,
    evaluate,
    is_collapsed,
    metrics_of,
)
from encephalon.studies.legibility.evaluation_page import evaluation_page, write_tables
from encephalon.studies.legibility.predictions import MODEL, WHATEVER, model_predictions
from encephalon.studies.legibility.reading import fit_readings
from encephalon.studies.legibility.settings import LegibilitySettings
from tests.studies.legibility.planted import make_answers, make_folds, make_people


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws that show what is drawn, in little time."""
    monkeypatch.setattr(intervals, "MOST_DRAWS", 200)
    monkeypatch.setattr(intervals, "FEWEST_DRAWS", 200)


@pytest.fixture(scope="module")
def found() -> Evaluation:
    people, folds = make_people(120, missing=0.2, confounds=("head",)), make_folds(120, 3)
    settings = LegibilitySettings(baselines=("mean", "linear"))
    said = model_predictions(people, folds, make_answers(people, folds), settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "MOST_DRAWS", 200)
        patch.setattr(intervals, "FEWEST_DRAWS", 200)
        simple = baseline_predictions(people, folds, settings)
        return evaluate(people, folds, [*said, *simple], settings.alpha)


def test_every_metric_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, chances = rng.integers(0, 3, 90), rng.dirichlet(np.ones(3), 90)
    called = chances.argmax(axis=1)
    values = {name: one.value for name, one in metrics_of(chances, truth.astype(float)).items()}
    expected = {
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, called),
        "macro_precision": metrics.precision_score(truth, called, average="macro"),
        "macro_f1": metrics.f1_score(truth, called, average="macro"),
        "roc_auc": metrics.roc_auc_score(truth, chances, multi_class="ovr"),
        "pr_auc": metrics.average_precision_score(np.eye(3)[truth], chances),
        "mcc": metrics.matthews_corrcoef(truth, called),
        "log_loss": metrics.log_loss(truth, chances),
        "brier": np.square(np.eye(3)[truth] - chances).sum(axis=1).mean(),
    }
    for name, value in expected.items():
        assert values[name] == pytest.approx(value), name
    known, said = rng.normal(size=50), rng.normal(size=50)
    numbers = {name: one.value for name, one in metrics_of(said[:, None], known).items()}
    assert numbers["r2"] == pytest.approx(metrics.r2_score(known, said))
    assert numbers["mae"] == pytest.approx(metrics.mean_absolute_error(known, said))
    assert numbers["rmse"] == pytest.approx(metrics.root_mean_squared_error(known, said))


def test_a_predictor_that_says_the_same_of_everybody_in_a_fold_is_told() -> None:
    fold, truth = np.array([0, 0, 1, 1]), np.array([1.0, 9.0, 4.0, 6.0])
    assert is_collapsed(np.array([[5.0], [5.0], [6.0], [6.0]]), truth, fold)
    assert not is_collapsed(np.array([[1.0], [9.0], [6.0], [6.0]]), truth, fold)
    sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    assert is_collapsed(sure, np.array([0.0, 1, 0, 1]), fold)
    assert not is_collapsed(sure, np.array([0.0, 1, 0, 1]), np.zeros(4))


def test_intervals_and_sets_hold_new_truths_as_often_as_promised() -> None:
    """Though weights and corrections are fitted on the very people who calibrate."""
    rng, held = np.random.default_rng(0), list[tuple[float, float]]()
    has, sets = np.ones((40, 3), dtype=bool), [("a",), ("b",), ("a", "b")]
    for _ in range(40):
        truth = rng.normal(size=540)
        answers = truth[:, None, None] + rng.normal(size=(540, 3, 1)) * [[1.0], [2.0], [1.5]]
        whole = fit_readings(answers[:40], truth[:40], has, sets)[-1]
        first = whole.read(answers[40:]).holds(truth[40:]).mean()
        classes = (truth > 0).astype(float)
        chances = 1 / (1 + np.exp(-answers))
        chances = np.concatenate([1 - chances, chances], axis=2)
        whole = fit_readings(chances[:40], classes[:40], has, sets)[-1]
        held.append((first, whole.read(chances[40:]).holds(classes[40:]).mean()))
    means = np.mean(held, axis=0)
    assert (means > 0.88).all()
    assert means[0] < 0.95


def test_a_large_subgroup_has_a_threshold_of_its_own() -> None:
    rng = np.random.default_rng(0)
    names = ["east"] * 100 + ["west"] * 100 + ["north"] * 5
    truth = rng.normal(size=205) * np.repeat([1.0, 5.0, 1.0], [100, 100, 5])
    has = np.ones((205, 1), dtype=bool)
    (reading,) = fit_readings(np.zeros((205, 1, 1)), truth, has, [("a",)], subgroups=names)
    assert set(reading.thresholds) == {"all", "east", "west"}
    assert reading.thresholds["west"] > 2 * reading.thresholds["east"]
    read = reading.read(np.zeros((3, 1, 1)), ["west", "north", "elsewhere"])
    limits = reading.thresholds
    assert read.high.tolist() == [limits["west"], limits["all"], limits["all"]]


def test_a_planted_difference_is_found_and_none_is_not() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=200), rng.normal(size=200)
    better, p = paired_difference(mean_metric(first + 0.5), mean_metric(second))
    assert better.low > 0
    assert p < 0.01
    same, p = paired_difference(mean_metric(first), mean_metric(first))
    assert (same.value, p) == (0.0, 1.0)
    mirrored = np.concatenate([first, -first])
    assert paired_difference(mean_metric(mirrored), mean_metric(0 * mirrored))[1] > 0.5


def test_every_score_has_an_interval_and_everybody_with_anything_is_scored(
    found: Evaluation,
) -> None:
    rows = {(r["target"], r["inputs"], r["method"]): r for r in found.scores}
    whole = rows["sex", WHATEVER, MODEL]
    assert whole["n"] == 120
    for name in ("balanced_accuracy", "macro_f1", "roc_auc", "pr_auc", "mcc", "brier", "log_loss"):
        assert whole[f"{name}_low"] < whole[name] < whole[f"{name}_high"]
    assert rows["age", "strong", MODEL]["n"] == found.people.present[:, 0].sum()
    assert rows["age", "strong + weak", MODEL]["r2"] > rows["age", "noise", MODEL]["r2"] + 0.2
    assert rows["sex", "noise", "mean"]["collapsed"]
    assert {key[2] for key in rows} == {MODEL, "attention", "mean", "linear", "confounds"}


def test_comparisons_are_of_the_same_people_and_corrected(found: Evaluation) -> None:
    kinds = {row["kind"] for row in found.comparisons}
    assert kinds == {"baseline", "method", "subset"}
    for row in found.comparisons:
        assert row["p_corrected"] >= row["p_value"] or np.isnan(row["p_value"])
        sign = -1 if row["metric"] in LOWER else 1
        assert row["gain"] == pytest.approx(sign * (row["first"] - row["second"]))
    subset = {(r["target"], r["inputs"]): r for r in found.promise() if r["metric"] == "r2"}
    assert "strong" in subset["age", "strong + weak + noise"]["beside"]


def test_the_truth_is_held_in_subgroups_too(found: Evaluation) -> None:
    rows = [r for r in found.coverage if (r["target"], r["inputs"]) == ("age", WHATEVER)]
    assert [r["value"] for r in rows] == ["", "east", "north", "west"]
    assert rows[0]["n"] == sum(r["n"] for r in rows[1:])
    assert rows[0]["coverage"] > 0.8
    parts = [r for r in found.subgroups if (r["target"], r["inputs"]) == ("age", WHATEVER)]
    assert [(r["value"], r["n"]) for r in parts] == [(r["value"], r["n"]) for r in rows]


def test_files_and_page_say_what_was_found(found: Evaluation, tmp_path: Path) -> None:
    write_tables(tmp_path, found)
    text = evaluation_page(found, {"fold 0": [{"val_loss": 1.0}]}).render()
    assert "strong + weak" in text
    assert "Is more worse?" in text
    columns, rows = read_records(tmp_path / "predictions.csv")
    assert {"id", "target", "inputs", "method", "fold", "truth", "predicted", "low"} <= {*columns}
    assert {row["p_M"] != "" for row in rows if row["target"] == "sex"} == {True}
    one = next(r for r in rows if (r["target"], r["method"]) == ("age", MODEL))
    assert float(one["low"]) < float(one["predicted"]) < float(one["high"])
    summary: Any = read_json(tmp_path / "summary.json")
    assert summary["honest"]
    assert summary["targets"]["age"]["everybody"]["n"] == 120
    for name in ("scores", "comparisons", "coverage", "subgroups"):
        assert read_records(tmp_path / f"{name}.csv")[1]


def test_a_target_that_nobody_tested_has_is_said_and_not_scored(tmp_path: Path) -> None:
    people, folds = make_people(45), make_folds(45, 3)
    answers = make_answers(people, folds)
    people = replace(people, truth={**people.truth, "age": np.full(45, np.nan)})
    said = model_predictions(people, folds, answers, LegibilitySettings(fusion="attention"))
    found = evaluate(people, folds, said)
    write_tables(tmp_path, found)
    assert "Nobody who was tested has a known answer." in evaluation_page(found, {}).render()

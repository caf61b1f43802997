# SPDX-License-Identifier: Apache-2.0
"""The best inputs of each target: as published, and what is left of them once luck is taken off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.experiments.best_inputs import best_inputs, sampling_error
from encephalon.experiments.results_table import ResultsTable, read_results
from encephalon.experiments.shared_people import shared_people
from tests.experiments.grid_results import made_results, results_with_people

IMAGES = "t1 + flair + dwi"
C, D, P, S = "constitutional", "disease", "psychology", "serology"
#: The best score of each target, its inputs, and that of constitutional data alone
#: (Ruffle et al. 2024).
PUBLISHED = {
    "Sex (Male)": (0.9966, [IMAGES], None),
    "Age": (0.859, ["t1 + flair"], None),
    "Weight": (0.625, [IMAGES], None),
    "Handedness (Rt)": (0.577, ["connectivity"], None),
    "Body Fat": (0.834, [IMAGES, C, P, S], 0.788),
    "Hb": (0.524, [IMAGES, C, P, D], 0.439),
    "HDL": (0.309, [IMAGES, C, D], 0.286),
    "HbA1c": (0.146, ["t1 + flair", C], 0.104),
    "LDL": (0.126, ["t1 + flair", C, D], 0.066),
    "Reaction Time": (0.081, ["dwi", C, D], 0.073),
    "Hypertension": (0.667, [C, S], 0.638),
    "Miserableness": (0.605, [C, S, D], 0.604),
    "Sensitivity": (0.601, [C], 0.601),
    "Anxious": (0.590, [C, S], 0.585),
    "Worry": (0.588, [IMAGES, C], 0.585),
    "Smoking": (0.581, [IMAGES, C, P], 0.550),
    "Guilty": (0.581, [C], 0.581),
    "Asthma": (0.578, [C, P], 0.550),
    "Fed Up": (0.577, [C, S, D], 0.575),
    "Irritability": (0.575, [C, D], 0.548),
    "Lonely": (0.575, [C, D], 0.564),
    "Nervous": (0.573, [C, S, D], 0.550),
    "Mood Swings": (0.566, [C, S, D], 0.557),
    "Tense": (0.558, [C, D], 0.524),
    "Atopy": (0.554, [C], 0.554),
}


@pytest.fixture(scope="module")
def published(data: Path) -> ResultsTable:
    """The published table of 700 models."""
    return read_results(data / "published" / "legibility" / "metrics_comparison_test.csv")


@pytest.mark.data
def test_the_published_best_is_found_and_corrected(published: ResultsTable) -> None:
    """Every target, with what constitutional data tell alone; the correction is never upwards."""
    found = {each.target: each for each in best_inputs(published, people=2381)}
    assert found.keys() == PUBLISHED.keys()
    for target, (score, inputs, alone) in PUBLISHED.items():
        best = found[target]
        assert best.score == pytest.approx(score, abs=5e-4)
        assert best.inputs == " + ".join(inputs)
        assert best.corrected < best.score
        assert best.inputs == best.equal[0]
        if alone is not None:
            part = published.where(target=target, inputs=C)
            assert part.score()[0] == pytest.approx(alone, abs=5e-4)
    assert found["Sex (Male)"].corrected == pytest.approx(0.996, abs=1e-3)
    assert found["Atopy"].corrected < 0.535
    assert {best.verdict for best in found.values()} == {"told"}


@pytest.mark.data
def test_the_published_table_has_models_that_tell_nothing(published: ResultsTable) -> None:
    """215 of 494 classifications below 0.52, 83 at 0.5, and 3,659 hours."""
    about = published.overview()
    assert (about["classifications"], about["classifications_near_chance"]) == (494, 215)
    assert about["classifications_at_chance"] == 83
    assert round(about["hours"]) == 3659


def test_the_best_of_noise_is_worth_no_more_than_the_rest(rng: np.random.Generator) -> None:
    """Sets that differ by what nothing explains are equal, and the best of them is worth less."""
    few = best_inputs(made_results(rng, spread=0.1, n=20))
    assert all(len(each.equal) > 1 and each.sets == 8 for each in few)
    assert all(each.score - each.corrected > 0.01 for each in few)
    many = best_inputs(made_results(rng, spread=0.001, n=1_000_000))
    for each in many:
        assert (each.inputs, each.verdict) in {("brain + words", "told"), ("brain", "told")}
        assert each.corrected == pytest.approx(each.score, abs=2e-3)
        assert set(each.equal) <= {"brain + words", "brain"}


def test_people_are_drawn_where_their_predictions_lie(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Sets with the brain are the best of the number; the class is told by none."""
    size, kind = best_inputs(results_with_people(tmp_path, rng))
    assert (size.method, size.people, size.sets) == ("people", 150, 8)
    assert all("brain" in inputs for inputs in size.equal)
    assert size.verdict == "told"
    assert size.low < size.corrected <= size.score + 0.01
    assert (kind.method, kind.verdict) == ("people", "open")
    assert (len(kind.equal) > 4, kind.corrected < kind.score) == (True, True)
    assert kind.corrected == pytest.approx(0.5, abs=0.06)


def test_people_who_cannot_be_read_are_not_drawn(
    tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor where a model lacks its predictions, or few are common to all: scores are used alone."""
    results = results_with_people(tmp_path, rng)
    assert shared_people(results).keys() == {"size", "kind"}
    assert shared_people(results_with_people(tmp_path / "few", rng, people=19)) == {}
    path = tmp_path / "run" / "evaluation" / "predictions.csv"
    path.write_text("id,target\n1,size\n", encoding="utf-8")
    assert [each.method for each in best_inputs(results)] == ["errors", "errors"]
    assert f"{path}: its people are not drawn" in caplog.text
    path.unlink()
    assert shared_people(results) == {}


def test_a_target_that_nobody_tells_is_told_from_one_that_few_were_asked_of() -> None:
    """What surely is near chance, and what may be."""
    row = {"target": "a", "kind": "classification", "inputs": ["t1"], "balanced_accuracy": 0.505}
    many = best_inputs(ResultsTable.of([row]), people=100_000)[0]
    few = best_inputs(ResultsTable.of([row]), people=100)[0]
    assert (many.verdict, few.verdict) == ("not told", "open")
    unknown = best_inputs(ResultsTable.of([row]))[0]
    assert (unknown.method, unknown.verdict, unknown.equal) == ("", "open", ())
    assert np.isnan(unknown.corrected)


def test_errors_shrink_with_the_square_root_of_people() -> None:
    """Of a balanced accuracy of 0.5 in 2,500 people it is 0.01."""
    found = sampling_error("balanced_accuracy", np.array([0.5, 1.0]), np.array([2500.0, 2500.0]))
    assert found.tolist() == pytest.approx([0.01, 0.0])
    few, many = sampling_error("r2", np.array([0.5, 0.5]), np.array([100.0, 10_000.0]))
    assert few / many == pytest.approx(10, rel=0.03)

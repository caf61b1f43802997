# SPDX-License-Identifier: Apache-2.0
"""Another program beside the model, and how small an effect its cohort could have shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from encephalon import api
from encephalon.errors import RecipeError, TableError
from encephalon.io.text import read_records, write_records
from encephalon.recipes.loading import load_recipe
from encephalon.studies.legibility.data import People
from encephalon.studies.legibility.evaluation_page import METHODS as WORDS
from encephalon.studies.legibility.modes import legibility_settings
from encephalon.studies.legibility.power import power_blocks, power_records
from encephalon.studies.legibility.settings import METHODS, Cohort, LegibilitySettings
from encephalon.tables.reading import read_table
from tests.studies.legibility.tiny_people import QUICK, write_people


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run beside a program that knows the age but for a scale, of all people but two."""
    pytest.importorskip("lightning")
    folder = tmp_path_factory.mktemp("run")
    table = write_people(folder, people=66)
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [
        {"id": row["id"], "age": 2 * float(row["age"]) + rng.normal(), "sex": row["sex"]}
        for row in read_records(table)[1]
        if row["age"]
    ]
    write_records(rows[2:], folder / "theirs.csv")
    changes = QUICK | {
        "study.external.theirs": str(folder / "theirs.csv"),
        "study.recalibrate": "true",
        "study.power": "true",
        "training.epochs": "1",
    }
    api.train("legibility", table, folder / "run", overrides=changes, device="cpu", threads=1)
    return folder / "run"


def test_another_program_is_scored_beside_the_model_on_the_same_people(run: Path) -> None:
    """As it is and put right, with every set of inputs and the paired difference."""
    scores = read_records(run / "evaluation" / "scores.csv")[1]
    mine = {
        (row["target"], row["inputs"], row["method"]): row
        for row in scores
        if row["method"] in {"model", "theirs", "theirs recalibrated"}
    }
    for target in ("age", "sex"):
        sets = {inputs for one, inputs, method in mine if (one, method) == (target, "model")}
        assert {i for t, i, m in mine if (t, m) == (target, "theirs recalibrated")} == sets
        assert {i for t, i, m in mine if (t, m) == (target, "theirs")} == sets
    whole = [mine["age", "whatever there is", m] for m in ("theirs", "theirs recalibrated")]
    assert float(whole[0]["r2"]) < 0
    assert float(whole[1]["r2"]) > 0.95
    everybody = int(mine["age", "whatever there is", "model"]["n"])
    assert everybody - 2 <= int(whole[0]["n"]) <= everybody
    assert float(mine["sex", "connectivity", "theirs"]["balanced_accuracy"]) == 1
    compared = read_records(run / "evaluation" / "comparisons.csv")[1]
    beside = [row for row in compared if row["beside"] == "theirs recalibrated"]
    assert {row["target"] for row in beside} == {"age", "sex"}
    assert all(row["n"] and row["gain"] and row["p_corrected"] for row in beside)


def test_the_page_calls_other_programs_as_the_recipe_does(run: Path) -> None:
    """And says of how many people their score is where it is not of all."""
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "theirs: R²" in page
    assert "theirs recalibrated: R²" in page
    assert ", n = " in page
    assert "What this cohort could have shown" in page


def test_the_power_of_each_target_and_input_is_a_table(run: Path) -> None:
    """An area under the curve is that of two classes."""
    rows = read_records(run / "evaluation" / "power.csv")[1]
    assert {(row["target"], row["input"]) for row in rows} == {
        (target, name) for target in ("age", "sex") for name in ("connectivity", "serology")
    }
    for row in rows:
        assert (row["roc_auc"] == "") == (row["target"] == "age")
        assert 0 <= float(row["found"]) <= 1
    least = [row for row in rows if row["share"] == row["needed"]]
    assert all(float(row["found"]) >= 0.8 for row in least)


def test_a_file_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    table = write_people(tmp_path)
    (tmp_path / "x.csv").write_text("id,weight\nperson-0,3\n", encoding="utf-8")
    changes = QUICK | {"study.external.x": str(tmp_path / "x.csv")}
    with pytest.raises(TableError, match="the column 'weight' is no target; there are age, sex"):
        api.train("legibility", table, tmp_path / "run", overrides=changes, device="cpu")
    assert not (tmp_path / "run").exists()


def test_no_program_is_called_as_a_method_of_the_study() -> None:
    """Those that a recipe may name are all the methods that there are words for."""
    assert set(METHODS) == set(WORDS)
    baselines = LegibilitySettings.model_fields["baselines"].annotation
    assert set(get_args(get_args(baselines)[0])) < set(METHODS)
    recipe = load_recipe("legibility", {"study.external.linear": "x.csv"})
    with pytest.raises(RecipeError, match="calls a program 'linear', a method of its own"):
        legibility_settings(recipe)


def test_an_input_that_cannot_show_anything_is_said_and_holds_up_no_other(tmp_path: Path) -> None:
    """Nor do inputs of the target's own domain, or people of whom it is not known, count."""
    rng = np.random.default_rng(0)
    cohort = Cohort.model_validate(
        {
            "blocks": {
                "blood": {"columns": {"iron": "number"}},
                "rare": {"columns": {"zinc": "number"}},
                "own": {"columns": {"years": "number"}},
            },
            "targets": {"age": {"kind": "continuous", "domain": "own"}},
        }
    )
    write_records(
        [{"id": f"p{n}", "iron": 1, "zinc": 1, "years": 1, "age": n} for n in range(30)],
        tmp_path / "people.csv",
    )
    table = read_table(tmp_path / "people.csv", cohort.columns())
    zinc = np.where(np.arange(30) < 3, 1.0, np.nan)
    people = People(
        table,
        cohort,
        np.ones((30, 3), bool),
        values={
            "blood": rng.normal(size=(30, 1)),
            "rare": zinc[:, None],
            "own": rng.normal(size=(30, 1)),
        },
        truth={"age": np.where(np.arange(30) < 5, np.nan, np.arange(30.0))},
    )
    rows = power_records(people)
    assert {row["input"] for row in rows} == {"blood", "rare"}
    assert {row["people"] for row in rows if row["input"] == "blood"} == {25}
    (problem,) = (row["problem"] for row in rows if row["input"] == "rare")
    assert "'rare': effects are looked for in 5 folds" in problem
    page = "".join(str(block) for block in power_blocks(rows))
    assert "5 folds" in page
    assert "80 %" in page

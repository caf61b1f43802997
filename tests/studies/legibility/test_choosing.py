# SPDX-License-Identifier: Apache-2.0
"""The models of a grid for people who have this or that: which of them tells what."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from encephalon import api
from encephalon.api.grid import run_grid
from encephalon.errors import InputError, UsageError
from encephalon.experiments.grid_choice import Choice, Scored
from encephalon.io.text import read_records, write_records
from encephalon.recipes.loading import dump_recipe
from encephalon.studies.legibility.candidates import Candidate, best_of
from encephalon.studies.legibility.settings import Cohort
from encephalon.tables.samples import Sample
from tests.studies.legibility.test_task import COHORT, make, make_people

GRID = """
name = "two"
title = "Two"
[axes]
recipe = ["tiny.toml"]
"study.inputs" = [["blood", "mind"], ["t1", "flair", "mind"]]
"""


def candidate(name: str, *inputs: str, mode: str = "default", **scores: float) -> Candidate:
    """A model of some inputs; scores of age by their names, with "_" between."""
    known = {
        ("age", frozenset(some.split("_"))): Scored("r2", value, value - 0.1, 40)
        for some, value in scores.items()
    }
    cohort = Cohort.model_validate(COHORT).only(inputs, ("age",))
    return Candidate(name, Path(name), cohort, mode, known, "")


def best(models: list[Candidate], *given: str) -> Choice | str:
    """What tells the age of who has these."""
    files = {name: Path(name) for name in given if name not in {"blood", "mind"}}
    row = {"iron": "100" if "blood" in given else "", "mood": "1" if "mind" in given else ""}
    row |= {"type": "A" if "blood" in given else ""}
    sample = Sample("p", files, row)  # type: ignore[arg-type]
    known: dict[str, bool] = {}
    return best_of(models, "age", {one.name: one.has(sample, (), known) for one in models})


def test_a_model_stands_with_its_score_for_just_what_there_is() -> None:
    """Not for all of its inputs; of those without one any other is preferred."""
    all_of_it = candidate("all", "blood", "mind", blood=0.1, mind=0.3, blood_mind=0.2)
    blood = candidate("blood", "blood", blood=0.15)
    expected = Choice("blood", Scored("r2", 0.15, 0.15 - 0.1, 40), 2)
    assert best([all_of_it, blood], "blood") == expected
    for given, name in ((("mind",), "all"), (("blood", "mind"), "all"), (("t1", "mind"), "all")):
        assert best([all_of_it, blood], *given).model == name  # type: ignore[union-attr]
    t1 = candidate("t1", "t1", "flair")
    assert best([t1, all_of_it], "t1", "mind").model == "all"  # type: ignore[union-attr]
    alone = best([t1, all_of_it], "t1")
    assert str(alone) == "t1, the best of 1 (not scored from just these inputs)"


def test_a_model_of_complete_cases_stands_where_there_is_all_of_it() -> None:
    """And else the nearest is named, with what it lacks."""
    models = [
        candidate("whole", "t1", "flair", "blood", mode="published", t1_flair_blood=0.9),
        candidate("blood", "blood", mode="published", blood=0.1),
    ]
    assert best(models, "t1", "flair", "blood").model == "whole"  # type: ignore[union-attr]
    assert best(models, "t1", "blood").model == "blood"  # type: ignore[union-attr]
    nearest = "no model fits what there is: the nearest, blood, needs blood"
    assert best(models, "t1") == nearest
    assert best(models[:1], "t1") == (
        "no model fits what there is: the nearest, whole, needs flair, blood"
    )
    some = best([candidate("any", "blood", "mind")], "t1")
    assert some == "no model fits what there is: the nearest, any, needs one of blood, mind"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of people, with a grid of two small models in `grid`."""
    pytest.importorskip("lightning")
    folder = tmp_path_factory.mktemp("people")
    make_people(folder, 40)
    (folder / "cohort.toml").write_text(tomlkit.dumps(COHORT), encoding="utf-8")
    recipe = dump_recipe(make(folds=3, baselines=[]))
    (folder / "tiny.toml").write_text(recipe, encoding="utf-8")
    (folder / "two.toml").write_text(GRID, encoding="utf-8")
    status = run_grid(folder / "two.toml", folder / "people.csv", folder / "grid", threads=1)
    assert [cell.message for cell in status.cells] == ["", ""]
    return folder


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of the predictions there."""
    return {row["id"]: row for row in read_records(folder / "predictions.csv")[1]}


def test_each_target_is_told_by_the_best_model_for_what_there_is(
    people: Path, tmp_path: Path
) -> None:
    """As that model tells it by itself, and the row says which, how good, and of how many."""
    found = api.predict(people / "grid", people / "people.csv", tmp_path / "out", threads=1)
    assert found.failures == []
    rows = rows_of(tmp_path / "out")
    assert {row["model"] for row in rows.values()} == {"two"}
    models = sorted({row["age_model"] for row in rows.values()})
    assert set(models) <= {path.name for path in (people / "grid" / "cells").iterdir()}
    for name in models:
        run = people / "grid" / "cells" / name / "run"
        api.predict(run, people / "people.csv", tmp_path / name, threads=1, report=False)
        alone, scores = rows_of(tmp_path / name), read_records(run / "evaluation" / "scores.csv")[1]
        for row in (one for one in rows.values() if one["age_model"] == name):
            assert row["age"] == alone[row["id"]]["age"]
            used = row["age_used"].replace(", ", " + ")
            known = {one["inputs"]: one for one in scores if one["target"] == "age"}
            own = next(
                (one for one in scores if (one["target"], one["inputs"]) == ("age", used)), None
            )
            assert known
            assert row["age_score"] == (own["r2"] if own else "")
            assert 1 <= int(row["age_candidates"]) <= 2
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "The best of several is best by luck too" in page
    assert "the best of 2 (R² " in page
    again = api.predict(people / "grid", people / "people.csv", tmp_path / "out", threads=1)
    assert {row["status"] for row in again.rows} == {"skipped"}


def test_who_has_nothing_that_a_model_uses_is_told_what_is_missing(people: Path) -> None:
    """One target that no model fits is empty, with a sentence; the others are told."""
    model = api.load_model(people / "grid", threads=1)
    with pytest.raises(InputError, match=r"no model fits what there is: the nearest, .*needs one"):
        model.predict(mood="")
    found = model.predict(iron="101").values
    assert found["anaemia"] is None
    assert "needs one of" in str(found["anaemia_used"]) or "needs mind" in str(
        found["anaemia_used"]
    )
    assert str(found["age_model"]).endswith("blood-mind")
    only: Any = api.load_model(people / "grid", threads=1, use=("mind",))
    assert only.predict(iron="101", mood="1").values["age_used"] == "mind"
    with pytest.raises(UsageError, match="'two' has no input 'dwi'; it has"):
        api.load_model(people / "grid", use=("dwi",))


def test_many_models_are_neither_scored_nor_explained_as_one(people: Path, tmp_path: Path) -> None:
    """A run is asked for."""
    with pytest.raises(UsageError, match="is many models: give the run of one"):
        api.evaluate(people / "grid", people / "people.csv", tmp_path / "out")
    with pytest.raises(UsageError, match="is many models: give the run of one"):
        api.explain(people / "grid", people / "people.csv", tmp_path / "out")


def test_scores_that_change_change_the_choice(people: Path, tmp_path: Path) -> None:
    """What was noted of the cells before is noted anew."""
    shutil.copytree(people / "grid", tmp_path / "grid")

    def chosen() -> Any:
        return api.load_model(tmp_path / "grid", threads=1).predict(mood="1").values["age_model"]

    before = chosen()
    assert (tmp_path / "grid" / "told.json").is_file()
    scores = tmp_path / "grid" / "cells" / before / "run" / "evaluation" / "scores.csv"
    rows = read_records(scores)[1]
    write_records([{**row, "r2": "-9"} for row in rows], scores)
    assert chosen() != before


def test_a_model_that_was_edited_gives_way_to_the_next_best(
    people: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Which may know less."""
    shutil.copytree(people / "grid", tmp_path / "grid")
    model = api.load_model(tmp_path / "grid", threads=1)
    cell = next((tmp_path / "grid" / "cells").glob("*-t1-flair-mind"))
    (cell / "run" / "model" / "graph.onnx").write_bytes(b"edited")
    scans = {"t1": people / "t1-0.npy", "flair": people / "flair-0.npy"}
    found = model.predict(**scans, mood="1").values
    assert found["age_used"] == "mind"
    assert sum("is passed over" in message for message in caplog.messages) <= 1
    with pytest.raises(InputError, match="no model fits"):
        model.predict(t1=people / "t1-0.npy")
    shutil.rmtree(cell / "run")
    assert "t1" not in api.load_model(tmp_path / "grid", threads=1).columns.inputs

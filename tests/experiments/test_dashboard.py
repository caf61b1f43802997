# SPDX-License-Identifier: Apache-2.0
"""The data of a dashboard say what the results and their statistics say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encephalon.experiments.analyses import Analyses, analyse
from encephalon.experiments.curves import best_first, losses_of
from encephalon.experiments.dashboard import dashboard_data, with_status
from encephalon.experiments.grid_folder import CellState, GridStatus
from encephalon.experiments.results_table import ResultsTable
from tests.experiments.grid_results import made_results, results_with_people

pytest.importorskip("statsmodels")


@pytest.fixture(scope="module")
def found() -> Analyses:
    """Of two seeds, so that a cell is the mean of two models."""
    import pandas as pd

    one, two = (made_results(np.random.default_rng(s), seed=s).frame for s in (0, 1))
    return analyse(ResultsTable(pd.concat([one, two], ignore_index=True)))


def test_a_cell_is_the_mean_of_its_seeds(found: Analyses, tmp_path: Path) -> None:
    data = dashboard_data(found, tmp_path)
    first = found.results.frame[found.results.frame["target"] == "target 0"]
    both = first[first["inputs"] == "brain + blood + words"]["r2"]
    assert len(both) == 2
    assert data["cells"]["r2"][0] == pytest.approx(both.mean(), rel=1e-4)
    assert len(data["cells"]["target"]) == 40
    assert data["costs"]["all"][0]["trainings"] == 10


def test_sets_are_told_by_the_units_that_they_need(found: Analyses, tmp_path: Path) -> None:
    data = dashboard_data(found, tmp_path)
    assert [each["name"] for each in data["units"]] == ["brain", "blood", "words"]
    sets = {each["name"]: each["units"] for each in data["sets"]}
    assert (sets["brain + words"], sets[""]) == ([0, 2], [])
    best = data["targets"][0]["best"]
    assert data["sets"][best["set"]]["name"] == found.best[0].inputs
    assert best["set"] in best["equal"]


def test_what_is_no_number_is_nothing_in_json(found: Analyses, tmp_path: Path) -> None:
    """JSON has no NaN, and a browser refuses a page that has."""
    text = json.dumps(dashboard_data(found, tmp_path), allow_nan=False)
    assert "NaN" not in text


def test_another_status_is_another_version(found: Analyses, tmp_path: Path) -> None:
    cell = CellState("one", tmp_path, {}, "failed", 60.0, "no luck")
    status = GridStatus("small", "Small", "any", (cell, replace(cell, name="two", state="left")))
    data = dashboard_data(found, tmp_path, status)
    assert data["title"] == "Small"
    assert data["status"]["failures"] == [{"name": "one", "message": "no luck"}]
    assert with_status(data, status)["version"] == data["version"]
    later = replace(status, cells=(cell,))
    assert with_status(data, later)["version"] != data["version"]


def test_links_lead_from_the_page_to_what_is_there(tmp_path: Path) -> None:
    """To the model and its pages, if they lie beside it, whatever their names are."""
    folder = tmp_path / "cell #1"
    results = results_with_people(folder, np.random.default_rng(0))
    (folder / "run" / "model").mkdir()
    (folder / "run" / "model" / "README.md").touch()
    data = dashboard_data(analyse(results), tmp_path / "report")
    model = data["models"][0]
    assert model["model"] == "../cell%20%231/run/model/"
    assert model["card"] == "../cell%20%231/run/model/README.md"
    assert "training" not in model
    counts = next(each for each in data["details"].values() if "confusion" in each)["confusion"]
    assert np.sum(counts["counts"]) == 150
    assert "three targets" in data["no_graph"]


def test_curves_are_those_that_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of very many models stays small: the others are on the pages of their runs."""
    runs = [tmp_path / name for name in ("best", "other")]
    for run in runs:
        run.mkdir()
        lines = "".join(f"{epoch},0.5,0.6\n" for epoch in range(1, 200))
        (run / "history.csv").write_text(f"epoch,train_loss,val_loss\n{lines}", encoding="utf-8")
    first, second = losses_of(runs).values()
    assert (len(first[0]["epoch"]), first) == (20, second)
    monkeypatch.setattr("encephalon.experiments.curves.ROOM", 500)
    assert list(losses_of(runs)) == runs[:1]


def test_of_each_target_the_best_comes_first() -> None:
    """So that an easy target does not take the room of the others."""
    rows = best_first(made_results(np.random.default_rng(0)))
    assert sorted(rows["target"][:5]) == [f"target {number}" for number in range(5)]
    assert rows["r2"].iloc[0] >= rows.loc[rows["target"] == rows["target"].iloc[0], "r2"].max()

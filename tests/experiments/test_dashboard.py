# SPDX-License-Identifier: Apache-2.0
"""The data of a dashboard say what the results and their statistics say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encephalon.experiments.analyses import Analyses, analyse
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

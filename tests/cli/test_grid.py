# SPDX-License-Identifier: Apache-2.0
"""`encephalon grid`: what it prints, and its exit codes, with a stand-in for what takes long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from encephalon.api.grid import Here, report_grid
from encephalon.errors import MissingExtraError, RunError
from encephalon.experiments.grid_choice import Scored
from encephalon.experiments.grid_folder import GridFolder
from encephalon.experiments.grid_report import write_statistics
from encephalon.io.cache import read_checksummed, write_checksummed
from encephalon.io.text import read_records
from encephalon.recipes.schema import Recipe
from encephalon.studies.microtomography.study import STUDY
from tests.cli.conftest import Run
from tests.experiments.grid_results import made_results
from tests.experiments.test_grid import Steps
from tests.studies.microtomography.tiny_tiles import write_table

GRID = 'name = "mine"\ntitle = "Mine"\n[axes]\nrecipe = ["pca", "nmf"]\ntraining.seed = [0, 1]\n'


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """A grid of four cells, beside the table that they are for."""
    write_table(tmp_path / "tiles")
    path = tmp_path / "mine.toml"
    path.write_text(GRID, encoding="utf-8")
    return path


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Stands in for training and evaluation, and for the leaderboard."""
    pytest.importorskip("torch")
    made = Steps()

    def train(_: Here, recipe: Recipe, table: Path, run: Path) -> None:
        made.train(recipe, table, run)

    def evaluate(_: Here, run: Path, table: Path, output: Path) -> Sequence[Mapping[str, str]]:
        return made.evaluate(run, table, output)

    monkeypatch.setattr(Here, "train", train)
    monkeypatch.setattr(Here, "evaluate", evaluate)
    study = replace(STUDY, compare=None, main_score=lambda _: Scored("accuracy", 0.25, n=8))
    monkeypatch.setattr("encephalon.studies.registry.load_study", lambda _: study)
    return made


def test_built_in_grids_are_listed_and_shown(run: Run) -> None:
    """As recipes are; an unknown one is answered with the nearest."""
    assert "microtomography-tiny" in run("grid", "list").out
    assert 'name = "microtomography-tiny"' in run("grid", "show", "microtomography-tiny").out
    result = run("grid", "show", "microtomography-tinny")
    assert (result.code, "'microtomography-tiny'" in result.err) == (1, True)


def test_a_plan_lists_the_cells_and_writes_nothing(run: Run, grid: Path, tmp_path: Path) -> None:
    """As `grid plan`, and as `grid run --dry-run`."""
    table, out = tmp_path / "tiles" / "tiles.csv", tmp_path / "out"
    words = (grid, "-t", table, "--set", "study.components=8")
    said = json.loads(run("grid", "plan", *words, "--json").out)
    assert said["cells"][0]["name"] == "pca seed=0"
    assert len({cell["key"] for cell in said["cells"]}) == 4
    dry = run("grid", "run", *words, "-o", out, "--dry-run")
    assert "4 cells" in dry.out
    assert not out.exists()


def test_a_plan_of_a_table_that_is_not_in_order_fails(run: Run, grid: Path, tmp_path: Path) -> None:
    """Before anything is trained, with the fault."""
    table = tmp_path / "tiles" / "tiles.csv"
    table.write_text("id,image\na,nowhere.zarr\n", encoding="utf-8")
    result = run("grid", "plan", grid, "-t", table)
    assert result.code == 1
    assert "nowhere.zarr" in result.err
    missing = run("grid", "plan", grid, "-t", tmp_path / "none.csv")
    assert (missing.code, "none.csv" in missing.err) == (1, True)
    assert run("grid", "plan", grid).code == 2


def test_a_grid_runs_and_says_where_it_is(
    run: Run, grid: Path, tmp_path: Path, steps: Steps
) -> None:
    """Exit code 1 with a sentence a cell that fails; the others are done and compared."""

    def fails(recipe: Recipe) -> RunError | None:
        return (
            RunError("It diverged.") if (recipe.name, recipe.training.seed) == ("nmf", 1) else None
        )

    steps.fails = fails
    table, out = tmp_path / "tiles" / "tiles.csv", tmp_path / "out"
    words = ("grid", "run", grid, "-t", table, "-o", out)
    result = run(*words)
    assert result.code == 1
    assert "error: nmf seed=1: It diverged." in result.err
    assert "mine: 4 cells, 3 done, 1 failed, 0 left" in result.out
    assert (out / "report" / "comparison.html").is_file()
    assert run("grid", "status", out).code == 1
    steps.fails = lambda _: None
    assert run(*words).code == 0
    status = json.loads(run("grid", "status", out, "--json").out)
    assert (status["done"], status["failed"], status["left"]) == (4, 0, 0)
    assert run("grid", "report", out).out == f"{out / 'report' / 'comparison.html'}\n"
    assert run("grid", "status", out, "--scores").out.splitlines()[1].split() == [
        *("pca", "seed=0"),
        "0.25",
    ]


def test_there_is_nothing_to_compare_before_a_cell_is_done(
    run: Run, grid: Path, tmp_path: Path, steps: Steps
) -> None:
    """And nothing at all in a folder without a grid."""
    steps.fails = lambda _: RunError("It diverged.")
    run("grid", "run", grid, "-t", tmp_path / "tiles" / "tiles.csv", "-o", tmp_path / "out")
    result = run("grid", "report", tmp_path / "out")
    assert (result.code, "no cell is done" in result.err) == (1, True)
    assert "not the folder of a grid" in run("grid", "report", tmp_path).err


def test_a_table_of_results_has_its_statistics(run: Run, tmp_path: Path) -> None:
    """Where it is told to write them; a table of something else is refused."""
    pytest.importorskip("statsmodels")
    path = made_results(np.random.default_rng(0)).write(tmp_path / "results.csv")
    refused = run("grid", "report", path)
    assert (refused.code, "say which folder" in refused.err) == (2, True)
    told = json.loads(run("grid", "report", path, "-o", tmp_path / "out", "--json").out)
    assert told["overview"]["rows"] == 40
    assert {"results.csv", "published.csv", "coefficients.csv", "best.csv", "costs.csv"} <= {
        Path(each).name for each in told["tables"]
    }
    best = read_records(tmp_path / "out" / "best.csv")[1]
    assert {row["inputs"] for row in best} <= {"brain", "brain + words"}
    full = run("grid", "report", path, "-o", tmp_path)
    assert (full.code, "holds something else than a report" in full.err) == (1, True)
    path.write_text("target,score\nage,1\n", encoding="utf-8")
    refused = run("grid", "report", path, "-o", tmp_path / "out")
    assert (refused.code, "is no table of results: it lacks" in refused.err) == (1, True)


def test_a_report_without_mixed_models_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All else is written."""

    def lacking(*_: object) -> None:
        raise MissingExtraError("A mixed model needs the extra.")

    monkeypatch.setattr("encephalon.statistics.mixed_models.require_extra", lacking)
    found = write_statistics(made_results(np.random.default_rng(0)), tmp_path)
    assert "there are no coefficients: A mixed model needs" in caplog.text
    assert {"best.csv", "costs.csv"} <= {path.name for path in found.tables}


def test_a_report_that_is_made_again_is_the_same_to_the_byte(tmp_path: Path) -> None:
    """Its page, too; in another process, where sets have another order."""
    source = made_results(np.random.default_rng(0)).write(tmp_path / "results.csv")
    here, there = tmp_path / "here", tmp_path / "there"
    report_grid(source, here)
    words = [sys.executable, "-m", "encephalon", "grid", "report", str(source), "-o", str(there)]
    subprocess.run(words, check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    made = [{path.name: path.read_bytes() for path in each.iterdir()} for each in (here, there)]
    assert made[0] == made[1]
    assert {"results.csv", "best.csv", "costs.csv", "graph.json", "overview.json"} <= set(made[0])
    assert ("dashboard.html" in made[0]) == bool(find_spec("gravis"))


def test_a_plan_says_how_long_it_takes_by_what_was_measured(
    run: Run, grid: Path, tmp_path: Path, steps: Steps
) -> None:
    """By a grid that was run, or by results; by neither where nothing is done."""
    table, out = tmp_path / "tiles" / "tiles.csv", tmp_path / "out"
    words = ("grid", "plan", grid, "-t", table, "--measured")
    assert "not the folder of a grid" in run(*words, out).err
    run("grid", "run", grid, "-t", table, "-o", out)
    cells = sorted((out / "cells").iterdir())
    for cell in cells:
        record = read_checksummed(cell / "evaluation" / "cell.json")
        write_checksummed(cell / "evaluation" / "cell.json", {**(record or {}), "seconds": 60.0})
    assert "about 4.0 min (4.0 min to 4.0 min), by 4 that were measured" in run(*words, out).out
    path = made_results(np.random.default_rng(0)).write(tmp_path / "results.csv")
    told = json.loads(run(*words, path, "--json").out)
    assert told["minutes"]["measured"] == 40


def test_a_grid_is_watched_until_nobody_runs_it(
    run: Run, grid: Path, tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said whenever it changes, and each failure once, with its reason."""
    steps.fails = lambda recipe: RunError("It diverged.") if recipe.name == "nmf" else None
    table, out = tmp_path / "tiles" / "tiles.csv", tmp_path / "out"
    assert run("grid", "run", grid, "-t", table, "-o", out).code == 1
    looks = iter([True, True, False])
    monkeypatch.setattr(GridFolder, "at_work", property(lambda _: next(looks)))
    monkeypatch.setattr("time.sleep", lambda _: steps_of(out))
    told = run("grid", "status", out, "--watch")
    lines = [line for line in told.out.splitlines() if line.startswith("mine: 4 cells")]
    assert told.code == 1
    assert ["2 done, 2 failed" in lines[0], "1 done, 2 failed" in lines[1]] == [True, True]
    assert told.err.count("nmf seed=0: It diverged.") == 2  # once by the way, once at the end


def steps_of(out: Path) -> None:
    """What somebody does to a grid that is watched: the scores of a cell are gone."""
    for path in sorted(out.glob("cells/*-pca-seed-0/evaluation/summary.json")):
        path.parent.rename(path.parent.with_name("gone"))

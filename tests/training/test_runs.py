# SPDX-License-Identifier: Apache-2.0
"""Run folders: begun once, reopened only by the same recipe and table."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from encephalon.errors import OutputExistsError, RunError
from encephalon.training.runs import RunFolder, write_history


def test_a_new_run_records_what_it_uses(tmp_path: Path) -> None:
    """Recipe and table, as text."""
    run = RunFolder(tmp_path / "run")
    run.begin("recipe", "table")
    assert run.recipe.read_text() == "recipe"
    assert run.table.read_text() == "table"


def test_a_folder_with_a_run_is_not_begun_again(tmp_path: Path) -> None:
    """The error offers --resume."""
    run = RunFolder(tmp_path)
    run.begin("recipe", "table")
    run.checkpoint.parent.mkdir()
    run.checkpoint.touch()
    with pytest.raises(OutputExistsError, match="--resume"):
        RunFolder(tmp_path).begin("recipe", "table")


def test_a_run_that_never_got_to_a_checkpoint_is_begun_again(tmp_path: Path) -> None:
    """A start that failed loses nothing, and the corrected one is not refused."""
    RunFolder(tmp_path).begin("wrong", "table")
    RunFolder(tmp_path).begin("right", "table")
    assert RunFolder(tmp_path).recipe.read_text() == "right"


@pytest.mark.parametrize(("recipe", "table"), [("other", "table"), ("recipe", "other")])
def test_another_recipe_or_table_is_refused_on_resume(
    tmp_path: Path, recipe: str, table: str
) -> None:
    """A curve is never continued with other settings or other data."""
    RunFolder(tmp_path).begin("recipe", "table")
    with pytest.raises(RunError, match=r"differs from the (recipe|table) given"):
        RunFolder(tmp_path).reopen(recipe, table)
    RunFolder(tmp_path).reopen("recipe", "table")


def test_resuming_where_nothing_was_begun_begins(tmp_path: Path) -> None:
    """Also where a first attempt ended between its two files."""
    RunFolder(tmp_path).reopen("recipe", "table")
    RunFolder(tmp_path).recipe.unlink()
    RunFolder(tmp_path).reopen("recipe", "new table")
    assert RunFolder(tmp_path).table.read_text() == "new table"


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_the_second_process_of_a_run_joins_it(
    tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On several devices every process runs the same program; only the first begins the run."""
    RunFolder(tmp_path).begin("recipe", "table")
    monkeypatch.setenv(variable, "1")
    RunFolder(tmp_path).begin("recipe", "table")
    with pytest.raises(RunError):
        RunFolder(tmp_path).begin("other", "table")


def test_the_history_restores_every_digit(tmp_path: Path) -> None:
    """Floats are written so that reading them gives the same number."""
    rows = [{"epoch": 1.0, "loss": 0.1 + 0.2}, {"epoch": 2.0, "loss": math.pi * 1e-30}]
    write_history(tmp_path / "history.csv", rows)
    with (tmp_path / "history.csv").open() as stream:
        found = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]
    assert found == rows


def test_no_history_is_no_file(tmp_path: Path) -> None:
    """A run that was killed in its first epoch has none."""
    write_history(tmp_path / "history.csv", [])
    assert not (tmp_path / "history.csv").exists()

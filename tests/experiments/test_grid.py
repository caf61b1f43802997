# SPDX-License-Identifier: Apache-2.0
"""Which cells a grid means, and what becomes of each, with a stand-in for what takes long."""

from __future__ import annotations

import fcntl
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from encephalon.errors import (
    EncephalonError,
    OutputError,
    OutputExistsError,
    RecipeError,
    RunError,
)
from encephalon.experiments.grid import Cell, Grid, cells_of, load_grid
from encephalon.experiments.grid_cells import finish_cell, run_cells
from encephalon.experiments.grid_folder import GridFolder, GridStatus
from encephalon.experiments.grid_report import compare_summaries
from encephalon.io.atomic import sha256
from encephalon.io.text import read_records
from encephalon.recipes.loading import dump_recipe
from encephalon.recipes.schema import Recipe

HEAD = 'name = "small"\ntitle = "Small"\n'
AXES = '[axes]\nrecipe = ["pca", "byol"]\n"training.seed" = [0, 1]\n'


def cells(folder: Path, text: str, table: str = "id\n1\n") -> list[Cell]:
    """The cells of a grid that says this, on a table that says that."""
    (folder / "grid.toml").write_text(HEAD + text, encoding="utf-8")
    path = folder / "table.csv"
    path.write_text(table, encoding="utf-8")
    return cells_of(grid(folder), folder, path, sha256(path), lambda recipe: recipe)


def grid(folder: Path) -> Grid:
    """The grid that `cells` wrote."""
    return load_grid(folder / "grid.toml")


@dataclass
class Steps:
    """Stands in for training and evaluation: the score of a cell is its seed."""

    fails: Callable[[Recipe], BaseException | None] = lambda _: None
    trained: list[str] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)

    def train(self, recipe: Recipe, table: Path, run: Path) -> None:
        """A finished run, or what stops it."""
        error = self.fails(recipe)
        if error is not None:
            raise error
        self.trained.append(recipe.name)
        (run / "model").mkdir(parents=True)
        (run / "model" / "seed").write_text(str(recipe.training.seed), encoding="utf-8")
        (run / "report.html").touch()
        (run / "recipe.toml").write_text(dump_recipe(recipe), encoding="utf-8")

    def evaluate(self, run: Path, table: Path, output: Path) -> Sequence[Mapping[str, str]]:
        """A summary."""
        seed = int((run / "model" / "seed").read_text(encoding="utf-8"))
        self.scored.append(str(seed))
        said = {"overall": {"dice": {"value": seed / 10, "low": 0, "high": 1}}, "model": {"n": 1}}
        (output / "summary.json").write_text(json.dumps(said), encoding="utf-8")
        return []


def run(folder: Path, made: Sequence[Cell], steps: Steps, out: Path | None = None) -> GridStatus:
    """What became of the cells."""
    place = GridFolder(out or folder / "out")
    with place.opened(grid(folder), made):
        run_cells(place, made, steps)
        return place.status()


def test_cells_are_the_product_of_the_axes_after_the_rules(tmp_path: Path) -> None:
    """Rules take values away, leave an axis out, and set what holds for some cells."""
    rules = """
        [settings]
        training.epochs = 2
        [[rules]]
        when.recipe = ["pca"]
        only = { "training.seed" = [1], "training.batch_size" = [] }
        [[rules]]
        when = { "training.batch_size" = [4] }
        set = { "training.learning_rate" = 0.5, "training.epochs" = 3 }
    """
    found = cells(tmp_path, f"{AXES}training.batch_size = [2, 4]\n{rules}")
    assert [cell.name for cell in found] == [
        "pca seed=1",
        "byol seed=0 batch_size=2",
        "byol seed=0 batch_size=4",
        "byol seed=1 batch_size=2",
        "byol seed=1 batch_size=4",
    ]
    pca, narrow, wide, *_ = (cell.recipe.training for cell in found)
    assert (pca.batch_size, pca.epochs, pca.seed) == (1, 2, 1)
    assert (narrow.epochs, wide.epochs, wide.learning_rate, wide.seed) == (2, 3, 0.5, 0)


def test_an_axis_may_be_every_set_of_what_goes_together(tmp_path: Path) -> None:
    """Some of it is always there; rules take out what must not be, and what is one then is one."""
    cells(tmp_path, AXES)
    text = """
        [axes]
        recipe = ["legibility"]
        study.targets = [["age"], ["hdl"]]
        study.inputs = { always = ["body"], subsets = [["t1", "flair"], "blood"] }
        [[rules]]
        when.study.targets = [["age"]]
        without.study.inputs = ["body"]
        [[rules]]
        when.study.targets = [["hdl"]]
        without.study.inputs = ["blood"]
    """
    (tmp_path / "grid.toml").write_text(HEAD + text, encoding="utf-8")
    found = [(one["study.targets"], one["study.inputs"]) for one in grid(tmp_path).combinations()]
    assert found == [
        (["age"], ["t1", "flair"]),
        (["age"], ["blood"]),
        (["age"], ["t1", "flair", "blood"]),
        (["hdl"], ["body"]),
        (["hdl"], ["body", "t1", "flair"]),
    ]


def test_settings_of_the_command_line_stand_above_the_rules(tmp_path: Path) -> None:
    """And below the axes, or cells would be the same."""
    text = f"{AXES}[[rules]]\nwhen.recipe = ['pca']\nset.training.epochs = 3\n"
    made = cells(tmp_path, text)[0]
    above = grid(tmp_path).with_settings({"training.epochs": 4, "training.seed": 7})
    found = cells_of(above, tmp_path, made.table, made.digest, lambda recipe: recipe)
    assert [cell.recipe.training.seed for cell in found] == [0, 1, 0, 1]
    assert {cell.recipe.training.epochs for cell in found} == {4}


def test_a_recipe_file_is_found_beside_its_grid(tmp_path: Path) -> None:
    """Wherever the command is called."""
    from encephalon.recipes.loading import show_recipe

    text = show_recipe("pca").replace('name = "pca"', 'name = "mine"')
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    (found,) = cells(tmp_path, '[axes]\nrecipe = ["mine.toml"]\n')
    assert found.recipe.name == "mine"


def test_keys_are_those_of_recipe_and_table(tmp_path: Path) -> None:
    """Not of the words of a grid, nor of its other cells."""
    one = {cell.key for cell in cells(tmp_path, AXES)}
    more = {cell.key for cell in cells(tmp_path, AXES.replace("[0, 1]", "[1, 0, 2]"))}
    assert one < more
    other = {cell.key for cell in cells(tmp_path, AXES, "id\n2\n")}
    changed = {cell.key for cell in cells(tmp_path, f"{AXES}[settings]\ntraining.epochs = 7\n")}
    assert not one & (other | changed)


def test_a_cell_may_be_sent_elsewhere(tmp_path: Path) -> None:
    """It is plain data, and keeps its key."""
    cell = cells(tmp_path, AXES)[0]
    there = pickle.loads(pickle.dumps(cell))
    assert (there.key, there.folder) == (cell.key, cell.folder)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[axes]\nrecipe = []\n"training.seed" = [0]\n', "no value for 'recipe'"),
        ('[axes]\nrecipe = ["pca"]\n"training.seed" = []\n', "no value for 'training.seed'"),
        ('[axes]\n"training.seed" = [0]\n', "needs recipe"),
        ('[axes]\nrecipe = ["pca", "pca"]\n', "'pca' twice"),
        (f'{AXES}[[rules]]\nwhen.recipe = ["pca"]\nonly.training.sed = [0]\n', "'training.seed'"),
        (f'{AXES}[[rules]]\nwhen.recipe = ["pcb"]\nset.training.epochs = 1\n', "mean 'pca'"),
        (f'{AXES}[[rules]]\nwhen.recipe = ["pca"]\n', "needs set, only or without"),
        (f'{AXES}study.inputs.subsets = "t1"\n', "takes lists as `subsets`"),
        (
            f'{AXES}study.inputs.subsets = ["t1"]\n[[rules]]\nwhen.recipe = ["pca"]\n'
            'without.study.inputs = ["t2"]\n',
            "has no 't2' on the axis 'study.inputs'.*in without; it has t1",
        ),
        (f'{AXES}[[rules]]\nwhen.recipe = ["pca"]\nonly.recipe = []\n', "leaves out every recipe"),
        (f"{AXES}[[rule]]\n", "did you mean 'rules'"),
        (f"{AXES}[settings]\ntraining.epoch = 1\n", "recipe = pca, .*did you mean 'epochs'"),
        (f"{AXES}[settings]\ntraining.epochs = 0\n", "recipe = pca, training.seed = 0.*'epochs'"),
        (f'{AXES}[settings]\ntraining.losses.7.name = "dice"\n', "should be a list"),
        (f"{AXES}[settings]\ntraining.seed = 1\n", ""),
        ('[axes]\nrecipe = ["pka"]\n', "did you mean 'pca'"),
        ('[axes]\nrecipe = ["pca", "isotropic"]\n', "of the studies isotropic, microtomography"),
    ],
)
def test_what_is_wrong_with_a_grid_is_said_in_a_sentence(
    tmp_path: Path, text: str, fault: str
) -> None:
    """Which key or cell, and what was meant; a setting below an axis is no fault."""
    if not fault:
        assert len(cells(tmp_path, text)) == 4
        return
    with pytest.raises(RecipeError, match=fault):
        cells(tmp_path, text)


def test_cells_that_are_one_and_the_same_are_refused(tmp_path: Path) -> None:
    """A recipe under two names would be trained twice, and count as two seeds."""
    from encephalon.recipes.loading import show_recipe

    (tmp_path / "again.toml").write_text(show_recipe("pca"), encoding="utf-8")
    with pytest.raises(RecipeError, match="are the same recipe"):
        cells(tmp_path, '[axes]\nrecipe = ["pca", "again.toml"]\n')


def test_rules_that_leave_no_cell_are_refused(tmp_path: Path) -> None:
    """Two rules may exclude each other."""
    both = "".join(
        f'[[rules]]\nwhen.recipe = ["pca", "byol"]\nonly.training.seed = [{n}]\n' for n in (0, 1)
    )
    with pytest.raises(RecipeError, match="leave no cell"):
        cells(tmp_path, AXES + both)


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    """The second run has nothing to do, and a further seed adds what is new."""
    made, steps = cells(tmp_path, AXES), Steps()
    assert len(run(tmp_path, made, steps).of("done")) == 4
    assert len(run(tmp_path, made, steps).of("done")) == 4
    assert len(steps.trained) == 4
    more = cells(tmp_path, AXES.replace("[0, 1]", "[0, 1, 2]"))
    assert len(run(tmp_path, more, steps).of("done")) == 6
    assert len(steps.trained) == 6


def test_a_cell_that_fails_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    """Whatever it raises; once it succeeds nothing is left of the failure."""
    errors = {0: RunError("The loss is not a number."), 1: ZeroDivisionError("by zero")}

    def fails(recipe: Recipe) -> BaseException | None:
        return errors.get(recipe.training.seed) if recipe.name == "byol" else None

    made = cells(tmp_path, AXES)
    found = run(tmp_path, made, Steps(fails))
    assert [cell.state for cell in found.cells] == ["done", "done", "failed", "failed"]
    told, unforeseen = (cell.message for cell in found.of("failed"))
    assert told == "The loss is not a number."
    assert "byol seed=1" in unforeseen
    assert "ZeroDivisionError" in unforeseen
    assert not run(tmp_path, made, Steps()).of("failed")


def test_a_run_that_was_broken_off_goes_on(tmp_path: Path) -> None:
    """Between training and evaluation too: what was trained is not trained again."""
    made, steps = cells(tmp_path, AXES), Steps()

    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    steps.evaluate, whole = stop, steps.evaluate  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, made, steps)
    assert [cell.state for cell in GridFolder(tmp_path / "out").status().cells] == ["left"] * 4
    steps.evaluate = whole  # type: ignore[method-assign]
    assert len(run(tmp_path, made, steps).of("done")) == 4
    assert len(steps.trained) == 4
    assert not list((tmp_path / "out").rglob("*.part"))


def test_scores_that_somebody_changed_do_not_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor an evaluation whose record is lost: both are made again, which is said."""
    made, steps = cells(tmp_path, AXES), Steps()
    first, second, *_ = run(tmp_path, made, steps).cells
    (first.evaluation / "summary.json").write_text('{"dice": 1.0}', encoding="utf-8")
    (second.evaluation / "cell.json").write_text("{", encoding="utf-8")
    found = run(tmp_path, made, steps)
    assert len(found.of("done")) == 4
    assert (len(steps.trained), len(steps.scored)) == (4, 6)
    assert "summary.json" in caplog.text or "not as it was written" in caplog.text


def test_samples_that_cannot_be_scored_fail_their_cell(tmp_path: Path) -> None:
    """A mean over fewer samples would be compared with one over all."""

    class Some(Steps):
        def evaluate(self, run: Path, table: Path, output: Path) -> Sequence[Mapping[str, str]]:
            super().evaluate(run, table, output)
            return [{"id": "7", "message": "7 is damaged."}]

    found = run(tmp_path, cells(tmp_path, AXES)[:1], Some())
    assert [cell.message for cell in found.of("failed")] == [
        "1 of its samples could not be scored; first: 7 is damaged."
    ]
    assert not found.cells[0].evaluation.exists()


def test_a_table_that_changes_meanwhile_fails_what_is_left(tmp_path: Path) -> None:
    """Its results would stand under the key of another table."""
    made = cells(tmp_path, AXES)[:1]
    made[0].table.write_text("id\n9\n", encoding="utf-8")
    state = finish_cell(made[0], tmp_path / "cell", Steps())
    assert "changed while its grid was run" in state.message


def test_a_plan_that_somebody_changed_is_refused(tmp_path: Path) -> None:
    """It may be of another program; moved away, the grid goes on with its cells."""
    made, out = cells(tmp_path, AXES), tmp_path / "out"
    run(tmp_path, made, Steps())
    (out / "grid.json").write_text('{"cells": []}', encoding="utf-8")
    with pytest.raises(OutputExistsError, match=r"grid\.json"):
        run(tmp_path, made, Steps())
    (out / "grid.json").unlink()
    steps = Steps()
    assert len(run(tmp_path, made, steps).of("done")) == 4
    assert not steps.trained


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second one is told so at once."""
    made = cells(tmp_path, AXES)
    run(tmp_path, made, Steps())
    with (tmp_path / "out" / ".grid.lock").open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="held by another process"):
            run(tmp_path, made, Steps())


def test_a_failure_tells_where_its_run_lies(tmp_path: Path) -> None:
    """Which had another name while it was at work."""

    class Diverging(Steps):
        def train(self, recipe: Recipe, table: Path, run: Path) -> None:
            (run / "folds").mkdir(parents=True)
            raise RunError(f"{run / 'folds'}: the loss became nan.")

    (failed,) = run(tmp_path, cells(tmp_path, AXES)[:1], Diverging()).of("failed")
    assert failed.message == f"{failed.folder / 'run' / 'folds'}: the loss became nan."
    assert (failed.folder / "run" / "folds").is_dir()


def test_time_left_is_told_from_what_was_done(tmp_path: Path) -> None:
    """By recipe; nothing is said while nothing is done."""

    found = run(tmp_path, cells(tmp_path, AXES), Steps())
    pca, _, byol, left = found.cells
    waiting = replace(left, state="left", seconds=0.0)
    known = (*[replace(pca, seconds=10.0)] * 20, *[replace(byol, seconds=30.0)] * 20)
    told = replace(found, cells=(*known, waiting)).seconds_left
    assert told == pytest.approx(30, rel=0.05)
    assert replace(found, cells=(waiting,)).seconds_left is None


def test_a_comparison_has_a_row_a_cell(tmp_path: Path) -> None:
    """Axes, and the numbers that all summaries share, without their intervals."""
    done = run(tmp_path, cells(tmp_path, AXES), Steps()).of("done")
    page = compare_summaries(done, tmp_path)
    _, rows = read_records(tmp_path / "comparison.csv")
    assert rows[1] == {"recipe": "pca", "training.seed": "1", "overall dice": "0.1"}
    assert len(rows) == 4
    assert "overall dice" in page.read_text(encoding="utf-8")


def test_a_full_disk_stops_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no place for the sentence either, and every other cell would fail alike."""

    def full(*_: Any) -> Any:
        raise OutputError("the disk is full")

    made, steps = cells(tmp_path, AXES), Steps(lambda _: OutputError("the disk is full"))
    place = GridFolder(tmp_path / "out")
    with place.opened(grid(tmp_path), made):
        monkeypatch.setattr("encephalon.experiments.grid_cells.write_checksummed", full)
        with pytest.raises(EncephalonError, match="disk is full"):
            run_cells(place, made, steps)

# SPDX-License-Identifier: Apache-2.0
"""Run folders: begun once, reopened with what they began with, never over what is not theirs."""

from __future__ import annotations

import csv
import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import OutputError, OutputExistsError, RunError
from encephalon.io.atomic import content_of, locked
from encephalon.recipes.schema import Training
from encephalon.training.record import RunRecord, differences, table_contents
from encephalon.training.runs import EARLY, LATE, RunFolder, best_row, write_history

RECIPE = """name = "toy"
[training]
epochs = 20
seed = 0
[[training.losses]]
name = "dice"
"""
TABLE = "id,class\na,Young\nb,Aged\n"


def checkpoint(run: RunFolder) -> None:
    run.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    run.checkpoint.touch()


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_new_run_records_what_it_uses(tmp_path: Path) -> None:
    """Recipe and table as text, and their hashes with those of what the run reads."""
    run = RunFolder(tmp_path / "run")
    run.begin("recipe", "table", lambda: {"a.nii": "12"}, {"threads": "1"})
    assert run.recipe.read_text() == "recipe"
    assert run.table.read_text() == "table"
    record = RunRecord.read(run.record)
    assert record is not None
    assert record.contents == {"a.nii": "12"}
    assert record.conditions == {"threads": "1"}
    assert record.run == run.identity
    assert len(run.identity) == 32


def test_no_two_runs_have_one_identity(tmp_path: Path) -> None:
    """Not even those of one recipe and table, so that their checkpoints are told apart."""
    runs = [RunFolder(tmp_path / name) for name in "ab"]
    for run in runs:
        run.begin("recipe", "table")
    assert runs[0].identity != runs[1].identity


def test_a_folder_with_a_run_is_not_begun_again(tmp_path: Path) -> None:
    """The error offers --resume."""
    run = RunFolder(tmp_path)
    run.begin("recipe", "table")
    checkpoint(run)
    with pytest.raises(OutputExistsError, match="--resume"):
        RunFolder(tmp_path).begin("recipe", "table")


def test_a_run_of_which_one_network_has_a_checkpoint_is_not_begun_again(tmp_path: Path) -> None:
    """Wherever in the folder that network lies."""
    RunFolder(tmp_path).begin("recipe", "table")
    checkpoint(RunFolder(tmp_path / "folds" / "0" / "search" / "1"))
    with pytest.raises(OutputExistsError, match="--resume"):
        RunFolder(tmp_path).begin("recipe", "table")


def test_a_run_that_never_got_to_a_checkpoint_is_begun_again(tmp_path: Path) -> None:
    """A start that failed loses nothing, and the corrected one is not refused."""
    RunFolder(tmp_path).begin("wrong", "table")
    RunFolder(tmp_path).cache.mkdir()
    RunFolder(tmp_path).begin("right", "table")
    assert RunFolder(tmp_path).recipe.read_text() == "right"


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["run.json", *EARLY, *LATE])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_no_run_made_is_never_replaced(
    tmp_path: Path, name: str, kind: str, resume: bool
) -> None:
    """The file is named before anything is written, whatever lies there under the name."""
    place = tmp_path / name
    if kind == "folder":
        (place / "mine").mkdir(parents=True)
    elif kind == "link":
        place.symlink_to("nowhere")
    else:
        place.write_text("mine")
    before = sorted(tmp_path.iterdir())
    with (
        pytest.raises(OutputExistsError, match=name),
        RunFolder(tmp_path).opened("recipe", "table", resume=resume),
    ):
        pass
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["recipe.toml", "table.csv", *LATE])
def test_what_was_put_into_a_start_that_failed_is_not_replaced(tmp_path: Path, name: str) -> None:
    """The mark of a run is no leave to replace what came later, or was changed."""
    RunFolder(tmp_path).begin("recipe", "table")
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputExistsError, match=name):
        RunFolder(tmp_path).begin("recipe", "table")
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["model", "report.html", "evaluation"])
def test_what_was_put_into_an_unfinished_run_is_not_replaced_on_resume(
    tmp_path: Path, name: str
) -> None:
    """A run that had come to its end has written these itself, and may write them again."""
    run = RunFolder(tmp_path)
    run.begin("recipe", "table")
    checkpoint(run)
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputExistsError, match=name):
        run.reopen("recipe", "table")
    (tmp_path / name).unlink()
    run.finishing()
    (tmp_path / name).write_text("of the run")
    run.reopen("recipe", "table")


@pytest.mark.parametrize(("recipe", "table"), [("other", "table"), ("recipe", "other")])
def test_another_recipe_or_table_is_refused_on_resume(
    tmp_path: Path, recipe: str, table: str
) -> None:
    """A curve is never continued with other settings or other data."""
    RunFolder(tmp_path).begin("recipe", "table")
    with pytest.raises(RunError, match=r"differs from the (recipe|table) given"):
        RunFolder(tmp_path).reopen(recipe, table)
    RunFolder(tmp_path).reopen("recipe", "table")


def test_the_keys_that_differ_are_named(tmp_path: Path) -> None:
    """With both values, whether changed, left out or added; the advice names what to give."""
    run = RunFolder(tmp_path)
    run.begin(RECIPE, TABLE)
    given = RECIPE.replace("20", "5").replace('"dice"', '"focal"').replace("seed = 0", "ema = 0.5")
    with pytest.raises(RunError) as caught:
        run.reopen(given, TABLE)
    sentence = str(caught.value)
    assert "training.epochs: 20 there, 5 here; training.seed: 0 there, nothing here" in sentence
    assert "training.losses.0.name: 'dice' there, 'focal' here and 1 more" in sentence
    assert f"give {run.recipe} itself" in sentence


def test_the_cells_of_a_table_that_differ_are_named() -> None:
    """By the row as a spreadsheet numbers it, and the column; or how many rows there are."""
    changed = TABLE.replace("Aged", "Young")
    assert differences("table", TABLE, changed) == " (row 3, 'class': 'Aged' there, 'Young' here)"
    assert differences("table", TABLE, "id,class\na,Young\n") == " (2 rows there, 1 here)"
    assert differences("table", TABLE, "id\na\n") == " (columns 'id', 'class' there, 'id' here)"
    assert differences("table", "", TABLE) == ""


@pytest.mark.parametrize("name", ["recipe.toml", "table.csv"])
def test_a_record_that_was_edited_is_refused_even_by_what_it_says_now(
    tmp_path: Path, name: str
) -> None:
    """Editing the run's own copy and giving that is no way around; deleted, it is made again."""
    run = RunFolder(tmp_path)
    run.begin("recipe", "table")
    checkpoint(run)
    (tmp_path / name).write_text("edited")
    given = {"recipe.toml": ("edited", "table"), "table.csv": ("recipe", "edited")}
    for texts in (given[name], ("recipe", "table")):
        with pytest.raises(RunError, match=f"{name} is no longer what its run began with"):
            run.reopen(*texts)
    (tmp_path / name).unlink()
    with pytest.raises(RunError, match="differs"):
        run.reopen(*given[name])
    run.reopen("recipe", "table")
    assert (tmp_path / name).read_text() == name.partition(".")[0]


def test_line_ends_within_cells_are_no_difference(tmp_path: Path) -> None:
    """What is compared are the bytes that were written."""
    RunFolder(tmp_path).begin("recipe", 'id\n"a\r\nb"\n')
    RunFolder(tmp_path).reopen("recipe", 'id\n"a\r\nb"\n')


def test_content_that_changed_is_refused_on_resume(tmp_path: Path) -> None:
    """By the name that the table has for it, and how many more there are."""
    run = RunFolder(tmp_path)
    run.begin("recipe", "table", lambda: {"a.tif": "1", "b.tif": "2", "c.tif": "3"})
    run.reopen("recipe", "table", lambda: {"a.tif": "1", "b.tif": "2", "c.tif": "3"})
    run.checkpoint.parent.mkdir()
    run.checkpoint.touch()
    with pytest.raises(RunError, match=r"^b\.tif and 1 more: the content is not what the run"):
        run.reopen("recipe", "table", lambda: {"a.tif": "1", "b.tif": "0", "c.tif": "0"})


def test_content_may_be_mended_before_anything_would_be_lost(tmp_path: Path) -> None:
    """As where an image that is damaged stopped the run before its first checkpoint."""
    run = RunFolder(tmp_path)
    run.begin("recipe", "table", lambda: {"a.tif": "damaged"})
    assert not run.contents
    run.reopen("recipe", "table", lambda: {"a.tif": "whole"})
    run.model.mkdir()
    assert run.contents == {"a.tif": "whole"}


def test_other_conditions_are_said_and_accepted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Bit for bit the same is what equal threads on an equal device give."""
    run = RunFolder(tmp_path)
    run.begin("recipe", "table", dict, {"threads": "1", "device": "cpu"})
    with caplog.at_level(logging.WARNING, "encephalon"):
        run.reopen("recipe", "table", dict, {"threads": "1", "device": "cpu"})
        assert not caplog.messages
        run.reopen("recipe", "table", dict, {"threads": "2", "device": "cpu"})
    assert len(caplog.messages) == 1
    assert "began with threads 1 and goes on with 2" in caplog.messages[0]


def test_a_damaged_record_is_no_run(tmp_path: Path) -> None:
    """Neither begun again nor gone on with: nobody knows any more what it began with."""
    run = RunFolder(tmp_path)
    run.begin("recipe", "table")
    text = run.record.read_text()
    for damaged in (text.replace('"finishing": false', '"finishing": true'), text[:50], "[1]"):
        run.record.write_text(damaged)
        for attempt in (run.begin, run.reopen):
            with pytest.raises(OutputExistsError, match=r"run\.json exists already"):
                attempt("recipe", "table")


def test_resuming_where_nothing_was_begun_begins(tmp_path: Path) -> None:
    """Also where a first attempt ended between its files."""
    RunFolder(tmp_path).reopen("recipe", "table")
    RunFolder(tmp_path).recipe.unlink()
    RunFolder(tmp_path).reopen("recipe", "new table")
    assert RunFolder(tmp_path).table.read_text() == "new table"


@pytest.mark.parametrize("resume", [False, True])
def test_two_processes_are_not_at_one_run(tmp_path: Path, resume: bool) -> None:
    """The second is told at once, and changes nothing."""
    run = RunFolder(tmp_path)
    run.begin("recipe", "table")
    before = snapshot(tmp_path)
    held = pytest.raises(OutputError, match="held by another process")
    with locked(tmp_path / ".run"), held, run.opened("recipe", "table", resume=resume):
        pass
    assert {k: v for k, v in snapshot(tmp_path).items() if k != ".run.lock"} == before


def test_what_killed_writes_left_is_swept(tmp_path: Path) -> None:
    """In every folder of the run, when it is opened the next time; what is alive stays."""
    run = RunFolder(tmp_path)
    run.begin("recipe", "table")
    places = (tmp_path, run.cache, tmp_path / "folds" / "0" / "checkpoint", tmp_path / "mine")
    program = "import os, pathlib, sys; from encephalon.io.atomic import temporary_beside\n"
    program += "held = [temporary_beside(pathlib.Path(place)) for place in sys.argv[1:]]\n"
    program += "for each in held: each.__enter__()\n"
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    dead = [sys.executable, "-c", program + "os._exit(9)", *(str(one / "a.bin") for one in places)]
    sources = {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(dead, check=False, env={**os.environ, **sources}, timeout=60)
    assert len(list(tmp_path.rglob(".*.part*"))) == 4
    with run.opened("recipe", "table", resume=True):
        pass
    assert [path.parent.name for path in tmp_path.rglob(".*.part*")] == ["mine"]


def test_what_a_training_left_is_known_again(tmp_path: Path) -> None:
    """Until a byte of it changes, or it is gone."""
    run = RunFolder(tmp_path)
    run.begin("recipe", "table")
    scores = tmp_path / "scores.csv"
    scores.write_text("id\n")
    assert not run.is_unchanged("scores.csv")
    run.record_trained("scores.csv")
    assert run.is_unchanged("scores.csv")
    scores.write_text("id\n1\n")
    assert not run.is_unchanged("scores.csv")
    scores.unlink()
    assert not run.is_unchanged("scores.csv")


def test_the_content_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    """As for a scan that is a folder of DICOM files."""
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "1").write_text("one")
    first = content_of(tmp_path / "scan")
    assert content_of(tmp_path / "scan") == first
    (tmp_path / "scan" / "1").rename(tmp_path / "scan" / "2")
    second = content_of(tmp_path / "scan")
    (tmp_path / "scan" / "2").write_text("two")
    assert len({first, second, content_of(tmp_path / "scan")}) == 3


def test_every_file_of_a_table_counts_as_its_content(tmp_path: Path) -> None:
    """Inputs and target images alike, by the cell that names them; empty cells name none."""
    from encephalon.tables.reading import read_table
    from encephalon.tables.schema import Columns

    for name in ("a.nii", "m.nii"):
        (tmp_path / name).write_text(name)
    (tmp_path / "t.csv").write_text("id,image,mask\na,a.nii,m.nii\nb,,m.nii\n")
    columns = Columns(target="mask", optional=("image",))
    found = table_contents(read_table(tmp_path / "t.csv", columns))
    assert found == {name: content_of(tmp_path / name) for name in ("a.nii", "m.nii")}


@pytest.mark.parametrize(("mode", "epoch"), [("min", 3), ("max", 5)])
@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_the_best_epoch_is_the_first_of_the_best(mode: str, epoch: int, strange: float) -> None:
    """An epoch without a finite number is never best, first or last, nor is one without any."""
    values = [strange, None, 0.2, 0.5, 0.7, 0.2, 0.7, strange]
    rows = [
        {"epoch": float(place)} | ({} if value is None else {"val_loss": value})
        for place, value in enumerate(values, start=1)
    ]
    settings = Training.model_validate({"monitor": "val_loss", "monitor_mode": mode})
    assert best_row(rows, settings)["epoch"] == epoch
    assert best_row(rows[:2], settings) == best_row([], settings) == {}


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_the_second_process_of_a_run_joins_it(
    tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On several devices every process runs the same program; only the first begins the run."""
    RunFolder(tmp_path).begin("recipe", "table")
    before = snapshot(tmp_path)
    monkeypatch.setenv(variable, "1")
    with locked(tmp_path / ".run"), RunFolder(tmp_path).opened("recipe", "table", resume=False):
        pass
    with pytest.raises(RunError), RunFolder(tmp_path).opened("other", "table", resume=False):
        pass
    assert {k: v for k, v in snapshot(tmp_path).items() if k != ".run.lock"} == before


def test_the_second_process_may_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torchrun starts all at once; it leaves the folder to the first."""
    monkeypatch.setenv("RANK", "1")
    with RunFolder(tmp_path / "run").opened("recipe", "table", resume=False):
        pass
    assert not (tmp_path / "run").exists()


def test_the_history_restores_every_digit(tmp_path: Path) -> None:
    """Floats are written so that reading them gives the same number."""
    rows = [{"epoch": 1.0, "loss": 0.1 + 0.2}, {"epoch": 2.0, "loss": np.float64(1e-30)}]
    write_history(tmp_path / "history.csv", rows)
    with (tmp_path / "history.csv").open() as stream:
        found = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]
    assert found == rows


def test_no_history_is_no_file(tmp_path: Path) -> None:
    """A run that was killed in its first epoch has none."""
    write_history(tmp_path / "history.csv", [])
    assert not (tmp_path / "history.csv").exists()

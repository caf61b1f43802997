# SPDX-License-Identifier: Apache-2.0
"""What the folder of a grid keeps, and what it refuses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from encephalon.errors import MissingFileError, OutputError, OutputExistsError, RunError
from encephalon.experiments.grid_cells import run_cells
from encephalon.experiments.grid_folder import GridFolder, GridStatus
from encephalon.io.atomic import content_of
from encephalon.recipes.schema import Recipe
from encephalon.training.record import RunRecord
from tests.experiments.test_grid import AXES, Steps, cells, grid, run


def test_what_is_done_with_another_table_or_recipe_is_refused(tmp_path: Path) -> None:
    """With what differs; nothing is lost, and who undoes the change goes on."""
    first = cells(tmp_path, AXES)
    run(tmp_path, first, Steps())
    with pytest.raises(OutputExistsError, match=r"of another table than .* is now: undo"):
        run(tmp_path, cells(tmp_path, AXES, "id\n2\n"), Steps())
    again = cells(tmp_path, AXES)
    training = again[0].recipe.training.model_copy(update={"epochs": 77})
    other = replace(again[0], recipe=again[0].recipe.model_copy(update={"training": training}))
    with pytest.raises(OutputExistsError, match=r"with training.epochs = \d+, which is 77 now"):
        run(tmp_path, [other, *again[1:]], Steps())
    assert len(run(tmp_path, again, Steps()).of("done")) == 4


def test_folders_of_an_earlier_grid_are_told(tmp_path: Path) -> None:
    """Cells that were left out are kept, and belong to none; those that failed may be mended."""
    made = cells(tmp_path, AXES)
    run(tmp_path, made, Steps())
    found = run(tmp_path, made[:1], Steps())
    assert (len(found.of("done")), len(found.foreign)) == (1, 3)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written there, not even a lock."""
    made, out = cells(tmp_path, AXES), tmp_path / "home"
    out.mkdir()
    (out / "thesis.tex").touch()
    with pytest.raises(OutputExistsError, match=r"thesis\.tex"):
        run(tmp_path, made, Steps(), out)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]
    with pytest.raises(OutputError):
        run(tmp_path, made, Steps(), out / "thesis.tex")
    with pytest.raises(MissingFileError, match="not the folder of a grid"):
        GridFolder(out).status()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """What a table names: an image, and a folder of slices."""
    (tmp_path / "b").mkdir()
    found = {"a.npy": tmp_path / "a.npy", "b": tmp_path / "b"}
    for path in (found["a.npy"], found["b"] / "1"):
        path.write_bytes(b"old")
    return found


class Recording(Steps):
    """Runs that record what they read, as those of a training do."""

    files: Mapping[str, Path]

    def train(self, recipe: Recipe, table: Path, run: Path) -> None:
        """The same, begun with what the files hold now."""
        super().train(recipe, table, run)
        record = RunRecord.new("", "")
        contents = {name: content_of(path) for name, path in self.files.items()}
        replace(record, contents=contents).write(run / "run.json")


def recorded(folder: Path, files: Mapping[str, Path], steps: Recording | None = None) -> GridStatus:
    """A grid of two cells that was run on these files."""
    steps = steps or Recording()
    steps.files = files
    made, place = cells(folder, AXES)[:2], GridFolder(folder / "out")
    with place.opened(grid(folder), made, files):
        run_cells(place, made, steps)
        place.require_same(made, files)
    return place.status()


@pytest.mark.parametrize("name", ["a.npy", "b"])
def test_a_file_that_is_another_since_cells_were_done_is_refused(
    tmp_path: Path, files: dict[str, Path], name: str
) -> None:
    """Named, with what can be done; each of it helps, and nothing is lost."""
    first = recorded(tmp_path, files).cells[0].folder
    changed = files[name] / "1" if files[name].is_dir() else files[name]
    changed.write_bytes(b"new")
    with pytest.raises(OutputExistsError, match=rf"{name}: not what .*{first.name} was made from"):
        recorded(tmp_path, files)
    changed.write_bytes(b"old")
    assert len(recorded(tmp_path, files).of("done")) == 2
    changed.write_bytes(b"new")
    for cell in (tmp_path / "out" / "cells").iterdir():
        cell.rename(tmp_path / cell.name)
    assert len(recorded(tmp_path, files).of("done")) == 2


def test_files_are_read_only_where_they_look_different(
    tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, where they were written again; so a grid that was copied goes on."""
    recorded(tmp_path, files)
    read = list[Path]()
    monkeypatch.setattr(
        "encephalon.experiments.grid_data.content_of",
        lambda path: read.append(path) or content_of(path),
    )
    recorded(tmp_path, files)
    assert not read
    os.utime(files["a.npy"], ns=(1, 1))
    for _ in range(2):
        assert len(recorded(tmp_path, files).of("done")) == 2
    assert read == [files["a.npy"]]


def test_a_file_that_changes_while_its_grid_is_run_is_told(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    """Once all are done, before cells that have seen different files are compared."""

    class Meddling(Recording):
        def train(self, recipe: Recipe, table: Path, run: Path) -> None:
            super().train(recipe, table, run)
            files["a.npy"].write_bytes(b"new")

    with pytest.raises(OutputExistsError, match=r"a\.npy: not what .* was made from"):
        recorded(tmp_path, files, Meddling())


def test_a_file_that_only_failed_cells_have_read_may_be_mended(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    """Nothing is lost with a run that never came to a checkpoint."""
    broken = Recording(lambda _: RunError("a.npy is damaged."))
    assert len(recorded(tmp_path, files, broken).of("failed")) == 2
    for cell in (tmp_path / "out" / "cells").iterdir():
        contents = {"a.npy": content_of(files["a.npy"])}
        replace(RunRecord.new("", ""), contents=contents).write(cell / "run" / "run.json")
    files["a.npy"].write_bytes(b"whole")
    assert len(recorded(tmp_path, files).of("done")) == 2

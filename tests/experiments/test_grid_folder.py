# SPDX-License-Identifier: Apache-2.0
"""What the folder of a grid keeps, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from encephalon.errors import MissingFileError, OutputError, OutputExistsError
from encephalon.experiments.grid_folder import GridFolder
from tests.experiments.test_grid import AXES, Steps, cells, run


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

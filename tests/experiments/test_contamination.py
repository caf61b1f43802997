# SPDX-License-Identifier: Apache-2.0
"""A model that is scored on what it has learnt says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from encephalon.experiments.folds import contamination
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Columns, Table
from tests.studies.micrographs.linear_model import open_linear, write_pictures

COLUMNS = Columns(inputs={}, target="class", target_kind=("a", "b"), group="animal")
RUN = "id,class,animal,fold\n1,a,A1,0\n2,b,A2,1\n3,a,A3,\n"


def _table(folder: Path, text: str) -> Table:
    path = folder / "new.csv"
    path.write_text(text)
    return read_table(path, COLUMNS)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The place of a model in the folder of a run that learnt two animals and tested a third."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "table.csv").write_text(RUN)
    return tmp_path / "run" / "model"


def test_images_of_animals_that_were_learnt_are_counted(model: Path, tmp_path: Path) -> None:
    """New images of an animal that was part of the training are as familiar as old ones."""
    table = _table(tmp_path, "id,class,animal\n2,b,A2\n8,b,A2\n9,a,A9\n")
    assert contamination(model, table).startswith(
        "2 of 3 images were part of the training, or share their group with it"
    )


def test_without_groups_the_images_themselves_count(model: Path, tmp_path: Path) -> None:
    """A table that does not say which animal is whose is compared by its ids."""
    table = _table(tmp_path, "id,class\n2,b\n3,a\n9,a\n")
    assert contamination(model, table).startswith("1 of 3 images were part of the training")


def test_new_animals_and_held_out_ones_are_not_familiar(model: Path, tmp_path: Path) -> None:
    """The third animal was in the table of the run, but in no fold."""
    assert contamination(model, _table(tmp_path, "id,class,animal\n3,a,A3\n9,a,A9\n")) == ""


def test_the_same_id_of_another_animal_is_another_image(model: Path, tmp_path: Path) -> None:
    """Ids such as 1, 2, 3 are in every table."""
    assert contamination(model, _table(tmp_path, "id,class,animal\n1,a,A7\n2,b,A8\n")) == ""


def test_a_model_outside_of_a_run_knows_nothing(tmp_path: Path) -> None:
    """Where there is no table of a run, nothing is said."""
    assert (
        contamination(tmp_path / "elsewhere" / "model", _table(tmp_path, "id,class\n2,b\n")) == ""
    )


def test_predictions_of_learnt_images_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows, page and log name what was learnt: the image, or another one of its animal."""
    pictures = write_pictures(tmp_path)
    model = open_linear(tmp_path / "run")
    text = "id,class,animal,fold\nS0,Young,A0,0\nS1,Young,A0,1\n"
    (tmp_path / "run" / "table.csv").write_text(text)
    result = model.predict_batch([pictures], tmp_path / "out")
    found = {row["id"]: row["training_overlap"] for row in result.rows}
    assert [found[f"S{n}"] for n in range(8)] == ["image", "image", "animal", "animal", *[""] * 4]
    assert "4 of 8 images were part of the training" in caplog.text
    assert result.report is not None
    assert "4 of 8 images were part of the training" in result.report.read_text(encoding="utf-8")

# SPDX-License-Identifier: Apache-2.0
"""predictions.csv keeps what earlier runs and other processes put there."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest

from encephalon.errors import OutputExistsError
from encephalon.inference.predictions_table import PredictionsTable


def row(name: str, model: str = "m", **values: Any) -> dict[str, Any]:
    return {"id": name, "model": model, "source": f"{name}.nii", **values}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_columns_of_different_models_are_united(tmp_path: Path) -> None:
    """The same sample may have a row of each model; cells that a model lacks are empty."""
    path = tmp_path / "p.csv"
    first = PredictionsTable(path)
    first.add(row("a", volume_ml=1.5, seconds=2.0))
    second = PredictionsTable(path)
    second.add(row("a", "n", score=0.25, error='broken, "badly"\nindeed'))
    rows = read(path)
    assert [(r["id"], r["model"]) for r in rows] == [("a", "m"), ("a", "n")]
    assert list(rows[0])[:3] == ["id", "model", "source"]
    assert list(rows[0])[-4:] == ["quality", "reasons", "seconds", "error"]
    assert (rows[0]["volume_ml"], rows[0]["score"]) == ("1.5", "")
    assert rows[1]["error"] == 'broken, "badly"\nindeed'


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_that_excel_saved_is_gone_on_with(separator: str, tmp_path: Path) -> None:
    """With a byte order mark, and semicolons where decimals have commas."""
    path = tmp_path / "p.csv"
    PredictionsTable(path).add(row("=1+2"))
    text = path.read_text().replace(",", separator)
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    again = PredictionsTable(path)
    assert again.earlier("=1+2", "m") is not None
    again.add(row("b"))
    assert [cells["id"] for cells in read(path)] == ["'=1+2", "b"]


def test_a_pipe_in_the_place_of_the_table_is_one_sentence(tmp_path: Path) -> None:
    """Nobody waits for it."""
    os.mkfifo(tmp_path / "p.csv")
    with pytest.raises(OutputExistsError, match="no table of predictions"):
        PredictionsTable(tmp_path / "p.csv")


def test_rows_stand_in_the_order_of_the_samples_however_they_came(tmp_path: Path) -> None:
    """In the places of this run: rows of other samples stay where they are."""
    path = tmp_path / "p.csv"
    for name in "cxa":
        PredictionsTable(path).add(row(name))
    table = PredictionsTable(path, order="abcd")
    for name in "db":
        table.add(row(name))
    table.save()
    assert [cells["id"] for cells in read(path)] == [*"axbcd"]


def test_two_open_ledgers_lose_no_row(tmp_path: Path) -> None:
    """Two processes that share a folder both find all of their rows at the end."""
    path = tmp_path / "p.csv"
    one, other = PredictionsTable(path), PredictionsTable(path)
    one.add(row("a"))
    other.add(row("b"))
    one.add(row("c"))
    one.save()
    other.save()
    assert sorted(r["id"] for r in read(path)) == ["a", "b", "c"]


def test_a_newer_row_replaces_the_older_of_the_same_sample_and_model(tmp_path: Path) -> None:
    """Only rows without an error count as done."""
    path = tmp_path / "p.csv"
    PredictionsTable(path).add(row("a", error="was broken"))
    again = PredictionsTable(path)
    assert again.earlier("a", "m") is None
    again.add(row("a", volume_ml=3.0, flag=True, nothing=None))
    again.save()
    (only,) = read(path)
    cells = [only[name] for name in ("volume_ml", "flag", "nothing", "error")]
    assert cells == ["3", "true", "", ""]
    assert PredictionsTable(path).earlier("a", "m") == only


@pytest.mark.parametrize("content", [b"name,age\nx,3\n", b"\xff\xfe\x00", b""])
def test_another_kind_of_table_is_not_replaced(content: bytes, tmp_path: Path) -> None:
    """A file of that name that is no such table stays unless overwrite."""
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    with pytest.raises(OutputExistsError, match="no table of predictions"):
        PredictionsTable(path)
    assert path.read_bytes() == content
    ledger = PredictionsTable(path, overwrite=True)
    ledger.add(row("a"))
    ledger.save()
    assert [r["id"] for r in read(path)] == ["a"]


def test_without_rows_nothing_is_written(tmp_path: Path) -> None:
    """A batch that did nothing leaves no empty table."""
    PredictionsTable(tmp_path / "p.csv").save()
    assert list(tmp_path.iterdir()) == []

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from typing import Any

import pytest

from encephalon.errors import TableError
from encephalon.tables import is_table, read_table

openpyxl = pytest.importorskip("openpyxl")


def workbook(folder: Path, rows: list[list[Any]], *more: str) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for title in more:
        book.create_sheet(title)
    path = folder / "t.xlsx"
    book.save(path)
    return path


def test_an_excel_sheet_is_a_table(tmp_path: Path) -> None:
    """Whole numbers without a point, dates as ISO 8601, gaps and #N/A empty, all of it text."""
    day = dt.datetime(2024, 2, 29)
    path = workbook(
        tmp_path,
        [
            ["id", None, "age", "born"],
            ["007", None, 3.0, day],
            [],
            ["b", None, "#N/A", None],
            [7, None, 2.5, " x "],
        ],
    )
    assert is_table(path)
    assert read_table(path).frame.to_dict("records") == [
        {"id": "007", "age": "3", "born": "2024-02-29"},
        {"id": "b", "age": None, "born": None},
        {"id": "7", "age": "2.5", "born": "x"},
    ]


def test_sheets_that_are_not_read_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first one is."""
    path = workbook(tmp_path, [["id"], ["a"]], "old")
    logger = logging.getLogger("encephalon")
    logger.addHandler(caplog.handler)
    try:
        assert read_table(path).ids == ["a"]
    finally:
        logger.removeHandler(caplog.handler)
    assert "is read, and no other sheet" in caplog.text


def test_what_is_no_sheet_is_one_sentence(tmp_path: Path) -> None:
    """Damaged, empty, without names, with a name twice, without rows."""
    path = tmp_path / "t.xlsx"
    path.write_bytes(b"PK rubbish")
    with pytest.raises(TableError, match="cannot be read as an Excel workbook"):
        read_table(path)
    for rows, words in (
        ([], "the first sheet is empty"),
        ([["id", "x", None], ["a", "b", "c"]], "column C has cells but no name"),
        ([["id", "id"], ["a", "b"]], "the column 'id' is there more than once"),
        ([["id"]], "a header but no rows"),
    ):
        with pytest.raises(TableError, match=words):
            read_table(workbook(tmp_path, rows))

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime as dt
import logging
import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from encephalon.errors import TableError
from encephalon.tables.checks import check_table
from encephalon.tables.reading import is_table, read_table
from encephalon.tables.schema import Columns

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
        ([], "is empty: a table begins with a header"),
        ([["id", "x", None], ["a", "b", "c"]], "column C has cells but no name"),
        ([["id", "id"], ["a", "b"]], "the column 'id' is there more than once"),
        ([["id"]], "a header but no rows"),
    ):
        with pytest.raises(TableError, match=words):
            read_table(workbook(tmp_path, rows))


def test_formulas_that_were_never_computed_are_named(tmp_path: Path) -> None:
    """Written by a program (openpyxl #69, pandas #25763): not computed is not empty."""
    whole = workbook(tmp_path, [["id", "image"], ["A1", "a"], ['="A"&2', '="a"&"2"'], ["A3", "c"]])
    with pytest.raises(TableError, match=r"values were never stored, in 'A3', 'B3'; open it"):
        read_table(whole)
    single = workbook(tmp_path, [["id", "image"], ["A1", '="a"&"1"']])
    with pytest.raises(TableError, match=r"never stored, in 'B2'"):
        read_table(single)


def test_a_formula_that_gives_no_text_is_an_empty_cell(tmp_path: Path) -> None:
    """Its value is stored, and is nothing: `=IF(A2="","",A2)`."""
    path = workbook(tmp_path, [["id", "image"], ["A1", "=1+1"], ["A2", '=""']])
    stored = {"=1+1": "2", '=""': ""}
    rewritten = tmp_path / "stored.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(rewritten, "w") as new:
        for item in old.infolist():
            text = old.read(item).decode()
            for cell, (formula, value) in zip(("B2", "B3"), stored.items(), strict=True):
                plain = f'<c r="{cell}"><f>{escape(formula[1:])}</f><v /></c>'
                there = f'<c r="{cell}" t="str"><f>{escape(formula[1:])}</f><v>{value}</v></c>'
                assert plain in text or "sheet1" not in item.filename
                text = text.replace(plain, there)
            new.writestr(item.filename, text)
    assert read_table(rewritten).texts("image") == ["2", ""]


def test_rows_keep_the_numbers_of_the_sheet(tmp_path: Path) -> None:
    """Blank rows are left out and counted: the fault of row 5 is not that of row 3."""
    path = workbook(tmp_path, [[], ["id", "age"], [], ["a", "1"], [], ["b", "x"]])
    table = read_table(path, Columns(inputs={}, covariates={"age": "number"}))
    assert [(fault.row, fault.column) for fault in check_table(table)] == [(6, "age")]
    assert [fault.row for fault in check_table(table.select([1]))] == [6]


def test_the_first_sheet_that_is_shown_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A hidden one before it holds the lists of a template."""
    book = openpyxl.Workbook()
    book.active.sheet_state = "hidden"
    book.create_sheet("very").sheet_state = "veryHidden"
    for row in (["id"], ["a"]):
        book.create_sheet("data").append(row) if row == ["id"] else book["data"].append(row)
    book.save(tmp_path / "t.xlsx")
    assert read_table(tmp_path / "t.xlsx").ids == ["a"]
    assert "'data' is read, and no other sheet" in caplog.text


def test_a_cell_at_the_end_of_the_sheet_is_one_sentence(tmp_path: Path) -> None:
    """XFD1048576 makes a sheet of 17 billion cells, of which two are there."""
    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = "id", "x"
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(TableError, match="column XFD has cells but no name"):
        read_table(tmp_path / "t.xlsx")


def test_a_workbook_of_air_is_not_unpacked(tmp_path: Path) -> None:
    """100 MB of blanks in 100 kB: no workbook of people grows so."""
    path = workbook(tmp_path, [["id"], ["a"]])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/more.xml", " " * 100_000_000)
    with pytest.raises(TableError, match=r"unpack to 100,\d+,\d+, more than a workbook's"):
        read_table(path)


def test_a_number_that_is_shown_with_zeros_before_it_keeps_them(tmp_path: Path) -> None:
    """In the format 000 the number 7 is what a reader of the sheet calls 007."""
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["id", "age"], [7, 30], [12, 31], [8, 32.5]):
        sheet.append(row)
    sheet["A2"].number_format = sheet["A3"].number_format = "000"
    sheet["B4"].number_format = "00"
    book.save(tmp_path / "t.xlsx")
    table = read_table(tmp_path / "t.xlsx")
    assert table.ids == ["007", "012", "8"]
    assert list(table.frame["age"]) == ["30", "31", "32.5"]


def test_merged_cells_are_named(tmp_path: Path) -> None:
    """Below the header, where all of them seem to hold what only the first does."""
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["id", "sex", None], ["A1", "F", None], ["A2", None, None], ["A3", "M", None]):
        sheet.append(row)
    sheet.merge_cells("B1:C1")  # a wide title of one column does no harm
    sheet.merge_cells("E5:F6")  # nor do empty cells
    book.save(tmp_path / "t.xlsx")
    assert list(read_table(tmp_path / "t.xlsx").frame["sex"]) == ["F", None, "M"]
    sheet.merge_cells("B2:B3")
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(TableError, match=r"merged cells, of which .* 'B2:B3'"):
        read_table(tmp_path / "t.xlsx")

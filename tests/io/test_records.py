# SPDX-License-Identifier: Apache-2.0
"""Rows come back as they were written, and no spreadsheet computes any of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import UnreadableFileError
from encephalon.io.text import csv_text, neutral, original, read_records, write_records


@given(st.text())
def test_every_text_comes_back(text: str) -> None:
    """An apostrophe is added or not, and taken away again."""
    assert original(neutral(text)) == text


@given(st.text("=+-@\t\r'", max_size=4), st.text(max_size=4))
def test_no_cell_begins_as_a_formula_does(start: str, rest: str) -> None:
    """But for numbers, which spreadsheets may show as such."""
    cell = neutral(start + rest)
    if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        assert math.isfinite(float(cell)) or cell in ("+inf", "-inf")


def test_numbers_stay_numbers() -> None:
    """Negative, signed, in the writing of computers; what only begins with a digit is text."""
    rows = [{"a": -1.5, "b": -2, "c": "-3", "d": "+4e-5", "e": "-5 mm", "f": "1,=2"}]
    assert csv_text(rows).splitlines()[1] == '-1.5,-2,-3,+4e-5,\'-5 mm,"1,=2"'


def test_written_rows_are_read_back(tmp_path: Path) -> None:
    """Names of columns too; cells that are lacking are empty."""
    rows = [{"id": "=1+2", "@x": "'=3"}, {"id": "b", "@x": ""}]
    assert read_records(write_records(rows, tmp_path / "t.csv")) == (["id", "@x"], rows)
    (tmp_path / "t.csv").write_text("id,x\na\n\nb,1\n", encoding="utf-8")
    assert read_records(tmp_path / "t.csv")[1] == [{"id": "a", "x": ""}, {"id": "b", "x": "1"}]


def test_what_excel_makes_of_a_table_is_read(tmp_path: Path) -> None:
    """A byte order mark, semicolons, carriage returns."""
    (tmp_path / "t.csv").write_bytes("\ufeffid;x\r\né;1,5\r\n".encode())
    assert read_records(tmp_path / "t.csv") == (["id", "x"], [{"id": "é", "x": "1,5"}])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfei\0d\0", "UTF-8"),
        (b'id\n"a', "unexpected end"),
        (b"id\n" + b"x" * 2**21, "limit"),
    ],
)
def test_what_is_no_table_is_one_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    """Another encoding, a quote without end, a cell of megabytes."""
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UnreadableFileError, match=words) as raised:
        read_records(tmp_path / "t.csv")
    assert "\n" not in str(raised.value)


def test_millions_of_empty_cells_are_counted_before_they_fill_the_memory(tmp_path: Path) -> None:
    """A byte in the file is a cell of sixty bytes here."""
    (tmp_path / "t.csv").write_text(("," * 999_999 + "\n") * 21, encoding="utf-8")
    with pytest.raises(UnreadableFileError, match="more than 20,000,000 cells"):
        read_records(tmp_path / "t.csv")

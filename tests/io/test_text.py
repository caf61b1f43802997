# SPDX-License-Identifier: Apache-2.0
"""Texts, JSON and TOML of unknown origin.

Rows come back as they were written, and no spreadsheet computes any of them.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import MissingFileError, UnreadableFileError
from encephalon.io.files import opened
from encephalon.io.text import (
    csv_text,
    neutral,
    original,
    parse_json,
    parse_toml,
    read_json,
    read_records,
    read_text,
    write_records,
)


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    """Windows programs put U+FEFF before JSON and CSV."""
    path = tmp_path / "a.json"
    path.write_text('{"Name": "é"}', encoding="utf-8-sig")
    assert read_json(path) == {"Name": "é"}


def test_other_bytes_than_utf8_are_said_with_their_place(tmp_path: Path) -> None:
    """Latin-1 is what old programs write."""
    path = tmp_path / "a.json"
    path.write_bytes('{"Name": "é"}'.encode("latin-1"))
    with pytest.raises(UnreadableFileError, match=r"a\.json.*UTF-8, but byte 10"):
        read_text(path)


def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    """Nobody ever writes to this one."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(UnreadableFileError, match=f"{name}: expected a regular file"):
            read_text(tmp_path / name)


@pytest.mark.parametrize("place", ["/dev/null", "/dev/zero"])
def test_a_device_is_refused(place: str) -> None:
    """A device has no size and perhaps no end."""
    with pytest.raises(UnreadableFileError, match="expected a regular file"), opened(place):
        pass


def test_a_name_that_no_file_can_have_is_one_sentence(tmp_path: Path) -> None:
    """NUL, and more letters than any file system holds."""
    with pytest.raises(MissingFileError, match="NUL"), opened(tmp_path / "a\0b"):
        pass
    with pytest.raises(UnreadableFileError, match="could not be read"), opened("x" * 300):
        pass


def test_a_file_larger_than_its_kind_is_refused_unread(tmp_path: Path) -> None:
    """A sparse file of a tebibyte takes no room on the disk, and would fill the memory."""
    path = tmp_path / "a.json"
    with path.open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(UnreadableFileError, match=r"JSON of at most 16,777,216 bytes"):
        read_json(path)


@pytest.mark.parametrize("depth", [65, 500, 100_000])
def test_deep_nesting_is_refused_in_both_languages(depth: int) -> None:
    """Python's own parsers run into the recursion limit, or leave it to whoever walks through."""
    nested = "[" * depth + "]" * depth
    with pytest.raises(UnreadableFileError, match="nested more than 64 deep"):
        parse_json(nested, "x")
    with pytest.raises(UnreadableFileError, match="nested more than 64 deep"):
        parse_toml(f"a = {nested}", "x")


@pytest.mark.parametrize("part", ["a", '"a b"', "'.'", '"\\""'])
@pytest.mark.parametrize("text", ["[{}]", "{} = 1", "a = {{{} = 1}}"])
def test_a_dotted_key_of_many_parts_is_refused_before_it_costs(text: str, part: str) -> None:
    """tomllib would take gigabytes for it."""
    with pytest.raises(UnreadableFileError, match="more than 64 parts"):
        parse_toml(text.format(" . ".join([part] * 50_000)), "x")


def test_numbers_in_rows_and_words_with_dots_are_no_dotted_keys() -> None:
    """Three thousand decimal fractions hold as many dots."""
    numbers = [0.5] * 3000
    text = f"a = {numbers}\nb = [\n  {numbers},\n]\nc = '{'x.' * 500}'\n"
    parsed = parse_toml(text, "x")
    assert parsed["a"] == numbers
    assert parsed["b"] == [numbers]


@pytest.mark.parametrize("digits", [301, 5000])
def test_a_number_of_too_many_digits_is_refused(digits: int) -> None:
    """It is no float, and Python refuses to read more than 4,300 digits."""
    number = "9" * digits
    with pytest.raises(UnreadableFileError, match=r"digits|JSON"):
        parse_json(f'{{"a": {number}}}', "x")
    with pytest.raises(UnreadableFileError, match=r"digits|TOML"):
        parse_toml(f"a = {number}", "x")


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

# SPDX-License-Identifier: Apache-2.0
"""Text, JSON, TOML and CSV of unknown origin: size, nesting and digits have bounds, set early.

Rows are written as CSV and read back: cells that say nothing are empty, numbers keep ten digits. A
cell that a spreadsheet would compute is written with an apostrophe before it, which the spreadsheet
does not show, and read without: "=1+2" comes back as it was.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from encephalon.errors import UnreadableFileError
from encephalon.io.atomic import write_text
from encephalon.io.files import opened

LARGEST_TEXT = 16 * 1024**2
"""Bytes of a text that is read whole: a description of a model or dataset has some kilobytes."""

# Deeper than any description that people or programs write, and far from Python's recursion limit.
_DEEPEST = 64
# tomllib takes time and memory that grow with the square of the parts of a dotted key.
_LONG_KEY = re.compile(rf"(?:[\w-]+[ \t]*\.[ \t]*){{{_DEEPEST}}}")
_QUOTED = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")
# More digits than a float keeps and any identifier needs; Python refuses to read above 4,300.
_MOST_DIGITS = 300

LARGEST = 1 << 28
"""Bytes of a text file that is read as a table."""
MOST_CELLS = 20_000_000
"""Of a table; each takes some 60 bytes here, and a spreadsheet of people has thousands."""

_MAX_CELL = 1 << 20  # characters; the csv module stops at 131,072 by default
# What Excel, LibreOffice and Google Sheets take for the beginning of a formula (OWASP, "CSV
# injection"), behind the apostrophes that it may have already.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
# The first line by which Excel is told how cells are parted; Excel itself saves more behind it.
_NAMED_SEPARATOR = re.compile(r'"?sep=([,;\t|])"?[,;\t|]*\r?\n?', re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf")


def read_text(path: str | Path, largest: int = LARGEST_TEXT, expected: str = "a text") -> str:
    """The text of a file as UTF-8, with or without a byte order mark.

    Raises the errors of `opened`, and UnreadableFileError for other bytes than UTF-8.
    """
    with opened(path, largest, expected) as stream:
        content = stream.read(largest + 1)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(
            f"{path}: expected {expected} in UTF-8, but byte {error.start:,} is none; save it "
            "again as UTF-8."
        ) from error


def read_json(path: str | Path, largest: int = LARGEST_TEXT) -> Any:
    """What the JSON file `path` holds; raises the errors of `read_text` and of `parse_json`."""
    return parse_json(read_text(path, largest, "JSON"), path)


def parse_json(text: str, source: object) -> Any:
    """What the JSON `text` says; `source` names it in an error.

    Raises UnreadableFileError for what is no JSON, nested more than 64 deep or with a number of
    more than 300 digits.
    """
    return _parsed(json.loads, text, source, "JSON")


def parse_toml(text: str, source: object) -> dict[str, Any]:
    """What the TOML `text` says; `source` names it in an error.

    Raises UnreadableFileError for what is no TOML, nested more than 64 deep (dotted keys count
    too) or with a number of more than 300 digits.
    """
    if _LONG_KEY.search(_QUOTED.sub("q", text)):
        raise UnreadableFileError(
            f"{source}: a key has more than {_DEEPEST} parts; correct the TOML."
        )
    content: dict[str, Any] = _parsed(tomllib.loads, text, source, "TOML")
    return content


def _parsed(parse: Callable[[str], Any], text: str, source: object, kind: str) -> Any:
    too_deep = UnreadableFileError(
        f"{source}: the {kind} is nested more than {_DEEPEST} deep; correct it."
    )
    try:
        content = parse(text)
    except ValueError as error:  # of both modules, and of too many digits
        reason = " ".join(str(error).split())
        raise UnreadableFileError(f"{source}: not valid {kind}: {reason}.") from error
    except RecursionError:
        raise too_deep from None
    # What would break whoever walks through it, or makes a float of it, later.
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise too_deep
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, int) and item.bit_length() > _MOST_DIGITS * 3.33:
                raise UnreadableFileError(
                    f"{source}: a number has more than {_MOST_DIGITS} digits; correct the {kind}."
                )
        level = below
    return content


def neutral(text: str) -> str:
    """The text as a cell that no spreadsheet computes; see `original`."""
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def original(text: str) -> str:
    """The text that `neutral` made that cell of."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def csv_text(
    rows: Sequence[Mapping[str, Any]], columns: Iterable[str] | None = None, separator: str = ","
) -> str:
    """The rows as CSV; without `columns` each stands where it first came.

    None, NaN and absent cells are empty, infinity is `inf`, truth values are `true` and `false`.
    """
    stream = io.StringIO(newline="")
    names = list(columns or dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
    writer.writerow(map(neutral, names))
    writer.writerows([_csv_cell(row.get(name)) for name in names] for row in rows)
    return stream.getvalue()


def write_records(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Write the rows as CSV, atomically; raises OutputError when the file cannot be written."""
    return write_text(path, csv_text(rows))


def read_records(path: str | Path) -> tuple[list[str], list[dict[str, str]]]:
    """The columns of a CSV file and its rows, a cell that is not there empty.

    Raises the errors of `read_lines`.
    """
    lines = [line for line in read_lines(path) if any(line)]
    names = lines[0] if lines else []
    return names, [dict.fromkeys(names, "") | dict(zip(names, line)) for line in lines[1:]]  # noqa: B905


def read_lines(path: str | Path) -> list[list[str]]:
    """The cells of each line of a CSV or TSV file, blank lines as none, as they were written.

    UTF-8 with or without a byte order mark; .tsv is parted by tabs, all else by what a first line
    "sep=;" names, as Excel takes it, or else by what the first line that is not blank has most of:
    commas, semicolons (as Excel writes them in half of Europe) or tabs.

    Raises the errors of `opened`, and UnreadableFileError for other bytes than UTF-8, a quote that
    never ends, and more cells than fit the memory.
    """
    path = Path(path)
    csv.field_size_limit(_MAX_CELL)
    try:
        with opened(path, LARGEST, "a table") as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            first = next((line for line in text if line.strip()), "")
            text.seek(0)
            named = _NAMED_SEPARATOR.fullmatch(first)
            separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
            separator = named[1] if named else separator
            lines = list(_counted(csv.reader(text, delimiter=separator, strict=True), path))
            return [[], *lines[1:]] if named else lines
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableFileError(
            f"{path} cannot be read as a table of UTF-8 text: {error}; save it again as CSV UTF-8."
        ) from error


def _counted(lines: Iterable[list[str]], path: Path) -> Iterator[list[str]]:
    count = 0
    for line in lines:
        count += len(line) + 1
        if count > MOST_CELLS:
            raise UnreadableFileError(
                f"{path}: the table has more than {MOST_CELLS:,} cells; save what is needed of it."
            )
        yield [original(cell) for cell in line]


def _csv_cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else neutral(str(value))

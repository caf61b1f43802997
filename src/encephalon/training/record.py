# SPDX-License-Identifier: Apache-2.0
"""What a run began with, kept beside it, and how what is given later differs from that."""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from encephalon.errors import listed
from encephalon.io.atomic import content_of
from encephalon.io.cache import read_checksummed, write_checksummed
from encephalon.recipes.loading import in_todays_words
from encephalon.training.dataset import in_threads

if TYPE_CHECKING:
    from encephalon.tables.schema import Table

__all__ = ["RunRecord", "differences", "table_contents", "table_files", "text_hash"]


@dataclass(frozen=True)
class RunRecord:
    """run.json: the first file of a run, and the sign that a folder holds one.

    run         names this run alone; its checkpoints repeat it
    recipe      SHA-256 of recipe.toml as written
    table       SHA-256 of table.csv as written
    contents    what the run reads, by its name in table or recipe, and the SHA-256 of each
    conditions  what its last digits depend on beside these: threads, device, version of torch
    finishing   whether training is over, and model and report have begun to be written
    trained     SHA-256 of what a finished training left, by file name
    """

    run: str = ""
    recipe: str = ""
    table: str = ""
    contents: Mapping[str, str] = field(default_factory=dict)
    conditions: Mapping[str, str] = field(default_factory=dict)
    finishing: bool = False
    trained: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, recipe_text: str, table_text: str) -> Self:
        """The record of a run that begins now."""
        return cls(uuid4().hex, text_hash(recipe_text), text_hash(table_text))

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The record in `path`; None where there is none, or it is no longer as it was written."""
        found = read_checksummed(path)
        try:
            return cls(**found)
        except TypeError:
            return None

    def write(self, path: Path, **changes: Any) -> None:
        """Write the record with these changes, atomically."""
        write_checksummed(path, asdict(replace(self, **changes)))


def text_hash(text: str | bytes) -> str:
    """The SHA-256 of a text as it is written to a file."""
    content = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
    return sha256_of(content).hexdigest()


def table_contents(
    table: Table, workers: int = 2, content: Callable[[Path], str] = content_of
) -> dict[str, str]:
    """The content of every file that a table names, by its cell, hashed in `workers` threads."""
    files = table_files(table)
    return dict(zip(files, in_threads(content, files.values(), workers), strict=True))


def table_files(table: Table) -> dict[str, Path]:
    """Every file that a table names, by its cell, sorted."""
    columns = [name for name in table.columns.file_columns().values() if table.has(name)]
    cells = sorted({cell for name in columns for cell in table.texts(name) if cell})
    return {cell: table.path(cell) for cell in cells}


def differences(kind: str, there: str, here: str) -> str:
    """Where two recipes (TOML) or tables (CSV) differ, in brackets for a sentence; "" for nowhere.

    `kind` is "recipe" or "table"; nothing is said where what is `there` was lost.
    """
    if not there:
        return ""
    compare = _of_recipes if kind == "recipe" else _of_tables
    try:
        found = list(compare(there, here))
    except (tomllib.TOMLDecodeError, RecursionError, csv.Error):
        return ""
    return f" ({listed(found, 3, '; ')})" if found else ""


def _of_recipes(there: str, here: str) -> Iterator[str]:
    old, new = (dict(_leaves(in_todays_words(tomllib.loads(text)))) for text in (there, here))
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) != new.get(key):
            was, is_now = (repr(d[key]) if key in d else "nothing" for d in (old, new))
            yield f"{key}: {was} there, {is_now} here"


def _leaves(data: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict) and data:
        for name, value in data.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(data, list) and any(isinstance(one, dict) for one in data):
        yield from _leaves({str(place): one for place, one in enumerate(data)}, key)
    else:
        yield key, data


def _of_tables(there: str, here: str) -> Iterator[str]:
    old, new = (list(csv.reader(io.StringIO(text, newline=""))) for text in (there, here))
    if old[:1] != new[:1]:
        yield f"columns {_words(old[0])} there, {_words(new[0])} here"
    elif len(old) != len(new):
        yield f"{len(old) - 1} rows there, {len(new) - 1} here"
    else:
        for number, (was, now) in enumerate(zip(old, new, strict=True), start=1):
            for name, one, other in zip(old[0], was, now, strict=False):
                if one != other:
                    yield f"row {number}, {name!r}: {one!r} there, {other!r} here"


def _words(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))

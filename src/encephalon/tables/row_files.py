# SPDX-License-Identifier: Apache-2.0
"""The file that each row of a table has: by a pattern of paths, or by its suffix in BIDS."""

from __future__ import annotations

import glob
import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from encephalon.errors import MissingFileError, TableError, listed
from encephalon.io.files import expanded
from encephalon.tables.schema import Table

__all__ = ["files_by_pattern", "files_by_suffix"]

#: What stands in a pattern for the cell of a column.
_PLACE = re.compile(r"\{([^{}]*)\}")
_STARRED = re.compile(rf"(\*?){_PLACE.pattern}(\*?)")

_log = logging.getLogger(__name__)


def files_by_pattern(name: str, pattern: str, table: Table, beside: Path) -> list[Path | None]:
    """The file of each row that fits a pattern, such as "{id}/anat/{id}_T1w.nii.gz".

    name     of the source that the files are of
    pattern  of paths from the folder `beside`: {COLUMN} stands for the cell of the row, and {id}
             for its id

    Raises TableError for a row with two files, and MissingFileError where no row has any. Files
    that fit and that no row has are said.
    """
    cells: dict[str, list[str]] = {}
    for column in dict.fromkeys(_PLACE.findall(pattern)):
        if column != "id":
            table.require(column)
        cells[column] = table.ids if column == "id" else table.texts(column)

    def fitting(values: Mapping[str, str]) -> list[Path]:
        filled = _filled(str(expanded(pattern)), values)
        # Tables compose accents, and the folders of macOS do not.
        spelt = {unicodedata.normalize(form, one) for one in filled for form in ("NFC", "NFD")}
        found = {path for one in spelt for path in glob.glob(one, root_dir=beside)}  # noqa: PTH207
        return [beside / path for path in sorted(found)]

    items: list[Path | None] = []
    for row, person in enumerate(table.ids):
        values = {column: some[row] for column, some in cells.items()}
        found = fitting({column: glob.escape(cell) for column, cell in values.items()})
        if len(found) > 1:
            raise TableError(
                f"The source {name!r} has {len(found)} files of {person!r}, "
                f"{listed(path.name for path in found)}: say more in `files`."
            )
        items.append(found[0] if found else None)
    if not any(items):
        wanted = _PLACE.sub(lambda found: cells[found[1]][0], pattern)
        raise MissingFileError(
            f"The source {name!r} has no file of anybody, such as {beside / wanted}: correct "
            "`files`."
        )
    everybody = fitting(dict.fromkeys(cells, "*"))
    strays = sorted(set(everybody) - set(items))
    _say_left_out(name, table, [path.name for path in strays])
    return items


def files_by_suffix(name: str, suffix: str, table: Table, root: Path) -> list[Path | None]:
    """The image of a BIDS dataset with that suffix of each row, by an id such as sub-01_ses-1.

    suffix  "" for that of the name of the source, as T1w of "t1"

    Raises TableError for two of one row, and for a name that is no suffix. Images that no row has
    are said.
    """
    from encephalon.io.bids import ANATOMICAL, index_bids

    words = {name.lower(), f"{name.lower()}w"}
    suffix = suffix or next((kind for kind in ANATOMICAL if kind.lower() in words), "")
    if not suffix:
        raise TableError(
            f"The source {name!r} has no `files`: give a pattern of paths, such as "
            f'"{{id}}/dwi/{{id}}_{name}.nii.gz", or a BIDS suffix such as "T1w".'
        )
    found: dict[str, Path] = {}
    for file in index_bids(root, (suffix,)):
        row = "_".join(
            f"{key}-{file.entities[key]}" for key in ("sub", "ses") if key in file.entities
        )
        if row in found:
            raise TableError(
                f"{row} has two {suffix} images, {found[row].name} and {file.path.name}: say in "
                f"`files` of the source {name!r} which is meant."
            )
        found[row] = file.path
    _say_left_out(name, table, sorted(set(found) - set(table.ids)))
    return [found.get(person) for person in table.ids]


def _filled(pattern: str, values: Mapping[str, str]) -> set[str]:
    """The pattern with these cells, where `*` beside a number takes no digit of it: 1 is not 10."""
    first, *others = _STARRED.split(pattern)
    choices: list[tuple[str, ...]] = [(first,)]
    for before, name, after, rest in zip(*(others[n::4] for n in range(4)), strict=True):
        cell = values[name]
        choices += [
            ("", "*[!0-9]") if before and cell[:1].isdigit() else (before,),
            (cell,),
            ("", "[!0-9]*") if after and cell[-1:].isdigit() else (after,),
            (rest,),
        ]
    return set(map("".join, product(*choices)))


def _say_left_out(name: str, table: Table, strays: Sequence[str]) -> None:
    if strays:
        _log.warning(
            "left out %d files of %r that no row of %s has: %s.",
            *(len(strays), name, table.source, listed(strays)),
        )

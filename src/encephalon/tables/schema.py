# SPDX-License-Identifier: Apache-2.0
"""What a table of samples is: which column means what, and the rows themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from encephalon.errors import TableError, did_you_mean
from encephalon.io.files import as_spelt, expanded
from encephalon.tables.naming import check_id_rule

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Made = TypeVar("Made")

SPLITS = ("train", "validation", "test")
"""The names that a split column may hold; an empty cell belongs to no part."""

FIRST_ROW = 2
"""What a spreadsheet calls the first row below the header."""


ColumnKind = Literal["number"] | tuple[str, ...]
"""What a column holds: numbers, or these categories."""


@dataclass(frozen=True)
class Columns:
    """Which column of a table means what. Nothing else in the table is looked at.

    id           the column whose value names a sample and everything made from it
    inputs       the role of each image ("image", "t1", "flair" ...) and its column of file paths
    suffixes     with several roles: the BIDS suffixes of the files that fill each one where there
                 is no table; see `tables.companions`. A role without any is filled by name alone
    optional     the roles, and the covariates, that a row may leave empty
    target       the column of what is learnt: file paths, numbers or class names
    target_kind  "labels" (a label image), "image", "number", or the class names in order; a row
                 without a class is only scored
    score_only   further classes that a row may have, which are scored and never learnt
    labels       what becomes of a label image: "keep", "nonzero" (binarised), or a mapping from
                 the label, as text, to its new value (labels that it leaves out become 0)
    covariates   a further input column and "number", or its categories in order; a name with *
                 or ? stands for every column that it fits ("fc_*"), see `expand`
    group        what may never straddle a split: an animal, a person, a volume
    split        the column that holds "train", "validation" or "test"
    id_rule      how the name of a file that comes without a table becomes an id: "stem" (without
                 its suffix), "before-underscore" (as for 3BTRON), or a regular
                 expression with one group; see `file_id`
    """

    # Recipes are read through pydantic, which finds here that unknown keys are refused.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    id: str = "id"
    inputs: dict[str, str] = field(default_factory=lambda: {"image": "image"})
    suffixes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    target: str | None = None
    target_kind: Literal["labels", "image", "number"] | tuple[str, ...] = "labels"
    score_only: tuple[str, ...] = ()
    labels: Literal["keep", "nonzero"] | dict[str, int] = "keep"
    covariates: dict[str, ColumnKind] = field(default_factory=dict)
    group: str | None = None
    split: str | None = None
    id_rule: str = "stem"

    def __post_init__(self) -> None:
        """Refuse a rule that no file name could ever meet."""
        check_id_rule(self.id_rule)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in order; none where the target is a number or an image."""
        return () if isinstance(self.target_kind, str) else tuple(self.target_kind)

    @property
    def any_part(self) -> bool:
        """Whether a sample is whatever there is of it: of several parts, none must be there."""
        parts = {*self.inputs, *self.covariates}
        return len(parts) > 1 and parts <= set(self.optional)

    def expand(self, names: Iterable[str]) -> Columns:
        """The same columns, name patterns of covariates replaced by the `names` that they fit.

        Names come in natural order (fc_2 before fc_10) and only once. What has another meaning, or
        a covariate of its own, fits no pattern. A pattern that nothing fits stays, and is then a
        column that the table lacks.
        """
        patterns = [name for name in self.covariates if set(name) & set("*?")]
        if not patterns:
            return self
        free = sorted(set(names) - set(self.needed()), key=_natural)
        fits = {
            name: [one for one in free if fnmatchcase(one, name)] or [name] for name in patterns
        }
        covariates: dict[str, ColumnKind] = {}
        for name, kind in self.covariates.items():
            found = (one for one in fits.get(name, [name]) if one not in covariates)
            covariates |= dict.fromkeys(found, kind)
        optional = [one for name in self.optional for one in fits.get(name, [name])]
        return replace(self, covariates=covariates, optional=tuple(optional))

    def file_columns(self) -> dict[str, str]:
        """Role and column of everything that is a file: the inputs, and a target image."""
        files = dict(self.inputs)
        if self.target is not None and self.target_kind in {"labels", "image"}:
            files["target"] = self.target
        return files

    def needed(self) -> list[str]:
        """Names of all columns that the table must have, each once, in a fixed order."""
        names = [self.id, *self.inputs.values(), self.target, *self.covariates]
        names += [self.group, self.split]
        return list(dict.fromkeys(name for name in names if name is not None))


def _natural(name: str) -> list[tuple[int, str]]:
    pieces = re.findall(r"\d+|\D+", name)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


@dataclass(frozen=True)
class Table:
    """The rows of a table, as text, with the meaning of its columns.

    frame    one row a sample; cells are text, or None where the table says nothing
    columns  which column means what
    folder   what relative file paths start from: the folder that the table lies in
    source   the file that the table came from, for messages
    rows     what a spreadsheet calls each row, where the file has blank ones; see `row`
    made     what was made of the rows before, see `once`
    """

    frame: pd.DataFrame
    columns: Columns
    folder: Path
    source: str = "the table"
    rows: tuple[int, ...] = ()
    made: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.frame)

    def row(self, place: int) -> int:
        """What a spreadsheet calls the row at that place, from 0; the header is its row 1."""
        return self.rows[place] if self.rows else place + FIRST_ROW

    @property
    def ids(self) -> list[str]:
        """The id of each row."""
        return self.texts(self.columns.id)

    def has(self, column: str | None) -> bool:
        """Whether the table has that column (False for None)."""
        return column is not None and column in self.frame.columns

    def texts(self, column: str) -> list[str]:
        """The cells of a column as text, "" where a cell is empty."""
        return list(self.once(column, lambda: self._texts(column)))

    def _texts(self, column: str) -> list[str]:
        self.require(column)
        return ["" if value is None else str(value) for value in self.frame[column]]

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` makes of the rows: once for all tables of these, whatever columns mean."""
        if key not in self.made:
            self.made[key] = make()
        found: Made = self.made[key]
        return found

    def numbers(self, column: str) -> NDArray[np.float64]:
        """The cells of a column (N,) as numbers, NaN where a cell is empty or no number."""
        import pandas as pd

        self.require(column)
        values = pd.to_numeric(self.frame[column], errors="coerce")
        return values.to_numpy(dtype="float64")

    def path(self, cell: str) -> Path:
        """The file that a cell means: absolute, or relative to the table's folder."""
        return as_spelt(self.folder / expanded(cell))

    def part(self, name: str) -> Table:
        """The rows whose split column holds `name` ("train", "validation" or "test")."""
        if self.columns.split is None:
            raise TableError(
                f"{self.source} has no split column: name it in [table] or split the table."
            )
        cells = self.texts(self.columns.split)
        return self.select([index for index, cell in enumerate(cells) if cell == name])

    def select(self, rows: Sequence[int]) -> Table:
        """The rows at these positions, in the order given."""
        frame = self.frame.iloc[list(rows)].reset_index(drop=True)
        return self.of(frame, tuple(self.row(place) for place in rows))

    def with_column(self, name: str, cells: Sequence[str | None]) -> Table:
        """The same table with one column added or replaced."""
        import pandas as pd

        frame = self.frame.copy()
        frame[name] = pd.Series(list(cells), index=frame.index, dtype=object)
        return self.of(frame, self.rows)

    def of(self, frame: pd.DataFrame, rows: tuple[int, ...]) -> Table:
        """Other rows of the same meaning."""
        return replace(self, frame=frame, rows=rows, made={})

    def require(self, column: str, named_by: str = "") -> None:
        """Raise TableError unless the table has that column, and say in words what names it."""
        have = list(map(str, self.frame.columns))
        if column not in have:
            words = f", which {named_by} names" if named_by else ""
            meant = did_you_mean(column, have, "it has")
            raise TableError(f"{self.source} has no column {column!r}{words}; {meant}")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a table.

    row      line of the table as a spreadsheet numbers it: the header is 1, the first sample
             2; 0 for a fault of the table as a whole
    column   the column at fault, or "" for the row as a whole
    message  what was expected, what came, and what to do, without row and column
    """

    row: int
    column: str
    message: str

    def __str__(self) -> str:
        """The fault as one line."""
        place = f"row {self.row}" if self.row else "the table"
        place += f", {self.column!r}" if self.column else ""
        return f"{place}: {self.message}"

# SPDX-License-Identifier: Apache-2.0
"""Draw the parts of a table: grouped and stratified hold-outs and folds, all from one seed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from encephalon.errors import TableError, listed, require_extra
from encephalon.tables.schema import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DRAWS = 200
"""Grouped hold-outs tried; the one nearest to the wished size and strata is kept. Our choice:
beyond this the best of 23 groups (the mice of 3BTRON) hardly improves."""

_FOLD_DRAWS = 50
"""Folds drawn, each from the next seed, until all have every class. Our choice: the first draw has
them but where groups are few and of several classes, and more draws then rarely help."""

logger = logging.getLogger(__name__)

_BINS = 4
"""Quantile bins that a number is stratified by. Our choice."""

Targets = Mapping[str, Literal["number"] | tuple[str, ...]]
"""Columns that are learnt: "number", or the classes in order."""

FOLD = "fold"
"""The column that `fold_table` writes: "0", "1" ..."""


@dataclass(frozen=True)
class SplitOptions:
    """How a table is parted.

    validation, test   the fractions of the rows wished for, each in [0, 1)
    stratify           columns whose mixture each part should share
    grouped            keep the rows of one group (the table's group column) in one part
    seed               of every random draw
    """

    validation: float = 0.1
    test: float = 0.1
    stratify: tuple[str, ...] = ()
    grouped: bool = True
    seed: int = 0


def split_table(table: Table, options: SplitOptions | None = None) -> Table:
    """The table with a split column: "train", "validation" or "test" in each row.

    The test part is drawn first, from all rows but those of label maps alone, which cannot be
    scored; the validation part from the rest. With a group
    column no group straddles two parts; the sizes are then as near to the wish as the groups
    allow. Ungrouped parts are scikit-learn's `train_test_split` with that seed, row for row.
    Raises TableError if there are too few rows or groups, or a stratum is too small.
    """
    require_extra("sklearn", "train", "Splitting a table")
    options = options or SplitOptions()
    wishes = (options.validation, options.test)
    if not all(0 <= wish < 1 for wish in wishes) or not 0 < sum(wishes) < 1:
        raise TableError(
            "The validation and test fractions must be 0 or more and sum to more than 0 and "
            f"less than 1, but are {options.validation} and {options.test}."
        )
    groups, strata = _groups(table, options.grouped), _strata(table, options.stratify)
    parts = ["train"] * len(table)
    rest = list(range(len(table)))
    for name, wish in (("test", options.test), ("validation", options.validation)):
        if wish:
            pool = _with_scans(table, groups) if name == "test" else rest
            share = wish * len(table) / len(pool) if name == "test" else wish / (1 - options.test)
            held = _held_out(pool, share, groups, strata, options.seed)
            for row in held:
                parts[row] = name
            rest = [row for row in rest if parts[row] == "train"]
    return _with_parts(table, parts)


def fold_table(
    table: Table,
    folds: int,
    stratify: Sequence[str] = (),
    grouped: bool = True,
    seed: int = 0,
    targets: Targets | None = None,
) -> Table:
    """The table with a column "fold" that numbers, in each row, the fold that tests it.

    As many folds as groups leaves one group out at a time. Every fold has some of each class of
    `targets`: those are the table's target by default, where it is stratified by that. Of the
    columns to stratify by, the last give way where all strata would be smaller than the folds.
    Raises TableError if there are fewer groups (or rows) than folds, in all or in one class.
    """
    require_extra("sklearn", "train", "Splitting a table")
    if targets is None:
        targets = _own_target(table) if table.columns.target in stratify else {}
    groups, strata = _groups(table, grouped), _strata(table, stratify, targets)
    while strata and len(stratify) > 1 and max(Counter(strata).values()) < folds:
        stratify = stratify[:-1]
        strata = _strata(table, stratify, targets)
    _check_units(table, folds, groups)
    # By target, the class of each row that every fold must have some of; "" where there is none.
    classes = {
        column: [cell if cell in kind else "" for cell in table.texts(column)]
        for column, kind in targets.items()
        if kind != "number"
    }
    for cells in classes.values():
        _check_class_units(table, folds, groups, cells)
    lacking = ""
    for draw in range(_FOLD_DRAWS):
        numbers = _fold_numbers(folds, groups, strata, len(table), seed + draw)
        lacking = _lacking(numbers, folds, classes.values())
        if not lacking:
            return table.with_column(FOLD, [str(number) for number in numbers])
    raise TableError(
        f"{table.source}: in {folds} folds, however they are drawn, one has none of the class "
        f"{lacking!r}; ask for fewer folds, or add groups that have it."
    )


def _lacking(numbers: Sequence[int], folds: int, classes: Iterable[Sequence[str]]) -> str:
    """A class that some fold has none of; "" if there is none."""
    for cells in classes:
        have = set(zip(numbers, cells, strict=True))
        for fold in range(folds):
            for name in sorted({*cells} - {""}):
                if (fold, name) not in have:
                    return name
    return ""


def use_fold(table: Table, fold: int, validation: int | None = None) -> Table:
    """The split that fold `fold` of `fold_table` means.

    That fold validates and the others train; with `validation`, the number of another fold, `fold`
    is tested and that one validates. Raises TableError for a fold that the table does not have.
    """
    numbers = table.texts(FOLD)
    named = {str(fold): "validation"}
    if validation is not None:
        named = {str(validation): "validation", str(fold): "test"}
        if validation == fold:
            raise TableError(f"Fold {fold} cannot both test and validate: choose another.")
    for number in named:
        if number not in numbers:
            known = ", ".join(sorted(set(numbers), key=lambda text: (len(text), text)))
            raise TableError(f"{table.source} has no fold {number}; it has {known}.")
    parts = [named.get(number, "train") for number in numbers]
    return _with_parts(table, parts)


def unseen_rows(table: Table, split: str | None) -> list[int]:
    """The places of the rows that a model made from this table has not learnt from.

    Those are the part "test", or all rows of a table without the column `split`. Raises TableError
    for a table that was split without such a part.
    """
    if split is None or not table.has(split):
        return list(range(len(table)))
    rows = [place for place, part in enumerate(table.texts(split)) if part == "test"]
    if not rows:
        raise TableError(
            f"{table.source} has no row whose {split!r} is 'test', and a model is not scored on "
            "what it learnt from: split off a test part, or give a table without that column."
        )
    return rows


def rows_with_scans(table: Table, rows: Sequence[int]) -> list[int]:
    """Of these places of rows, those that name a file in the first input of the recipe.

    A row of a label map alone is for training, where scans are made up from it, and has nothing to
    be scored: the log names it. Raises TableError where no row is left.
    """
    role, column = next(iter(table.columns.inputs.items()))
    if role not in table.columns.optional or not table.has(column):
        return list(rows)
    cells = table.texts(column)
    found, bare = ([row for row in rows if bool(cells[row]) is there] for there in (True, False))
    if not found:
        raise TableError(
            f"{table.source}: none of the {len(rows)} rows to score names a file in {column!r}: "
            "split off a part 'test' that has scans."
        )
    if bare:
        logger.warning(
            "%d of %d rows name no file in %r and are not scored: %s.",
            *(len(bare), len(rows), column, listed(table.ids[row] for row in bare)),
        )
    return found


def _with_scans(table: Table, groups: list[str] | None) -> list[int]:
    """The rows that a test part is drawn from: of groups with a scan, or all if these are few."""
    rows = list(range(len(table)))
    column = next(iter(table.columns.inputs.values()), None)
    if column is None or not table.has(column):
        return rows
    owners = groups or [str(row) for row in rows]
    seen = {owner for owner, cell in zip(owners, table.texts(column), strict=True) if cell}
    return [row for row in rows if owners[row] in seen] if len(seen) > 1 else rows


def _check_units(table: Table, folds: int, groups: list[str] | None) -> None:
    units = len(table) if groups is None else len(set(groups))
    if groups is not None and units == 1:
        raise TableError(
            f"{table.source} has one group only, {groups[0]!r} in {table.columns.group!r}: a fold "
            "that tests it leaves nothing to learn from; add samples of other groups, or name "
            "another column as the group."
        )
    what = "rows" if groups is None else "groups"
    if folds > units:
        raise TableError(
            f"{table.source} has {units} {what}, fewer than the {folds} folds asked for: "
            f"ask for fewer folds, or add {what}."
        )
    if folds < 2:
        raise TableError(f"{table.source} has {units} {what}: folds must be 2 to {units}.")


def _check_class_units(
    table: Table, folds: int, groups: list[str] | None, classes: list[str]
) -> None:
    units: dict[str, set[str]] = {}
    for row, name in enumerate(classes):
        units.setdefault(name, set()).add(str(row) if groups is None else groups[row])
    units.pop("", None)
    for name, found in units.items():
        if len(found) < folds:
            what = "rows" if groups is None else f"groups of {table.columns.group!r}"
            raise TableError(
                f"{table.source}: the class {name!r} is in {len(found)} {what}, too few for "
                f"{folds} folds that all need some of it; ask for at most {len(found)} folds, or "
                "add more."
            )


def _fold_numbers(
    folds: int, groups: list[str] | None, strata: list[str] | None, count: int, seed: int
) -> list[int]:
    """The fold of each of `count` rows."""
    import warnings

    from sklearn import model_selection as ms

    if groups is not None:
        kind = ms.GroupKFold if strata is None else ms.StratifiedGroupKFold
    else:
        kind = ms.KFold if strata is None else ms.StratifiedKFold
    splitter = kind(folds, shuffle=True, random_state=seed)
    numbers, rows = [0] * count, range(count)
    try:
        with warnings.catch_warnings():
            # A stratum smaller than the folds is no fault: only classes must be everywhere.
            warnings.filterwarnings("ignore", "The least populated class")
            for number, (_, held) in enumerate(splitter.split(rows, strata, groups)):
                for row in held:
                    numbers[int(row)] = number
    except ValueError as error:
        raise TableError(
            f"{count} rows cannot be parted into {folds} folds: no stratum has as many; ask for "
            "fewer folds, or stratify by less."
        ) from error
    return numbers


def _with_parts(table: Table, parts: Sequence[str]) -> Table:
    column = table.columns.split or "split"
    return replace(table.with_column(column, parts), columns=replace(table.columns, split=column))


def _groups(table: Table, grouped: bool) -> list[str] | None:
    """The group of each row; None where rows are free."""
    column = table.columns.group
    if not grouped or column is None or not table.has(column):
        return None
    # A row without a group is its own; the line break keeps it apart from any real name.
    cells = table.texts(column)
    return [cell or f"row\n{number}" for number, cell in enumerate(cells)]


def _own_target(table: Table) -> Targets:
    """The table's target with its kind; nothing where it is a file, or there is none."""
    columns = table.columns
    if columns.target is None:
        return {}
    if columns.target_kind == "number":
        return {columns.target: "number"}
    return {columns.target: columns.classes} if columns.classes else {}


def _strata(
    table: Table, columns: Sequence[str], targets: Targets | None = None
) -> list[str] | None:
    """The stratum of each row: the cells of those columns, numbers in quantile bins."""
    import pandas as pd

    if not columns:
        return None
    kinds = {**table.columns.covariates, **_own_target(table), **(targets or {})}
    cells = []
    for column in columns:
        if kinds.get(column) == "number":
            bins = pd.qcut(table.numbers(column), _BINS, labels=False, duplicates="drop")
            cells.append([str(number) for number in bins])
        else:
            cells.append(table.texts(column))
    return ["\n".join(row) for row in zip(*cells, strict=True)]


def _held_out(
    rows: list[int], share: float, groups: list[str] | None, strata: list[str] | None, seed: int
) -> list[int]:
    """The rows of the part that is held out of `rows`, about `share` of them."""
    from sklearn.model_selection import train_test_split

    own = None if strata is None else [strata[row] for row in rows]
    try:
        if groups is None:
            _, held = train_test_split(rows, test_size=share, random_state=seed, stratify=own)
            return [int(row) for row in held]
        return _grouped(rows, share, [groups[row] for row in rows], own, seed)
    except ValueError as error:
        if isinstance(error, TableError):
            raise
        raise TableError(f"{len(rows)} rows cannot be split so: {error}") from error


def _grouped(
    rows: list[int], share: float, groups: list[str], strata: list[str] | None, seed: int
) -> list[int]:
    import numpy as np
    from sklearn.model_selection import GroupShuffleSplit

    count = len(set(groups))
    if count < 2:
        raise TableError("One group cannot be split: give more groups or switch grouping off.")
    held_groups = min(max(round(share * count), 1), count - 1)
    splitter = GroupShuffleSplit(_DRAWS, test_size=held_groups, random_state=seed)
    codes = np.unique(strata or ["all"] * len(rows), return_inverse=True)[1]
    draws = (held for _, held in splitter.split(rows, groups=groups))
    best = min(draws, key=lambda held: _distance(codes, held, share))
    return [rows[int(index)] for index in best]


def _distance(codes: NDArray[Any], held: NDArray[Any], share: float) -> float:
    """How far a part is from its wish: the sum, over strata, of its size's error in rows."""
    import numpy as np

    wished = share * np.bincount(codes)
    got = np.bincount(codes[held], minlength=len(wished))
    return float(np.abs(got - wished).sum() + abs(got.sum() - wished.sum()))

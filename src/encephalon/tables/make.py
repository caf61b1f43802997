# SPDX-License-Identifier: Apache-2.0
"""Make tables: of a folder of images and a spreadsheet, of a BIDS dataset, and of two tables.

These are `encephalon table images`, `table bids` and the joining of tables row to row by id; all of
them name everything that does not match.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from encephalon.errors import InputError, MissingFileError, TableError, did_you_mean, quoted
from encephalon.io.files import exists, expanded, is_folder
from encephalon.tables.image_files import bids_query, find_images
from encephalon.tables.naming import ID_RULES, file_id, written_path
from encephalon.tables.schema import Columns

if TYPE_CHECKING:
    import pandas as pd

    from encephalon.io.bids import BidsFile
    from encephalon.tables.schema import Table

_log = logging.getLogger(__name__)

Place = str | os.PathLike[str]


def folder_table(
    folder: Place,
    sheet: Place | None = None,
    *,
    id_column: str = "id",
    id_rule: str = "stem",
    relative_to: Place | None = None,
    rename: Mapping[str, str] | None = None,
    remainder: bool = False,
    images_only: bool = False,
) -> pd.DataFrame:
    """The images of a folder and all below it as rows, each with the cells of its spreadsheet row.

    Pictures and volumes alike; hidden files and folders are passed over. The columns are `id`,
    `image` (a path from the folder `relative_to`, where the table is going to lie; absolute
    without it) and those of the spreadsheet, renamed by `rename` {old: new}. A file's name becomes
    the id by `id_rule` (see `file_id`), and so does a cell of `id_column` that names a file.

    Images and rows must match one to one. `remainder` leaves out rows without an image, and
    `images_only` images without a row, and both say so. Raises TableError, naming all that does
    not match, MissingFileError or InputError for a folder that is not there or holds no images.
    """
    import pandas as pd

    root = expanded(folder)
    base = None if relative_to is None else expanded(relative_to).resolve()
    files = _files(root, id_rule)
    rows: dict[str, dict[str, str | None]] = {}
    faults = [
        f"{len(found)} images of {root} have the id {name!r}: "
        f"{quoted(path.relative_to(root).as_posix() for path in found)}"
        for name, found in files.items()
        if len(found) > 1
    ]
    if sheet is not None:
        rows, wrong = _rows(Path(sheet), id_column, id_rule, rename or {})
        _need_overlap(root, Path(sheet), files, list(rows), id_column)
        alone = {"remainder": remainder, "images-only": images_only}
        faults += wrong + _unmatched(root, Path(sheet), list(files), list(rows), alone)
    if faults:
        raise TableError(f"{'; '.join(faults)}.")
    return pd.DataFrame(
        [
            {"id": name, "image": written_path(found[0], base), **rows.get(name, {})}
            for name, found in files.items()
            if sheet is None or name in rows
        ],
        dtype=object,
    )


def _files(root: Path, rule: str) -> dict[str, list[Path]]:
    """The images below a folder, by their ids, in the order of their paths."""
    from encephalon.tables.image_files import is_image

    if not is_folder(root):
        raise MissingFileError(f"There is no folder {root}: give the folder that holds the images.")
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if not hidden and is_image(path):
            found[file_id(path, rule)].append(path)
    if not found:
        raise InputError(f"The folder {root} holds no images: neither pictures nor volumes.")
    return dict(found)


def _rows(
    sheet: Path, id_column: str, rule: str, rename: Mapping[str, str]
) -> tuple[dict[str, dict[str, str | None]], list[str]]:
    """The rows of a spreadsheet by id, without the id, and what is wrong with the ids."""
    from encephalon.tables.image_files import is_image
    from encephalon.tables.reading import read_table

    table = read_table(sheet, Columns(id=id_column))
    names = _new_names(sheet, list(map(str, table.frame.columns)), id_column, rename)
    rows: dict[str, dict[str, str | None]] = {}
    places: dict[str, list[int]] = defaultdict(list)
    for place, (cell, row) in enumerate(
        zip(table.ids, table.frame.to_dict(orient="records"), strict=True)
    ):
        name = file_id(cell, rule) if is_image(Path(cell)) else cell
        places[name].append(table.row(place))
        rows.setdefault(name, {new: row[old] for old, new in names.items()})
    faults = [f"{sheet}, row {row}: {id_column!r} is empty" for row in places.pop("", [])]
    for name, numbers in places.items():
        if len(numbers) > 1:
            lines = " and ".join(map(str, numbers))
            faults.append(f"{sheet} has the id {name!r} in several rows, {lines}")
    rows.pop("", None)
    return rows, faults


def _new_names(
    sheet: Path, have: Sequence[str], id_column: str, rename: Mapping[str, str]
) -> dict[str, str]:
    """The new name of each column but the id's; raises TableError where two would be alike."""
    for name in (id_column, *rename):
        if name not in have:
            meant = did_you_mean(name, have, "it has")
            raise TableError(f"{sheet} has no column {name!r}: {meant}")
    names = {name: rename.get(name, name) for name in have if name != id_column}
    for name in (new := ["id", "image", *names.values()]):
        if new.count(name) > 1:
            raise TableError(f"{sheet}: the table would have two columns {name!r}; rename one.")
    return names


def _need_overlap(
    root: Path, sheet: Path, files: Mapping[str, Sequence[Path]], rows: Sequence[str], column: str
) -> None:
    """Raise TableError, with an id of each side and the rule that helps, if no id is in both."""
    if not rows or set(files) & set(rows):
        return
    name, (first, *_) = next(iter(files.items()))
    images = [path for paths in files.values() for path in paths]
    helps = [rule for rule in ID_RULES if {file_id(path, rule) for path in images} & set(rows)]
    hint = (
        f"the id rule {helps[0]!r} would match them (--id-rule {helps[0]})"
        if helps
        else "name another column of ids (--id), or another rule for file names (--id-rule)"
    )
    raise TableError(
        f"No image of {root} has a row in {sheet}: the first image, {first.name}, has the id "
        f"{name!r}, but the first row has {rows[0]!r} in {column!r}; {hint}."
    )


def _unmatched(
    root: Path, sheet: Path, files: Sequence[str], rows: Sequence[str], allowed: Mapping[str, bool]
) -> list[str]:
    """What is on one side alone, unless it may be left out, which is said."""
    faults = []
    for flag, names, others, what in (
        ("images-only", files, rows, f"no row in {sheet} for {{}} of {{}} images of {root}"),
        ("remainder", rows, files, f"no image in {root} for {{}} of {{}} rows of {sheet}"),
    ):
        known = set(others)
        alone = [name for name in names if name not in known]
        found = f"{what.format(len(alone), len(names))}: {quoted(alone)}"
        if alone and allowed[flag]:
            _log.warning("left out: %s.", found)
        elif alone:
            faults.append(f"{found} (left out with --{flag})")
    return faults


def bids_table(
    folder: str | os.PathLike[str],
    *,
    relative_to: str | os.PathLike[str] | None = None,
    suffixes: Sequence[str] | None = None,
    participants: Sequence[str] | None = None,
    sessions: Sequence[str] | None = None,
    wide: bool = False,
) -> pd.DataFrame:
    """The images of a BIDS dataset as the rows of a table.

    One row an image: `id`, `image`, `subject`, `session`, `suffix`; with `wide`, one row a
    session, with a column of paths for each suffix ("T1w", "T2w" ...). `subject` is the group
    that a split must not part. The columns of `participants.tsv` follow. Paths are written from
    the folder `relative_to`, where the table is going to lie (absolute without it). Raises
    MissingFileError for a folder without images or without what was asked for, TableError if
    `wide` finds two images for one cell.
    """
    import pandas as pd

    root = expanded(folder)
    files = find_images(root, bids_query(suffixes, participants, sessions))
    base = None if relative_to is None else expanded(relative_to).resolve()
    if wide:
        rows = _wide(files, base)
    else:
        rows = [
            {
                "id": file.id,
                "image": written_path(file.path, base),
                "subject": file.entities.get("sub"),
                "session": file.entities.get("ses"),
                "suffix": file.suffix,
            }
            for file in files
        ]
    people = _participants(root)
    for row in rows:
        extra = people.get(f"sub-{row['subject']}", {})
        row.update({name: cell for name, cell in extra.items() if name not in row})
    return pd.DataFrame(rows, dtype=object)


def _wide(files: Iterable[BidsFile], base: Path | None) -> list[dict[str, str | None]]:
    rows: dict[str, dict[str, str | None]] = {}
    for file in files:
        subject, session = file.entities.get("sub"), file.entities.get("ses")
        name = f"sub-{subject}" if session is None else f"sub-{subject}_ses-{session}"
        row = rows.setdefault(name, {"id": name, "subject": subject, "session": session})
        if file.suffix in row:
            raise TableError(
                f"{name} has two {file.suffix} images, {row[file.suffix]} and {file.path}: make "
                "the table with one row an image and choose."
            )
        row[file.suffix] = written_path(file.path, base)
    return list(rows.values())


def _participants(root: Path) -> dict[str, dict[str, str | None]]:
    """The rows of participants.tsv by participant_id; empty where there is no such file."""
    from encephalon.tables.reading import read_table

    file = root / "participants.tsv"
    if not exists(file):
        return {}
    frame = read_table(file).frame
    if "participant_id" not in frame.columns:
        raise TableError(f"{file} has no column 'participant_id', which BIDS requires.")
    return {
        str(row["participant_id"]): {
            str(key): cell for key, cell in row.items() if key != "participant_id"
        }
        for row in frame.to_dict(orient="records")
    }


def join_tables(left: Table, right: Table, *, remainder: bool = False) -> pd.DataFrame:
    """The rows of `left`, in their order, each with the columns of its one row in `right`.

    Rows are matched by the id columns of the two tables, whose names may differ; the result has
    the id column of `left`. Raises TableError, naming the ids, if an id is empty or not unique in
    either table, if a row of `left` has no match, or, unless `remainder`, if a row of `right`
    has none; and naming the columns, if the two tables share any but the id.
    """
    _check_ids(left)
    _check_ids(right)
    here, there = ({name: row for row, name in enumerate(one.ids)} for one in (left, right))
    if unmatched := [name for name in here if name not in there]:
        raise TableError(
            f"{right.source} has no row for these ids of {left.source}: {quoted(unmatched)}."
        )
    spare = [name for name in there if name not in here]
    if spare and not remainder:
        raise TableError(
            f"{left.source} has no row for these ids of {right.source}: {quoted(spare)}."
        )
    extra = right.frame.drop(columns=[right.columns.id])
    if clash := [str(name) for name in extra.columns if name in left.frame.columns]:
        raise TableError(f"{left.source} and {right.source} both have {quoted(clash)}: rename one.")
    order = [there[name] for name in here]
    joined = left.frame.reset_index(drop=True).copy()
    for name in extra.columns:
        joined[name] = extra[name].iloc[order].to_list()
    return joined


def _check_ids(table: Table) -> None:
    counts = Counter(table.ids)
    if "" in counts:
        row = table.row(table.ids.index(""))
        raise TableError(f"{table.source}, row {row}: {table.columns.id!r} is empty; fill it.")
    if twice := [name for name, count in counts.items() if count > 1]:
        raise TableError(
            f"{table.source}: {table.columns.id!r} must be unique to join by it, but these ids "
            f"stand in several rows: {quoted(twice)}."
        )

# SPDX-License-Identifier: Apache-2.0
"""Where the data of a cohort lie: any table, a BIDS dataset, or the folders of the published study.

Every layout becomes one table, a row a person (or a session), and for each source what every row
has of it: a file, a row of an array, or nothing. Rows are found by their ids, never by their order,
where there are ids; what has no row is a fault of an array, and is said of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from encephalon.errors import MissingFileError, TableError
from encephalon.io.files import expanded, is_folder
from encephalon.studies.legibility.settings import Cohort, Source
from encephalon.tables.array_rows import array_rows
from encephalon.tables.checks import checked
from encephalon.tables.participants import PARTICIPANTS, session_rows
from encephalon.tables.reading import read_table
from encephalon.tables.row_files import files_by_pattern, files_by_suffix
from encephalon.tables.schema import Columns, Table
from encephalon.transforms.connectivity_files import Item

__all__ = ["Given", "gather"]

#: The parts of the published study, and what a split calls them.
_PARTS = {"TRAIN": "train", "TEST": "test"}


@dataclass(frozen=True)
class Given:
    """A cohort with its table, and what each row of it has of each source.

    cohort  with its id, group and split as the layout has them
    tables  the files that the table came from
    """

    cohort: Cohort
    table: Table
    items: Mapping[str, Sequence[Item]]
    tables: tuple[Path, ...]

    def select(self, rows: Sequence[int]) -> Given:
        """These rows alone."""
        items = {name: [some[row] for row in rows] for name, some in self.items.items()}
        return replace(self, table=self.table.select(rows), items=items)


def gather(cohort: Cohort, beside: Path) -> Given:
    """All that a cohort file in the folder `beside` names, found and its ids held together.

    Raises TableError or an InputError with the source, and the person, row or file at fault.
    """
    if cohort.layout == "bids":
        return _bids(cohort, beside)
    if cohort.layout == "biobank":
        return _biobank(cohort, expanded(beside / cohort.table))
    if not cohort.table:
        raise TableError(f"The cohort {cohort.name!r} names no table: set  table = FILE.")
    return _given(cohort, _read(cohort, beside / expanded(cohort.table)), beside)


def _given(cohort: Cohort, table: Table, beside: Path) -> Given:
    items = {name: _items(name, source, table, beside) for name, source in cohort.sources.items()}
    return Given(cohort, table, items, (Path(table.source),))


def _read(cohort: Cohort, path: Path) -> Table:
    table = read_table(path, Columns(id=cohort.id, inputs={}))
    table.require(cohort.id)
    return checked(table)


def _items(name: str, source: Source, table: Table, beside: Path) -> Sequence[Item]:
    column = source.column or name
    if (source.files or source.array) and table.has(column):
        raise TableError(
            f"{table.source} has a column {column!r}, and the source {name!r} says besides where "
            "its data lie: drop either, or give the source another `column`."
        )
    if source.array:
        return [*array_rows(source.array, source.ids, table, beside)]
    if source.files:
        return files_by_pattern(name, source.files, table, beside)
    if not table.has(column):
        raise TableError(
            f"{table.source} has no column {column!r} for the source {name!r}: name the column of "
            "its paths, or say in `files` or `array` where they lie."
        )
    looked_at = Columns(id=table.columns.id, inputs={name: column}, optional=(name,))
    checked(replace(table, columns=looked_at))
    return [table.path(cell) if cell else None for cell in table.texts(column)]


def _bids(cohort: Cohort, beside: Path) -> Given:
    """A dataset whose people are in participants.tsv; two sessions of one are two rows, a group."""
    own = "id" in cohort.model_fields_set
    cohort = cohort if own else cohort.model_copy(update={"id": "participant_id"})
    path = beside / expanded(cohort.table or PARTICIPANTS)
    people, root = _read(cohort, path), path.parent
    table = session_rows(people, root)
    if table is not people:
        update = {"id": "id", "group": cohort.group or cohort.id}
        cohort = cohort.model_copy(update=update)
    kinds = {
        name: source.files
        for name, source in cohort.sources.items()
        if not (source.array or set("/{") & set(source.files) or table.has(source.column or name))
    }
    others = cohort.model_copy(
        update={"sources": {n: one for n, one in cohort.sources.items() if n not in kinds}}
    )
    items = {name: files_by_suffix(name, kind, table, root) for name, kind in kinds.items()}
    found = _given(others, table, root)
    return replace(found, cohort=cohort, items={**found.items, **items})


def _biobank(cohort: Cohort, root: Path) -> Given:
    """The folders TRAIN and TEST of the published study, each a table with its own files."""
    import pandas as pd

    if not is_folder(root / "TRAIN"):
        raise MissingFileError(f"{root} has no folder TRAIN, which the layout 'biobank' needs.")
    parts = []
    for folder, split in _PARTS.items():
        if not is_folder(root / folder):
            continue
        own = cohort.id if "id" in cohort.model_fields_set else "biobank_id"
        sources = {
            name: one if one.files or one.array else one.model_copy(update=_usual(name, one, split))
            for name, one in cohort.sources.items()
        }
        part = cohort.model_copy(update={"id": own, "split": "split", "sources": sources})
        table = _read(part, root / folder / f"metadata_{split}.csv")
        parts.append(_given(part, table.with_column("split", [split] * len(table)), root / folder))
    tables = [part.table for part in parts]
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    frame = frame.astype(object).where(frame.notna(), None)
    rows = tuple(table.row(place) for table in tables for place in range(len(table)))
    read = " with ".join(table.source for table in tables)
    whole = checked(replace(tables[0].of(frame, rows), source=read))
    items = {name: [one for part in parts for one in part.items[name]] for name in cohort.sources}
    cohort = cohort.model_copy(update={"id": parts[0].cohort.id, "split": "split"})
    return Given(cohort, whole, items, tuple(path for part in parts for path in part.tables))


def _usual(name: str, source: Source, split: str) -> dict[str, str]:
    """Where the published study has a source."""
    if source.kind == "image":
        return {"files": f"{name.upper()}/{{id}}_{name.lower()}.nii.gz"}
    return {"array": f"imaging_fmri_{split}.npy", "ids": f"imaging_fmri_{split}.txt"}

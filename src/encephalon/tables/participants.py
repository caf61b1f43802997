# SPDX-License-Identifier: Apache-2.0
"""The people of a BIDS dataset: whatever images there are of each, and their row of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from encephalon.errors import MissingFileError, TableError
from encephalon.io.bids import BidsFile, index_bids, join_entities
from encephalon.io.files import as_spelt, exists, is_folder
from encephalon.tables.pairing import name_bids, scan_of
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Columns, Table

__all__ = ["PARTICIPANTS", "BidsPerson", "bids_people", "session_rows"]

PARTICIPANTS = "participants.tsv"
_ID = "participant_id"
Cells = Mapping[str, Any]


@dataclass(frozen=True)
class BidsPerson:
    """A person, or one session of theirs.

    id      such as sub-01_ses-1
    inputs  role and file
    row     what participants.tsv says of them
    file    an image of theirs; None for none
    absent  why a role has no file although there are some: role and one sentence
    """

    id: str
    inputs: dict[str, Path]
    row: dict[str, Any]
    file: BidsFile | None
    absent: dict[str, str]


def bids_people(folder: Path, columns: Columns, query: Mapping[str, Any]) -> list[BidsPerson]:
    """Each person, and each session with images, in order.

    Images fill the roles of `columns` by their suffixes, what participants.tsv says of the person
    is the row. Of several images in one role none is taken, and that is said. Who has neither is
    left out. Raises MissingFileError for a label of `query` that nobody has, and what reading
    participants.tsv raises.
    """
    rows, owned = _rows(folder), dict[tuple[str, str], list[BidsFile]]()
    kinds = [kind for some in columns.suffixes.values() for kind in some]
    kinds = [kind for kind in kinds if kind in query.get("suffixes", kinds)]
    labels = {key: query.get(word) for key, word in (("sub", "subjects"), ("ses", "sessions"))}
    wanted = {
        key: None if some is None else [one.removeprefix(f"{key}-") for one in some]
        for key, some in labels.items()
    }
    try:
        for file in index_bids(folder, kinds, filters=query.get("filters")) if kinds else ():
            owner = (file.entities["sub"], file.entities.get("ses", ""))
            owned.setdefault(owner, []).append(file)
    except MissingFileError:
        if not rows:
            raise
    # Who has no image may be in the table; not of a session, which it does not tell apart.
    seen = {subject for subject, _ in owned}
    owned |= {(subject, ""): [] for subject in rows if subject not in seen}
    for place, (key, some) in enumerate(wanted.items()):
        for label in some or ():
            if label not in {owner[place] for owner in owned}:
                raise MissingFileError(
                    f"{folder}: {key}-{label} was asked for, but is not in {PARTICIPANTS} and has "
                    "no images: check the label and the dataset."
                )
        owned = {owner: one for owner, one in owned.items() if some is None or owner[place] in some}
    return [_person(*one, rows, columns) for one in sorted(owned.items())]


def session_rows(table: Table, root: Path) -> Table:
    """A row for each folder ses-* of everybody in a dataset; the table itself where there is none.

    Sessions have ids of their own in the column "id", such as sub-01_ses-1, and their names in
    "session". Raises TableError for a table that has such columns already.
    """
    folders = [as_spelt(root / person) for person in table.ids]
    sessions = [
        [one.name for one in sorted(folder.glob("ses-*")) if is_folder(one)] or [""]
        for folder in folders
    ]
    if not any(any(some) for some in sessions):
        return table
    for column in ("id", "session"):
        if table.has(column):
            raise TableError(
                f"{table.source} has a column {column!r}, which its sessions need: rename it."
            )
    pairs = [(row, name) for row, some in enumerate(sessions) for name in some]
    ids = ["_".join(filter(None, (table.ids[row], name))) for row, name in pairs]
    found = table.select([row for row, _ in pairs]).with_column("id", ids)
    found = found.with_column("session", [name or None for _, name in pairs])
    return replace(found, columns=replace(table.columns, id="id"))


def _person(
    owner: tuple[str, str], files: list[BidsFile], rows: Mapping[str, Cells], columns: Columns
) -> BidsPerson:
    subject, session = owner
    inputs, absent = {}, {}
    images = [name_bids(file, columns) for file in files]
    for role in columns.suffixes:
        same = [one for one in images if one.role == role]
        chosen, why = scan_of(role, same)
        if chosen is not None:
            inputs[role] = chosen.path
        elif why:
            absent[role] = why
    entities = {"sub": subject, **({"ses": session} if session else {})}
    row, file = dict(rows.get(subject, {})), next(iter(files), None)
    return BidsPerson(join_entities(entities), inputs, row, file, absent)


def _rows(folder: Path) -> dict[str, Cells]:
    """What participants.tsv says, by subject; nothing where there is no such file."""
    path = folder / PARTICIPANTS
    if not exists(path):
        return {}
    table = read_table(path, Columns(id=_ID, inputs={}))
    rows = table.frame.to_dict(orient="records")
    pairs = zip(table.ids, rows, strict=True)
    return {name.removeprefix("sub-"): {str(k): v for k, v in row.items()} for name, row in pairs}

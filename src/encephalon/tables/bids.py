# SPDX-License-Identifier: Apache-2.0
"""Make a table of a BIDS dataset: `encephalon table bids`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from encephalon.errors import TableError
from encephalon.io.files import exists, expanded
from encephalon.tables.naming import written_path

if TYPE_CHECKING:
    import pandas as pd

    from encephalon.io.bids import BidsFile

_log = logging.getLogger(__name__)


def bids_query(
    suffixes: Sequence[str] | None,
    participants: Sequence[str] | None,
    sessions: Sequence[str] | None,
) -> dict[str, Any]:
    """The arguments of `index_bids` for these wishes; the kinds of image it takes by default."""
    query: dict[str, Any] = {"subjects": participants, "sessions": sessions}
    return query if suffixes is None else {**query, "suffixes": tuple(suffixes)}


def find_images(
    folder: Path,
    query: Mapping[str, Any],
    kinds: Sequence[str] | None = None,
    datatype: Literal["anat", "micr"] = "anat",
) -> list[BidsFile]:
    """The images that `query` asks for, those of `kinds` where it names none; says what is left.

    Raises the errors of `index_bids`.
    """
    from encephalon.io.bids import index_bids, left_out

    default = {} if kinds is None else {"suffixes": tuple(kinds)}
    found = index_bids(folder, datatype=datatype, **{**default, **query})
    for sentence in left_out(folder, query.get("suffixes", () if default else None), datatype):
        _log.warning("%s", sentence)
    return found


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
    rows = _wide(files, base) if wide else [_long(file, base) for file in files]
    people = _participants(root)
    for row in rows:
        extra = people.get(f"sub-{row['subject']}", {})
        row.update({name: cell for name, cell in extra.items() if name not in row})
    return pd.DataFrame(rows, dtype=object)


def _long(file: BidsFile, base: Path | None) -> dict[str, str | None]:
    return {
        "id": file.id,
        "image": written_path(file.path, base),
        "subject": file.entities.get("sub"),
        "session": file.entities.get("ses"),
        "suffix": file.suffix,
    }


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
    records = frame.to_dict(orient="records")
    return {
        str(row["participant_id"]): {
            str(key): cell for key, cell in row.items() if key != "participant_id"
        }
        for row in records
    }

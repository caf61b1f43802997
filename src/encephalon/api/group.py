# SPDX-License-Identifier: Apache-2.0
"""The group level of a BIDS-App: one table, and one page, over all that was predicted in a folder.

What participant levels wrote there is all that is read, so that these may be jobs of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encephalon.api.model import Model
from encephalon.api.page import ReportPage
from encephalon.errors import MissingFileError
from encephalon.inference.batch import BatchResult
from encephalon.inference.outputs import TABLE, OutputLayout, Place
from encephalon.inference.predictions_table import MARK, read_rows, typed
from encephalon.io.atomic import write_json, write_text
from encephalon.io.files import expanded
from encephalon.io.text import csv_text

__all__ = ["GroupResult", "summarise_group"]

_ENTITY = re.compile(r"(sub|ses)-([a-zA-Z0-9+]+)")
_UNITS = {"ml": "mL", "mm": "mm", "seconds": "s"}
_TOLD = {
    "participant_id": "The person, as in participants.tsv of the dataset.",
    "session_id": "The session, where the dataset has several.",
    "id": "The image without its extension.",
    "source": "The files that it was predicted from.",
    "quality": "ok, check (have a look) or fail.",
    "reasons": "Why it is not ok.",
    "seconds": "How long it took.",
    "error": "Why there is no result.",
    "predicted": "The class.",
    "light": "Green, Amber or Red: how far the class can be relied on.",
}


@dataclass(frozen=True)
class GroupResult:
    """What was written: the table, its data dictionary, and the page."""

    table: Path
    dictionary: Path
    report: Path | None


def summarise_group(model: Model, output: Place, *, report: bool = True) -> GroupResult:
    """Write group_MODEL.tsv with its JSON, and bring report.html up to date, in `output`.

    The table has a row an image, with its person and session; the JSON says of each column what it
    is and in which unit. Raises MissingFileError where nothing was predicted by `model`.
    """
    folder = expanded(output)
    layout = OutputLayout(folder, bids=True, table=folder / TABLE)
    rows = [typed(row) for row in read_rows(folder / TABLE) if row["model"] == model.name]
    if not rows:
        raise MissingFileError(
            f"{folder / TABLE}: nothing of the model {model.name!r} is there: run the level "
            "participant first."
        )
    rows = sorted((_person(row) for row in rows), key=lambda row: str(row["id"]))
    names = list(dict.fromkeys(name for row in rows for name in row))
    # BIDS 1.10, "Tabular files": n/a where there is no value.
    cells = [{n: "n/a" if row.get(n) in (None, "") else row[n] for n in names} for row in rows]
    about = {name: _column(name, model) for name in names}
    files = None if model.opened is None else model.opened.files
    page = ReportPage(model.study, model.predictor, layout, files) if report else None
    return GroupResult(
        write_text(folder / f"group_{model.name}.tsv", csv_text(cells, names, "\t")),
        write_json(folder / f"group_{model.name}.json", about),
        page.write(BatchResult(), overwrite=False) if page else None,
    )


def _person(row: Mapping[str, Any]) -> dict[str, Any]:
    entities = dict(reversed(_ENTITY.findall(str(row["id"]))))
    keys = {"participant_id": "sub", "session_id": "ses"}
    who = {name: f"{key}-{entities[key]}" for name, key in keys.items() if key in entities}
    return who | {name: cell for name, cell in row.items() if name not in ("model", MARK)}


def _column(name: str, model: Model) -> dict[str, str]:
    """What the data dictionary says of a column (BIDS 1.10, "Tabular files")."""
    told = {"LongName": name.replace("_", " ").capitalize()}
    known = {**_TOLD, **model.study.columns}
    if name.startswith("p_"):
        told["Description"] = f"Probability of the class {name[2:]}."
    elif kind := model.predictor.outputs.get(name):
        told["Description"] = f"The path of an image: {kind.description}"
    elif name in known:
        told["Description"] = known[name]
    unit = _UNITS.get(name.rsplit("_", 1)[-1])
    return told | ({"Units": unit} if unit else {})

# SPDX-License-Identifier: Apache-2.0
"""The columns of the published table of 700 models (Ruffle et al. 2024), and ours.

What they call weighted is macro: recall is balanced accuracy in all 700 rows. A score that a target
has none of is 0 there; that of classes of a continuous target is of who is above its median.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from encephalon.errors import TableError, quoted
from encephalon.reports.format import capitalised
from encephalon.tables.kinds import numbers_of
from encephalon.tables.schema import Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SCORES", "USED", "from_published", "input_cells", "is_published", "to_published"]

#: Parts of "Inputs" in the order in which the published table names them.
SOURCES = {"connectivity": "rsfMRI Connectivity", "dwi": "DWI", "flair": "FLAIR", "t1": "T1"}
#: What a block of metadata is called there.
LETTERS = {"constitutional": "C", "disease": "D", "psychology": "P", "serology": "S"}
#: Columns of scores.
SCORES = {
    "Balanced accuracy": "balanced_accuracy",
    "Weighted precision": "macro_precision",
    "Weighted recall": "macro_recall",
    "Weighted F1": "macro_f1",
    "AUC": "micro_auc",
    "Training time (mins)": "minutes",
    "Loss": "loss",
    "r2": "r2",
    "r": "pearson_r",
    "MAE": "mae",
}
#: Those that a target of classes has none of.
OF_NUMBERS = ("r2", "pearson_r", "mae")
METADATA = "metadata"
#: Columns that say of an input whether it was used.
USED = {
    "Metadata": METADATA,
    "Constitutional": "constitutional",
    "Serology": "serology",
    "Psychology": "psychology",
    "Disease": "disease",
    "T1": "t1",
    "FLAIR": "flair",
    "DWI": "dwi",
    "rsfMRI connectivity": "connectivity",
}
#: Inputs in our order: what is measured of the brain, then what else is known.
ORDER = ("t1", "flair", "dwi", "connectivity", *LETTERS)


def input_cells(inputs: Collection[str]) -> dict[str, str]:
    """What a published row says of the inputs used: in words, and yes or no of each.

    Blocks of metadata are those of `inputs` that are no source.
    """
    said = [label for word, label in SOURCES.items() if word in inputs]
    blocks = [name for name in inputs if name not in SOURCES and name != METADATA]
    if blocks:
        letters = sorted(LETTERS.get(block, block) for block in blocks)
        said.append(f"Non-imaging data ({' + '.join(letters)})")
    used = {*inputs, METADATA} if blocks else {*inputs}
    cells = {column: "Yes" if name in used else "No" for column, name in USED.items()}
    return {"Inputs": " + ".join(said), **cells}


def is_published(table: Table) -> bool:
    """Whether a table has columns of the published one, and not ours."""
    return not table.has("target") and table.has("Target")


def from_published(table: Table) -> Iterator[dict[str, Any]]:
    """The rows of the published table in our columns; of several modes those of the test.

    Raises TableError for columns that it lacks, all of them named, and for a cell that is no
    number, or neither yes nor no.
    """
    lacking = [n for n in ("Target", "Domain", *SCORES, *USED) if not table.has(n)]
    if lacking:
        raise TableError(
            f"{table.source} lacks {quoted(lacking)} of the columns of the published table: add "
            "what is missing, or take the table as it was published."
        )
    if table.has("Mode") and "Test" in (modes := table.texts("Mode")):
        table = table.select([place for place, mode in enumerate(modes) if mode == "Test"])
    scores = {name: numbers_of(table, column) for column, name in SCORES.items()}
    used = {USED[column]: _flags(table, column) for column in USED}
    targets, domains = table.texts("Target"), table.texts("Domain")
    continuous = {
        target
        for place, target in enumerate(targets)
        if any(np.nan_to_num(scores[name][place]) for name in OF_NUMBERS)
    }
    for place, target in enumerate(targets):
        numbers = target in continuous
        yield {
            "target": target,
            "domain": domains[place].lower(),
            "kind": "regression" if numbers else "classification",
            "inputs": [name for name in ORDER if used[name][place]],
            **{n: s[place] for n, s in scores.items() if numbers or n not in OF_NUMBERS},
        }


def to_published(frame: pd.DataFrame, inputs: Sequence[str]) -> pd.DataFrame:
    """Results in the published columns: `inputs` have the columns has_NAME in `frame`."""
    import pandas as pd

    rows = []
    for row in frame.to_dict("records"):
        cells = input_cells([name for name in inputs if row[f"has_{name}"]])
        scores = {c: row.get(n, np.nan) for c, n in SCORES.items()}
        scores |= {c: 0.0 for c, n in SCORES.items() if n in OF_NUMBERS and np.isnan(scores[c])}
        head = {"Mode": "Test", "Target": row["target"], "Inputs": cells.pop("Inputs")}
        rows.append({**head, **scores, **cells, "Domain": capitalised(str(row["domain"]))})
    return pd.DataFrame(rows)


def _flags(table: Table, column: str) -> list[bool]:
    cells = [cell.lower() for cell in table.texts(column)]
    for place, cell in enumerate(cells):
        if cell not in {"yes", "no"}:
            raise TableError(
                f"{table.source}, row {table.row(place)}: {column!r} is {cell!r}, neither Yes nor "
                "No: correct the cell."
            )
    return [cell == "yes" for cell in cells]

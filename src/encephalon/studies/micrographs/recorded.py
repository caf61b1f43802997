# SPDX-License-Identifier: Apache-2.0
"""Predictions as rows of a CSV file, and what such a file of another model says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encephalon.errors import MissingFileError, TableError
from encephalon.io.records import read_records
from encephalon.studies.micrographs.scored import UNKNOWN_CLASS, Scored

__all__ = ["prediction_rows", "read_predictions", "with_cells"]


#: Parts of a training run whose images the network had not learnt from.
_UNSEEN = ("test", "held-out")


def prediction_rows(
    scored: Scored, lights: Sequence[str] | None = None, columns: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """One row an image: id, class, predicted, light, p_<class>, logit_<class>, cells of the table.

    `class` is the true one, empty where nobody knows it; `lights` (N) may be left out. A column of
    the table whose name is taken is called table_<name>.
    """
    rows = []
    for place, name in enumerate(scored.ids):
        number = int(scored.truth[place])
        row: dict[str, Any] = {
            "id": name,
            "class": "" if number == UNKNOWN_CLASS else scored.classes[number],
            "predicted": scored.classes[int(scored.predicted[place])],
        }
        if lights is not None:
            row["light"] = lights[place]
        for key, values in (("p", scored.probabilities), ("logit", scored.logits)):
            row |= _by_class(key, scored.classes, values[place].tolist())
        rows.append(with_cells(row, scored.rows[place], columns))
    return rows


def with_cells(
    row: dict[str, Any],
    cells: Mapping[str, Any],
    columns: Sequence[str],
    reserved: Sequence[str] = (),
) -> dict[str, Any]:
    """The row with these columns of the table behind it; a name that is taken gets "table_"."""
    taken = {*row, *reserved}
    more = {name: cells[name] for name in columns if name in cells}
    return row | {f"table_{k}" if k in taken else k: value for k, value in more.items()}


def read_predictions(path: Path, classes: Sequence[str]) -> Scored:
    """Read predictions.csv of a prediction, an evaluation or a training run; truth is unknown.

    Rows of failures are left out; of a training run the images are taken that were tested. Raises
    MissingFileError, and TableError for a file without the classes or with two rows of one image.
    """
    if not path.is_file():
        raise MissingFileError(
            f"{path}: expected predictions.csv of another model, but there is no such file."
        )
    try:
        rows = read_records(path)[1]
        rows = [row for row in rows if not row.get("error")]
        rows = [row for row in rows if row.get("part") in _UNSEEN] or rows
        shares = [[float(row[f"p_{name}"]) for name in classes] for row in rows]
        ids = [row["id"] for row in rows]
    except (OSError, KeyError, ValueError, TypeError) as error:
        names = ", ".join(f"p_{name}" for name in classes)
        raise TableError(
            f"{path}: expected predictions of the classes of this model, with the columns id, "
            f"{names}, but {_lack(error)}: give the predictions.csv of such a model."
        ) from error
    name, count = Counter(ids).most_common(1)[0] if ids else ("", 0)
    if count > 1:
        raise TableError(
            f"{path}: {name!r} has {count} rows: give the predictions of one model alone."
        )
    probabilities = np.array(shares, dtype=np.float64).reshape(-1, len(classes))
    return Scored(
        ids=ids,
        classes=tuple(classes),
        logits=np.log(np.clip(probabilities, 1e-12, 1.0)),
        probabilities=probabilities,
        truth=np.full(len(ids), UNKNOWN_CLASS, dtype=np.int64),
        rows=rows,
        fold=np.zeros(len(ids), dtype=np.int64),
    )


def _lack(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no column {error.args[0]!r}"
    return f"it cannot be read so ({error})"


def _by_class(key: str, classes: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return {f"{key}_{name}": value for name, value in zip(classes, values, strict=True)}

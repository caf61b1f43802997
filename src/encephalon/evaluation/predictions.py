# SPDX-License-Identifier: Apache-2.0
"""Predictions of a classifier with all that an evaluation needs of them, and the CSV files of them.

A file of another model's predictions is read as well, and matched to the same images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import MissingFileError, TableError
from encephalon.io.text import read_records

__all__ = [
    "UNKNOWN_CLASS",
    "Predictions",
    "concatenate",
    "prediction_rows",
    "read_predictions",
    "with_cells",
]

UNKNOWN_CLASS = -1
"""The truth of an image that nobody labelled."""

#: Parts of a training run whose images the network had not learnt from.
_UNSEEN = ("test", "held-out")
#: How far from 1 the sum of probabilities may be, as of many that were rounded to two digits.
_ROUNDED = 0.05


@dataclass(frozen=True)
class Predictions:
    """Predictions of N images in C classes, in the order of the table.

    ids            (N) names
    classes        (C) class names, in the order of the logits; of two, the second is "positive"
    logits         (N, C) raw outputs of the network, float64
    y_prob         (N, C) probabilities that are reported: calibrated in default mode
    y_true         (N,) index of the true class, or UNKNOWN_CLASS
    rows           (N) cells of the table's row: covariates, group, levels
    fold           (N,) the fold that each image was tested in, from 0; 0 where there are none
    """

    ids: Sequence[str]
    classes: tuple[str, ...]
    logits: NDArray[np.float64] = field(repr=False)
    y_prob: NDArray[np.float64] = field(repr=False)
    y_true: NDArray[np.int64] = field(repr=False)
    rows: Sequence[Mapping[str, Any]] = field(repr=False)
    fold: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) the most likely class."""
        return np.asarray(np.argmax(self.y_prob, axis=1), np.int64)

    @property
    def labelled(self) -> Predictions:
        """Those whose class is known."""
        return self.select(np.flatnonzero(self.y_true != UNKNOWN_CLASS))

    def column(self, name: str) -> list[str]:
        """The cells of one column of the table, "" where it says nothing."""
        cells = [row.get(name) for row in self.rows]
        return ["" if cell is None else str(cell) for cell in cells]

    def select(self, index: NDArray[np.int64]) -> Predictions:
        """The images at these positions."""
        return replace(
            self,
            ids=[self.ids[i] for i in index],
            logits=self.logits[index],
            y_prob=self.y_prob[index],
            y_true=self.y_true[index],
            rows=[self.rows[i] for i in index],
            fold=self.fold[index],
        )


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Several sets of predictions, of the same classes, as one."""
    first = parts[0]
    return replace(
        first,
        ids=[name for part in parts for name in part.ids],
        logits=np.concatenate([part.logits for part in parts]),
        y_prob=np.concatenate([part.y_prob for part in parts]),
        y_true=np.concatenate([part.y_true for part in parts]),
        rows=[row for part in parts for row in part.rows],
        fold=np.concatenate([part.fold for part in parts]),
    )


def prediction_rows(
    predictions: Predictions,
    decided: Mapping[str, Sequence[str]] | None = None,
    columns: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """One row an image: id, class, predicted, p_<class>, logit_<class>, cells of the table.

    `class` is the true one, empty where nobody knows it; what was `decided` (N), by the name of its
    column, stands behind `predicted`. A column of the table whose name is taken is called
    table_<name>.
    """
    rows = []
    for place, name in enumerate(predictions.ids):
        number = int(predictions.y_true[place])
        row: dict[str, Any] = {
            "id": name,
            "class": "" if number == UNKNOWN_CLASS else predictions.classes[number],
            "predicted": predictions.classes[int(predictions.predicted[place])],
        }
        row |= {column: cells[place] for column, cells in (decided or {}).items()}
        for key, values in (("p", predictions.y_prob), ("logit", predictions.logits)):
            each = zip(predictions.classes, values[place].tolist(), strict=True)
            row |= {f"{key}_{label}": value for label, value in each}
        rows.append(with_cells(row, predictions.rows[place], columns))
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


def read_predictions(path: Path, classes: Sequence[str]) -> Predictions:
    """Read predictions.csv of a prediction, an evaluation or a training run; truth is unknown.

    Rows of failures are left out; of a training run the images are taken that were tested. Raises
    MissingFileError, and TableError for a file without the classes or with two rows of one image,
    and for what are no probabilities.
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
        lack = f"it cannot be read so ({error})"
        if isinstance(error, KeyError):
            lack = f"there is no column {error.args[0]!r}"
        raise TableError(
            f"{path}: expected predictions of the classes of this model, with the columns id, "
            f"{names}, but {lack}: give the predictions.csv of such a model."
        ) from error
    name, count = Counter(ids).most_common(1)[0] if ids else ("", 0)
    if count > 1:
        raise TableError(
            f"{path}: {name!r} has {count} rows: give the predictions of one model alone."
        )
    y_prob = np.array(shares, dtype=np.float64).reshape(-1, len(classes))
    odd = ~((y_prob >= 0).all(axis=1) & (abs(y_prob.sum(axis=1) - 1) < _ROUNDED))
    if odd.any():
        raise TableError(
            f"{path}: the row of {ids[int(odd.argmax())]!r} should have probabilities whose sum is "
            f"1, but has {', '.join(f'{p:g}' for p in y_prob[odd][0])}: correct it, and give a "
            "column p_ for every class."
        )
    return Predictions(
        ids=ids,
        classes=tuple(classes),
        logits=np.log(np.clip(y_prob, 1e-12, 1.0)),
        y_prob=y_prob,
        y_true=np.full(len(ids), UNKNOWN_CLASS, dtype=np.int64),
        rows=rows,
        fold=np.zeros(len(ids), dtype=np.int64),
    )

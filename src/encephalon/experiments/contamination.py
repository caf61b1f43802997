# SPDX-License-Identifier: Apache-2.0
"""What a model has learnt: whether an image, or a table to score it on, was in its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from encephalon.errors import EncephalonError
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Columns, Table
from encephalon.tables.splits import FOLD
from encephalon.training.runs import RunFolder

__all__ = ["OVERLAP", "Known", "contamination", "known_to", "overlap_warning"]

OVERLAP = "training_overlap"
"""The column of predictions.csv that says what of an image the training knew."""


@dataclass(frozen=True)
class Known:
    """What a network was taught: ids of images, and the `group` column with its values."""

    ids: frozenset[str]
    group: str | None
    groups: frozenset[str]

    def overlap(self, name: str, row: Mapping[Any, Any]) -> str:
        """ "image" for one that was learnt, the group's column for its sister, "" for neither.

        The same id in a group that was not learnt is another image.
        """
        cell = str(row.get(self.group) or "") if self.group else ""
        if cell and cell not in self.groups:
            return ""
        return "image" if name in self.ids else str(self.group) if cell else ""


def known_to(model: Path, columns: Columns) -> Known | None:
    """What a model in the folder of its run has learnt; None where nothing is known of that."""
    learnt = _learnt(RunFolder(model.parent).table, columns)
    if learnt is None:
        return None
    group = columns.group if learnt.has(columns.group) else None
    values = learnt.texts(group) if group else []
    return Known(frozenset(learnt.ids), group, frozenset(value for value in values if value))


def contamination(model: Path, table: Table) -> str:
    """A sentence on the rows of `table` that the model was trained on, or share its groups.

    Known where the model still lies in the folder of its run, beside the table as used; "" where
    nothing is known, or nothing is shared.
    """
    known = known_to(model, table.columns)
    rows = table.frame.to_dict(orient="records")
    pairs = zip(table.ids, rows, strict=True)
    count = sum(bool(known.overlap(name, row)) for name, row in pairs) if known else 0
    if not count:
        return ""
    return (
        f"{count} of {len(table)} images were part of the training, or share their group with it: "
        "these scores flatter the model, so look at those of its run instead."
    )


def overlap_warning(count: int, total: int) -> str:
    """A sentence on predictions of images that the model has learnt, or whose group it has."""
    return (
        f"{count} of {total} images were part of the training, or share their group with it: how "
        "sure the model is of these says nothing of new ones."
    )


def _learnt(path: Path, columns: Columns) -> Table | None:
    """The rows of the run's table that its network was taught; None where there is none."""
    if not path.is_file():
        return None
    try:
        used = read_table(path, replace(columns, split="split"))
    except EncephalonError:
        return None
    if used.has(FOLD):
        return used.select([row for row, cell in enumerate(used.texts(FOLD)) if cell])
    return used.part("train") if used.has("split") else None

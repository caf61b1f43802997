# SPDX-License-Identifier: Apache-2.0
"""Whether a table that a model is to be scored on holds what it has learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from encephalon.errors import EncephalonError
from encephalon.tables import Table, read_table
from encephalon.tables.splits import FOLD
from encephalon.training.runs import RunFolder

__all__ = ["familiar"]


def familiar(model: Path, table: Table) -> str:
    """A sentence on the rows of `table` that the model was trained on, or share its groups.

    Known where the model still lies in the folder of its run, beside the table as used; "" where
    nothing is known, or nothing is shared.
    """
    learnt = _learnt(RunFolder(model.parent).table, table)
    if learnt is None:
        return ""
    ids = sum(name in set(learnt.ids) for name in table.ids)
    group = table.columns.group
    if not (table.has(group) and learnt.has(group)):
        return _sentence(ids, len(table), "were part of") if ids else ""
    known = set(learnt.texts(str(group)))
    shared = sum(name in known for name in table.texts(str(group)))
    return _sentence(shared, len(table), f"share their {group!r} with") if shared else ""


def _learnt(path: Path, table: Table) -> Table | None:
    """The rows of the run's table that its network was taught; None where there is none."""
    if not path.is_file():
        return None
    try:
        used = read_table(path, replace(table.columns, split="split"))
    except EncephalonError:
        return None
    if used.has(FOLD):
        return used.select([row for row, cell in enumerate(used.texts(FOLD)) if cell])
    return used.part("train") if used.has("split") else None


def _sentence(count: int, total: int, what: str) -> str:
    return (
        f"{count} of {total} images {what} the training: these scores flatter the model, so look "
        "at those of its run instead."
    )

# SPDX-License-Identifier: Apache-2.0
"""The parts of a table that training needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encephalon.errors import RunError

if TYPE_CHECKING:
    from encephalon.tables.schema import Table

__all__ = ["training_parts"]


def training_parts(table: Table) -> tuple[Table, Table]:
    """The rows whose split is "train" and those whose is "validation"; RunError where none is."""
    train, validation = table.part("train"), table.part("validation")
    for name, part in (("train", train), ("validation", validation)):
        if not len(part):
            raise RunError(
                f"{table.source} has no row whose split is {name!r}: split the table, or give it "
                "more rows."
            )
    return train, validation

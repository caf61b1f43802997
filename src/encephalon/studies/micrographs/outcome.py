# SPDX-License-Identifier: Apache-2.0
"""What a trained network leaves in its folder: the sign that it need not be trained again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from encephalon.io.atomic import write_text
from encephalon.io.records import csv_text, read_records
from encephalon.recipes.schema import Training
from encephalon.studies.micrographs.preparing import Rows
from encephalon.training.runs import RunFolder, best_row

__all__ = ["Outcome", "is_finished", "read_history", "read_outcome", "write_outcome"]

SCORES = "scores.csv"
Row = dict[str, float]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What is kept of a network.

    history  one row an epoch
    logits   (classes) of the rows that it was asked about, by their number in the table
    """

    history: list[Row]
    logits: Mapping[int, NDArray[np.float64]] = field(repr=False)

    def of(self, rows: Rows, classes: int) -> NDArray[np.float64]:
        """The logits (B, classes) of these rows."""
        return np.array([self.logits[int(row)] for row in rows]).reshape(len(rows), classes)

    def best_epoch(self, training: Training) -> int:
        """The epoch, from 1, whose weights were kept."""
        return int(best_row(self.history, training)["epoch"])

    def best_value(self, training: Training) -> float:
        """How good that epoch was by what is monitored: larger is better."""
        value = best_row(self.history, training)[training.monitor]
        return value if training.monitor_mode == "max" else -value


def is_finished(run: RunFolder) -> bool:
    """Whether `write_outcome` was there, and what it left is as it was written.

    What is not is made again from the checkpoint, and that is logged.
    """
    changed = [name for name in (SCORES, run.history.name) if not run.is_unchanged(name)]
    if changed and (run.path / SCORES).exists():
        logger.warning("%s is not as it was written: it is made again.", run.path / changed[0])
    return not changed


def write_outcome(
    run: RunFolder,
    ids: Sequence[str],
    logits: Mapping[int, NDArray[np.float32]],
    classes: Sequence[str],
) -> None:
    """Keep the logits (classes) of each row; `ids` are those of the whole table."""
    names = [f"logit_{name}" for name in classes]
    records = [
        {"id": ids[row], **dict(zip(names, map(float, values), strict=True))}
        for row, values in logits.items()
    ]
    write_text(run.path / SCORES, csv_text(records, ["id", *names]))
    run.record_trained(SCORES, run.history.name)


def read_outcome(run: RunFolder, ids: Sequence[str]) -> Outcome:
    """What `write_outcome` kept in `run`, with the history of the training."""
    place = {name: row for row, name in enumerate(ids)}
    logits = {
        place[row.pop("id")]: np.array([float(value) for value in row.values()])
        for row in read_records(run.path / SCORES)[1]
    }
    return Outcome(read_history(run), logits)


def read_history(run: RunFolder) -> list[Row]:
    """The history that training wrote, one row an epoch."""
    return [{k: float(v) for k, v in row.items() if v} for row in read_records(run.history)[1]]

# SPDX-License-Identifier: Apache-2.0
"""A small synthetic cohort without images, and a network that learns for a moment."""

from __future__ import annotations

from pathlib import Path

from encephalon.io.text import read_records, write_records
from encephalon.studies.legibility.cohort import COHORT
from encephalon.studies.legibility.synthetic import Size, write_cohort

#: Two inputs and two targets of the synthetic cohort, three folds, two epochs.
QUICK = {
    "study.inputs": '["connectivity", "serology"]',
    "study.targets": '["age", "sex"]',
    "study.folds": "3",
    "study.baselines": "[]",
    "training.epochs": "2",
    "training.steps_per_epoch": "3",
    "training.batch_size": "8",
    "training.warmup_steps": "0",
    "training.checkpoint_every": "1",
    "network.options.width": "8",
    "network.options.hidden": "8",
}


def write_people(folder: Path, people: int = 36, seed: int = 0, missing: float = 0.2) -> Path:
    """The table of a synthetic cohort, a share of whom lacks connectivity or blood."""
    size = Size(people, seed=seed, regions=8, missing=missing, images=False)
    write_cohort(folder / "cohort", size, prepared=True)
    return folder / "cohort" / "people.csv"


def split_people(table: Path) -> Path:
    """The table with a half to learn from, a quarter to judge by and a quarter to score.

    A family stays together.
    """
    _, rows = read_records(table)
    parts = ("train", "validation", "train", "test")
    for row in rows:
        row["split"] = parts[int(row["family"].removeprefix("family-")) % len(parts)]
    write_records(rows, table)
    about = table.parent / COHORT
    text = about.read_text(encoding="utf-8").replace('split = ""', 'split = "split"', 1)
    about.write_text(text, encoding="utf-8")
    return table

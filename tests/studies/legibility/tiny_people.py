# SPDX-License-Identifier: Apache-2.0
"""A small synthetic cohort without images, and a network that learns for a moment."""

from __future__ import annotations

from pathlib import Path

from encephalon.studies.legibility.synthetic.cohort import Size, write_cohort

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


def write_people(folder: Path, people: int = 36, seed: int = 0) -> Path:
    """The table of a synthetic cohort, some of whom lack connectivity or blood."""
    size = Size(people, seed=seed, regions=8, missing=0.2, images=False)
    write_cohort(folder / "cohort", size, prepared=True)
    return folder / "cohort" / "people.csv"

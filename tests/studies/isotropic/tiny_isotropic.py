# SPDX-License-Identifier: Apache-2.0
"""Small heads for the training of isotropic networks, and a run of seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.recipes.loading import load_recipe
from encephalon.recipes.schema import Recipe
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Table

SHAPE = (40, 44, 48)
QUICK = {
    "study.patch": "16",
    "study.validation_samples": "3",
    "network.options.channels": "[4, 8]",
    "training.epochs": "2",
    "training.steps_per_epoch": "3",
    "training.batch_size": "2",
    "training.warmup_steps": "0",
    "training.checkpoint_every": "2",
    "training.ema": "0.5",
}


def labels() -> NDArray[np.uint16]:
    """Scalp, fluid, cortex and white matter as shells (I, J, K) of FreeSurfer's labels."""
    axes = np.meshgrid(*[np.linspace(-1.1, 1.1, size) for size in SHAPE], indexing="ij")
    # Folds, so that there is detail which thick slices lose.
    radius = np.sqrt(sum(axis**2 for axis in axes)) + 0.05 * np.sin(9 * axes[0]) * np.cos(
        11 * axes[2]
    )
    shells = np.zeros(SHAPE, np.uint16)
    for limit, label in ((1.0, 515), (0.85, 24), (0.75, 3), (0.55, 2)):
        shells[radius < limit] = label
    return shells


def pair() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """T2w and T1w (I, J, K) of the same head, in units of a scanner."""
    shells = labels()
    t2w, t1w = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    for label, bright, dark in ((515, 150, 700), (24, 900, 200), (3, 500, 550), (2, 350, 800)):
        t2w[shells == label], t1w[shells == label] = bright, dark
    return t2w, t1w


def write_table(folder: Path) -> Path:
    """A table of two label maps and two pairs, for training and validation; returns its path."""
    place = Affine.from_spacing(1.0)
    like = Image(labels(), place)
    write_image(labels(), folder / "map.nii.gz", like)
    for data, name in zip(pair(), ("t2w", "t1w"), strict=True):
        write_image(data, folder / f"{name}.nii.gz", Image(data, place))
    lines = [
        "id,t2w,t1w,labels,group,split",
        "a,,,map.nii.gz,a,train",
        "b,t2w.nii.gz,t1w.nii.gz,,b,train",
        "c,,,map.nii.gz,c,validation",
    ]
    table = folder / "table.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def quick_recipe(**more: str) -> Recipe:
    """The built-in recipe, made small."""
    return load_recipe("isotropic", {**QUICK, **more})


def quick_table(folder: Path) -> Table:
    """The table as the recipe reads it."""
    return read_table(write_table(folder), quick_recipe().table)

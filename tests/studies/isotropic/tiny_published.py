# SPDX-License-Identifier: Apache-2.0
"""BABY-AI at a size for tests: a small atlas grid, a small network of its layout, some heads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.recipes.loading import load_recipe
from encephalon.recipes.schema import Recipe
from encephalon.studies.isotropic.published.preprocessing import ATLAS
from encephalon.studies.isotropic.published.settings import PublishedSettings
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Table

SHAPE = (14, 18, 14)
SETTINGS = PublishedSettings(
    shape=SHAPE, padded=(16, 20, 16), patch=8, stride=4, factors=(2, 3), planes=("axial", "coronal")
)
NETWORK = {"channels": (2, 3, 4), "units": 1}
CHANGES = {
    "study.shape": "[14, 18, 14]",
    "study.padded": "[16, 20, 16]",
    "study.patch": "8",
    "study.stride": "4",
    "study.factors": "[2, 3]",
    "study.planes": "['axial', 'coronal']",
    "network.options": "{ channels = [2, 3, 4], units = 1 }",
    "training.epochs": "2",
    "training.steps_per_epoch": "6",
    "training.batch_size": "60",
    "training.learning_rate": "1e-2",
}


def published_recipe(changes: Mapping[str, str] | None = None) -> Recipe:
    """The built-in recipe at this size: 36 patches a volume, 4 volumes a head."""
    return load_recipe("isotropic-published", CHANGES | dict(changes or {}))


def head_pair(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> tuple[NDArray[Any], NDArray[Any]]:
    """A T1w and a T2w (I, J, K) of the same shapes with other contrasts, float32, 0 outside."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    tissue = ndimage.gaussian_filter(rng.normal(size=shape), 1.2)
    tissue = (tissue - tissue.min()) / np.ptp(tissue)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.9
    t1w, t2w = 100 + 800 * tissue, 900 - 600 * tissue
    return tuple((image * inside).astype(np.float32) for image in (t1w, t2w))


def write_pair(folder: Path, name: str, seed: int = 0, affine: Affine = ATLAS) -> dict[str, Path]:
    """Files of `head_pair` by role."""
    paths = {}
    for role, data in zip(("t1w", "t2w"), head_pair(seed), strict=True):
        path = folder / f"{name}_{role}.nii.gz"
        paths[role] = write_image(data, path, Image(data, affine), overwrite=True)
    return paths


def head_table(folder: Path, recipe: Recipe, parts: tuple[str, ...]) -> Table:
    """One head a part, with files in `folder`; a part of "" leaves the split to the recipe."""
    lines = ["id,t1w,t2w,split"]
    for number, part in enumerate(parts):
        files = write_pair(folder, f"h{number}", seed=number)
        lines.append(f"h{number},{files['t1w'].name},{files['t2w'].name},{part}")
    path = folder / "heads.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_table(path, recipe.table)

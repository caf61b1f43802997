# SPDX-License-Identifier: Apache-2.0
"""Small micrographs with a planted answer; run as a program, it trains until it is killed.

Aged images have a bright patch beside the middle, young ones a dark one in its place.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from encephalon.recipes.loading import load_recipe
from encephalon.recipes.schema import Recipe
from encephalon.studies.micrographs.study import STUDY
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Table
from tests.studies import calls
from tests.studies.micrographs.rows import write_rows

SIZE = 40
#: The box of the patch: centre x, centre y, width, height, as shares of the image.
BOX = (0.7, 0.35, 0.2, 0.2)
CLASSES = ("Young", "Aged")

#: Overrides that make the built-in recipe a matter of seconds.
QUICK = {
    "study.size": "32",
    "study.folds": "3",
    "study.baselines": "[]",
    "study.explain_layer": "encoder.layer4",
    "network.options.layers": "[1, 1, 1, 1]",
    "network.options.widths": "[4, 4, 8, 8]",
    "network.options.hidden": "8",
    "network.options.dropout": "0.1",
    "training.epochs": "2",
    "training.steps_per_epoch": "3",
    "training.batch_size": "6",
    "training.warmup_steps": "0",
    "training.checkpoint_every": "2",
    "training.ema": "0.5",
}


def picture(rng: np.random.Generator, *, aged: bool) -> NDArray[np.uint8]:
    """One image (SIZE, SIZE): noise around grey, and the patch."""
    image = rng.normal(120, 15, (SIZE, SIZE))
    x, y, width, height = (int(SIZE * share) for share in BOX)
    rows, columns = slice(y - height // 2, y + height // 2), slice(x - width // 2, x + width // 2)
    image[rows, columns] += 100 if aged else -100
    return np.clip(image, 0, 255).astype(np.uint8)


def write_images(
    folder: Path,
    animals: int = 6,
    images: int = 3,
    extra: Mapping[str, Callable[[int, int], str]] | None = None,
    labels: tuple[str, ...] = CLASSES,
) -> Path:
    """Images of `animals`, TIFF and PNG by turns, and their table.csv; `extra` adds columns.

    The function of an extra column gets the number of the animal and of the image.
    """
    rng = np.random.default_rng(11)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for animal, number in product(range(animals), range(images)):
        aged = animal % 2 == 1
        name = f"S{animal}V{number}" + (".tif" if number % 2 else ".png")
        data = picture(rng, aged=aged)
        if number % 2:
            tifffile.imwrite(folder / name, data)
        else:
            Image.fromarray(data).save(folder / name)
        row = {"id": f"S{animal}V{number}", "image": name, "class": labels[aged]}
        row |= {"sex": "FM"[animal // 2 % 2], "region": ("CC", "HC", "PFC")[number % 3]}
        row |= {"animal": f"A{animal}"}
        rows.append(row | {key: make(animal, number) for key, make in (extra or {}).items()})
    return write_rows(folder / "table.csv", rows)


def quick_recipe(name: str = "micrographs", **changes: str) -> Recipe:
    """The built-in recipe, made quick; `study__folds="0"` changes study.folds."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return load_recipe(name, {**QUICK, **dotted})


def rich_recipe() -> Recipe:
    """The quick recipe for a table with a middle age, vessels and boxes."""
    return quick_recipe(
        table__score_only='["Middle age"]',
        study__levels='["vessel"]',
        study__box='["x", "y", "w", "h"]',
    )


def table_of(recipe: Recipe, path: Path) -> Table:
    """The table as training gets it."""
    assert STUDY.trainable is not None
    return STUDY.trainable.check_table(read_table(path, recipe.table))


def train(recipe: Recipe, path: Path, run: Path, **options: Any) -> Path:
    """Train on the CPU with one thread."""
    return calls.train(recipe, table_of(recipe, path), run, **options)


def kill_at(step: int) -> Any:
    """A report that ends its own process at once, as a crash of the machine would."""

    def report(progress: Any, _losses: Mapping[str, float]) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return report


if __name__ == "__main__":
    train(rich_recipe(), Path(sys.argv[1]), Path(sys.argv[2]), report=kill_at(int(sys.argv[3])))

# SPDX-License-Identifier: Apache-2.0
"""A small volume, its tiles, and what makes recipes quick on them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from shutil import copytree
from tempfile import mkdtemp
from typing import Any

from encephalon import api
from encephalon.evaluation.run import read_summary
from encephalon.studies.microtomography.benchmark import LabelMap, load_benchmark
from encephalon.studies.microtomography.synthetic import write_volume
from encephalon.studies.microtomography.tiles import TABLE, write_tiles

#: Narrow networks and a few steps.
QUICK = {
    "network.options.encoder_options.width": "4",
    "training.epochs": "2",
    "training.steps_per_epoch": "3",
    "training.batch_size": "4",
    "training.checkpoint_every": "1",
    "training.warmup_steps": "1",
}
CROPS = {"study.augmentation": '[{ name = "random-crop", size = [24, 24] }]'}


def write_table(
    folder: Path, size: tuple[int, int, int] = (1, 32, 32), structures: LabelMap | None = None
) -> Path:
    """A folder of tiles of four regions, 32 pixels wide; its table."""
    if structures is not None:
        return _cut(folder, size, structures)
    copytree(_made(size), folder, dirs_exist_ok=True)
    return folder / TABLE


@cache
def _made(size: tuple[int, int, int]) -> Path:
    place = Path(mkdtemp())
    return _cut(place, size, None).parent


def _cut(folder: Path, size: tuple[int, int, int], structures: LabelMap | None) -> Path:
    path = _volume()
    made = load_benchmark(path)
    changes = {
        "tiles": made.tiles.model_copy(update={"size": size}),
        "structures": structures or made.structures,
    }
    write_tiles(made.model_copy(update=changes), folder, path.parent)
    return folder / TABLE


@cache
def _volume() -> Path:
    place = Path(mkdtemp())
    return write_volume(place, depth=48, side=32, tile=32, cubes=1, seed=1)


def train(recipe: str, table: Path, run: Path, changes: Mapping[str, str] = QUICK) -> Path:
    """A quick model on the CPU."""
    return api.train(
        recipe, table, run, overrides=dict(changes), device="cpu", workers=1, threads=1
    )


def scored(model: Path, table: Path, output: Path) -> dict[str, Any]:
    """The summary of an evaluation."""
    api.evaluate(model, table, output, device="cpu")
    found: dict[str, Any] = read_summary(output)
    return found

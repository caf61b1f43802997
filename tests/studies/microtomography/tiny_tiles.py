# SPDX-License-Identifier: Apache-2.0
"""A small volume, its tiles, and what makes recipes quick on them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from shutil import copytree
from tempfile import mkdtemp

from encephalon.studies.microtomography.benchmark import load_benchmark
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


def write_table(folder: Path, size: tuple[int, int, int] = (1, 32, 32)) -> Path:
    """A folder of tiles of four regions, 32 pixels wide; its table."""
    copytree(_made(size), folder, dirs_exist_ok=True)
    return folder / TABLE


@cache
def _made(size: tuple[int, int, int]) -> Path:
    place = Path(mkdtemp())
    path = write_volume(place / "volume", depth=48, side=32, tile=32, cubes=1, seed=1)
    made = load_benchmark(path)
    tiles = made.tiles.model_copy(update={"size": size})
    write_tiles(made.model_copy(update={"tiles": tiles}), place / "tiles", path.parent)
    return place / "tiles"

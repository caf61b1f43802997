# SPDX-License-Identifier: Apache-2.0
"""A grid whose cells only count: `python -m tests.experiments.killed` may be killed anywhere.

A cell has EPOCHS epochs, each of which ends with a checkpoint and a line in the log of its cell.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from encephalon.experiments.grid import Cell, Grid, cells_of
from encephalon.experiments.grid_cells import run_cells
from encephalon.experiments.grid_folder import GridFolder
from encephalon.inference.workers import Workers
from encephalon.io.atomic import sha256 as digest_of
from encephalon.io.atomic import write_text
from encephalon.recipes.schema import Recipe
from encephalon.training.runs import RunFolder

CELLS, EPOCHS = 60, 4
#: Seconds of an epoch: long enough that most kills fall into one.
EPOCH = 0.03


@dataclass(frozen=True)
class Counting:
    """Draws a number from the one before it, epoch by epoch, and goes on where it was killed."""

    log: Path

    def train(self, recipe: Recipe, table: Path, run: Path) -> None:
        """What a training does with its folder, without a network."""
        folder, seed = RunFolder(run), recipe.training.seed
        with folder.opened(f"{seed}\n", "id\n1\n", resume=True):
            state, done = str(seed), 0
            if folder.checkpoint.exists():
                state, done = json.loads(folder.checkpoint.read_text(encoding="utf-8"))
            for epoch in range(done, EPOCHS):
                time.sleep(EPOCH)
                state = sha256(state.encode()).hexdigest()
                with (self.log / f"{seed}.epochs").open("a", encoding="utf-8") as stream:
                    stream.write(f"{epoch} {os.getpid()}\n")
                write_text(folder.checkpoint, json.dumps([state, epoch + 1]))
            folder.finishing()
            write_text(folder.model / "state", state)
            write_text(folder.report, "")

    def evaluate(self, run: Path, table: Path, output: Path) -> Sequence[Mapping[str, str]]:
        """The number, as a score."""
        state = (run / "model" / "state").read_text(encoding="utf-8")
        said = {"overall": {"score": {"value": int(state[:12], 16) / 16**12, "n": 1}}}
        write_text(output / "summary.json", json.dumps(said))
        return []


def counting_cells(folder: Path) -> tuple[Grid, list[Cell]]:
    """The grid of CELLS seeds, on the table in `folder`."""
    axes = {"recipe": ["pca"], "training.seed": list(range(CELLS))}
    grid = Grid.model_validate({"name": "counting", "title": "Counting", "axes": axes})
    table = folder / "table.csv"
    return grid, cells_of(grid, folder, table, digest_of(table), lambda recipe: recipe)


def count(folder: Path, output: Path, workers: Workers) -> None:
    """Do what is left of the grid."""
    grid, cells = counting_cells(folder)
    place = GridFolder(output)
    with place.opened(grid, cells):
        run_cells(place, cells, Counting(folder), workers)


if __name__ == "__main__":
    where, out, address = sys.argv[1:]
    job = {"memory": "400MB", "interface": "lo", "log_directory": f"{where}/jobs"}
    there = (
        Workers(slurm=True, jobs=3, queue_option=job, retries=20)
        if address == "slurm"
        else Workers(scheduler=address, retries=20)
    )
    count(Path(where), Path(out), there)

# SPDX-License-Identifier: Apache-2.0
"""Grids: what planning and sharing out cost, beside a shell loop that starts a training per cell.

    python benchmarks/grid.py [--jobs 2] [--cells 12] [--scans 100] [--small]

Planned are the 700 cells of the published design of legibility. The overhead of a cell is what one
without training or scores takes of a warm worker: its locks, its folders and the way there and
back. The throughput of a grid of tiny trainings is compared with a shell loop over the same cells
in the same run, which starts `encephalon train` and `encephalon evaluate` anew for each. The scans
of a batch are small phantoms: ideal are the CPU seconds of one thread whose model is loaded, over
the number of workers; the batch is measured from its start to its page. Its CPU seconds by the same
measure tell as much of a machine that has other work. OPENBLAS_NUM_THREADS=1 in front of the
command is what the command line sets for itself.

`--small` runs little of it, to see that everything works: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from encephalon.api import load_model
from encephalon.api.grid import plan_grid
from encephalon.experiments.grid import Grid, cells_of
from encephalon.experiments.grid_cells import run_cells
from encephalon.experiments.grid_folder import GridFolder
from encephalon.inference.workers import Workers
from encephalon.io.atomic import sha256
from encephalon.io.reading import write_image
from encephalon.recipes.loading import dump_recipe
from encephalon.recipes.schema import Recipe
from encephalon.studies.legibility.cohort import COHORT, PEOPLE
from encephalon.studies.legibility.synthetic import Size, write_cohort
from encephalon.synthetic.head import head_phantom
from figures import tell

#: What we want of each figure: our choice, as `docs/architecture.md` has it.
WISHES = {
    "plan_seconds": "<= 1",
    "overhead_ms": "<= 50",
    "times_the_loop": ">= 3",
    "over_ideal": "<= 1.15",
    "cpu_over_ideal": "<= 1.15",
}
#: The published cohort: domains and what is told of them (Ruffle et al. 2024).
DOMAINS = {
    "constitutional": "sex age weight handedness",
    "disease": "smoking hypertension atopy asthma body_fat",
    "serology": "haemoglobin hdl hba1c ldl",
    "psychology": "mood_swings miserableness irritability sensitivity fed_up nervous anxious tense "
    "worry lonely guilty reaction_time",
}
#: A training of a moment, on connectivity and blood.
TINY = {
    "study.inputs": '["connectivity", "serology"]',
    "study.targets": '["age", "sex"]',
    "study.folds": "3",
    "study.baselines": "[]",
    "training.epochs": "1",
    "training.steps_per_epoch": "2",
    "training.batch_size": "8",
    "training.warmup_steps": "0",
    "network.options.width": "8",
    "network.options.hidden": "8",
}


def seconds(work: Callable[[], Any]) -> float:
    """Of wall time."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def published_table(folder: Path, people: int) -> Path:
    """A table of people with all that the published design names, and its cohort file."""
    lines = ['name = "published"']
    frame = pd.DataFrame({"id": [f"p{number}" for number in range(people)]})
    for source in ("t1", "flair", "dwi", "connectivity"):
        kind = "connectivity" if source == "connectivity" else "image"
        lines += [f"[sources.{source}]", f'kind = "{kind}"']
        path = folder / f"{source}.npy"
        np.save(path, np.eye(4) if kind == "connectivity" else np.zeros((2, 2, 2)))
        frame[source] = path.name
    for domain, words in DOMAINS.items():
        lines += [f"[blocks.{domain}]", f"columns = {json.dumps(words.split())}"]
        for name in words.split():
            lines += [f"[targets.{name}]", 'kind = "binary"', f'domain = "{domain}"']
            frame[name] = np.arange(people) % 2
    frame.to_csv(folder / PEOPLE, index=False)
    (folder / COHORT).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / PEOPLE


def planning(folder: Path, people: int) -> dict[str, float]:
    """Seconds in which the published design is planned, all recipes and the table checked."""
    folder.mkdir()
    table = published_table(folder, people)
    # The second time, when all that it needs is imported.
    plan_grid("legibility-published", table)
    return {"plan_seconds": seconds(lambda: plan_grid("legibility-published", table))}


def write_tiny(folder: Path) -> Path:
    """A made-up cohort without images."""
    write_cohort(folder / "cohort", Size(36, regions=8, images=False), prepared=True)
    return folder / "cohort" / PEOPLE


@dataclass(frozen=True)
class Nothing:
    """A cell without any work, see `experiments.grid_cells.Steps`."""

    def train(self, recipe: Recipe, table: Path, run: Path) -> None:
        """A run that is over."""
        del recipe, table
        (run / "model").mkdir(parents=True)
        (run / "report.html").touch()

    def evaluate(self, run: Path, table: Path, output: Path) -> Sequence[Mapping[str, str]]:
        """Scores of nothing."""
        del run, table
        (output / "summary.json").write_text("{}", encoding="utf-8")
        return []


def overhead(folder: Path, jobs: int, cells: int) -> dict[str, float]:
    """Milliseconds of a worker that a cell costs, beside the start of the workers."""
    folder.mkdir()
    table = folder / "table.csv"
    table.write_text("id\n1\n", encoding="utf-8")
    axes = {"recipe": ["pca"], "training.seed": list(range(cells))}
    grid = Grid.model_validate({"name": "empty", "title": "Empty", "axes": axes})
    every = cells_of(grid, folder, table, sha256(table), lambda recipe: recipe)
    marks: list[float] = []
    run_cells(
        *(GridFolder(folder / "out"), every, Nothing(), Workers(jobs=jobs)),
        progress=lambda *_: marks.append(time.perf_counter()),
    )
    # The first of all was told before anything began.
    return {"overhead_ms": 1000 * jobs * (marks[-1] - marks[jobs]) / (len(marks) - 1 - jobs)}


def throughput(folder: Path, jobs: int, cells: int) -> dict[str, float]:
    """Cells a minute of a grid, and of a loop over the same cells in a shell."""
    table = write_tiny(folder)
    grid = folder / "grid.toml"
    axes = f'recipe = ["legibility"]\n"training.seed" = {list(range(cells))}\n'
    lines = [f"{json.dumps(key)} = {value}" for key, value in TINY.items()]
    grid.write_text(
        'name = "tiny"\ntitle = "Tiny"\n[axes]\n' + axes + "[settings]\n" + "\n".join(lines),
        encoding="utf-8",
    )
    recipes = []
    for number, cell in enumerate(plan_grid(grid, table).cells):
        recipes.append(folder / f"{number}.toml")
        recipes[-1].write_text(dump_recipe(cell.recipe), encoding="utf-8")

    def loop() -> None:
        for number, recipe in enumerate(recipes):
            run = folder / "loop" / str(number)
            words = [str(recipe), "-t", str(table), "-o", str(run), "--workers", "1"]
            encephalon("train", *words)
            encephalon("evaluate", str(run), "-t", str(table), "-o", str(run / "scores"))

    def whole() -> None:
        encephalon(
            "grid", "run", str(grid), "-t", str(table), "-o", str(folder / "out"), f"-j{jobs}"
        )

    looped, shared = seconds(loop), seconds(whole)
    return {
        "cells_a_minute": 60 * cells / shared,
        "cells_a_minute_of_the_loop": 60 * cells / looped,
        "times_the_loop": looped / shared,
    }


def encephalon(*words: str) -> None:
    """A command in a process of its own."""
    command = [sys.executable, "-m", "encephalon", *words, "-q", "--device", "cpu"]
    about = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    subprocess.run(command, check=True, env=about, stdout=subprocess.DEVNULL)


def predicting(folder: Path, jobs: int, scans: int) -> dict[str, float]:
    """What a batch over workers of one thread takes, all of it, over the work that it must do."""
    paths = []
    head = head_phantom((48, 60, 60), (4.0, 4.0, 4.0), detail=3.0).image
    for number in range(scans):
        paths.append(folder / f"{number}.nii.gz")
        write_image(head.data, paths[-1], head)
    warm, shared = _batch(paths, folder / "alone", 1), _batch(paths, folder / "shared", jobs)
    # From the first that is done, so that nothing of the start is in it.
    scan = (warm.marks[-1] - warm.marks[0]) / (scans - 1)
    return {
        "scan_cpu_seconds": scan,
        "over_ideal": shared.seconds / (scans * scan / jobs),
        "cpu_over_ideal": shared.cpu / (scans * scan),
    }


@dataclass(frozen=True)
class Batch:
    """What a whole batch took, with its workers: wall seconds, CPU seconds, and those at marks."""

    seconds: float
    cpu: float
    marks: list[float]


def _batch(paths: Sequence[Path], output: Path, jobs: int) -> Batch:
    begun, spent, marks = time.perf_counter(), cpu_seconds(), list[float]()
    workers = Workers(jobs=jobs)
    model = load_model("brain-extraction", device="cpu", threads=1, workers=workers)
    model.predict_batch(paths, output, progress=lambda *_: marks.append(cpu_seconds()))
    return Batch(time.perf_counter() - begun, cpu_seconds() - spent, marks)


def cpu_seconds() -> float:
    """Of this process and of its workers that have ended."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(each)[:2]) for each in who)


def main() -> None:
    """Print the figures, and beside them what we want."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cells", type=int, default=12, help="tiny trainings")
    parser.add_argument("--scans", type=int, default=100)
    parser.add_argument("--small", action="store_true", help="little of each")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = parser.parse_args()
    if asked.small:
        asked.cells, asked.scans = 2, 8
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = planning(folder / "plan", 200)
        figures |= overhead(folder / "empty", asked.jobs, 20 if asked.small else 700)
        for part in ("cells", "scans"):
            (folder / part).mkdir()
        figures |= throughput(folder / "cells", asked.jobs, asked.cells)
        figures |= predicting(folder / "scans", asked.jobs, asked.scans)
    tell(figures, WISHES, asked.json)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Microtomography: training beside a plain loader, how busy a network is kept, and whole volumes.

    python benchmarks/microtomography.py [--repeat 5] [--steps 12] [--threads 2] [--small]

Training is that of `region-supervised` with a narrow network, on slices of 128 x 128 voxels.
Beside it, in the same run, the plain way of the published code: the split in memory, each tile
divided by 255 and its region told by the most frequent id when it is asked for, torch's DataLoader,
and the same network, batch and optimiser. Each epoch begins with what was written to disk alone.
Whole volumes are labelled by a narrow network of `microstructure`, beside its bare passes through
the same tiles; their peak memory is that of `encephalon predict` in a process of its own, of a
volume of two blocks and of one four times as large.

Rounds alternate, ratios are medians of rounds, and are told of wall time and of processor time,
which other work on the machine changes less. `--small` runs one round of little, to see that
everything works: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from encephalon.api import Model, load_model, train
from encephalon.cli.demo import time_prediction
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.volume import Size
from encephalon.io.volumes.writing import create_ome_zarr
from encephalon.recipes.loading import load_recipe
from encephalon.studies.microtomography.benchmark import load_benchmark
from encephalon.studies.microtomography.synthetic import write_volume
from encephalon.studies.microtomography.task import TileLearner, TileTask
from encephalon.studies.microtomography.tiles import TABLE, write_tiles
from encephalon.studies.microtomography.whole import BLOCKS, make_grid
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Table
from encephalon.training.loop import Loop, make_fabric
from encephalon.training.run import training_parts
from encephalon.training.runs import Progress, Report, RunFolder
from figures import Spent, progress, tell, timed

#: What we want of each figure: our choice.
WISHES = {"faster": ">= 2", "busy": ">= 0.9", "bare": "<= 1.2", "peak_ratio": "<= 1.1"}
BATCH, WARM = 8, 2
#: Number of the region of each id, as in the recipe.
REGIONS = {1: 0, 2: 1, 4: 2, 5: 3}


class PlainTiles(Dataset[tuple[torch.Tensor, int]]):
    """Tiles (1, Y, X) and their regions in the way of the published code: all in memory."""

    def __init__(self, volume: Path, table: Table) -> None:
        self.image = open_volume(volume).read()
        self.regions = open_volume(volume / "labels/regions").read().astype(np.uint64)
        self.starts = np.stack([table.numbers(axis) for axis in "zyx"], 1).astype(int)
        self.side = int(table.numbers("size_x")[0])

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.starts)

    def __getitem__(self, tile: int) -> tuple[torch.Tensor, int]:
        """One tile, made when it is asked for."""
        z, y, x = self.starts[tile]
        place = (slice(z, z + 1), slice(y, y + self.side), slice(x, x + self.side))
        image = torch.from_numpy(self.image[place]).to(torch.float32).div(255)
        ids = torch.from_numpy(self.regions[place].astype(np.int64))
        return image, REGIONS[int(ids.flatten().mode()[0])]


def train_plainly(tiles: PlainTiles, learner: TileLearner, steps: int) -> Spent:
    """What `steps` steps take, after some to warm up; in the memory order that is torch's own."""
    network = learner.build().train()
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    training = learner.recipe.training
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    criterion = nn.CrossEntropyLoss()
    times: list[Spent] = []
    for image, region in DataLoader(tiles, batch_size=BATCH, shuffle=True, drop_last=True):
        optimiser.zero_grad()
        loss = criterion(network(image), region)
        loss.item()
        loss.backward()
        optimiser.step()
        times.append(Spent.now())
        if len(times) == steps + WARM:
            break
    return times[-1].since(times[WARM - 1])


def train_ours(task: TileTask, learner: TileLearner, steps: int, run: Path) -> Spent:
    """The same by the training loop, which draws, varies and normalises tiles as well."""
    times: list[Spent] = []
    fit(task, learner, learner.build(), steps + WARM, run, lambda *_: times.append(Spent.now()))
    return times[-1].since(times[WARM - 1])


def fit(
    task: TileTask, learner: TileLearner, network: nn.Module, steps: int, run: Path, report: Report
) -> None:
    """Train for so many steps; `report` is called after each."""
    training = learner.recipe.training.model_copy(update={"epochs": 1, "steps_per_epoch": steps})
    Loop(task, network, training, RunFolder(run), make_fabric("cpu", "32-true"), report).fit()


def busy_shares(learner: TileLearner, table: Table, folder: Path) -> dict[str, float]:
    """The share of each of two epochs that is not spent waiting for batches.

    Boxes are read anew from the disk in the first, and their levels measured: all that comes before
    its first step counts as waiting.
    """
    forget(folder / "tiles")
    task_begun = last = time.perf_counter()
    task = make_task(learner, table, folder / "cold")
    steps = len(task.train) // BATCH
    network, waited, ends = learner.build(), [0.0], [task_begun]

    def step_begins(*_: object) -> None:
        waited[-1] += time.perf_counter() - last

    def step_ended(progress: Progress, _: Mapping[str, float]) -> None:
        nonlocal last
        last = time.perf_counter()
        if progress.step % steps == 0:
            ends.append(last)
            waited.append(0.0)

    network.register_forward_pre_hook(step_begins)
    fit(task, learner, network, 2 * steps, folder / "busy", step_ended)
    first, second = (1 - w / (b - a) for w, a, b in zip(waited, ends, ends[1:], strict=False))
    return {"busy_first_epoch": first, "busy_second_epoch": second}


def forget(folder: Path) -> None:
    """Drop the files of a folder from the memory of the system, where it can be asked to."""
    if not hasattr(os, "posix_fadvise"):
        return
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def make_task(learner: TileLearner, table: Table, cache: Path) -> TileTask:
    """Batches of the tiles that train; none validate."""
    tiles = learner.prepare(training_parts(table)[0], cache, 1)
    return learner.task(tiles, tiles.select([]))


def measure_training(asked: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Steps and batches of both, and how busy the network is."""
    side, depth = (32, 34) if asked.small else (128, 60)
    benchmark = write_volume(folder / "volume", depth=depth, side=side, tile=side, cubes=1, seed=0)
    write_tiles(load_benchmark(benchmark), folder / "tiles", benchmark.parent)
    options = {"network.options.encoder_options.width": str(asked.width)}
    recipe = load_recipe("region-supervised", options)
    learner, table = TileLearner(recipe), read_table(folder / "tiles" / TABLE, recipe.table)
    task = make_task(learner, table, folder / "cache")
    plain = PlainTiles(benchmark.parent / "volume.ome.zarr", task.train.table)
    batches = len(task.train) // BATCH
    rounds: dict[str, list[tuple[Spent, Spent]]] = {"training": [], "loading": []}
    steps = min(asked.steps, batches - WARM)
    for number in range(asked.repeat):
        theirs = train_plainly(plain, learner, steps)
        ours = train_ours(task, learner, steps, folder / f"run-{number}")
        rounds["training"].append((theirs, ours))
        progress_of(asked, number, "training", theirs, ours)
        loader = DataLoader(plain, batch_size=BATCH, shuffle=True, drop_last=True)
        _, theirs = timed(partial(list, loader))
        _, ours = timed(partial(list, map(task.batch, range(batches))))
        rounds["loading"].append((theirs, ours))
        progress_of(asked, number, "loading", theirs, ours)
    samples = {"training": steps * BATCH, "loading": batches * BATCH}
    figures: dict[str, float] = {}
    for name, pairs in rounds.items():
        for who, place in (("plain", 0), ("ours", 1)):
            wall = median(pair[place].wall for pair in pairs)
            figures[f"{name}_{who}_samples_per_second"] = samples[name] / wall
        figures |= ratios(f"{name}_times_faster", pairs)
    return figures | busy_shares(learner, table, folder)


def ratios(name: str, pairs: Sequence[tuple[Spent, Spent]]) -> dict[str, float]:
    """The medians of first over second."""
    return {
        f"{name}_wall": median(a.wall / b.wall for a, b in pairs),
        f"{name}_processor": median(a.processor / b.processor for a, b in pairs),
    }


def progress_of(
    asked: argparse.Namespace, number: int, what: str, theirs: Spent, ours: Spent
) -> None:
    """Say on stderr that a round is done, and what others and we took."""
    progress(number + 1, asked.repeat, f"{what}: {theirs.wall:.2f} s, ours {ours.wall:.2f} s")


def write_noise(place: Path, shape: Size) -> Path:
    """A volume of that size, slab by slab; how it looks has no say in what is measured."""
    rng, slab = np.random.default_rng(0), 16
    with create_ome_zarr(place, shape, np.uint8, chunks=(slab, 128, 128)) as writer:
        for z in range(0, shape[0], slab):
            end = min(z + slab, shape[0])
            voxels = rng.integers(0, 256, (end - z, *shape[1:]), np.uint8)
            writer.write(voxels, ((z, end), (0, shape[1]), (0, shape[2])))
    return place


def measure_whole(asked: argparse.Namespace, folder: Path) -> dict[str, float]:
    """A block beside its bare passes, and the memory of two blocks and of eight."""
    options = {
        "network.options.encoder_options.width": str(asked.width // 2),
        "network.options.width": str(asked.width // 2),
        "study.augmentation": '[{ name = "random-crop", size = [32, 32] }]',
        "training.epochs": "1",
        "training.steps_per_epoch": "1",
    }
    table, run = folder / "tiles" / TABLE, folder / "structures"
    model_folder = train("microstructure", table, run, overrides=options, device="cpu")
    model = load_model(model_folder, device="cpu", threads=asked.threads)
    block = (8, 64, 64) if asked.small else BLOCKS[True]
    volume = write_noise(folder / "block.ome.zarr", (block[0] // 4, *block[1:]))
    pairs = []
    for number in range(asked.repeat):
        _, ours = timed(partial(label, model, volume, folder / f"block-{number}"))
        _, bare = timed(partial(pass_through, model, volume))
        pairs.append((ours, bare))
        progress_of(asked, number, "whole volume", bare, ours)
    figures = ratios("whole_times_bare_passes", pairs)
    for name, shape in (
        ("peak_mib", (block[0], block[1], 2 * block[2])),
        ("peak_mib_of_four_times_the_volume", (4 * block[0], block[1], 2 * block[2])),
    ):
        place = write_noise(folder / f"{name}.ome.zarr", shape)
        words = ["--threads", str(asked.threads), "--device", "cpu"]
        timing = time_prediction(str(model_folder), place, folder / f"{name}-out", words)
        print(f"{name}: {timing.seconds:.1f} s", file=sys.stderr, flush=True)
        figures[name] = timing.peak_mib
    return figures


def label(model: Model, volume: Path, folder: Path) -> None:
    """Label a volume, from opening it to the finished OME-Zarr."""
    result = model.predict_batch([volume], folder, report=False)
    assert not result.failures, result.failures


def pass_through(model: Model, volume: Path) -> None:
    """Show a network as many tiles of the same size, and do nothing with what it says."""
    predictor: Any = model.predictor
    shape = open_volume(volume).shape
    z, y, x = ((0, n) for n in shape)
    for tile, _ in make_grid(shape, predictor.depth).tiles((z, y, x)):
        size = [one.stop - one.start for one in tile.read[1:]]
        predictor.tell(np.zeros((1, 1, *size), np.float32))


def main() -> None:
    """Print the figures, and beside them what we want."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--small", action="store_true", help="one round of little")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = parser.parse_args()
    if asked.small:
        asked.repeat, asked.steps, asked.width = 1, 1, 8
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as name:
        figures = measure_training(asked, Path(name)) | measure_whole(asked, Path(name))
    figures["peak_ratio"] = figures["peak_mib_of_four_times_the_volume"] / figures["peak_mib"]
    tell(figures, WISHES, asked.json)


if __name__ == "__main__":
    main()

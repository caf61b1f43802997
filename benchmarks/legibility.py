# SPDX-License-Identifier: Apache-2.0
"""Legibility: one network for all sets of inputs beside one for each, and what a cohort costs.

    python benchmarks/legibility.py [--people 400] [--steps 40] [--threads 2] [--small]

A synthetic cohort has six units of inputs, of which 63 sets can be made. One network learns from
people who lose some of their inputs, and is asked for all sets; beside it, in the same run, a
network of the same make learns each set from the same people, in fewer steps. All learn all
targets: the usual network for each target as well would cost seven times more. What each says of
people whom none has seen is compared person by person: the difference of their losses, and of which
sets it is beyond its 95 % interval. With `--every` some sets stand for all, in the costs too.

Loading is measured where images are as large as a study has them: the share of an epoch that the
network is at work, the bytes of a person on disk, and the seconds of a step, from which those of an
epoch of 23,810 people are extrapolated.

`--small` runs little of it, to see that everything works: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from encephalon.experiments.folds import Fold
from encephalon.networks.fusion import MaskedFusion
from encephalon.recipes.loading import load_recipe
from encephalon.recipes.schema import Recipe
from encephalon.statistics.comparison import compare_paired
from encephalon.studies.legibility.cohort import COHORT, Completing, load_cohort
from encephalon.studies.legibility.data import People, prepare_people
from encephalon.studies.legibility.fitting import FittedPeople, fit
from encephalon.studies.legibility.modes import legibility_settings
from encephalon.studies.legibility.synthetic import Size, write_cohort
from encephalon.tables.reading import read_table
from encephalon.training.losses import targets
from encephalon.training.runs import Progress, RunFolder, TrainingContext
from figures import Spent, tell, timed

Values = NDArray[np.float64]

#: What we want of each figure: our choice.
WISHES = {
    "times_less": ">= 20",
    "busy": ">= 0.9",
    "sets_in_which": "0",
    "gain_of_one": "above 0, or with 0 in its interval",
}
#: Of the published study: people, and those of them who train (Ruffle et al. 2024).
PUBLISHED, TRAINING = 23_810, 19_048
#: Steps of the one network over those of each of the others: our choice, it learns 63 sets.
LONGER = 1.6
#: The units of the benchmark: all of the synthetic cohort but this one make six.
LEFT_OUT = "constitutional"


def make_recipe(table: Path, side: int, inputs: Sequence[str], **changes: str) -> Recipe:
    """The recipe of the study for a cohort and some of its inputs."""
    options = {
        "study.side": str(side),
        "study.inputs": json.dumps(list(inputs)),
        # The networks themselves are compared, which linear models beside them would make alike.
        "study.fusion": '"attention"',
        "training.epochs": "1",
        "training.warmup_steps": "5",
        **changes,
    }
    return Completing(table)(load_recipe("legibility", options))


def read_people(recipe: Recipe, table: Path) -> People:
    """The people of a table, as the recipe has them."""
    settings = legibility_settings(recipe)
    assert settings.cohort is not None
    cache = table.parent / "cache"
    return prepare_people(read_table(table, recipe.table), settings.cohort, settings.side, cache, 1)


def measure_sets(asked: argparse.Namespace, folder: Path) -> dict[str, float]:
    """One network for 63 sets beside 63 networks."""
    size = Size(asked.people, side=16)
    table = write_cohort(folder / "people", size, prepared=True)
    cohort = load_cohort(table.with_name(COHORT))
    inputs = [name for name in cohort.inputs if name != LEFT_OUT]
    changes = {
        "training.steps_per_epoch": str(asked.steps),
        "training.batch_size": str(asked.batch),
        "training.learning_rate": "3e-3",
        "network.options.width": "64",
        "network.options.hidden": "64",
        "network.options.encoder_options.width": "4",
    }
    longer = {"training.steps_per_epoch": str(round(asked.steps * LONGER))}
    recipe = make_recipe(table, 16, inputs, **changes | longer)
    people = read_people(recipe, table)
    fold = first_fold(people)
    one, cost = timed(partial(learn, asked, recipe, people, fold, folder / "one"))
    said = answers(one, fold)
    progress_of(f"one network for {said.shape[1]} sets", cost)
    wall = processor = 0.0
    ours, theirs = [], []
    sets = people.cohort.input_sets()[:: asked.every]
    for place, some in enumerate(sets):
        told = [name for name in cohort.targets if set(some) - set(cohort.hidden_from(name))]
        own = {"study.modality_dropout": "0", "study.targets": json.dumps(told)}
        alone = make_recipe(table, 16, some, **changes, **own)
        few = read_people(alone, table)
        run = folder / f"set-{place}"
        network, spent = timed(partial(learn, asked, alone, few, fold, run))
        wall, processor = wall + spent.wall, processor + spent.processor
        number = people.cohort.input_sets().index(some)
        # Only what both are asked for: targets that the set says anything of, of whoever has it.
        here = people.present[fold.test][:, [people.cohort.inputs.index(n) for n in some]].all(1)
        ours.append(np.where(here, losses(one, fold, said[:, number]), np.nan))
        heard = among_all(answers(network, fold)[:, -1], network, one)
        theirs.append(np.where(here, losses(one, fold, heard), np.nan))
        progress_of(f"set {place + 1} of {len(sets)}, {'+'.join(some)}", spent)
    every = said.shape[1] / len(sets)
    figures = {
        "processor_seconds_of_one": cost.processor,
        "processor_seconds_of_one_for_each_set": processor * every,
        "times_less_processor_time": processor * every / cost.processor,
        "times_less_wall_time": wall * every / cost.wall,
    }
    return figures | compare(np.array(ours), np.array(theirs))


def first_fold(people: People) -> Fold:
    """Two thirds of the people train, whole families, and the others test; none validate."""
    families = people.table.texts("family")
    place = next(
        row
        for row in range(len(people) * 2 // 3, len(people))
        if families[row] != families[row - 1]
    )
    rows = np.arange(len(people))
    return Fold(0, rows[:place], rows[:0], rows[place:])


def learn(
    asked: argparse.Namespace, recipe: Recipe, people: People, fold: Fold, run: Path
) -> FittedPeople:
    """Train for as many steps as the recipe says."""
    context = TrainingContext(device="cpu", threads=asked.threads)
    return fit(recipe, people, fold, RunFolder(run), context)


def answers(fitted: FittedPeople, fold: Fold) -> NDArray[np.float32]:
    """What a network says of the people who test, from each of its sets (N, sets, columns)."""
    return fitted.task.answers(fitted.network, fold.test, "cpu")


def among_all(
    said: NDArray[np.float32], fitted: FittedPeople, whole: FittedPeople
) -> NDArray[np.float32]:
    """Answers (N, columns) of a network, with NaN for the targets that `whole` tells besides."""
    found, start, wide = (
        [],
        0,
        dict(zip(fitted.task.cohort.targets, fitted.task.widths, strict=True)),
    )
    for name, width in zip(whole.task.cohort.targets, whole.task.widths, strict=True):
        if name in wide:
            found.append(said[:, start : start + width])
            start += width
        else:
            found.append(np.full((len(said), width), np.nan, np.float32))
    return np.concatenate(found, axis=1)


def losses(fitted: FittedPeople, fold: Fold, said: NDArray[np.float32]) -> Values:
    """The mean loss over the targets of each person (N,), NaN where nothing can be said."""
    task, found = fitted.task, np.full(len(fold.test), np.nan)
    kinds = [target.kind for target in task.cohort.targets.values()]
    wanted = task.target[torch.from_numpy(fold.test)]
    for row in range(len(found)):
        told = torch.from_numpy(said[row : row + 1])
        known = torch.where(told.isnan(), torch.nan, wanted[row : row + 1])
        if known.isfinite().any():
            found[row] = targets(told.nan_to_num(), known, kinds, task.widths).item()
    return found


def compare(ours: Values, theirs: Values) -> dict[str, float]:
    """How much less the one network errs (sets, N), over all sets and set by set."""
    gain = theirs - ours
    everybody = np.nanmean(gain, axis=0)
    known = np.isfinite(everybody)
    over_all = compare_paired(everybody[known], np.zeros(known.sum())).mean_difference
    worse = 0
    for one in gain:
        some = one[np.isfinite(one)]
        worse += compare_paired(some, np.zeros(len(some))).mean_difference.high < 0
    return {
        "sets": len(gain),
        "mean_loss_of_one": float(np.nanmean(ours)),
        "mean_loss_of_one_for_each_set": float(np.nanmean(theirs)),
        "gain_of_one_in_loss": over_all.value,
        "gain_of_one_at_least": over_all.low,
        "gain_of_one_at_most": over_all.high,
        "sets_in_which_one_is_worse_beyond_the_interval": float(worse),
    }


def measure_loading(asked: argparse.Namespace, folder: Path) -> dict[str, float]:
    """How busy a network is kept, and what a cohort of the published size would cost."""
    side, regions, count = (16, 24, 24) if asked.small else (64, 360, 24)
    table = write_cohort(folder / "large", Size(count, side=side, regions=regions), prepared=True)
    stored = sum(file.stat().st_size for file in table.parent.rglob("*") if file.is_file())
    batch = 4
    changes = {"training.batch_size": str(batch), "training.steps_per_epoch": str(count // batch)}
    recipe = make_recipe(table, side, (), **changes)
    people = read_people(recipe, table)
    rows = np.arange(count)
    waits, ends = [0.0], [time.perf_counter()]

    def step_begins(module: nn.Module, _: object) -> None:
        if isinstance(module, MaskedFusion):
            waits.append(time.perf_counter() - ends[-1])

    def step_ended(_: Progress, __: Mapping[str, float]) -> None:
        ends.append(time.perf_counter())

    context = TrainingContext(device="cpu", threads=asked.threads, report=step_ended)
    fold = Fold(0, rows, rows[:0], rows[:0])
    with register_module_forward_pre_hook(step_begins):
        fit(recipe, people, fold, RunFolder(folder / "busy"), context)
    took = np.diff(ends)[1:]  # the first also readies the optimiser
    each = median(took) / batch
    return {
        "voxels_a_side": side,
        "busy_share": float(1 - sum(waits[2:]) / took.sum()),
        "bytes_of_a_person": stored / count,
        "gigabytes_of_the_published_cohort": stored / count * PUBLISHED / 1e9,
        "seconds_of_a_person_in_training": each,
        "hours_of_an_epoch_of_the_published_cohort": each * TRAINING / 3600,
    }


def progress_of(what: str, spent: Spent) -> None:
    """Say on stderr that something is done."""
    words = f"{what}: {spent.wall:.1f} s, {spent.processor:.1f} s of processors"
    print(words, file=sys.stderr, flush=True)


def main() -> None:
    """Print the figures, and beside them what we want."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--steps", type=int, default=40, help="of each network")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="train every so many-th set alone")
    parser.add_argument("--small", action="store_true", help="few sets and steps")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = parser.parse_args()
    if asked.small:
        asked.people, asked.steps, asked.every = 90, 6, 9
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as name:
        figures = measure_loading(asked, Path(name)) | measure_sets(asked, Path(name))
    tell(figures, WISHES, asked.json)


if __name__ == "__main__":
    main()

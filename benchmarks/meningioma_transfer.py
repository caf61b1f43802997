# SPDX-License-Identifier: Apache-2.0
"""What transfer from brain extraction is worth for tumours: a learning curve in real heads.

    python benchmarks/meningioma_transfer.py SCANS -o OUT [--elsewhere FOLDER] [--small]

SCANS is a folder with a T1w of each of many people, in which `encephalon.synthetic.tumour` draws a
bright tumour on the surface of the brain that `brain-extraction` finds. The recipe `meningioma`
learns from the first 4, 8 and 16 of them, each way of `WAYS`, on a grid of about 4 mm and in a few
hundred steps. Every way is judged by the same people, of whom nobody was learnt from, and by those
of FOLDER, where other people were scanned by others. Writes OUT/results.json; what is done already
is not done again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import encephalon
from encephalon.io.atomic import make_folder, write_json
from encephalon.io.reading import read_image, write_image
from encephalon.io.text import write_records
from encephalon.recipes.schema import Recipe
from encephalon.statistics.comparison import compare_paired
from encephalon.statistics.summary import summarise
from encephalon.synthetic.tumour import add_tumour
from figures import progress

#: People to learn from, to choose the epoch by, and to be judged by.
LEARN, CHOOSE, JUDGE = (4, 8, 16), 4, 16
#: Small enough for a minute a run: a quarter of the recipe's grid, one head a step, and the larger
#: rate that few steps need. The same for all ways.
CHANGES = {
    "study.grids": "{ coarse = [48, 64, 48], fine = [48, 64, 48] }",
    "study.validation_samples": "4",
    "training.learning_rate": "1e-3",
    "training.batch_size": "1",
    "training.epochs": "4",
    "training.steps_per_epoch": "100",
}
#: What each way changes in the recipe's training: nothing, no layer held where it started, or
#: nothing taken over from brain extraction.
FREE: dict[str, Any] = {"freeze": (), "l2_to_start": 0.0}
WAYS: dict[str, dict[str, Any]] = {
    "transfer": {},
    "all-layers": FREE,
    "scratch": {**FREE, "start_from": None},
}
Row = dict[str, str]


def main() -> None:
    """Draw the tumours, train each way on each number of people, and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scans", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--elsewhere", type=Path, help="other people, only to be judged by")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="two steps on one person")
    asked = parser.parse_args()
    asked.output = asked.output.resolve()
    learn, choose, judge = ((1,), 1, 1) if asked.small else (LEARN, CHOOSE, JUDGE)
    people = draw_tumours(asked, asked.scans, judge + choose + max(learn))
    judges = {"same": write_records(people[:judge], asked.output / "judge.csv")}
    if asked.elsewhere:
        others = draw_tumours(asked, asked.elsewhere, judge)
        judges["elsewhere"] = write_records(others, asked.output / "elsewhere.csv")
    changes = CHANGES | ({"training.steps_per_epoch": "1"} if asked.small else {})
    recipe = encephalon.load_recipe("meningioma", changes)
    results = []
    for count in learn:
        rows = [{**row, "split": "validation"} for row in people[judge : judge + choose]]
        rows += [{**row, "split": "train"} for row in people[judge + choose :][:count]]
        table = write_records(rows, asked.output / f"learn-{count}.csv")
        runs = {
            name: trained(asked, changed(recipe, way), table, asked.output / f"{name}-{count}")
            for name, way in WAYS.items()
        }
        for place, judging in judges.items():
            dice = {name: scores(asked, run, judging, place) for name, run in runs.items()}
            results.append({"people": count, "judged": place, **compared(dice)})
            write_json(asked.output / "results.json", results)
            print(told(results[-1]), flush=True)


def draw_tumours(asked: argparse.Namespace, folder: Path, most: int) -> list[Row]:
    """Up to `most` people of a folder, in an order drawn once, each with a tumour of their own."""
    paths = sorted(folder.resolve().rglob("*T1*.nii.gz"))
    order = np.random.default_rng(0).permutation(len(paths))[:most]
    model = encephalon.load_model("brain-extraction", device="cpu", threads=asked.threads)
    make_folder(asked.output / "scans")
    rows = []
    for number, path in enumerate(paths[index] for index in order):
        # Two data sets may both have a sub-01.
        name = f"{folder.resolve().name}_{path.name.removesuffix('.nii.gz')}"
        image, mask = (asked.output / "scans" / f"{name}{end}.nii.gz" for end in ("", "_tumour"))
        if not mask.exists():
            progress(number + 1, len(order), name)
            scan = read_image(path)
            brain = model.predict(scan).images["mask"].data > 0
            drawn, tumour = add_tumour(np.random.default_rng(number), scan, brain)
            write_image(drawn.data, image, drawn, overwrite=True)
            write_image(tumour.astype(np.uint8), mask, scan, overwrite=True)
        rows.append({"id": name, "image": str(image), "labels": str(mask), "group": name})
    return rows


def changed(recipe: Recipe, training: Mapping[str, Any]) -> Recipe:
    """The recipe with other values in its training."""
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=training)})


def trained(asked: argparse.Namespace, recipe: Recipe, table: Path, run: Path) -> Path:
    """The run, which is gone on with where it was begun."""
    print(f"training {run.name}", file=sys.stderr, flush=True)
    how: dict[str, Any] = {"device": "cpu", "threads": asked.threads, "workers": 1}
    encephalon.train(recipe, table, run, resume=True, **how)
    return run


def scores(asked: argparse.Namespace, run: Path, table: Path, place: str) -> list[float]:
    """Dice of each person of the table."""
    how: dict[str, Any] = {"device": "cpu", "threads": asked.threads, "overwrite": True}
    found = encephalon.evaluate(run, table, run / f"scores-{place}", **how)
    return [float(row["dice"]) for row in found.rows]


def compared(dice: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Mean Dice of each way and the difference, with intervals over people."""
    ways = {name: asdict(summarise(values, "dice").mean_interval) for name, values in dice.items()}
    difference = compare_paired(dice["transfer"], dice["scratch"])
    return {**ways, "difference": asdict(difference.mean_difference), "dice": dict(dice)}


def told(result: Mapping[str, Any]) -> str:
    """One line: people, and three values with their intervals."""
    parts = [f"{result['people']:>3} people, judged {result['judged']:<9}"]
    for name in (*WAYS, "difference"):
        value = result[name]
        parts.append(f"{name} {value['value']:.2f} ({value['low']:.2f} to {value['high']:.2f})")
    return "  ".join(parts)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""How good isotropic scans are: every real subject left out once, and heads of unseen label maps.

    python benchmarks/isotropic_accuracy.py LABELMAPS PAIRS --final RUN --without RUN -o OUT

FINAL is the run of the shipped weights; each subject of PAIRS tests a run that never saw it, whose
place is WITHOUT with the subject's name for {subject} (`make isotropic-weights` makes all of them).
Synthetic heads, an adult and an infant contrast of a label map each that no training saw, test
FINAL itself. Every head is cut into slices of 2 to 5 mm in three planes; OUT/real and OUT/synthetic
hold scores, summary and page, OUT/stress the same with a wrong and a misaligned T1w, OUT/cells.csv
the PSNR in the foreground of every method, plane and thickness, and OUT/scores.json the few figures
of the card. Whatever is done already is not done again; each step is told on stderr. `--small`
tests the first subject alone, in axial slices of 4 mm, to see that everything works.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from encephalon.geometry.affine import bounding_box
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.io.reading import read_image, read_labels, write_image
from encephalon.io.text import read_records, write_records
from encephalon.transforms.masks import LARGEST_BRAIN_LABEL
from encephalon.transforms.synthesis import ADULT, YOUNG, synthesise_pair
from figures import progress

TABLES = Path(__file__).resolve().parent.parent / "tools" / "isotropic_table.py"
#: Largest edge of a synthetic head, voxels around its brain: enough, and soon done.
EDGE = 128
#: Voxels of air around a real head.
AIR = 6
#: What is made worse on purpose, in slices of 4 mm alone.
STRESS = ("stress=['misaligned']", "thicknesses=[4]")
#: What the method alone is worth: a prediction would put a T1w right, or leave it out.
BARE = "bare=true"
SMALL = ("axes=['axial']", "thicknesses=[4]")
#: What the id of a subject with the T1w of somebody else ends in.
STRANGE = "-wrong"


def main() -> None:
    """Evaluate the real heads, synthesise others, and evaluate those."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("labelmaps", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--final", type=Path, required=True)
    parser.add_argument("--without", required=True, help="runs/without-{subject}")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--threads", default="2")
    parser.add_argument("--small", action="store_true", help="one subject, one plane and thickness")
    asked = parser.parse_args()
    (asked.output / "heads").mkdir(parents=True, exist_ok=True)
    everyone = subjects(asked)
    for number, subject in enumerate(everyone[:1] if asked.small else everyone, start=1):
        progress(number, len(everyone), f"without {subject}")
        run = Path(asked.without.format(subject=subject))
        table, stress = test_tables(asked, subject)
        evaluate(asked, run, table, asked.output / "real" / subject)
        evaluate(asked, run, stress, asked.output / "stress" / subject, *STRESS)
    print("synthetic heads", file=sys.stderr, flush=True)
    evaluate(asked, asked.final, synthetic_heads(asked), asked.output / "synthetic" / "heads")
    write_figures(asked.output)


def subjects(asked: argparse.Namespace) -> list[str]:
    """The names of the subjects with a pair of scans."""
    table = make_table(asked, asked.output / "all.csv")
    return [row["id"] for row in table if row["t2w"]]


def make_table(asked: argparse.Namespace, path: Path) -> list[dict[str, str]]:
    """Write a table of label maps and pairs to `path`, and return its rows."""
    folders = [str(asked.labelmaps), "--pairs", str(asked.pairs)]
    subprocess.run([sys.executable, TABLES, *folders, "-o", str(path)], check=True)
    return read_records(path)[1]


def test_tables(asked: argparse.Namespace, subject: str) -> tuple[Path, Path]:
    """The table of `subject`, and that of them as they are and with the next subject's T1w.

    Both scans are cut to the box of the head and some air, which saves half of the time.
    """
    pairs = [row for row in make_table(asked, asked.output / "all.csv") if row["t2w"]]
    names = [row["id"] for row in pairs]
    own, other = (pairs[(names.index(subject) + step) % len(pairs)] for step in (0, 1))
    folder = asked.output / "heads"
    head = read_image(asked.output / own["t2w"])
    box = bounding_box(head.data > 0, AIR)
    place = head.affine.shifted([edge.start for edge in box])
    rows = []
    for row, name in ((own, subject), (other, subject + STRANGE)):
        guide = read_image(asked.output / row["t1w"])
        cut = Image(np.ascontiguousarray(head.data[box]), place)
        moved = resample(guide.data, guide.affine, cut.grid, order=1)
        files = {"t2w": (cut.data, f"{name}_T2w"), "t1w": (moved, f"{name}_T1w")}
        for data, stem in files.values():
            write_image(data, folder / f"{stem}.nii.gz", like=cut, overwrite=True)
        places = {role: f"{stem}.nii.gz" for role, (_, stem) in files.items()}
        rows.append({**own, **places, "id": name, "split": "test"})
    plain = write_records(rows[:1], folder / f"{subject}.csv")
    return plain, write_records(rows, folder / f"{subject}-stress.csv")


def synthetic_heads(asked: argparse.Namespace) -> Path:
    """The table of heads of synthetic contrasts, made of label maps that are for testing alone."""
    import torch

    maps = [row for row in make_table(asked, asked.output / "all.csv") if row["split"] == "test"]
    folder = asked.output / "heads"
    rows = []
    for seed, (row, (name, contrasts)) in enumerate(
        zip(maps, {"adult": ADULT, "infant": YOUNG}.items(), strict=False)
    ):
        image = read_labels(asked.output / row["labels"])
        brain = np.argwhere((image.data > 0) & (image.data < LARGEST_BRAIN_LABEL))
        middle = (brain.min(0) + brain.max(0)) // 2
        box = tuple(slice(max(0, m - EDGE // 2), m + EDGE // 2) for m in middle.tolist())
        labels = torch.from_numpy(image.data[box].astype(np.int64))
        pair = synthesise_pair(np.random.default_rng(seed), labels, labels, 0.0, contrasts)
        place = image.affine.shifted([edge.start for edge in box])
        files = [folder / f"{name}_{suffix}.nii.gz" for suffix in ("T2w", "T1w")]
        for data, path in zip(pair, files, strict=True):
            write_image(data, path, like=Image(data, place), overwrite=True)
        places = dict(zip(("t2w", "t1w"), (path.name for path in files), strict=True))
        rows.append({**row, **places, "id": name, "labels": ""})
    return write_records(rows, folder / "heads.csv")


def evaluate(
    asked: argparse.Namespace, run: Path, table: Path, output: Path, *options: str
) -> None:
    """Score a run on the test rows of a table, unless that is done; `options` of the study."""
    if not (output / "scores.csv").exists():
        wanted = dict.fromkeys((BARE, *options, *(SMALL if asked.small else ())))
        words = [word for option in wanted for word in ("--option", option)]
        places = ["-t", str(table), "-o", str(output), "--threads", asked.threads]
        encephalon("evaluate", str(run), *places, *words)


def write_figures(output: Path) -> None:
    """Pool the scores of all parts into cells.csv and scores.json, and print the cells."""
    import pandas as pd

    parts = ("real", "stress", "synthetic")
    found = {name: sorted((output / name).glob("*/scores.csv")) for name in parts}
    scores = pd.concat(
        pd.read_csv(path).assign(heads=name) for name, paths in found.items() for path in paths
    )
    scores.loc[scores["id"].str.endswith(STRANGE), "condition"] = "wrong T1w"
    index = ["heads", "condition", "axis", "thickness"]
    cells = scores.pivot_table("psnr_foreground", [*index, "id"], "method")
    cells["over cubic"] = cells["network"] - cells["cubic"]
    cells["over guided"] = cells["network"] - cells["guided"]
    cells.groupby(level=index).mean().round(2).to_csv(output / "cells.csv")
    print((output / "cells.csv").read_text(encoding="utf-8"))
    figures = {}
    normal = cells.xs("normal", level="condition")
    for name in ("real", "synthetic"):
        for gain in ("over cubic", "over guided"):
            rows = normal.xs(name, level="heads")[gain]
            thick = rows.xs(4.0, level="thickness")
            key = f"psnr_{gain.replace(' ', '_')}_{name}"
            figures[key] = _few(rows)
            figures[f"{key}_4mm"] = _few(thick)
    (output / "scores.json").write_text(
        json.dumps({"overall": figures}, indent=2) + "\n", encoding="utf-8"
    )


def _few(values: Any) -> dict[str, float]:
    """The number of trials, and mean, smallest and largest of a figure, in dB."""
    few = {"mean": values.mean(), "minimum": values.min(), "maximum": values.max()}
    return {"n": len(values), **{name: round(float(value), 2) for name, value in few.items()}}


def encephalon(*words: str) -> None:
    """Run a command of this package, and print it."""
    subprocess.run([sys.executable, "-m", "encephalon", *words], check=True)


if __name__ == "__main__":
    main()

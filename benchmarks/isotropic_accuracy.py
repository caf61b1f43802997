# SPDX-License-Identifier: Apache-2.0
"""How good isotropic scans are: every real subject left out once, and heads of unseen label maps.

    python benchmarks/isotropic_accuracy.py LABELMAPS PAIRS --base BASE --final FINAL -o OUT

BASE is a run of the recipe on label maps alone, FINAL the shipped one, which went on from it with
all pairs (`make isotropic-weights` makes both). For each subject of PAIRS the training that made
FINAL of BASE is repeated without that subject, who is then the test. Synthetic heads, an adult and
an infant contrast of a label map each that no training saw, test FINAL itself. Every head is cut
into slices of 2 to 5 mm in three planes; OUT/real and OUT/synthetic hold scores, summary and page.
Whatever is done already is not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from encephalon.io import Image, read_labels, write_image
from encephalon.studies.isotropic.painting import ADULT, YOUNG, paint_pair

TABLES = Path(__file__).resolve().parent.parent / "tools" / "isotropic_table.py"
#: Voxels around a painted head that stay in its file.
RIM = 4


def main() -> None:
    """Train without each subject, paint the heads, and evaluate all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("labelmaps", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--final", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--threads", default="2")
    asked = parser.parse_args()
    stress = "stress=['wrong', 'misaligned', 'missing']"
    for subject in subjects(asked):
        run = without(asked, subject)
        table = asked.output / f"{subject}.csv"
        evaluate(asked, run, table, asked.output / "real" / subject, stress)
    heads = painted_heads(asked)
    evaluate(asked, asked.final, heads, asked.output / "synthetic", "stress=['lesion']")


def subjects(asked: argparse.Namespace) -> list[str]:
    """The names of the subjects with a pair of scans."""
    table = make_table(asked, asked.output / "all.csv")
    return [row["id"] for row in table if row["t2w"]]


def make_table(asked: argparse.Namespace, path: Path, *options: str) -> list[dict[str, str]]:
    """Write a table of label maps and pairs to `path`, and return its rows."""
    folders = [str(asked.labelmaps), "--pairs", str(asked.pairs)]
    subprocess.run([sys.executable, TABLES, *folders, *options, "-o", str(path)], check=True)
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def without(asked: argparse.Namespace, subject: str) -> Path:
    """The run that repeats the training of FINAL without `subject`."""
    table, run = asked.output / f"{subject}.csv", asked.output / "runs" / subject
    make_table(asked, table, "--leave-out", subject)
    if not (run / "model").is_dir():
        recipe = str(asked.final / "recipe.toml")
        start = f"training.start_from={asked.base}"
        options = ["-t", str(table), "-o", str(run), "--resume", "--set", start]
        encephalon("train", recipe, *options, "--threads", asked.threads)
    return run


def painted_heads(asked: argparse.Namespace) -> Path:
    """The table of synthetic heads, painted from label maps that are for testing alone."""
    import torch

    maps = [row for row in make_table(asked, asked.output / "all.csv") if row["split"] == "test"]
    folder = asked.output / "heads"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [("id", "t2w", "t1w", "labels", "group", "split")]
    for seed, (row, (name, contrasts)) in enumerate(
        zip(maps, {"adult": ADULT, "infant": YOUNG}.items(), strict=False)
    ):
        image = read_labels(asked.output / row["labels"])
        box = tuple(
            slice(max(0, hit.min() - RIM), hit.max() + RIM)
            for hit in np.nonzero((image.data > 0) & (image.data < 500))
        )
        labels = torch.from_numpy(image.data[box].astype(np.int64))
        pair = paint_pair(np.random.default_rng(seed), labels, labels, 0.0, contrasts)
        place = image.affine.shifted([edge.start for edge in box])
        files = [folder / f"{name}_{suffix}.nii.gz" for suffix in ("T2w", "T1w")]
        for data, path in zip(pair, files, strict=True):
            write_image(data, path, like=Image(data, place), overwrite=True)
        rows.append((name, *(path.name for path in files), "", row["id"], "test"))
    table = folder / "heads.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    return table


def evaluate(asked: argparse.Namespace, run: Path, table: Path, output: Path, stress: str) -> None:
    """Score a run on the test rows of a table, all planes and thicknesses."""
    options = ["-t", str(table), "-o", str(output), "--option", stress, "--overwrite"]
    encephalon("evaluate", str(run), *options, "--threads", asked.threads)
    print(json.dumps({"evaluated": str(output)}))


def encephalon(*words: str) -> None:
    """Run a command of this package, aloud."""
    subprocess.run([sys.executable, "-m", "encephalon", *words], check=True)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""How robust the brain mask is: every head is changed in one way, and masked again.

    python benchmarks/extraction_robustness.py DATA LABELMAPS -o OUT [--against MODEL] [--small]

The scans below DATA/heads, and 1 mm heads synthesised from the maps of LABELMAPS that were left out
of training (T1w and FLAIR, T2w and PD in turn, seeds fixed), are masked as they are and after
noise, bias, other contrast, thick slices, cut fields of view, lying headers, other sizes and
shapes, and without skull; the synthesised ones with a thin and a thick scalp, and with more fluid
around the brain, too. The mask is scored by the true one, changed alike, where there is one: label
maps, and scans with a derived_brainmask beside them. Of other scans it is their own mask before the
change, and Dice then tells agreement, not truth. A head meets one in `--every` of the changes, in
turn, so that each change is met by a share of the heads; `--every 1` is everything. `--border`
moves the border of every mask, also of those before the change, but of no truth.

Two tables, by kind of change, are printed as Markdown, and how far a verdict of `check` or `fail`
tells a Dice of at most 0.94. OUT/results.json has every row. What is in it is not done again; each
mask is told on stderr. `--small` is little of two heads, to see that everything works.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import starmap
from pathlib import Path
from statistics import mean, median
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

import encephalon
from encephalon.errors import EncephalonError
from encephalon.geometry.resample import resample
from encephalon.io.atomic import write_json
from encephalon.io.image import Image
from encephalon.io.reading import read_image, read_labels
from encephalon.metrics.segmentation import overlap
from encephalon.studies.extraction.data import TrainingSample, millimetre_grid, sample_from_labels
from encephalon.studies.extraction.task import distances_at
from encephalon.transforms.head_scans import SCALP, Head, reshaped_labels
from encephalon.transforms.parameters import SynthesisRanges
from encephalon.transforms.synthesis import (
    CONTRASTS,
    TEXTURE,
    draw_tissue_table,
    gaussian_blur,
    rician_noise,
)
from extraction_accuracy import mask_beside, scans_of
from figures import progress
from head_changes import CHANGES, Pair

TABLES = Path(__file__).resolve().parent.parent / "tools" / "label_map_table.py"
#: A mask with a Dice up to here is wrong: the verdict should say so.
WRONG = 0.94
#: A mask of a synthesised head ends so many mm outside the border of the label map, as drawn masks
#: do: `study.rim` of the recipe.
RIM = 0.5
#: Of synthesised heads: blur in voxels, and noise as a share of the brightest tissue.
BLUR, NOISE = 0.6, 0.02
#: Depth of the skin above the brain, and of fluid put in between brain and skull, of further
#: synthesised heads, mm: an infant's, the deepest of adults, and an even layer all around.
SHAPES = {"scalp 5 mm": (5.0, 0.0), "scalp 18 mm": (18.0, 0.0), "fluid 6 mm": (SCALP, 6.0)}
#: Changes of which a head meets one, in the small run.
SMALL = 9
UNCHANGED = "unchanged"

Row = dict[str, Any]
Results = dict[str, dict[str, dict[str, Row]]]


def main() -> None:
    """Mask every head after its changes, by one model or two, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("labelmaps", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="brain-extraction")
    parser.add_argument("--against", help="a second model, whose figures stand behind an arrow")
    parser.add_argument("--border", type=float, default=0.0, help="mm, as `encephalon brain -b`")
    parser.add_argument("--every", type=int, default=6, help="a head meets one change in so many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="two heads and few changes")
    asked = parser.parse_args()
    file = asked.output / "results.json"
    asked.output.mkdir(parents=True, exist_ok=True)
    results: Results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    heads = {**real_heads(asked.data / "heads"), **synthetic_heads(asked)}
    if asked.small:
        heads = {name: heads[name] for name in list(heads)[:: max(1, len(heads) - 1)]}
    models = {}
    option = {"border": asked.border} if asked.border else {}
    for name in filter(None, (asked.model, asked.against)):
        model = encephalon.load_model(name, device="cpu", threads=asked.threads, **option)
        # Rows by another rim have another truth.
        known = f"{model.describe()['model']['sha256'][:8]} rim {RIM:g} mm"
        moved = f" border {asked.border:g} mm" if asked.border else ""
        models[f"{name} {known}{moved}"] = model
    plan = planned(list(heads), SMALL if asked.small else asked.every)
    total, done = len(models) * sum(map(len, plan.values())), 0
    for head, load in heads.items():
        left = {
            key: [name for name in plan[head] if name not in results.get(key, {}).get(head, {})]
            for key in models
        }
        done += sum(len(plan[head]) - len(names) for names in left.values())
        pair = load() if any(left.values()) else None
        for key, names in left.items():
            kept = results.setdefault(key, {}).setdefault(head, {})
            for name, row in rows_of(models[key], head, pair, names) if pair and names else ():
                kept[name] = row
                write_json(file, results)
                told = f"{head}: {name}: {row['dice']} {row['quality']}"
                progress(done := done + 1, total, told)
    for key in models:
        print(f"- {key}")
    chosen = [{head: results[key][head] for head in heads} for key in models]
    for truth, title in (
        (True, "Dice with the true mask"),
        (False, "Dice with the mask before the change"),
    ):
        rows = [dict(flat(one, plan, truth)) for one in chosen]
        if any(rows):
            print(f"\n{title}\n\n{tables(rows)}")


def real_heads(folder: Path) -> dict[str, Callable[[], tuple[Image, Image | None]]]:
    """What reads each scan, and its mask where there is one, by name."""

    def load(path: Path) -> tuple[Image, Image | None]:
        mask = mask_beside(path)
        return read_image(path), read_image(mask) if mask.exists() else None

    names = {
        path: str(path.relative_to(folder)).removesuffix(".nii.gz") for path in scans_of(folder)
    }
    return {name: partial(load, path) for path, name in names.items()}


def synthetic_heads(asked: argparse.Namespace) -> dict[str, Callable[[], Pair]]:
    """What makes heads of the label maps that no training saw, each in every other contrast."""
    table = asked.output / "label-maps.csv"
    subprocess.run([sys.executable, TABLES, asked.labelmaps, "-o", table], check=True)
    with table.open(encoding="utf-8", newline="") as stream:
        left_out = [row for row in csv.DictReader(stream) if row["split"] == "validation"]
    plain = {
        f"{row['id']} {contrast}": partial(synthetic_head, table.parent / row["labels"], contrast)
        for number, row in enumerate(left_out)
        for contrast in list(CONTRASTS)[number % 2 :: 2]
    }
    reshaped = {
        f"{head}, {name}": partial(make, shape=shape)
        for head, make in plain.items()
        for name, shape in SHAPES.items()
    }
    return {**plain, **reshaped}


def synthetic_head(path: Path, contrast: str, shape: tuple[float, float] | None = None) -> Pair:
    """A scan of a familiar contrast of the head in a label map, and its brain, both at 1 mm.

    With `shape`, its depths of skin and of further fluid, whatever the map says.
    """
    image = read_labels(path)
    grid = millimetre_grid(image)
    labels = resample(image.data, image.affine, grid, order=0).astype(np.int16)
    sample = sample_from_labels(labels)
    labels = reshaped(labels, sample, *shape) if shape else labels
    brain = np.zeros(grid.shape, np.uint8)
    inside = (sample.distances[0] > -10 * RIM).astype(np.uint8)  # tenths of a mm
    brain[tuple(slice(c, c + n) for c, n in zip(sample.corner, inside.shape, strict=True))] = inside
    rng = np.random.default_rng(crc32(f"{path.name} {contrast}".encode()))
    tissues = draw_tissue_table(rng, TEXTURE, CONTRASTS[contrast])
    means, spreads = (values[labels] for values in tissues)
    grain = rng.standard_normal(grid.shape, dtype=np.float32)
    sharp = torch.as_tensor(np.clip(means + spreads * grain, 0, None))
    scan = rician_noise(rng, gaussian_blur(sharp, (BLUR,) * 3), NOISE).numpy()
    return Image(scan, grid.affine), Image(brain, grid.affine)


def reshaped(
    labels: NDArray[np.int16], sample: TrainingSample, scalp: float, fluid: float
) -> NDArray[np.int16]:
    """The head (I, J, K) of `labels` with other depths of skin and fluid, mm; the brain stays."""
    assert sample.far is not None
    ranges = SynthesisRanges(reshape=1.0, scalp=(scalp, scalp), uneven=0.0)
    lines = (torch.arange(size, dtype=torch.float32) for size in labels.shape)
    points = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1)
    head = Head(torch.as_tensor(labels), torch.as_tensor(sample.far).float())
    near = distances_at(sample, points)[0]
    put_in = torch.full_like(near, fluid) if fluid else None
    rng = np.random.default_rng(0)  # draws nothing that shows
    return reshaped_labels(rng, head, points, near, put_in, ranges).numpy()


def planned(heads: Sequence[str], every: int) -> dict[str, list[str]]:
    """The changes of each head: none, then one in `every`, beginning with another for each."""
    return {
        head: [name] if name in SHAPES else [UNCHANGED, *list(CHANGES)[n % every :: every]]
        for n, head in enumerate(heads)
        for name in [head.rpartition(", ")[2]]
    }


def rows_of(
    model: encephalon.Model, head: str, pair: tuple[Image, Image | None], names: Sequence[str]
) -> Iterator[tuple[str, Row]]:
    """The score of `model` after each of the changes that the scan allows."""
    scan, truth = pair
    own = None if truth else model.predict(scan)
    brain = truth or Image(own.mask.data, scan.affine)
    for name in names:
        rng = np.random.default_rng(crc32(f"{head} {name}".encode()))
        row: Row = {"truth": truth is not None, "dice": None, "quality": "impossible"}
        if own and name == UNCHANGED:  # there is nothing to compare with
            yield name, row | {"quality": own.quality.status, "reasons": list(own.quality.reasons)}
            continue
        try:
            after = CHANGES[name](scan, brain, rng) if name in CHANGES else (scan, brain)
        except EncephalonError as error:  # slices thinner than those of the scan
            yield name, row | {"reasons": [str(error)]}
            continue
        yield name, row | scored(model, *after)


def scored(model: encephalon.Model, scan: Image, brain: Image) -> Row:
    """How the mask of a scan differs from `brain`, and the verdict on it."""
    found: NDArray[Any] = np.zeros(scan.shape, np.uint8)
    try:
        prediction = model.predict(scan)
        found, quality = prediction.mask.data, prediction.quality
        verdict = {"quality": quality.status, "reasons": list(quality.reasons)}
    except EncephalonError as error:
        verdict = {"quality": "fail", "reasons": [str(error)]}
    counts, ml = overlap(found, brain.data), scan.volume_ml_per_voxel
    figures = {
        "dice": round(counts.dice, 4),
        "volume_error_ml": round((counts.predicted - counts.reference) * ml, 1),
        "lost_ml": round((counts.reference - counts.both) * ml, 1),
        "leaked_ml": round((counts.predicted - counts.both) * ml, 1),
    }
    return {**figures, **verdict}


def flat(
    found: Mapping[str, Mapping[str, Row]], plan: Mapping[str, Sequence[str]], truth: bool
) -> Iterator[tuple[tuple[str, str], Row]]:
    """The rows with a score, by head and change."""
    for head, names in plan.items():
        for name in names:
            row = found[head][name]
            if row["truth"] == truth and row["dice"] is not None:
                yield (head, name), row


def tables(models: Sequence[Mapping[tuple[str, str], Row]]) -> str:
    """The figures by kind of change, and how good the verdicts are, as Markdown."""
    kinds = dict.fromkeys(name.partition(",")[0] for name in (UNCHANGED, *SHAPES, *CHANGES))
    words = ("median", "mean", "worst", "volume, mL", "lost", "leaked", "ok/check/fail", "wrong ok")
    lines = [f"| Change | n | {' | '.join(words)} |", "|---" * (len(words) + 2) + "|"]
    for kind in kinds:
        of_kind = [
            [row for (_, name), row in rows.items() if name.partition(",")[0] == kind]
            for rows in models
        ]
        if all(of_kind):
            cells = map(" → ".join, zip(*map(summary, of_kind), strict=True))
            lines.append(f"| {kind} | {len(of_kind[0])} | {' | '.join(cells)} |")
    verdicts = " → ".join(starmap(told, ([list(rows.values())] for rows in models)))
    return "\n".join([*lines, "", verdicts])


def summary(rows: Sequence[Row]) -> list[str]:
    """The cells of a kind of change: medians of mL, and how often which verdict was given."""
    scores = [row["dice"] for row in rows]
    parts = ("volume_error_ml", "lost_ml", "leaked_ml")
    middle = [f"{median(row[part] for row in rows):.0f}" for part in parts]
    counts = [sum(row["quality"] == word for row in rows) for word in ("ok", "check", "fail")]
    wrong = sum(row["quality"] == "ok" and row["dice"] <= WRONG for row in rows)
    dice = [f"{figure(scores):.3f}" for figure in (median, mean, min)]
    return [*dice, *middle, "/".join(map(str, counts)), str(wrong)]


def told(rows: Sequence[Row]) -> str:
    """Precision and recall of `check` and `fail` for a mask that is wrong."""
    raised = {at for at, row in enumerate(rows) if row["quality"] != "ok"}
    wrong = {at for at, row in enumerate(rows) if row["dice"] <= WRONG}
    return (
        f"Of {len(rows)} masks {len(wrong)} have a Dice up to {WRONG}, and {len(raised)} are told "
        f"to be checked or to have failed: precision {_share(raised & wrong, raised)}, recall "
        f"{_share(raised & wrong, wrong)}."
    )


def _share(part: set[int], whole: set[int]) -> str:
    return f"{len(part) / len(whole):.2f} ({len(part)}/{len(whole)})" if whole else "none"


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Learn how wrong a brain mask is likely to be, from what its network shows, on made-up heads.

    python tools/extraction_errors.py MODEL TABLE -o OUT [--heads 320]

MODEL is a trained run or model, TABLE the label maps that it was trained with. Scans of these heads
are made up anew, each second one of a map that the training kept for validation: half of them
ordinary, mostly of whole adult heads in familiar contrasts; a quarter as in training; and a quarter
harder: more noise, unevenness, lesions, cut and padded fields of view, heads that lie otherwise
than the header says, and adults as well as infants. How likely a mask is to be good is told for
that mixture. Each head is masked, and its evidence is kept beside the true error in a table of OUT,
one for each model, label maps and kinds of head; what is in there is not done again. A head without
a brain or a skull has a row, but no part in the fit. OUT/errors.toml gets linear models of the
errors, with every look and with a single one (`--fast`), and the width of the border with which the
probability of each voxel fits best on ordinary heads of maps kept for validation;
`tools/package_model.py --calibration` puts them into the model. How well the errors are told on
maps that they were not fitted on is printed: a map in five is left out in turn, and those that the
network was not trained with are told on their own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
import torch
from numpy.typing import NDArray

from encephalon.errors import EncephalonError
from encephalon.geometry.affine import Affine, bounding_box
from encephalon.inference.workers import Workers, in_workers
from encephalon.io.image import Image
from encephalon.io.text import read_records, read_text, write_records
from encephalon.metrics.segmentation import overlap
from encephalon.models.folder import WEIGHTS, ModelFolder, open_model
from encephalon.studies.base import OpenModel
from encephalon.studies.extraction.data import TrainingSample, prepare_samples
from encephalon.studies.extraction.predictor import ExtractionPredictor, make_extraction_predictor
from encephalon.studies.extraction.quality import LOST
from encephalon.studies.extraction.segmentation.boundary import (
    SKULL_STRIPPED,
    predict_boundary,
    resampled_map,
    resampled_mask,
)
from encephalon.studies.extraction.segmentation.evidence import LIMIT, evidence_of, expected_error
from encephalon.studies.extraction.settings import (
    GOOD_DICE,
    SURE,
    ErrorModel,
    ExtractionSettings,
)
from encephalon.studies.extraction.task import draw_scan
from encephalon.tables.reading import read_table
from encephalon.transforms.masks import fill_and_keep_largest
from encephalon.transforms.parameters import SpatialRanges, SynthesisRanges

#: Looks that a fast prediction does not take.
LOOKS = ("mirror", "turn")
TARGETS = ("dice", "missed_ml", "leaked_ml")
#: Widths of the border (mm) that are tried, `study.border_spread`, and the columns that tell how
#: well each does.
LOG_LOSS = "log_loss_"
SPREADS = (0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0)
#: What most users scan, and what makes a scan hard; the rest is as in training.
ORDINARY = SynthesisRanges(
    familiar=0.95, texture=0.06, dark_fluid=0.03, marrow=0.2, dura=0.1, patches=0.2, strip=0.0,
    reshape=0.2, atrophy=0.15, thick=0.3, gap=0.3, crop=0.04, cut=0.2, oblique=0.04, blur=0.6,
    bias=0.35, falloff=0.1, noise=0.04, gamma=0.15,
)  # fmt: skip
HARD = SynthesisRanges(
    familiar=0.4, texture=0.15, lesion=0.4, patches=0.7, dura=0.3, dark_fluid=0.25, atrophy=0.3,
    thick=0.5, crop=0.3, padded=0.4, oblique=0.2, bias=0.9, falloff=0.4, noise=0.3, gamma=0.6,
    strip=0.0,
)  # fmt: skip
STRAIGHT = SpatialRanges(rotation=15, scaling=0.1, any_orientation=0.02)
TURNED = SpatialRanges(rotation=40, scaling=0.25, any_orientation=0.2)
#: Sizes of an adult's head, and of any, as factors of that of the map.
ADULT, ANY = (0.85, 1.1), (0.7, 1.15)
#: Distance (mm) beyond which the network tells no more than "far".
FAR = 10.0
#: Least standard deviation of evidence. Some never varies among few heads, and five decimals are
#: kept: a smaller one would be written as 0, by which the evidence is divided.
LEAST = 1e-3
#: What differs from the training, and the sizes; the kinds of head follow each other in turn.
Kind = tuple[dict[str, Any], tuple[float, float]]
#: What is known of a head: its evidence and its errors, by name.
Row = Mapping[str, Any]
#: Maps are left out in so many parts.
FOLDS = 5
#: Group, split and head of a row of the table.
Source = tuple[str, str, TrainingSample]
COMMON: Kind = ({"synthesis": ORDINARY, "placement": STRAIGHT}, ADULT)
KINDS: tuple[Kind, ...] = (
    COMMON,
    ({}, ANY),
    COMMON,
    ({"synthesis": HARD, "placement": TURNED}, ANY),
)
#: What a made-up scan has where nothing was acquired, before that is cut away.
UNSEEN = -1.0
#: Edges of the voxels (mm), and how much more than the brain is seen along each axis.
EDGES, ROOM = (1.3, 2.2), (1.1, 1.7)


def main() -> None:
    """Mask the heads, fit, and print how well that does."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--heads", type=int, default=320)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    rows = measured(asked)
    if not are_mixed(rows):
        parser.error(f"{len(rows)} heads have masks all good or all wrong: ask for more --heads.")
    fits = [fitted(rows, told) for told in (names_of(rows), names_of(rows, LOOKS))]
    study = {"border_spread": likeliest_spread(rows), "errors": {"fits": fits}}
    (asked.output / "errors.toml").write_text(tomlkit.dumps({"study": study}), encoding="utf-8")
    print(f"border_spread = {study['border_spread']}")
    for names in (names_of(rows), names_of(rows, LOOKS)):
        print(judged(rows, names))


def measured(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a head that can be judged: its evidence and its errors; none is made twice.

    Rows of other weights or settings stand in tables of their own.
    """
    file = asked.output / f"errors-{mark_of(asked.model, asked.table)}.csv"
    rows = [numbers_of(row) for row in read_records(file)[1]] if file.exists() else []
    left = sorted({*range(asked.heads)} - {int(row["number"]) for row in rows})
    work = [(asked.model, asked.table, asked.output / "cache", number) for number in left]
    done = in_workers(measure, work, Workers(jobs=asked.jobs), "processes")
    for count, row in enumerate(done, start=1):
        rows.append(row)
        write_records(rows, file)
        print(f"{count} of {len(left)}", file=sys.stderr, flush=True)
    wanted = [row for row in rows if row["number"] < asked.heads and "dice" in row]
    return sorted(wanted, key=lambda row: row["number"])


def numbers_of(row: Mapping[str, str]) -> dict[str, Any]:
    """What the cells of a row hold, without those that are empty: numbers, but for the map."""
    return {
        name: cell if name == "group" else float(cell) for name, cell in row.items() if cell != ""
    }


def mark_of(model: Path, table: Path) -> str:
    """What tells other weights, settings, tables or kinds of head apart."""
    found = opened_model(model).description
    study = {key: found.recipe["study"][key] for key in sorted(found.recipe["study"])}
    for told in ("errors", "border_spread"):  # what is fitted here changes no row
        study.pop(told, None)
    heads = read_text(table)
    what = [found.files[WEIGHTS], study, heads, repr(KINDS), SPREADS, EDGES, ROOM]
    return sha256(json.dumps(what).encode()).hexdigest()[:16]


def opened_model(model: Path) -> ModelFolder:
    """The model of a run, or in a folder of its own."""
    return open_model(model / "model" if (model / "model").is_dir() else model)


def measure(work: tuple[Path, Path, Path, int]) -> dict[str, Any]:
    """Make up a head, mask it, and compare; of one without brain or skull its number alone."""
    model, table, cache, number = work
    torch.set_num_threads(1)
    predictor, heads = opened(model, table, cache)
    (group, split, head), kind = drawn(number, heads)
    rng = np.random.default_rng([7, number])
    scan, truth = scan_and_brain(rng, head, predictor.settings, kind)
    network = predictor.network
    borders = predict_boundary(scan, predictor.settings, network, network)
    if borders.bare > SKULL_STRIPPED or not truth.any():
        return {"number": number}
    distance = fill_and_keep_largest(borders.distances[0])
    mask = resampled_mask(distance, borders.view.grid, scan.grid, 0.0)
    counts, ml = overlap(mask, truth), scan.volume_ml_per_voxel
    told = evidence_of(borders, scan.grid)
    whole = resampled_map(borders.distances[0], borders.view.grid, scan.grid)
    return {
        "number": number,
        "group": group,
        "ordinary": float(kind is COMMON),
        "unseen_map": float(split != "train"),
        "dice": round(counts.dice, 5),
        "missed_ml": round((counts.reference - counts.both) * ml, 2),
        "leaked_ml": round((counts.predicted - counts.both) * ml, 2),
        **log_losses(whole, truth),
        **{name: round(value, 5) for name, value in told.items()},
    }


def drawn(number: int, heads: Sequence[Source]) -> tuple[Source, Kind]:
    """The head of a number, and its kind: each second one is of a map kept for validation.

    Users' heads are new to the network, too, and it is less right about those.
    """
    pools = [
        pool
        for unseen in (True, False)
        if (pool := [one for one in heads if (one[1] != "train") is unseen])
    ]
    turn, which = divmod(number, len(pools))
    pool = pools[which]
    return pool[turn % len(pool)], KINDS[turn // len(pool) % len(KINDS)]


def log_losses(distance: NDArray[np.float32], inside: NDArray[np.bool_]) -> dict[str, float]:
    """The mean log loss, for each width of the border, of the voxels whose distance is known.

    A head without such a voxel says nothing of the width: 0 for all.
    """
    known = np.abs(distance) < FAR
    right = np.where(inside, distance, -distance)[known]
    count = max(1, right.size)
    return {
        f"{LOG_LOSS}{spread:g}": round(float(np.logaddexp(0, -right / spread).sum()) / count, 5)
        for spread in SPREADS
    }


def likeliest_spread(rows: Sequence[Row]) -> float:
    """The width of the border with the lowest log loss over ordinary heads of unseen maps, mm.

    On those that are too hard on purpose the border is far less certain than on most scans, and on
    maps that the network was trained with it is more certain. All count where there are no others.
    """
    ordinary = [row for row in rows if row["ordinary"]] or rows
    some = [row for row in ordinary if row["unseen_map"]] or ordinary
    return min(SPREADS, key=lambda one: sum(row[f"{LOG_LOSS}{one:g}"] for row in some))


@lru_cache(maxsize=1)
def opened(model: Path, table: Path, cache: Path) -> tuple[ExtractionPredictor, list[Source]]:
    """The model, and the heads with their groups and splits."""
    asked = OpenModel(opened_model(model), {}, "cpu", 1)
    predictor = make_extraction_predictor(asked)
    read = read_table(table, asked.recipe.table)
    heads = prepare_samples(read, cache, 1)
    return predictor, list(zip(read.texts("group"), read.texts("split"), heads, strict=True))


def scan_and_brain(
    rng: np.random.Generator, head: TrainingSample, settings: ExtractionSettings, kind: Kind
) -> tuple[Image, NDArray[np.bool_]]:
    """A scan of which only what was acquired is kept, and what lies in its brain's border."""
    changes, sizes = kind
    edge, size = rng.uniform(*EDGES), rng.uniform(*sizes)
    length = (head.box[:, 1] - head.box[:, 0] + 1).astype(np.float64)
    i, j, k = np.ceil(length * rng.uniform(*ROOM, 3) / edge).astype(int).tolist()
    drawn = settings.model_copy(update={**changes, "unseen": UNSEEN})
    centre = head.box.mean(axis=1) + rng.uniform(-0.1, 0.1, 3) * length
    image, distances, edge = draw_scan(rng, head, (i, j, k), centre, edge, drawn)
    field = bounding_box((image > UNSEEN).numpy())
    place = Affine.from_spacing(edge * size)
    rim = settings.rim / size  # a distance is in the map's own mm
    return Image(image[field].numpy(), place), (distances[0][field] > -rim).numpy()


def names_of(rows: Sequence[Row], without: Sequence[str] = ()) -> list[str]:
    """The evidence of the rows, without some."""
    known = ("number", "group", "ordinary", "unseen_map", *TARGETS, *without)
    return [name for name in rows[0] if name not in known and not name.startswith(LOG_LOSS)]


def fitted(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    """Coefficients by the names of `settings.Fit`."""
    from sklearn.linear_model import LogisticRegression, Ridge

    values = np.array([[row[name] for name in names] for row in rows])
    centre, scale = values.mean(axis=0), np.maximum(values.std(axis=0), LEAST)
    standard = np.clip((values - centre) / scale, -LIMIT, LIMIT)
    dice = np.array([row["dice"] for row in rows])
    targets = {
        "loss": np.log(1 - np.minimum(dice, 0.999)),
        **{key: np.log1p([row[f"{key}_ml"] for row in rows]) for key in ("missed", "leaked")},
    }
    # Penalties of 1, as scikit-learn has them: 0.3 and 10 change the log loss by 0.004 at most.
    good = LogisticRegression(C=1.0, max_iter=1000).fit(standard, dice > GOOD_DICE)
    lines = {"good": np.r_[good.intercept_, good.coef_[0]]}
    for key, target in targets.items():
        line = Ridge(1.0).fit(standard, target)
        lines[key] = np.r_[line.intercept_, line.coef_]
    numbers = {"centre": centre, "scale": scale, **lines}
    return {
        "evidence": list(names),
        **{key: [round(float(one), 5) for one in value] for key, value in numbers.items()},
    }


def told_when_left_out(rows: Sequence[Row], names: Sequence[str]) -> list[tuple[Row, float, float]]:
    """Each row with the probability and the Dice that a fit without its map tells.

    Nothing of maps without which there is nothing to fit: all other masks are good, or all wrong.
    """
    groups = sorted({row["group"] for row in rows})
    said = []
    for fold in range(FOLDS):
        left = set(groups[fold::FOLDS])
        kept = [row for row in rows if row["group"] not in left]
        if not left or not are_mixed(kept):
            continue
        model = ErrorModel.model_validate({"fits": [fitted(kept, names)]})
        for row in rows:
            told = expected_error({name: row[name] for name in names}, model)
            if row["group"] in left and told:
                said.append((row, told.good, told.dice))
    return said


def are_mixed(rows: Sequence[Row]) -> bool:
    """Whether some masks are good and some wrong."""
    return len({row["dice"] > GOOD_DICE for row in rows}) == 2


def judged(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Markdown: what was said of heads whose map was left out, against what was so."""
    said = told_when_left_out(rows, names)
    if not said:
        return f"With {', '.join(names)}: too few maps to leave one out."
    lines = [
        f"With {', '.join(names)}:",
        "",
        f"| Probability of a Dice above {GOOD_DICE} | heads | so |",
        "|---|---|---|",
    ]
    for low, high in pairwise((0, LOST, 0.5, 0.8, SURE, 1.01)):
        some = [row["dice"] > GOOD_DICE for row, good, _ in said if low <= good < high]
        lines.append(
            f"| {low:.2f} to {min(high, 1):.2f} | {len(some)} | {np.mean(some or [np.nan]):.2f} |"
        )
    for title, kept in (("all maps", {0.0, 1.0}), ("maps kept for validation", {1.0})):
        if part := [one for one in said if one[0]["unseen_map"] in kept]:
            lines.append(f"{title}: {_counted(part)}")
    if untold := len(rows) - len(said):
        lines.append(f"{untold} heads not judged: all other maps have masks all good or all wrong")
    return "\n".join(lines)


def _counted(part: Sequence[tuple[Row, float, float]]) -> str:
    wrong = [row["dice"] <= GOOD_DICE for row, _, _ in part]
    raised = [good < SURE for _, good, _ in part]
    right = sum(not w and not r for w, r in zip(wrong, raised, strict=True))
    both = sum(w and r for w, r in zip(wrong, raised, strict=True))
    error = np.abs([row["dice"] - dice for row, _, dice in part])
    return (
        f"{len(part)} heads, {sum(wrong)} wrong, {sum(raised)} raised, {both} both; "
        f"of {len(part) - sum(raised)} not raised {right} good; "
        f"Dice off by {np.median(error):.3f} in the median"
    )


if __name__ == "__main__":
    try:
        main()
    except EncephalonError as error:
        sys.exit(f"error: {error}")

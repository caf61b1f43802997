# SPDX-License-Identifier: Apache-2.0
"""What the network is worth in infants: beside the guided method and by the published measure.

    python benchmarks/isotropic_infants.py DATA... -o OUT [--models MODEL...]
        [--final RUN --table TABLE] [--parts ...] [--turned] [--column MM] [--small]

DATA are isotropic T2w, or folders with such, whose names end in T2w.nii.gz or T2.nii.gz, each with
a T1w on its voxels beside it. MODEL is a name or a run; {subject} in it stands for the name of the
scan before T2w, so that `runs/without-{subject}` judges each head by a model that never saw it.
With `--final`, whose training by TABLE is repeated in OUT/runs without each head that is judged,
these are such models, beside those that are named.

slices     slices of 2, 3, 4 and 5 mm in three planes, with the T1w and without, in the voxels of
           the scan: PSNR in the foreground, what the guided method gains over aligned cubic
           interpolation and each network over the guided method, dB; the share of voxels whose
           error is within one standard deviation, as the model tells it (1 sd) and rescaled so that
           68 % of the voxels of all other heads are (left out)
published  every second axial slice of the scan, in voxels of 1 mm, kept, in a volume of 182 x 218 x
           182, all of which counts: PSNR of the published zoom, and what each method gains over it

A table a part is printed. OUT/results.json has every row, and what is in it is not done again; each
row is told on stderr. `--turned` has one plane a thickness, another one in the next head, which is
a third of the work; `--column` reconstructs and scores a column of that width about the middle of
the brain; `--small` is one row of one head a part.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import encephalon
from encephalon.io.atomic import write_json
from encephalon.io.image import Image
from encephalon.io.text import read_records, write_records
from encephalon.metrics.image_quality import foreground, nrmse, published_similarity
from encephalon.studies.isotropic.predictor import IsotropicPredictor
from encephalon.studies.isotropic.reconstruction.guided import guided
from encephalon.studies.isotropic.reconstruction.interpolation import METHODS
from encephalon.studies.isotropic.reconstruction.network import NetworkMethod
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Problem, Stack
from encephalon.studies.isotropic.simulation import SliceSettings, coarser, simulate_problem
from encephalon.transforms.slices import SliceProfile
from figures import progress
from isotropic_doubts import AXES, alone, t2w_scans
from isotropic_doubts import Head as ScannedHead

Float = NDArray[np.float32]
Row = dict[str, float | list[float]]
THICKNESSES_MM = (2.0, 3.0, 4.0, 5.0)
#: What a standard deviation is multiplied by, and the share of a normal distribution within it.
SCALES, WITHIN = np.geomspace(0.25, 4, 65), 0.6827
#: The grid of the published volumes, and their voxels, mm.
PUBLISHED_SHAPE, PUBLISHED_MM = (182, 218, 182), 1.0


def main() -> None:
    """Measure what is not in the results yet, and print a table a part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["isotropic"])
    parser.add_argument("--final", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turned", action="store_true", help="one plane a thickness")
    parser.add_argument("--column", type=float, default=0.0, help="mm; 0: the whole head")
    parser.add_argument("--small", action="store_true", help="one row a part, of one head")
    asked = parser.parse_args()
    scans = [scan for place in asked.data for scan in t2w_scans(place)]
    if not scans:
        parser.error(f"{asked.data[0]}: no T2w has a T1w beside it: name a folder with both.")
    heads = [Head(path, asked.threads) for path in (scans[:1] if asked.small else scans)]
    if asked.final:
        for head in heads:
            repeat_without(head.subject, asked)
        asked.models.append(str(asked.output / "runs" / "without-{subject}"))
    plan = [
        (part, head, cell)
        for number, head in enumerate(heads)
        for part in asked.parts
        for cell in cells(part, number if asked.turned else None)[: 1 if asked.small else None]
    ]
    file = asked.output / "results.json"
    asked.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Row] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for number, (part, head, cell) in enumerate(plan, start=1):
        keys = {name: f"{part} {head.name} {cell} {asked.column:g} {name}" for name in asked.models}
        missing = {name: key for name, key in keys.items() if key not in results}
        if missing:
            networks = {name: network(name, head, asked.threads) for name in missing}
            rows = PARTS[part](head, cell, networks, asked.column)
            results |= {key: rows[name] for name, key in missing.items()}
            write_json(file, results)
        progress(number, len(plan), f"{part} {head.name} {cell}")
    for part, name in product(asked.parts, asked.models):
        rows = {
            (head.name, *cell.split()): results[
                f"{part} {head.name} {cell} {asked.column:g} {name}"
            ]
            for each, head, cell in plan
            if each == part
        }
        print(f"{part}, {name}\n{TABLES[part](rows).round(2).to_string()}\n")


class Head(ScannedHead):
    """The scans of a head that the models of a subject may not have seen."""

    @property
    def subject(self) -> str:
        """Its name in a table: that of its T2w, or of its folder."""
        return self.path.name.split("T2")[0].rstrip("_") or self.path.parent.name


def repeat_without(subject: str, asked: argparse.Namespace) -> None:
    """The training of the run `asked.final`, with the rows of a subject for testing alone."""
    _, rows = read_records(asked.table)
    left = [{**row, "split": "test"} if row["group"] == subject else row for row in rows]
    table = asked.table.with_name(f"{asked.table.stem}-without-{subject}.csv")
    write_records(left, table)
    run = asked.output / "runs" / f"without-{subject}"
    words = ["-t", str(table), "-o", str(run), "--resume", "--threads", str(asked.threads)]
    recipe = str(asked.final / "recipe.toml")
    subprocess.run([sys.executable, "-m", "encephalon", "train", recipe, *words], check=True)


def cells(part: str, turn: int | None) -> list[str]:
    """The cells of a part: what the T1w is there for, plane and thickness."""
    if part == "published":
        return ["T1w axial 2"]
    found = [(axis, thick) for thick in range(len(THICKNESSES_MM)) for axis in range(len(AXES))]
    return [
        f"{condition} {AXES[axis]} {THICKNESSES_MM[thick]:g}"
        for condition in ("T1w", "alone")
        for axis, thick in found
        if turn is None or axis == (thick + turn) % len(AXES)
    ]


def network(name: str, head: Head, threads: int) -> NetworkMethod:
    """The network of a model that may be another one for each subject."""
    place = name.format(subject=head.subject)
    model = encephalon.load_model(place, device="cpu", threads=threads).predictor
    assert isinstance(model, IsotropicPredictor)
    assert isinstance(model.method, NetworkMethod)
    return model.method


def slices(
    head: Head, cell: str, networks: dict[str, NetworkMethod], column: float
) -> dict[str, Row]:
    """What the guided method and the networks gain in the foreground, and how often they err."""
    condition, axis, thickness = cell.split()
    t1w, t2w = head.scans
    problem, truth = simulate_problem(t2w, t1w, SliceSettings(axis, float(thickness)))
    problem = problem if condition == "T1w" else alone(problem)
    start, inside = guided(problem), foreground(truth)
    box = column_of(inside, column / t2w.spacing[0])
    part = cut(problem, box)
    start = Estimate(start.image[box], None if start.deviation is None else start.deviation[box])
    truth, inside = truth[box], inside[box]
    scores = {"cubic": psnr(truth, METHODS["cubic"](part).image, inside)}
    scores["guided"] = psnr(truth, start.image, inside)
    rows = {}
    for name, method in networks.items():
        found = method.refine(part, start)
        assert found.deviation is not None
        ratio = (np.abs(found.image - truth) / np.maximum(found.deviation, 1e-12))[inside]
        rows[name] = Row(
            **scores,
            network=psnr(truth, found.image, inside),
            within=[float(np.mean(ratio <= scale)) for scale in SCALES],
        )
    return rows


def column_of(inside: NDArray[np.bool_], width: float) -> tuple[slice, slice]:
    """The first two axes' part of a brain: `width` voxels about its middle, or all for 0."""
    if not width:
        return slice(None), slice(None)
    middle = np.argwhere(inside.any(axis=2)).mean(axis=0)
    starts = np.maximum(np.round(middle - width / 2).astype(int), 0).tolist()
    first, second = (slice(start, start + int(width)) for start in starts)
    return first, second


def cut(problem: Problem, box: tuple[slice, slice]) -> Problem:
    """The part of a problem of one stack in a box of its first two axes."""
    stack, guide, coverage = problem.stack, problem.guide, problem.coverage
    slices = np.ascontiguousarray(stack.slices[box])
    shape = (*slices.shape[:2], stack.grid.shape[2])
    place = stack.grid.affine.shifted([edge.start or 0 for edge in box] + [0])
    return replace(
        problem,
        stacks=(Stack(slices, replace(stack.grid, shape=shape, affine=place), stack.operator),),
        guide=None if guide is None else np.ascontiguousarray(guide[box]),
        coverage=None if coverage is None else np.ascontiguousarray(coverage[box]),
    )


def psnr(truth: Float, image: Float, inside: NDArray[np.bool_]) -> float:
    """In units of the truth's range from percentile 1 to 99, dB."""
    low, high = np.percentile(truth[truth > 0], (1, 99))
    power = float(np.mean(np.square(truth[inside], dtype=np.float64)))
    return float(20 * np.log10((high - low) / np.sqrt(power) / nrmse(truth, image, inside)))


def published(
    head: Head, cell: str, networks: dict[str, NetworkMethod], column: float
) -> dict[str, Row]:
    """The whole volume as published, which no column is cut from, of slices that were left out."""
    del column
    _, axis, thickness = cell.split()
    t1w, t2w = (
        padded(scan if max(scan.spacing) > PUBLISHED_MM else coarser(scan, PUBLISHED_MM))
        for scan in head.scans
    )
    kept = SliceSettings(axis, float(thickness), profile=SliceProfile("point"))
    problem, truth = simulate_problem(t2w, t1w, kept)
    start = guided(problem)

    def score(image: Float) -> float:
        """The PSNR of all voxels, dB."""
        return published_similarity(truth, image).psnr

    scores = {name: score(METHODS[name](problem).image) for name in ("zoom", "cubic")}
    scores["guided"] = score(start.image)
    return {
        name: Row(**scores, network=score(method.refine(problem, start).image))
        for name, method in networks.items()
    }


def padded(image: Image) -> Image:
    """A scan amid the air of a published volume, or as it is along a longer axis."""
    spare = np.maximum(np.subtract(PUBLISHED_SHAPE, image.shape), 0)
    room = [(int(each) // 2, int(each) - int(each) // 2) for each in spare]
    place = image.affine.shifted([-before for before, _ in room])
    return Image(np.pad(image.data, room), place, image.source)


def slices_table(rows: dict[tuple[str, ...], Row]) -> pd.DataFrame:
    """Gains and coverage by head, T1w or none, and thickness, and the means of all."""
    index = ["head", "T1w", "plane", "mm"]
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(index)
    within = pd.DataFrame(frame["within"].tolist(), index=frame.index)
    told = int(np.abs(SCALES - 1).argmin())
    found = pd.DataFrame({"cubic dB": frame["cubic"], "guided gains": frame.guided - frame.cubic})
    found["network adds"] = frame.network - frame.guided
    found["1 sd"] = 100 * within[told]
    others = [100 * left_out(within, head, kind) for head, kind, *_ in frame.index]
    found["left out"] = [line[place] for place, line in enumerate(others)]
    by_size = found.groupby(level=["head", "T1w", "mm"]).mean()
    mean = found.groupby(level=["head", "T1w"]).mean()
    mean.index = pd.MultiIndex.from_tuples([(*key, "all") for key in mean.index])
    return pd.concat([by_size, mean]).sort_index()


def left_out(within: pd.DataFrame, head: str, kind: str) -> NDArray[np.float64]:
    """The shares within one deviation, rescaled by what the other heads say: (rows,)."""
    same = within.xs(kind, level="T1w", drop_level=False)
    others = same.drop(head, level="head")
    mean = (others if len(others) else same).mean()
    scale = np.interp(WITHIN, mean, np.log(SCALES))
    return np.array([np.interp(scale, np.log(SCALES), row) for row in within.to_numpy()])


def published_table(rows: dict[tuple[str, ...], Row]) -> pd.DataFrame:
    """The PSNR of zoom and what is gained over it, by head, and the means of all."""
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["head", "T1w", "plane", "mm"])
    names = ["cubic", "guided", "network"]
    gains = frame[names].sub(frame["zoom"], axis=0).add_suffix(" over zoom")
    found = pd.concat([frame[["zoom"]].add_suffix(" dB"), gains], axis=1).astype(float)
    return pd.concat([found.droplevel([1, 2, 3]), found.agg(["mean", "min", "max"])])


#: What measures a cell of each part, by every network, and what shows it.
Measure = Callable[[Head, str, dict[str, NetworkMethod], float], dict[str, Row]]
PARTS: dict[str, Measure] = {"slices": slices, "published": published}
TABLES: dict[str, Callable[[dict[tuple[str, ...], Row]], pd.DataFrame]] = {
    "slices": slices_table,
    "published": published_table,
}


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What an isotropic scan may be wrong about: lesions, its standard deviation, the published zoom.

    python benchmarks/isotropic_doubts.py DATA... -o OUT [--parts lesions deviations zoom] [--small]

DATA are isotropic T2w, or folders with such, whose names end in T2.nii.gz or T2w.nii.gz, each with
a T1w on its voxels beside it (T1 for T2). All are cut into slices of 4 mm.

lesions      four bright balls a head that only the T2w shows, in axial, coronal, sagittal and again
             axial slices, places drawn by fixed seeds: what the guided method gains inside over
             cubic interpolation, and over itself without the T1w, dB
deviations   the root mean square error of the shipped network in the foreground of axial slices
             over that of its standard deviation (1 is right): one stack and three, with and
             without the T1w; minutes a head
zoom         what the published zoom gains over cubic interpolation in the foreground and in the
             whole volume, dB, in three planes

A table a part is printed, with the mean, the least and the most of all heads. OUT/results.json has
every row. What is in it is not done again; each row is told on stderr. `--small` is one row a part
of the first head, to see that everything works.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import encephalon
from encephalon.geometry.affine import bounding_box
from encephalon.io.atomic import write_json
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.metrics.image_quality import foreground, nrmse
from encephalon.studies.isotropic.evaluation.cases import RADIUS_MM, draw_lesion, with_lesion
from encephalon.studies.isotropic.predictor import IsotropicPredictor
from encephalon.studies.isotropic.reconstruction.guided import guided
from encephalon.studies.isotropic.reconstruction.interpolation import METHODS
from encephalon.studies.isotropic.reconstruction.multi_stack import fuse_stacks
from encephalon.studies.isotropic.reconstruction.problem import Problem
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_problem, simulate_stack
from encephalon.transforms.conform import straightened
from figures import progress

Float = NDArray[np.float32]
Row = dict[str, float]
AXES = ("axial", "coronal", "sagittal")
THICKNESS_MM = 4.0
#: Lesions a head, and the seed of the first.
LESIONS, SEED = 4, 10
#: Half the edge of the cube around a lesion that is reconstructed, mm: enough, and soon done.
REACH_MM = 34.0
#: What is head and no air, as a share of the 99th percentile, and the voxels kept around it.
SHARE, AIR = 0.02, 4


def main() -> None:
    """Measure what is not in the results yet, and print a table a part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="one row a part, of one head")
    asked = parser.parse_args()
    scans = [scan for place in asked.data for scan in t2w_scans(place)]
    if not scans:
        parser.error(f"{asked.data[0]}: no T2w has a T1w beside it: name a folder with both.")
    file = asked.output / "results.json"
    asked.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Row] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    heads = [Head(path, asked.threads) for path in (scans[:1] if asked.small else scans)]
    plan = [
        (part, head, cell)
        for head, part in product(heads, asked.parts)
        for cell in PARTS[part][1][: 1 if asked.small else None]
    ]
    for number, (part, head, cell) in enumerate(plan, start=1):
        key = f"{part} {head.name} {cell}"
        if key not in results:
            results[key] = PARTS[part][0](head, cell)
            write_json(file, results)
        progress(number, len(plan), key)
    for part in asked.parts:
        names = [f"{head.name} {cell}" for each, head, cell in plan if each == part]
        rows = {name: results[f"{part} {name}"] for name in names}
        frame = pd.DataFrame.from_dict(rows, orient="index")
        table = pd.concat([frame, frame.agg(["mean", "min", "max"])])
        print(f"{part}\n{table.round(2).to_string()}\n")


def t2w_scans(place: Path) -> list[Path]:
    """The T2w of a folder and all below it, or a T2w itself, if a T1w lies beside."""
    found = sorted(place.rglob("*T2*.nii.gz")) if place.is_dir() else [place]
    return [path for path in found if t1w_of(path).exists()]


def t1w_of(t2w: Path) -> Path:
    """Where the T1w of a T2w lies."""
    return t2w.with_name(t2w.name.replace("T2", "T1"))


class Head:
    """The scans of a head, straightened and without most of the air around it, when needed."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path, self.threads = path, threads
        self.name = f"{path.parent.name}/{path.name.removesuffix('.nii.gz')}"

    @cached_property
    def scans(self) -> tuple[Image, Image]:
        """T1w and T2w."""
        t1w, t2w = (straightened(read_image(path)) for path in (t1w_of(self.path), self.path))
        seen = t2w.data > SHARE * np.percentile(t2w.data[t2w.data > 0], 99)
        box = bounding_box(seen, AIR)
        return cut(t1w, box), cut(t2w, box)


def cut(image: Image, box: Sequence[slice]) -> Image:
    """The part of an image in a box of voxels, in its place."""
    data = np.ascontiguousarray(image.data[tuple(box)], np.float32)
    return Image(data, image.affine.shifted([edge.start for edge in box]), image.source)


def around(image: Image, centre: Sequence[float]) -> Image:
    """The cube of an image around a point of the world, mm."""
    middle = np.round(image.affine.inverse.apply(np.asarray(centre))).astype(int)
    reach = int(REACH_MM / image.spacing[0])
    edges = zip(middle, image.shape, strict=True)
    return cut(image, [slice(max(at - reach, 0), min(at + reach, size)) for at, size in edges])


def gain(truth: Float, image: Float, other: Float, mask: NDArray[np.bool_] | None) -> float:
    """By how many dB the PSNR of an image is above that of another."""
    return float(20 * np.log10(nrmse(truth, other, mask) / nrmse(truth, image, mask)))


def lesion(head: Head, cell: str) -> Row:
    """What the guided method gains inside a lesion that only the T2w shows."""
    number, axis = cell.split()
    t1w, t2w = head.scans
    drawn = draw_lesion(t2w, SEED + int(number))
    scan, guide = (around(one, drawn.centre) for one in (with_lesion(t2w, drawn), t1w))
    problem, truth = simulate_problem(scan, guide, SliceSettings(axis, THICKNESS_MM))
    inside = drawn.distance(problem.grid) < RADIUS_MM
    image = guided(problem).image
    others = {"over cubic": METHODS["cubic"](problem), "over no T1w": guided(alone(problem))}
    return {name: gain(truth, image, one.image, inside) for name, one in others.items()}


def alone(problem: Problem) -> Problem:
    """A problem without its T1w."""
    return replace(problem, guide=None, coverage=None)


def deviation(head: Head, cell: str) -> Row:
    """Error over deviation of the network in the foreground, of one stack and of three."""
    model = encephalon.load_model("isotropic", device="cpu", threads=head.threads).predictor
    assert isinstance(model, IsotropicPredictor)
    t1w, t2w = head.scans
    problem, truth = simulate_problem(t2w, t1w, SliceSettings(AXES[0], THICKNESS_MM))
    further = (simulate_stack(t2w, SliceSettings(axis, THICKNESS_MM))[0] for axis in AXES[1:])
    three = (problem.stack, *further)
    problem = problem if cell == "T1w" else alone(problem)
    first, inside, found = model.method(problem), foreground(truth), Row()
    for name, stacks in (("one stack", three[:1]), ("three stacks", three)):
        estimate = fuse_stacks(replace(problem, stacks=stacks), first)
        assert estimate.deviation is not None
        error, told = (estimate.image - truth)[inside], estimate.deviation[inside]
        found[name] = float(np.sqrt(np.mean(error**2) / np.mean(told**2)))
    return found


def zoom(head: Head, axis: str) -> Row:
    """What the published zoom gains over cubic interpolation."""
    problem, truth = simulate_problem(head.scans[1], None, SliceSettings(axis, THICKNESS_MM))
    images = [METHODS[name](problem).image for name in ("zoom", "cubic")]
    regions = {"foreground": foreground(truth), "whole volume": None}
    return {name: gain(truth, images[0], images[1], mask) for name, mask in regions.items()}


#: What measures a cell of each part, and its cells.
PARTS: dict[str, tuple[Callable[[Head, str], Row], Sequence[str]]] = {
    "lesions": (lesion, [f"{number} {AXES[number % 3]}" for number in range(LESIONS)]),
    "deviations": (deviation, ("T1w", "alone")),
    "zoom": (zoom, AXES),
}


if __name__ == "__main__":
    main()

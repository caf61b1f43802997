# SPDX-License-Identifier: Apache-2.0
"""Axons and myelin of scanning electron micrographs: a model beside thresholds and a watershed.

    encephalon table tiles axon-sem --data data_axondeepseg_sem -o tiles
    python benchmarks/axon_myelin.py tiles/tiles.csv --model MODEL -o results

Prints F1 of both on the pictures that test, pooled over pixels, with the interval of a bootstrap of
squares of these pictures (it says nothing of other animals), and writes results.json and a
picture of each. Nothing was chosen by these pictures: the settings of the classical way are the
best of a small grid on the pictures that train.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import gaussian, threshold_local, threshold_multiotsu, threshold_otsu
from skimage.measure import regionprops_table
from skimage.segmentation import watershed

from encephalon import load_model
from encephalon.io.atomic import make_folder, write_json
from encephalon.metrics.label_maps import ClassCounts, count_classes
from encephalon.reports.label_maps import label_picture
from encephalon.statistics.intervals import bootstrap_weighted
from encephalon.studies.microtomography.reading import read_structures
from encephalon.studies.microtomography.tiles import IGNORED
from encephalon.tables.reading import read_table
from encephalon.tables.samples import table_samples

CLASSES = ("background", "axon", "myelin")
#: What the classical way may be set to; the best on the pictures that train is taken.
GRID: dict[str, Sequence[Any]] = {
    "blur": (1.0, 2.0),
    "threshold": ("otsu", "upper of two", "local"),
    "solidity": (0.7, 0.85),
    "reach": (6, 10),
}
#: Area of an axon, pixels, and side of the middle of a picture that settings are tried on.
SMALLEST, LARGEST, TRIED = 30, 20_000, 400
#: Side of the squares that are drawn anew for an interval, pixels: a few axons wide.
BLOCK = 128

Picture = NDArray[np.float32]
Labels = NDArray[np.uint8]


def threshold_and_watershed(
    picture: Picture, blur: float, threshold: str, solidity: float, reach: float
) -> Labels:
    """The classical way: myelin is bright, axons are the compact dark things that it parts.

    Dark pixels are parted by a watershed of their distance to bright ones; a part is an axon by its
    area and solidity, and bright pixels within `reach` of an axon are myelin.
    """
    smooth = gaussian(picture, blur)
    if threshold == "local":
        bright = smooth > threshold_local(smooth, 51)
    elif threshold == "otsu":
        bright = smooth > threshold_otsu(smooth)
    else:
        bright = smooth > threshold_multiotsu(smooth, classes=3)[-1]
    distance = gaussian(ndimage.distance_transform_edt(~bright), 1.0)
    peaks = (distance == ndimage.maximum_filter(distance, 9)) & (distance > 1.5)
    parts = watershed(-distance, ndimage.label(peaks)[0], mask=~bright)
    found = regionprops_table(parts, properties=("label", "area", "solidity"))
    kept = np.zeros(int(parts.max()) + 1, bool)
    kept[found["label"]] = (
        (found["area"] >= SMALLEST) & (found["area"] <= LARGEST) & (found["solidity"] >= solidity)
    )
    axon = kept[parts]
    near = ndimage.distance_transform_edt(~axon) <= reach
    return np.where(axon, 1, np.where(bright & near, 2, 0)).astype(np.uint8)


def best_settings(pictures: Sequence[tuple[Picture, Labels]]) -> dict[str, Any]:
    """The settings whose F1 of axons and myelin is the best mean over some pictures."""

    def score(settings: Mapping[str, Any]) -> float:
        each = []
        for picture, truth in pictures:
            middle = tuple(
                slice(max(0, n // 2 - TRIED // 2), n // 2 + TRIED // 2) for n in truth.shape
            )
            labels, known = threshold_and_watershed(picture[middle], **settings), truth[middle]
            counts = count_classes(labels, known, len(CLASSES), known != IGNORED)
            each.append(np.mean(ClassCounts.stacked([counts]).pooled.metric("f1")[0][1:]))
        return float(np.mean(each))

    choices = [dict(zip(GRID, values, strict=True)) for values in product(*GRID.values())]
    return max(choices, key=score)


def main() -> None:
    """Score both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("table", type=Path)
    parser.add_argument("--model", default="axon-myelin")
    parser.add_argument("-o", "--output", type=Path, default=Path("axon-myelin"))
    asked = parser.parse_args()
    model = load_model(asked.model)
    predictor: Any = model.predictor
    table = read_table(asked.table, model.columns)
    folder = make_folder(asked.output)
    samples: dict[str, list[Any]] = {}
    for sample, part in zip(table_samples(table), table.texts("split"), strict=True):
        loaded = predictor.read(sample)
        samples.setdefault(part, []).append((sample.id, loaded, read_structures(table, sample)))
    settings = best_settings([(one.voxels[0], truth[0]) for _, one, truth in samples["train"]])
    blocks: dict[str, list[ClassCounts]] = {"model": [], "thresholds and watershed": []}
    for name, loaded, truth in samples["test"]:
        found = {
            "model": predictor.label_map(loaded),
            "thresholds and watershed": threshold_and_watershed(loaded.voxels[0], **settings)[None],
        }
        for method, labels in found.items():
            blocks[method] += counts_of_blocks(labels[0], truth[0])
            picture = label_picture(loaded.voxels, labels, f"{name}: {method}")
            Image.fromarray(picture.flat()).save(folder / f"{name}-{method.split()[0]}.png")
    results: dict[str, Any] = {"settings": settings}
    for method, each in blocks.items():
        results[method] = scores(ClassCounts.stacked(each))
        print(method, results[method])
    # What the card of the shipped model shows.
    results["overall"] = results["model"]
    write_json(folder / "results.json", results)


def counts_of_blocks(labels: Labels, truth: Labels) -> list[ClassCounts]:
    """The counts of squares of a picture."""
    found = []
    for row in range(0, truth.shape[0], BLOCK):
        for column in range(0, truth.shape[1], BLOCK):
            place = slice(row, row + BLOCK), slice(column, column + BLOCK)
            known = truth[place]
            found.append(count_classes(labels[place], known, len(CLASSES), known != IGNORED))
    return found


def scores(blocks: ClassCounts) -> dict[str, dict[str, float]]:
    """F1, its 95 % interval by a bootstrap of the blocks, and IoU of each structure."""
    pooled, found = blocks.pooled, {}
    for number, name in enumerate(CLASSES):
        above = 2 * blocks.tp[:, number]
        below = above + blocks.fp[:, number] + blocks.fn[:, number]

        def f1(_: Any, weights: Any, above: Any = above, below: Any = below) -> NDArray[np.float64]:
            return np.asarray((weights @ above) / (weights @ below))

        interval = bootstrap_weighted(np.arange(len(above)), f1)
        found[name] = {
            "f1": round(interval.value, 4),
            "low": round(interval.low, 4),
            "high": round(interval.high, 4),
            "iou": round(float(pooled.metric("iou")[0][number]), 4),
        }
    return found


if __name__ == "__main__":
    main()

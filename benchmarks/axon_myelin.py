# SPDX-License-Identifier: Apache-2.0
"""Axons and myelin of scanning electron micrographs: a model beside thresholds and a watershed.

    encephalon table tiles axon-sem --data data_axondeepseg_sem -o tiles
    python benchmarks/axon_myelin.py tiles/tiles.csv --model MODEL -o results

Prints F1 of both on the pictures that test, pooled over pixels, and writes results.json and a
picture of each. Nothing was chosen by these pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import gaussian, threshold_multiotsu
from skimage.segmentation import clear_border, watershed

from encephalon import load_model
from encephalon.io.atomic import make_folder, write_json
from encephalon.metrics.label_maps import ClassCounts, count_classes
from encephalon.studies.microtomography.predictor import read_structures
from encephalon.studies.microtomography.report import label_picture
from encephalon.studies.microtomography.tiles import IGNORED
from encephalon.tables.reading import read_table
from encephalon.tables.samples import table_samples

CLASSES = ("background", "axon", "myelin")
#: Areas of an axon, pixels: our choice, on the pictures that train.
SMALLEST, LARGEST = 30, 20_000


def threshold_and_watershed(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """The classical way: myelin is the brightest of three levels, axons are what it encloses.

    Enclosed regions that touch are parted by a watershed of the distance to myelin.
    """
    smooth = gaussian(picture.astype(np.float32), 1.0)
    myelin = smooth > threshold_multiotsu(smooth, classes=3)[-1]
    myelin = ndimage.binary_closing(myelin, iterations=1)
    distance = ndimage.distance_transform_edt(~myelin)
    peaks = (distance == ndimage.maximum_filter(distance, 9)) & (distance > 1.5)
    parts = watershed(-distance, ndimage.label(peaks)[0], mask=~myelin)
    inside = clear_border(parts, buffer_size=0)
    areas = np.bincount(inside.ravel())
    kept = (areas >= SMALLEST) & (areas <= LARGEST)
    kept[0] = False
    labels = np.zeros(picture.shape, np.uint8)
    labels[myelin] = 2
    # Only what is mostly surrounded by myelin is an axon.
    ring = ndimage.grey_dilation(inside, size=5)
    around = (ring != inside) & (inside == 0) & (ring > 0)
    edges = np.bincount(ring[around], minlength=len(areas))
    with_myelin = np.bincount(ring[around & myelin], minlength=len(areas))
    kept &= with_myelin > 0.6 * np.maximum(edges, 1)
    labels[kept[inside]] = 1
    return labels


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
    counts: dict[str, list[ClassCounts]] = {"model": [], "thresholds and watershed": []}
    split = table.texts("split")
    for sample, part in zip(table_samples(table), split, strict=True):
        if part != "test":
            continue
        loaded, truth = predictor.read(sample), read_structures(table, sample)
        found = {"model": predictor.label_map(loaded)}
        found["thresholds and watershed"] = threshold_and_watershed(loaded.voxels[0])[None]
        for name, labels in found.items():
            counts[name].append(count_classes(labels, truth, len(CLASSES), truth != IGNORED))
            picture = label_picture(loaded.voxels, labels, f"{sample.id}: {name}")
            Image.fromarray(picture.flat()).save(folder / f"{sample.id}-{name.split()[0]}.png")
    results: dict[str, Any] = {}
    for name, each in counts.items():
        pooled = ClassCounts.stacked(each).pooled
        f1, iou = pooled.metric("f1")[0], pooled.metric("iou")[0]
        results[name] = {
            structure: {"f1": round(float(f1[n]), 4), "iou": round(float(iou[n]), 4)}
            for n, structure in enumerate(CLASSES)
        }
        print(name, results[name])
    write_json(folder / "results.json", results)


if __name__ == "__main__":
    main()

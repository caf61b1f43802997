# SPDX-License-Identifier: Apache-2.0
"""The rows of a training table as heads to cut cubes from: label maps, or pairs of real scans."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import TableError
from encephalon.geometry import bounding_box, orient, resample, straightened
from encephalon.io import Image, read_image, read_labels
from encephalon.studies.isotropic.cubes import Source
from encephalon.studies.isotropic.features import Scale
from encephalon.tables import Table
from encephalon.transforms.labels import LABEL_COUNT

__all__ = ["load_sources"]

#: Voxels of the truth may differ by this much in size and still count as cubes.
UNEVEN = 1.25


def load_sources(table: Table, workers: int = 2) -> list[Source]:
    """One head a row: its `labels`, or its isotropic `t2w` with the `t1w`, in memory.

    Scans keep their voxels, so that what is learnt is as sharp as what was scanned; the T1w is
    brought onto the grid of the T2w by their headers, which therefore must agree. Raises
    TableError, naming the row, for a head that cannot be learnt from, and what reading raises.
    """
    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(pool.map(lambda row: _load(table, row), range(len(table))))


def _load(table: Table, row: int) -> Source:
    labels, scan, guide = (_file(table, role, row) for role in ("labels", "t2w", "t1w"))
    if labels is not None:
        return _from_labels(labels, table.row(row))
    if scan is None or guide is None:
        raise TableError(
            f"{table.source}, row {table.row(row)}: expected a label map, or an isotropic T2w "
            "and its T1w, but the row names neither a label map nor both: fill it in or drop it."
        )
    return _from_scans(straightened(read_image(scan)), read_image(guide), table.row(row))


def _file(table: Table, role: str, row: int) -> Path | None:
    column = table.columns.inputs.get(role)
    cell = table.texts(column)[row] if column is not None and table.has(column) else ""
    return table.path(cell) if cell else None


def _from_labels(path: Path, number: int) -> Source:
    image = straightened(read_labels(path), order=0)
    _require_cubes(image, number)
    if int(image.data.max()) >= LABEL_COUNT or not image.data.any():
        raise TableError(
            f"Row {number}: {path} must hold labels from 1 to {LABEL_COUNT - 1}, but the largest "
            f"is {int(image.data.max())}: map them to FreeSurfer's."
        )
    data, _ = orient(image.data, image.affine, "RAS")
    return Source(labels=np.ascontiguousarray(data[bounding_box(data > 0)], dtype=np.int16))


def _from_scans(scan: Image, guide: Image, number: int) -> Source:
    _require_cubes(scan, number)
    moved = resample(guide.data, guide.affine, scan.grid, order=3, outside=0.0)
    images = [_prepared(image, f"Row {number}: {scan.name}") for image in (scan.data, moved)]
    pair = [orient(image, scan.affine, "RAS")[0] for image in images]
    box = bounding_box(pair[0] > 0)
    return Source(scans=np.stack([image[box] for image in pair]).astype(np.float16))


def _prepared(data: NDArray[Any], name: str) -> NDArray[np.float32]:
    values = np.asarray(data, np.float32)
    return np.maximum(Scale.of(values, name).normalise(values), 0)


def _require_cubes(image: Image, number: int) -> None:
    if max(image.spacing) > UNEVEN * min(image.spacing):
        sizes = " x ".join(f"{size:.3g}" for size in image.spacing)
        raise TableError(
            f"Row {number}: {image.name} is what the network is to reach, so its voxels must be "
            f"cubes, but they are {sizes} mm: give an isotropic one."
        )

# SPDX-License-Identifier: Apache-2.0
"""Heads for training from the rows of a table, prepared once and kept in the run's cache."""

from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import TableError, UnreadableFileError
from encephalon.geometry import Affine, Grid, orient, resample
from encephalon.io import Image, read_image, read_labels
from encephalon.io.atomic import atomic_path, sha256
from encephalon.studies.extraction.targets import Head, head_from_labels, head_from_mask
from encephalon.tables import Table

logger = logging.getLogger(__name__)

#: Changes when the preparation changes, so that an old cache is not used.
PREPARATION = "1"


def prepare_heads(table: Table, cache: Path, workers: int = 2) -> list[Head]:
    """One head a row: a label map when the row has no scan, else a scan with its mask.

    Each file is prepared once, in `workers` processes, and kept in `cache` under the hash of its
    content. Raises TableError for a row whose target holds no brain, and whatever reading raises.
    """
    column = table.columns.inputs["image"]
    scans = table.texts(column) if table.has(column) else [""] * len(table)
    targets = table.texts(str(table.columns.target))
    pairs = [
        (row, table.path(scan) if scan else None, table.path(target))
        for row, (scan, target) in enumerate(zip(scans, targets, strict=True), start=2)
    ]
    cache.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return [_load(path) for path in pool.map(partial(_prepare, cache), pairs)]


def _prepare(cache: Path, pair: tuple[int, Path | None, Path]) -> Path:
    row, scan, target = pair
    key = "-".join([PREPARATION, *(sha256(path)[:16] for path in (scan, target) if path)])
    kept = cache / f"head-{key}.npz"
    if not kept.exists():
        try:
            head = _from_files(scan, target)
        except ValueError as error:
            if isinstance(error, TableError | UnreadableFileError):
                raise
            raise TableError(f"Row {row}: {target} {error}: give a whole brain.") from error
        _save(kept, head)
    return kept


def _from_files(scan: Path | None, target: Path) -> Head:
    labels = read_labels(target)
    grid = millimetre_grid(labels)
    values = resample(labels.data, labels.affine, grid, order=0, outside=0).astype(np.int16)
    if scan is None:
        return head_from_labels(values)
    image = read_image(scan)
    intensities = resample(image.data, image.affine, grid, order=1, outside=0)
    return head_from_mask(np.asarray(intensities, np.float32), values > 0)


def millimetre_grid(image: Image) -> Grid:
    """The 1 mm grid with RAS axes nearest to the image's own axes, around the same field of view."""
    _, affine = orient(image.data, image.affine, "RAS")
    spacing = np.asarray(affine.spacing)
    shape = np.asarray(orient(image.data, image.affine, "RAS")[0].shape)
    size = np.maximum(1, np.round(shape * spacing)).astype(int)
    directions = np.asarray(affine.direction)
    centre = affine.apply(((shape - 1) / 2)[None])[0]
    matrix = np.eye(4)
    matrix[:3, :3] = directions
    matrix[:3, 3] = centre - directions @ ((size - 1) / 2)
    return Grid((int(size[0]), int(size[1]), int(size[2])), Affine(matrix))


def _save(path: Path, head: Head) -> None:
    arrays = {"distances": head.distances, "corner": head.corner, "box": head.box}
    for name, array in (("labels", head.labels), ("image", head.image)):
        if array is not None:
            arrays[name] = array
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _load(path: Path) -> Head:
    with np.load(path, allow_pickle=False) as kept:
        found: dict[str, NDArray[np.generic]] = {name: kept[name] for name in kept.files}
    return Head(
        labels=found.get("labels"),  # type: ignore[arg-type]
        image=found.get("image"),  # type: ignore[arg-type]
        distances=found["distances"],  # type: ignore[arg-type]
        corner=found["corner"],  # type: ignore[arg-type]
        box=found["box"],  # type: ignore[arg-type]
    )

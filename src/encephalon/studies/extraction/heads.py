# SPDX-License-Identifier: Apache-2.0
"""Heads for training from the rows of a table, prepared once and kept in the run's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256 as sha256_of
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError, TableError
from encephalon.geometry import Affine, Grid, orient, resample, straight_grid
from encephalon.io import Image, read_image, read_labels
from encephalon.io.atomic import sha256
from encephalon.io.checksummed import cached_file
from encephalon.studies.extraction.brain_box import BrainFinder, brain_finder
from encephalon.studies.extraction.options import ExtractionSettings
from encephalon.studies.extraction.targets import (
    Head,
    head_from_labels,
    head_from_lesion,
    head_from_mask,
)
from encephalon.tables import Table
from encephalon.tables.labels import map_labels
from encephalon.transforms.labels import LABEL_COUNT

__all__ = ["Row", "in_processes", "millimetre_grid", "prepare_heads", "table_rows"]

#: Changes when the preparation changes, so that an old cache is not used.
PREPARATION = "1"

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Row:
    """One row of a table as files: its number in a spreadsheet, scan (if any) and target."""

    number: int
    scan: Path | None
    target: Path


@dataclass(frozen=True)
class _Preparation:
    """How rows become heads: the label mapping, if any, and for lesions what finds the brain."""

    cache: Path
    mapping: Mapping[str, int] | None
    finder: BrainFinder | None

    @property
    def key(self) -> str:
        """What the name of a kept head begins with, so that another preparation has another."""
        if self.mapping is None and self.finder is None:
            return PREPARATION
        finder = self.finder.identity if self.finder else ""
        return f"{PREPARATION}-{sha256_of(repr((self.mapping, finder)).encode()).hexdigest()[:16]}"


def prepare_heads(
    table: Table, cache: Path, workers: int = 2, settings: ExtractionSettings | None = None
) -> list[Head]:
    """One head a row: a label map when the row has no scan, else a scan with its mask.

    Each file is prepared once, in `workers` processes (none but this one for 1), and kept in
    `cache` under the hash of its content. With `settings` for a lesion the brain of each scan is
    found by the shipped brain model.
    Raises TableError for a row whose target holds no brain, or whose scan none is found in;
    RunError when the brain model is needed and missing; and whatever reading raises.
    """
    rule = table.columns.labels
    mapping = rule if isinstance(rule, dict) else None
    finder = brain_finder(settings.grids) if settings and settings.target == "lesion" else None
    prepare = partial(_prepare, _Preparation(cache, mapping, finder))
    cache.mkdir(parents=True, exist_ok=True)
    return [_load(path) for path in in_processes(prepare, table_rows(table), workers)]


def table_rows(table: Table) -> list[Row]:
    """The rows of `table` as files; the scan of a row may be missing."""
    column = table.columns.inputs["image"]
    scans = table.texts(column) if table.has(column) else [""] * len(table)
    targets = table.texts(str(table.columns.target))
    return [
        Row(table.row(place), table.path(scan) if scan else None, table.path(target))
        for place, (scan, target) in enumerate(zip(scans, targets, strict=True))
    ]


def in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """`function` of each item, in order, computed in `workers` processes; here for 1."""
    if workers < 2:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(function, items)


def _prepare(how: _Preparation, row: Row) -> Path:
    files = [path for path in (row.scan, row.target) if path]
    kept = how.cache / f"head-{'-'.join([how.key, *(sha256(path)[:16] for path in files)])}.npz"

    def make(temporary: Path) -> None:
        try:
            head = _from_files(how, row)
        except ValueError as error:
            if isinstance(error, EncephalonError):
                raise
            raise TableError(
                f"Row {row.number}: {row.target} {error}: give a whole brain."
            ) from error
        _save(temporary, head)

    cached_file(kept, make)
    return kept


def _from_files(how: _Preparation, row: Row) -> Head:
    labels = read_labels(row.target)
    known = labels.data if how.mapping is None else map_labels(labels.data, how.mapping)
    grid = millimetre_grid(labels)
    values = resample(known, labels.affine, grid, order=0, outside=0)
    if row.scan is None:
        _check_label_map(how, row, int(values.max()))
        return head_from_labels(values.astype(np.int16))
    image = read_image(row.scan)
    resampled = resample(image.data, image.affine, grid, order=1, outside=0)
    intensities = np.asarray(resampled, np.float32)
    if how.finder is None:
        return head_from_mask(intensities, values > 0)
    box = how.finder.box(image, grid)
    if box is None:
        raise TableError(f"Row {row.number}: no brain was found in {row.scan}: leave the row out.")
    return head_from_lesion(intensities, values > 0, box)


def _check_label_map(how: _Preparation, row: Row, highest: int) -> None:
    if how.finder is not None:
        raise TableError(
            f"Row {row.number}: {row.target} has no scan, which a lesion needs: name it."
        )
    if highest >= LABEL_COUNT:
        raise TableError(
            f"Row {row.number}: {row.target} has the label {highest}, but scans are made up from "
            f"labels below {LABEL_COUNT} only: map the labels in [table]."
        )


def millimetre_grid(image: Image) -> Grid:
    """The 1 mm RAS grid nearest to the image's own axes, around the same field of view."""
    straight = straight_grid(image.grid, image.name)
    nothing = np.broadcast_to(np.uint8(0), straight.shape)
    oriented, affine = orient(nothing, straight.affine, "RAS")
    shape = np.asarray(oriented.shape)
    size = np.maximum(1, np.round(shape * np.asarray(affine.spacing))).astype(int)
    directions = np.asarray(affine.direction)
    centre = affine.apply(((shape - 1) / 2)[None])[0]
    matrix = np.eye(4)
    matrix[:3, :3] = directions
    matrix[:3, 3] = centre - directions @ ((size - 1) / 2)
    return Grid((int(size[0]), int(size[1]), int(size[2])), Affine(matrix))


def _save(path: Path, head: Head) -> None:
    arrays: dict[str, Any] = {
        "distances": head.distances,
        "corner": head.corner,
        "box": head.box,
        "labels": head.labels,
        "image": head.image,
    }
    present = {name: array for name, array in arrays.items() if array is not None}
    with path.open("wb") as stream:
        np.savez(stream, **present)


def _load(path: Path) -> Head:
    with np.load(path, allow_pickle=False) as kept:
        found: dict[str, NDArray[Any]] = {name: kept[name] for name in kept.files}
    return Head(
        labels=found.get("labels"),
        image=found.get("image"),
        distances=found["distances"],
        corner=found["corner"],
        box=found["box"],
    )

# SPDX-License-Identifier: Apache-2.0
"""Conformed pairs of scan and labels from the rows of a table, kept in the run's cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, TableError
from encephalon.geometry import conform, conform_grid, resample
from encephalon.io.atomic import sha256
from encephalon.io.cache import cached_file
from encephalon.io.image import read_image, read_labels
from encephalon.studies.extraction.data import Row, in_processes, table_rows
from encephalon.studies.extraction.published.preprocessing import to_bytes
from encephalon.studies.extraction.published.settings import Conformed
from encephalon.tables.labels import LabelRule, map_labels
from encephalon.tables.schema import Table

__all__ = ["Pair", "prepare_pairs"]

#: Changes when the preparation changes, so that an old cache is not used.
PREPARATION = "1"

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """A conformed scan and its labels in one file, read when they are needed."""

    path: Path

    def read(self) -> tuple[Bytes, Bytes]:
        """Intensities 0 to 255 and labels, (I, J, K) each, mapped from the disk."""
        both: Bytes = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return both[0], both[1]


@dataclass(frozen=True)
class _Preparation:
    """How rows become pairs."""

    cache: Path
    grid: Conformed
    rule: LabelRule
    classes: int

    @property
    def key(self) -> str:
        """What the name of a kept pair begins with, so that another preparation has another."""
        said = repr((PREPARATION, self.grid.shape, self.grid.spacing_mm, self.rule, self.classes))
        return sha256_of(said.encode()).hexdigest()[:16]


def prepare_pairs(
    table: Table, cache: Path, grid: Conformed, classes: int = 1, workers: int = 2
) -> list[Pair]:
    """One pair a row: the scan as FreeSurfer conforms it, the labels by the table's rule.

    For one or two classes every label that the rule leaves is the mask; for more they are the
    classes themselves, 0 to `classes` - 1.
    Raises TableError for a row without a scan, with a scan of one intensity or with a label that
    is no class, and whatever reading raises.
    """
    how = _Preparation(cache, grid, table.columns.labels, classes)
    cache.mkdir(parents=True, exist_ok=True)
    return list(in_processes(partial(_prepare, how), table_rows(table), workers))


def _prepare(how: _Preparation, row: Row) -> Pair:
    if row.scan is None:
        raise TableError(
            f"Row {row.number} has no scan, which a published recipe needs: name its file."
        )
    kept = how.cache / f"pair-{how.key}-{sha256(row.scan)[:16]}-{sha256(row.target)[:16]}.npy"
    cached_file(kept, partial(_write_pair, how, row, row.scan))
    return Pair(kept)


def _write_pair(how: _Preparation, row: Row, scan: Path, path: Path) -> None:
    both = np.stack(_conformed_pair(how, row, scan))
    with path.open("wb") as stream:
        np.save(stream, both)


def _conformed_pair(how: _Preparation, row: Row, scan: Path) -> tuple[Bytes, Bytes]:
    image = read_image(scan)
    grid = conform_grid(image.grid, how.grid.shape, how.grid.spacing_mm)
    # FreeSurfer turns intensities to bytes before it resamples, and again after.
    data = np.rint(conform(replace(image, data=to_bytes(image.data)), grid).data)
    if data.min() == data.max():
        raise TableError(
            f"Row {row.number}: {scan} is all {data.min():g} on the conformed grid: check it."
        )
    labels = read_labels(row.target)
    classes = _classes(how, row, labels.data)
    placed = resample(classes, labels.affine, grid, order=0, outside=0)
    return data.astype(np.uint8), placed.astype(np.uint8)


def _classes(how: _Preparation, row: Row, labels: NDArray[Any]) -> NDArray[Any]:
    try:
        mapped = map_labels(labels, how.rule)
    except ContentError as error:
        raise TableError(f"Row {row.number}: {row.target}: {error}") from error
    if how.classes <= 2:
        return (mapped > 0).astype(np.uint8)
    highest = int(mapped.max(initial=0))
    if highest >= how.classes:
        raise TableError(
            f"Row {row.number}: {row.target} has the label {highest}, but the network knows "
            f"{how.classes} classes from 0: map the labels in [table]."
        )
    return mapped

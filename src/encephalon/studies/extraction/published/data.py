# SPDX-License-Identifier: Apache-2.0
"""Conformed pairs of scan and labels from the rows of a table, kept in the run's cache."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, TableError
from encephalon.geometry.resample import resample
from encephalon.io.reading import read_image, read_labels
from encephalon.studies.extraction.data import Row, table_rows
from encephalon.studies.extraction.published.preprocessing import conformed
from encephalon.studies.extraction.published.settings import Conformed
from encephalon.tables.encoding import LabelRule, map_labels
from encephalon.tables.schema import Table
from encephalon.training.dataset import prepare
from encephalon.transforms.conform import conform_grid

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

    grid: Conformed
    rule: LabelRule
    classes: int

    @property
    def version(self) -> str:
        """Tells the pairs of one preparation from those of another."""
        said = repr((PREPARATION, self.grid.shape, self.grid.spacing_mm, self.rule, self.classes))
        return sha256_of(said.encode()).hexdigest()[:16]

    def __call__(self, row: Row, path: Path) -> None:
        """Write the pair of `row` to `path`."""
        if row.scan is None:
            raise TableError(
                f"Row {row.number} has no scan, which a published recipe needs: name its file."
            )
        image = read_image(row.scan)
        grid = conform_grid(image.grid, self.grid.shape, self.grid.spacing_mm)
        data = conformed(image, "always", grid).data
        if data.min() == data.max():
            raise TableError(
                f"Row {row.number}: {row.scan} is all {data.min():g} on the conformed grid: "
                "check it."
            )
        labels = read_labels(row.target)
        classes = self._classes(row, labels.data)
        placed = resample(classes, labels.affine, grid, order=0, outside=0)
        with path.open("wb") as stream:
            np.save(stream, np.stack([data.astype(np.uint8), placed.astype(np.uint8)]))

    def _classes(self, row: Row, labels: NDArray[Any]) -> NDArray[Any]:
        try:
            mapped = map_labels(labels, self.rule)
        except ContentError as error:
            raise TableError(f"Row {row.number}: {row.target}: {error}") from error
        if self.classes <= 2:
            return (mapped > 0).astype(np.uint8)
        highest = int(mapped.max(initial=0))
        if highest >= self.classes:
            raise TableError(
                f"Row {row.number}: {row.target} has the label {highest}, but the network knows "
                f"{self.classes} classes from 0: map the labels in [table]."
            )
        return mapped


def prepare_pairs(
    table: Table, cache: Path, grid: Conformed, classes: int = 1, workers: int = 2
) -> list[Pair]:
    """One pair a row: the scan as FreeSurfer conforms it, the labels by the table's rule.

    For one or two classes every label that the rule leaves is the mask; for more they are the
    classes themselves, 0 to `classes` - 1.
    Raises TableError for a row without a scan, with a scan of one intensity or with a label that
    is no class, and whatever reading raises.
    """
    how = _Preparation(grid, table.columns.labels, classes)
    paths = prepare(table_rows(table), how, cache, f"pair-{how.version}", ".npy", workers)
    return [Pair(path) for path in paths]

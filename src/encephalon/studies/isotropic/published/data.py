# SPDX-License-Identifier: Apache-2.0
"""Heads for the published training, their published split, and thick slices made of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import TableError
from encephalon.io.reading import read_image
from encephalon.studies.isotropic.published.preprocessing import (
    check_atlas_grid,
    decimate,
    normalise,
    pad,
    read_published,
)
from encephalon.studies.isotropic.published.settings import PublishedSettings
from encephalon.studies.isotropic.reconstruction.problem import AXES
from encephalon.tables.schema import Table
from encephalon.training.dataset import in_threads

#: Shares of the sorted files that train, and that train or validate, as for BABY-AI.
TRAIN_UNTIL, VALIDATION_UNTIL = 0.7, 0.85

Float = NDArray[np.float32]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Head:
    """A T1w and an isotropic T2w on the atlas grid, read when they are needed."""

    t1w: Path
    t2w: Path


@dataclass(frozen=True)
class Decimated:
    """A head of whose T2w every `factor`-th slice along voxel axis `axis` is left."""

    head: Head
    axis: int
    factor: int

    def read(self, padded: tuple[int, int, int]) -> tuple[Float, Float]:
        """T1w and decimated T2w (2, I, J, K), and the true T2w (1, I, J, K), each normalised.

        All three by themselves, as published, so that what is given and what is wanted have
        different scales: a defect that is kept.
        """
        t1w, truth = (read_published(read_image(path)) for path in (self.head.t1w, self.head.t2w))
        thick = decimate(truth, self.factor, self.axis)
        guide = normalise(pad(t1w, padded), str(self.head.t1w))
        given, wanted = (normalise(pad(one, padded), str(self.head.t2w)) for one in (thick, truth))
        return np.stack([guide, given]), wanted[None]


def decimated(heads: Sequence[Head], settings: PublishedSettings) -> list[Decimated]:
    """Every head in every plane with every factor: twelve of each by the published settings."""
    return [
        Decimated(head, AXES[plane], factor)
        for head in heads
        for plane in settings.planes
        for factor in settings.factors
    ]


def load_heads(table: Table, settings: PublishedSettings, workers: int = 2) -> list[Head]:
    """One head a row, looked at once, so that a fault shows before training and not within it.

    Raises TableError, naming the row, for a row without one of its scans, ContentError for a scan
    that is not on the atlas grid or has no values above 0, and what `read_image` raises.
    """
    return in_threads(partial(_load, table, settings), range(len(table)), workers)


def _load(table: Table, settings: PublishedSettings, row: int) -> Head:
    files = {role: table.texts(table.columns.inputs[role])[row] for role in ("t1w", "t2w")}
    absent = [role for role, cell in files.items() if not cell]
    if absent:
        raise TableError(
            f"{table.source}, row {table.row(row)}: expected a T1w and an isotropic T2w, but it "
            f"names no file for {absent[0]!r}: fill it in or drop the row."
        )
    head = Head(**{role: table.path(cell) for role, cell in files.items()})
    images = [read_image(path) for path in (head.t1w, head.t2w)]
    for image in images:
        check_atlas_grid(image.grid, settings.shape, image.name)
        normalise(image.data, image.name)
    if not images[0].affine.is_close(images[1].affine):
        logger.warning("%s and %s lie at different places.", images[0].name, images[1].name)
    return head


def split_as_published(table: Table) -> Table:
    """The table with the published split, unless it has a split of its own.

    Rows go by the sorted paths of their T2w, so the sessions of one infant can come to lie in two
    parts: a defect that is kept. Raises TableError for a table without the column of the T2w.
    """
    column = table.columns.split
    if column is None or (table.has(column) and any(table.texts(column))):
        return table
    files = [str(table.path(cell)) for cell in table.texts(table.columns.inputs["t2w"])]
    order = sorted(range(len(files)), key=lambda row: files[row])
    parts = dict(zip(order, published_parts(len(files)), strict=True))
    logger.info("%s has no split; the published one is drawn.", table.source)
    return table.with_column(column, [parts[row] for row in range(len(files))])


def published_parts(count: int) -> list[str]:
    """The part of each of `count` files in their order: of 71, 49 train, 11 validate, 11 test."""
    train, validation = int(TRAIN_UNTIL * count), int(VALIDATION_UNTIL * count)
    sizes = {"train": train, "validation": validation - train, "test": count - validation}
    return [name for name, size in sizes.items() for _ in range(size)]

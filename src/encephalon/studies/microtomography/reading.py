# SPDX-License-Identifier: Apache-2.0
"""How a sample is read: the box of its volume that is its tile, and the true structures there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import InputError
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.volume import Box, Volume, box_at, box_size, shifted
from encephalon.studies.microtomography.settings import Intensity
from encephalon.tables.samples import Sample
from encephalon.tables.schema import Table

__all__ = [
    "LARGEST",
    "LoadedTile",
    "LoadedVolume",
    "box_of",
    "opened_volume",
    "read_structures",
    "whole_box",
]

Float = NDArray[np.float32]

#: Voxels of one sample that are read whole; larger volumes are worked on block by block.
LARGEST = 512 * 1024**2


@dataclass(frozen=True, eq=False)
class LoadedTile:
    """One sample as a network sees it, (1, 1, [Z,] Y, X), and its voxels (z, y, x)."""

    sample: Sample
    voxels: NDArray[Any]
    image: Float


@dataclass(frozen=True, eq=False)
class LoadedVolume:
    """A volume to be labelled block by block, and how its voxels become numbers."""

    sample: Sample
    path: Path
    volume: Volume
    intensity: Intensity


def read_structures(table: Table, sample: Sample) -> NDArray[np.uint8]:
    """The true structures (z, y, x) of a tile; raises InputError for a row without any."""
    cell = sample.row.get(str(table.columns.target))
    if not cell:
        raise InputError(f"{sample.id}: its row names no structures: fill it in, or drop it.")
    volume = opened_volume(table.path(str(cell)))
    labels: NDArray[np.uint8] = volume.read(box_of(sample, volume), complete=True)
    return labels


@lru_cache(maxsize=16)
def opened_volume(path: Path) -> Volume:
    """The volume at `path`; tiles of one follow each other, so its description is read once."""
    return open_volume(path)


def box_of(sample: Sample, volume: Volume, most: int = LARGEST) -> Box:
    """Where a sample lies in its volume: its tile, or all of it; InputError for too many voxels."""
    row, box = sample.row, volume.box
    if {"first_z", "size_z"} <= set(row):
        try:
            first, size = ([int(row[f"{k}_{axis}"]) for axis in "zyx"] for k in ("first", "size"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{sample.id}: first_z to size_x of its row must be whole numbers of voxels: make "
                "the table with  encephalon table tiles."
            ) from error
        box = shifted(box_at(first, size), volume.origin)
    if math.prod(box_size(box)) > most:
        raise InputError(
            f"{volume.name}: {box_size(box)} voxels are too many at once (at most {most:,}): cut "
            "tiles out of it with  encephalon table tiles."
        )
    return box


def whole_box(volume: Volume, voxels: NDArray[Any]) -> NDArray[Any]:
    """All of the volume (z, y, x) that `voxels` are from, which may be that already."""
    return voxels if voxels.shape == volume.shape else volume.read()

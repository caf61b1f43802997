# SPDX-License-Identifier: Apache-2.0
"""Semantic features of tiles: how much vessel and axon, how many cells, how large, how far apart.

They are read from dense labels of a box, and are what a read-out asks of a representation
(MTNeuro spec, section 5). Cells are the components of the class "cell" in three dimensions that
touch by their faces; they never join across two boxes, which the published code lets them.

Lengths are in pixels of the tile, areas in its pixels; x and y are taken as equally spaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UsageError

__all__ = ["FEATURES", "CellMap", "SemanticFeatures", "published_features", "semantic_features"]

Labels = NDArray[np.integer]
Values = NDArray[np.float64]
Box = tuple[slice, slice, slice]

#: What the published code says of a tile with fewer than two cells (px).
PUBLISHED_FAR = 64.0


@dataclass(frozen=True)
class SemanticFeatures:
    """What there is in one tile; NaN where it is not defined.

    vessels, axons   share of the voxels, percent
    cell_area        share of the voxels that are cell, percent
    cells            distinct cells that show in the tile
    cell_size        area of a cell, mean over cells and slices, px; NaN without a cell
    nearest_cell     distance from a cell's centre to the nearest other one's, mean over the cells
                     of the tile, px; NaN for fewer than two cells
    third_cell       the same to the third nearest other one; NaN for fewer than four cells
    """

    vessels: float
    axons: float
    cell_area: float
    cells: float
    cell_size: float
    nearest_cell: float
    third_cell: float


FEATURES = tuple(field.name for field in fields(SemanticFeatures))


@dataclass(frozen=True, eq=False)
class CellMap:
    """The dense labels of a box with its cells told apart.

    labels   (z, y, x) number of the class of each voxel
    cells    (z, y, x) number of the cell of each voxel, 0 for none
    classes  the number of each class by its name
    """

    labels: Labels
    cells: NDArray[np.int32]
    classes: Mapping[str, int]

    @classmethod
    def of(cls, labels: Labels, classes: Sequence[str]) -> CellMap:
        """Tell the cells of one box (z, y, x) apart; raises UsageError without a class "cell"."""
        from scipy import ndimage

        if "cell" not in classes:
            raise UsageError(
                f"Semantic features need a class 'cell' among the structures, which are "
                f"{', '.join(map(repr, classes))}: name it so in the benchmark."
            )
        numbers = {name: number for number, name in enumerate(classes)}
        cells, _ = ndimage.label(labels == numbers["cell"], output=np.int32)
        return cls(labels, cells, numbers)

    def share(self, name: str, box: Box) -> float:
        """Percent of the voxels of a tile that are of a class; NaN for a class there is not."""
        if name not in self.classes:
            return float("nan")
        return 100.0 * float(np.mean(self.labels[box] == self.classes[name]))


def semantic_features(cells: CellMap, box: Box) -> SemanticFeatures:
    """The features of one tile, `box` in voxels of the map.

    >>> labels = np.zeros((1, 8, 64), np.uint8)
    >>> labels[0, 4, 10:12] = labels[0, 4, 40:42] = 2
    >>> cells = CellMap.of(labels, ("background", "vessel", "cell", "axon"))
    >>> found = semantic_features(cells, np.s_[0:1, 0:8, 0:64])
    >>> found.cells, found.cell_size, found.nearest_cell
    (2.0, 2.0, 30.0)
    """
    there, centres, areas = _cells_of(cells.cells[box])
    return SemanticFeatures(
        vessels=cells.share("vessel", box),
        axons=cells.share("axon", box),
        cell_area=cells.share("cell", box),
        cells=float(there),
        cell_size=float(np.mean(areas)) if areas.size else float("nan"),
        nearest_cell=_distance(centres, 1),
        third_cell=_distance(centres, 3),
    )


def _cells_of(cells: NDArray[np.int32]) -> tuple[int, Values, Values]:
    """How many cells a tile shows, their centres (N, 3), and the area of each in each slice."""
    numbers = np.flatnonzero(np.bincount(cells.ravel()))
    numbers = numbers[numbers > 0]
    z, y, x = np.nonzero(cells)
    which = np.searchsorted(numbers, cells[z, y, x])
    count = np.bincount(which, minlength=len(numbers))[:, None]
    sums = [np.bincount(which, weights=axis, minlength=len(numbers)) for axis in (z, y, x)]
    per_slice = np.bincount(z * max(1, len(numbers)) + which)
    centres: Values = np.stack(sums, 1) / np.maximum(count, 1)
    return len(numbers), centres, per_slice[per_slice > 0].astype(np.float64)


def _distance(centres: Values, neighbour: int) -> float:
    """Mean distance to the n-th nearest other centre; NaN where there are not as many others."""
    from scipy.spatial import cKDTree

    if len(centres) <= neighbour:
        return float("nan")
    # The nearest of all is each centre itself.
    distances, _ = cKDTree(centres).query(centres, k=[neighbour + 1])
    return float(np.mean(distances))


def published_features(cells: CellMap, boxes: Iterable[Box]) -> Iterator[SemanticFeatures]:
    """The features as the published code computes them (MTNeuro `annots/features.py`).

    `cells` is the map of all boxes stacked along z, so that cells join across their borders. Areas
    are summed over a cell and divided by the number of cells; the distance includes each cell
    itself and is so half the true one; fewer than two cells have no size, and are 64 px apart.
    A tile without a vessel stops the published code: here it has 0.
    """
    for box in boxes:
        found = semantic_features(cells, box)
        many = found.cells >= 2
        area = float(np.count_nonzero(cells.cells[box]))
        yield replace(
            found,
            cell_size=area / found.cells if many else 0.0,
            nearest_cell=found.nearest_cell / 2 if many else PUBLISHED_FAR,
            third_cell=float("nan"),
        )

# SPDX-License-Identifier: Apache-2.0
"""Semantic features of tiles: shares of structures; how many objects, how large, how far apart.

They are read from dense labels of a box, and are what a read-out asks of a representation
(MTNeuro's `annots/features.py`). Objects are the components of one class, such as "cell", in three
dimensions that touch by their faces; they never join across two boxes, which the published code
lets them.

percent_CLASS         share of the voxels of a class, percent; not of the first, the background
OBJECT_count          distinct objects that show in the tile
OBJECT_size           area of an object, mean over objects and slices, px; NaN without any
OBJECT_nearest        distance from an object's centre to the nearest other one's, mean over the
                      objects of the tile, px; NaN for fewer than two
OBJECT_third_nearest  the same to the third nearest other one; NaN for fewer than four
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UsageError
from encephalon.reports.format import capitalised

__all__ = ["ObjectMap", "feature_heading", "is_feature", "published_features", "semantic_features"]

Labels = NDArray[np.integer]
Values = NDArray[np.float64]
Slices = tuple[slice, ...]
Features = dict[str, float]

#: What the published code says of a tile with fewer than two cells (px).
PUBLISHED_FAR = 64.0
_FEATURE = re.compile(r"percent_.+|.+_(count|size|nearest|third_nearest)")


def is_feature(column: str) -> bool:
    """Whether a column of a table of tiles is a semantic feature, by its name."""
    return _FEATURE.fullmatch(column) is not None


def feature_heading(column: str) -> str:
    """ "percent_vessel" as "Vessel, %", "cell_third_nearest" as "Cell third nearest"."""
    if column.startswith("percent_"):
        return f"{capitalised(column.removeprefix('percent_'))}, %"
    return capitalised(column.replace("_", " "))


@dataclass(frozen=True, eq=False)
class ObjectMap:
    """The dense labels of a box with its objects told apart.

    labels   (z, y, x) number of the class of each voxel
    numbers  (z, y, x) number of the object of each voxel, 0 for none
    classes  names of the classes in order
    objects  the class whose components are objects; "" for none
    """

    labels: Labels
    numbers: NDArray[np.int32]
    classes: Sequence[str]
    objects: str

    @classmethod
    def of(cls, labels: Labels, classes: Sequence[str], objects: str) -> ObjectMap:
        """Tell the objects of one box (z, y, x) apart; raises UsageError for an unknown class."""
        from scipy import ndimage

        if not objects:
            return cls(labels, np.zeros(labels.shape, np.int32), classes, "")
        if objects not in classes:
            raise UsageError(
                f"There is no class {objects!r} among the structures, which are "
                f"{', '.join(map(repr, classes))}: name one of them as structures.objects."
            )
        inside = labels == list(classes).index(objects)
        return cls(labels, ndimage.label(inside, output=np.int32)[0], classes, objects)


def semantic_features(objects: ObjectMap, place: Slices) -> Features:
    """The features of one tile, `place` being its slices of the map.

    >>> labels = np.zeros((1, 8, 64), np.uint8)
    >>> labels[0, 4, 10:12] = labels[0, 4, 40:42] = 1
    >>> cells = ObjectMap.of(labels, ("background", "cell"), "cell")
    >>> found = semantic_features(cells, np.s_[0:1, 0:8, 0:64])
    >>> found["cell_count"], found["cell_size"], found["cell_nearest"]
    (2.0, 2.0, 30.0)
    """
    labels = objects.labels[place]
    found = {
        f"percent_{name}": 100.0 * float(np.mean(labels == number))
        for number, name in enumerate(objects.classes)
        if number
    }
    if objects.objects:
        count, centres, areas = _measured(objects.numbers[place])
        measured = {
            "count": float(count),
            "size": float(np.mean(areas)) if areas.size else float("nan"),
            "nearest": _distance(centres, 1),
            "third_nearest": _distance(centres, 3),
        }
        found |= {f"{objects.objects}_{name}": value for name, value in measured.items()}
    return found


def _measured(objects: NDArray[np.int32]) -> tuple[int, Values, Values]:
    """How many objects a tile shows, their centres (N, 3), and the area of each in each slice."""
    numbers = np.flatnonzero(np.bincount(objects.ravel()))
    numbers = numbers[numbers > 0]
    z, y, x = np.nonzero(objects)
    which = np.searchsorted(numbers, objects[z, y, x])
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


def published_features(objects: ObjectMap, places: Iterable[Slices]) -> Iterator[Features]:
    """The features as the published code computes them (MTNeuro `annots/features.py`).

    `objects` is the map of all boxes stacked along z, so that cells join across their borders.
    Areas are summed over a cell and divided by the number of cells; the distance includes each cell
    itself and is so half the true one; fewer than two cells have no size, and are 64 px apart.
    A tile without a vessel stops the published code: here it has 0.
    """
    name = objects.objects
    for place in places:
        found = semantic_features(objects, place)
        count, half = found[f"{name}_count"], found[f"{name}_nearest"] / 2
        area = float(np.count_nonzero(objects.numbers[place]))
        found[f"{name}_size"] = area / count if count >= 2 else 0.0
        found[f"{name}_nearest"] = half if count >= 2 else PUBLISHED_FAR
        found[f"{name}_third_nearest"] = float("nan")
        yield found

# SPDX-License-Identifier: Apache-2.0
"""Three anatomical planes of a problem's grid: the same place, box and scale for every volume.

Only the planes that are drawn are ever made: thick slices, and what is interpolated from them, are
linear along the slice axis, so a plane of theirs needs one small matrix and one plane of slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Grid
from encephalon.geometry.affine import nearest_axes
from encephalon.reports.canvas import GAP, Panel
from encephalon.studies.isotropic.evidence import head_of
from encephalon.studies.isotropic.problem import Problem
from encephalon.transforms.slices import along

__all__ = ["SIDES", "Planes", "find_planes"]

Float = NDArray[np.float32]
Index = tuple[int, int, int]

#: Letters for the left and right edge of the sagittal, the coronal and the axial plane.
SIDES = (("P", "A"), ("L", "R"), ("L", "R"))
# Air left around the head, mm, and the share of a plane that a head fills at the least: noise makes
# single bright voxels in air.
_MARGIN, _FILLED = 6.0, 0.005
# Pixels that three planes side by side fill, whichever they meet first.
_WIDTH, _HEIGHT = 940, 380


@dataclass(frozen=True)
class Planes:
    """Where to cut a grid, and how large to draw the cuts.

    Attributes
    ----------
    grid
        The grid, in work order.
    at
        The voxel that all three planes run through.
    box
        First voxel and the one after the last to be drawn, along each axis.
    scale
        Pixels per mm.
    """

    grid: Grid
    at: Index
    box: tuple[tuple[int, int], ...]
    scale: float

    def of(self, volume: NDArray[Any]) -> list[Float]:
        """The sagittal, coronal and axial plane of `volume` (I, J, K) as (rows, columns)."""
        return [self._turned(axis, np.take(volume, self.at[axis], axis)) for axis in self._axes]

    def between(self, matrix: NDArray[np.float64], slices: NDArray[Any]) -> list[Float]:
        """The same planes of `matrix` (K, S) applied to `slices` (I, J, S)."""
        shown = []
        for axis in self._axes:
            if axis == 2:
                row = matrix[self.at[2]][None]
                plane = along(row, slices)[..., 0]
            else:
                plane = along(matrix, np.take(slices, self.at[axis], axis))
            shown.append(self._turned(axis, plane))
        return shown

    def panels(self, planes: list[Float], letters: bool = True) -> list[Panel]:
        """The planes, in [0, 255], as panels of their true proportions."""
        sides = SIDES if letters else ((), (), ())
        sizes = [self._size(axis) for axis in self._axes]
        return [
            Panel(pixels, (), size, side)
            for pixels, size, side in zip(planes, sizes, sides, strict=True)
        ]

    @property
    def _axes(self) -> Index:
        """The axis in work order across the sagittal, the coronal and the axial plane."""
        worlds, _ = nearest_axes(self.grid.affine.direction)
        return worlds.index(0), worlds.index(1), worlds.index(2)

    def _size(self, axis: int) -> tuple[int, int]:
        """Width and height of the plane across `axis`, pixels."""
        across, up = (other for other in self._axes if other != axis)
        spacing = self.grid.affine.spacing
        sizes = [(self.box[a][1] - self.box[a][0]) * spacing[a] for a in (across, up)]
        return max(1, round(sizes[0] * self.scale)), max(1, round(sizes[1] * self.scale))

    def _turned(self, axis: int, plane: NDArray[Any]) -> Float:
        """A plane (of the two other axes, in order), cut to the box, the upper edge first."""
        across, up = (other for other in self._axes if other != axis)
        _, signs = nearest_axes(self.grid.affine.direction)
        rest = [other for other in range(3) if other != axis]
        cut = plane[tuple(slice(*self.box[other]) for other in rest)]
        ordered = cut if rest == [across, up] else cut.T
        turned = ordered[:: signs[across], :: signs[up]]
        return np.asarray(turned.T[::-1], np.float32)


def find_planes(problem: Problem) -> Planes:
    """The planes through the middle of the head; the one along the slices lies between two.

    What was measured looks alike before and after, so the plane that runs along the slices is the
    voxel furthest from any of their middles, within half a distance of the middle of the head.
    """
    head, nearest = head_of(problem.stack.slices), problem.stack.operator.nearest
    spacing = problem.grid.affine.spacing
    at, box = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        filled = head.mean(axis=others)
        shares = filled[nearest] if axis == 2 else filled
        at.append(_middle(shares))
        box.append(_bounds(shares, round(_MARGIN / spacing[axis])))
    place = at[0], at[1], _between(problem, at[2])
    return Planes(problem.grid, place, tuple(box), _scale(problem.grid, box))


def _middle(shares: NDArray[np.float64]) -> int:
    if not shares.any():
        return len(shares) // 2
    return round(float(np.average(np.arange(len(shares)), weights=shares)))


def _bounds(shares: NDArray[np.float64], margin: int) -> tuple[int, int]:
    places = np.flatnonzero(shares > _FILLED)
    if not places.size:
        return 0, len(shares)
    return max(0, int(places[0]) - margin), min(len(shares), int(places[-1]) + 1 + margin)


def _between(problem: Problem, middle: int) -> int:
    operator = problem.stack.operator
    offsets, reach = np.abs(operator.place()), max(1, round(operator.ratio / 2))
    first = max(0, middle - reach)
    return first + int(offsets[first : middle + reach + 1].argmax())


def _scale(grid: Grid, box: list[tuple[int, int]]) -> float:
    """Pixels per mm with which three planes side by side fill the width or the height."""
    worlds, _ = nearest_axes(grid.affine.direction)
    size = dict[int, float]()
    for axis, world in enumerate(worlds):
        size[world] = (box[axis][1] - box[axis][0]) * grid.affine.spacing[axis]
    across, deep, high = size[0], size[1], size[2]
    return min((_WIDTH - 2 * GAP) / (deep + 2 * across), _HEIGHT / max(deep, high))

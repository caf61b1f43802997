# SPDX-License-Identifier: Apache-2.0
"""Practice within the slices, where the truth is known, for what lies between them.

Within a slice the scan is of full resolution. Cut it there into slices as thick as the real ones,
make them whole again, and the scan itself tells how much of each term to add and how far off the
sum is: a T1w that does not belong is found out and left aside. (Scans as their own teachers:
Zhao 2020, SMORE; here the lesson is a handful of weights.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Grid
from encephalon.studies.isotropic.guided_detail import Guide, Scene, between
from encephalon.transforms.slices import SliceOperator, along

__all__ = ["Practice", "practices", "spread_error", "weigh"]

Float = NDArray[np.float32]
Matrix = NDArray[np.float64]

#: Fewer slices across a scan teach nothing.
FEWEST_SLICES = 4
#: Slices closer than this many voxels hide nothing.
LEAST_RATIO = 1.2
#: Share of each term's own power that is added to the equations: keeps twins apart.
RIDGE = 1e-3
#: Window in which the squared error of the practice is averaged: voxels, and slices.
ERROR_WINDOW, ERROR_WINDOW_SLICES = 1.5, 0.5
#: Errors between the slices are larger than those of the practice, whose truth is thick slices and
#: so less sharp. Set on three real pairs, on which the deviation is then 0.7 (4 mm) to 2.0 (2 mm)
#: times the error, 1.1 times in the mean over planes and thicknesses.
SHARPER = 1.25
#: Classes of the distance from a slice's middle, whose errors differ.
CLASSES = 6


@dataclass(frozen=True)
class Practice:
    """A scene whose truth is known.

    Attributes
    ----------
    axis
        Of the real slices, cut in the practice.
    scene
        The real slices with that axis last, cut across it.
    truth
        The real slices, with that axis last.
    """

    axis: int
    scene: Scene
    truth: Float = field(repr=False)

    def back(self, volume: Float) -> Float:
        """A volume of the practice in the axis order of the real slices."""
        return np.moveaxis(volume, 2, self.axis)


def practices(scene: Scene, grid: Grid) -> list[Practice]:
    """A practice for each in-plane axis of a real `scene` that is long enough to be cut."""
    found = []
    for axis in (0, 1):
        operator = _turned(scene.operator, grid.shape[axis], grid.affine.spacing[axis])
        if operator is None:
            continue
        truth = np.ascontiguousarray(np.moveaxis(scene.slices, axis, 2))
        guide = _sliced(scene, axis)
        found.append(Practice(axis, Scene(operator.slice(truth), operator, guide, (0,)), truth))
    return found


def weigh(terms: Sequence[Sequence[Float]], missing: Sequence[Float]) -> Matrix:
    """What each of T terms is worth: weights (T,) by least squares over all practices.

    `terms` are the T terms of each practice, `missing` what their sum should be.
    """
    count = range(len(terms[0]))
    powers, shared = np.zeros((len(count), len(count))), np.zeros(len(count))
    for some, wanted in zip(terms, missing, strict=True):
        powers += [[float(np.vdot(some[a], some[b])) for b in count] for a in count]
        shared += [float(np.vdot(some[a], wanted)) for a in count]
    ridge = RIDGE * np.diag(powers) + 1e-12
    return np.asarray(np.linalg.solve(powers + np.diag(ridge), shared))


def spread_error(
    operator: SliceOperator, done: Sequence[Practice], errors: Sequence[Float]
) -> Float:
    """The standard deviation of the error of the real volume (I, J, K).

    `errors` are those of each practice, shaped as its truth; at least one. Near a voxel they tell
    how hard the place is; over all, how the error grows away from the middle of a slice.
    """
    from scipy.ndimage import gaussian_filter

    squares = [
        practice.back(np.square(error)) for practice, error in zip(done, errors, strict=True)
    ]
    local = np.ascontiguousarray(sum(squares[1:], squares[0])) / np.float32(len(squares))
    widths = (ERROR_WINDOW, ERROR_WINDOW, ERROR_WINDOW_SLICES)
    local = gaussian_filter(local, widths, mode="nearest", truncate=3)
    variance = along(between(operator), local)
    variance *= _profile(operator, done, errors).astype(np.float32)
    np.maximum(variance, 0, out=variance)
    return np.asarray(np.float32(SHARPER) * np.sqrt(variance), np.float32)


def _profile(operator: SliceOperator, done: Sequence[Practice], errors: Sequence[Float]) -> Matrix:
    """How much larger than average the squared error of each voxel of a line is: (voxels,)."""
    places, squares = [], []
    for practice, error in zip(done, errors, strict=True):
        places.append(_distances(practice.scene.operator))
        squares.append(np.square(error).mean(axis=(0, 1)))
    place, square = np.concatenate(places), np.concatenate(squares)
    # Voxels beyond the outermost slices are guessed in a practice as they are in the scan.
    edges = np.append(np.linspace(0, 0.5, CLASSES)[:-1] + 1e-6, np.inf)
    which = np.digitize(place, edges)
    filled = [c for c in range(CLASSES) if (which == c).any()]
    height = [square[which == c].mean() for c in filled]
    centre = [place[which == c].mean() for c in filled]
    mean = max(float(square.mean()), 1e-30)
    return np.interp(_distances(operator), centre, np.asarray(height) / mean)


def _distances(operator: SliceOperator) -> Matrix:
    """How far each voxel is from the nearest middle, in units of the distance of slices."""
    return np.abs(operator.place())


def _turned(operator: SliceOperator, voxels: int, size: float) -> SliceOperator | None:
    """The same slices along a line of `voxels` of `size` mm; None if too few fit."""
    first = float(operator.middles[0])
    # The median: where a slice was not measured, the distance is twice as long.
    steps = np.diff(operator.middles)
    step = float(np.median(steps)) if len(steps) else operator.distance
    middles = np.asarray(np.arange(first % step, (voxels - 1) * size + 1e-6, step), np.float64)
    if len(middles) < FEWEST_SLICES or step < LEAST_RATIO * size:
        return None
    # The slice in the middle of the scan shows the profile, which the operator does not keep.
    row = len(operator.middles) // 2
    line = np.concatenate([[0.0], np.cumsum(operator.matrix[row])])
    offsets = (np.arange(len(line)) - 0.5) * operator.voxel_size - operator.middles[row]
    edges = (np.arange(voxels + 1) - 0.5) * size
    below = np.interp(edges[None] - middles[:, None], offsets, line)
    below[:, 0], below[:, -1] = 0.0, 1.0
    matrix = np.diff(below, axis=1)
    return SliceOperator(matrix, middles, size, operator.thickness)


def _sliced(scene: Scene, axis: int) -> Guide | None:
    """The guide of a practice: the T1w in slices as thick as those of the T2w."""
    guide = scene.guide
    if guide is None:
        return None

    def turned(volume: Float) -> Float:
        return np.ascontiguousarray(np.moveaxis(scene.operator.slice(volume), axis, 2))

    weight = None if guide.weight is None else turned(guide.weight)
    return replace(guide, image=turned(guide.image), weight=weight)

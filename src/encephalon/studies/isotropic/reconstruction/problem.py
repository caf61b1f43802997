# SPDX-License-Identifier: Apache-2.0
"""What is known before a reconstruction, and what every method of reconstruction gives back.

The study works on volumes whose last axis is the slice axis ("work order"); `Problem.native` brings
a result back to the axis order of the first scan. Slice axes are named by the anatomical planes
that slices lie in. Networks, the guided method and the baselines of the evaluation are all a
`Method`: problem in, estimate out. What they find is made to agree with the slices here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UsageError, did_you_mean
from encephalon.geometry.affine import Affine, Grid, nearest_axes
from encephalon.studies.isotropic.settings import Plane
from encephalon.transforms.slices import SliceOperator, along

Float = NDArray[np.float32]

#: Names of the anatomical planes that slices lie in, and the world axis (R, A, S) across them.
AXES: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
VOXEL_AXES = ("i", "j", "k")
#: How often slices are restored after a cut: once is exact where slices do not overlap.
ROUNDS = 3
#: What a voxel keeps at least, as a share of its slice: from nothing, nothing could be restored.
GLOW = 1e-4
#: Largest factor of one round.
LARGEST_RATIO = 10.0


@dataclass(frozen=True)
class Stack:
    """One scan of thick slices.

    slices    The measured slices (I, J, S) in the units of the file, on the in-plane grid of
              `grid`.
    grid      The isotropic grid (I, J, K) that the slices cut, its last axis across them, placed in
              the world of the first stack.
    operator  What the slices measure of a volume on `grid`.
    """

    slices: Float = field(repr=False)
    grid: Grid
    operator: SliceOperator

    @property
    def finite(self) -> Float:
        """The slices with 0 for what is not a number."""
        return np.nan_to_num(self.slices, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)


@dataclass(frozen=True)
class Problem:
    """A reconstruction to be made: one stack or several, and perhaps a T1w.

    stacks    The scans; the result lies on the grid of the first.
    axis      The slice axis of the first scan as it is stored.
    guide     The T1w (I, J, K) on that grid, registered, in units of its file; None without one.
    coverage  True where the T1w was acquired (I, J, K); None without one.
    """

    stacks: tuple[Stack, ...]
    axis: int
    guide: Float | None = field(default=None, repr=False)
    coverage: NDArray[np.bool_] | None = field(default=None, repr=False)

    @property
    def stack(self) -> Stack:
        """The first stack."""
        return self.stacks[0]

    @property
    def grid(self) -> Grid:
        """The grid of the result, in work order."""
        return self.stack.grid

    @property
    def native_grid(self) -> Grid:
        """The grid of the result in the axis order of the first scan."""
        return permuted(self.grid, self.order)

    @property
    def order(self) -> tuple[int, int, int]:
        """For each axis of the first scan, the axis in work order."""
        order = [0, 1]
        order.insert(self.axis, 2)
        return order[0], order[1], order[2]

    def native(self, volume: NDArray[np.float32]) -> Float:
        """A volume in work order (I, J, K) in the axis order of the first scan."""
        return volume.transpose(self.order)


@dataclass(frozen=True)
class Estimate:
    """What a method says: the volume (I, J, K) and, if it can, how far it may be off.

    `deviation` (I, J, K) is the standard deviation of the error, in the units of the image.
    """

    image: Float = field(repr=False)
    deviation: Float | None = field(default=None, repr=False)


Method = Callable[[Problem], Estimate]


def permuted(grid: Grid, order: tuple[int, int, int]) -> Grid:
    """The same voxels with axis `order[a]` as axis a."""
    matrix = np.eye(4)
    matrix[:3, :3] = grid.affine.matrix[:3, list(order)]
    matrix[:3, 3] = grid.affine.origin
    i, j, k = (grid.shape[axis] for axis in order)
    return Grid((i, j, k), Affine(matrix))


def slice_axis(affine: Affine, axis: str | int) -> int:
    """The voxel axis across slices that lie in the plane `axis`.

    "axial", "coronal" and "sagittal" mean the voxel axis nearest to that of the head, "i", "j",
    "k" and 0, 1, 2 the axis itself. Raises UsageError for anything else.
    """
    if axis in (0, 1, 2):
        return int(axis)
    if axis in VOXEL_AXES:
        return VOXEL_AXES.index(str(axis))
    for plane, world in AXES.items():
        if axis == plane:
            return nearest_axes(affine.direction)[0].index(world)
    known = [*AXES, *VOXEL_AXES]
    raise UsageError(
        f"There is no slice axis {axis!r}: {did_you_mean(str(axis), known, 'choose one of')}"
    )


def plane_across(affine: Affine, axis: int) -> Plane:
    """The anatomical plane of slices that lie across voxel axis `axis`."""
    world = nearest_axes(affine.direction)[0][axis]
    return next(plane for plane, across in AXES.items() if across == world)


def enforce_consistency(image: Float, slices: Float, operator: SliceOperator) -> Float:
    """`image` (I, J, K) made to have these `slices`, and nothing darker than the scan ever is.

    First moved smoothly, as far as it takes; then, where that rings below the darkest value, cut
    off there, and what the cut added to a slice is taken from its bright voxels by the
    multiplicative correction of Richardson and Lucy, which never changes a sign. Voxels that no
    slice sees, in gaps, have no part in that.
    """
    floor = np.float32(min(0.0, float(slices.min())))
    wanted = np.maximum(slices - floor, 0)
    weights, unseen = back_projection_weights(operator), operator.matrix.sum(axis=0) <= 0
    lit = along(weights, wanted)
    above = np.maximum(operator.consistent(image, slices) - floor, np.float32(GLOW) * lit)
    for _ in range(ROUNDS):
        found = operator.slice(above)
        ratio = np.divide(wanted, found, out=np.ones_like(wanted), where=found > 0)
        factor = along(weights, np.clip(ratio, 0, LARGEST_RATIO))
        factor[..., unseen] = 1  # the ratio of two specks in the dark would say what lies there
        above *= factor
    return np.asarray(above + floor, np.float32)


def back_projection_weights(operator: SliceOperator) -> NDArray[np.float64]:
    """The share of each slice in each voxel (voxels, slices), of sum 1; the nearest in a gap."""
    weights = operator.matrix.T.copy()
    seen = weights.sum(axis=1)
    weights[seen <= 0] = np.eye(weights.shape[1])[operator.nearest[seen <= 0]]
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))

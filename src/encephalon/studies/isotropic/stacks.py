# SPDX-License-Identifier: Apache-2.0
"""Two or three scans of one head, sliced in different directions, made into one volume.

What one stack cannot see between its slices, another measures within them. Each stack in turn
corrects the volume by what its slices say (iterated back-projection; Irani 1991), with the same
operator that reconstructs one stack alone; the first stack has the last word.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine, Grid, resample
from encephalon.geometry.resample import is_aligned
from encephalon.studies.isotropic.problem import Estimate, Problem, Stack
from encephalon.studies.isotropic.reconstruct import agreeing

__all__ = ["combine"]

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Times that every stack corrects the volume.
ROUNDS = 4
#: Share of a correction that an extra stack may make: it may be moved or noisy, a little.
TRUST = 0.8
#: Fewest slice voxels over which the intensities of two stacks can be compared.
FEWEST = 200
#: Standard deviations (robust) beyond which a difference is not intensity but something else.
OUTLIER = 3.0
#: Standard deviations per median absolute deviation of a normal distribution.
DEVIATIONS_PER_MEDIAN = 1.4826


@dataclass(frozen=True)
class _Extra:
    """An extra stack whose intensities are those of the first, and where they overlap.

    `slices` (I', J', S') and `seen`, the share of each slice voxel that lies in the first grid;
    `covers` (I, J, K) tells where the first grid lies in this stack.
    """

    stack: Stack
    slices: Float = field(repr=False)
    seen: Float = field(repr=False)
    covers: Mask = field(repr=False)


def combine(problem: Problem, first: Estimate) -> Estimate:
    """`first`, the estimate of the first stack, corrected by all the others.

    Extra stacks are brought to the intensities of the first by a gain and an offset. One that does
    not overlap it changes nothing. Where stacks overlap, the deviation falls with the root of how
    many they are. The slices of the first stack remain what they were.
    """
    image = np.array(first.image, np.float32)
    extras = [
        extra for stack in problem.stacks[1:] if (extra := _extra(stack, problem.grid, image))
    ]
    if not extras:
        return first
    own = problem.stack
    for _ in range(ROUNDS):
        for extra in extras:
            image += np.float32(TRUST) * _correction(extra, problem.grid, image)
        image = own.operator.consistent(image, own.slices)
    image = own.operator.consistent(agreeing(image, own.slices, own.operator), own.slices)
    if first.deviation is None:
        return replace(first, image=image)
    many = sum((extra.covers.astype(np.float32) for extra in extras), np.float32(1))
    return Estimate(image, np.asarray(first.deviation / np.sqrt(many), np.float32))


def _extra(stack: Stack, grid: Grid, image: Float) -> _Extra | None:
    """A stack ready to correct `image` (I, J, K) on `grid`; None if they hardly overlap."""
    ones = np.ones(grid.shape, np.uint8)
    inside = resample(ones, grid.affine, stack.grid, order=0).astype(np.float32)
    seen = stack.operator.slice(inside)
    slices = np.nan_to_num(stack.slices, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    expected = stack.operator.slice(_moved(image, grid.affine, stack.grid))
    whole = (seen > 1 - 1e-3) & np.isfinite(stack.slices)
    if np.count_nonzero(whole) < FEWEST:
        return None
    seen[~np.isfinite(stack.slices)] = 0.0
    gain, offset = _intensities(slices[whole], expected[whole])
    ones = np.ones(stack.grid.shape, np.uint8)
    covers = resample(ones, stack.grid.affine, grid, order=0) > 0
    return _Extra(stack, gain * slices + offset, seen, covers)


def _correction(extra: _Extra, grid: Grid, image: Float) -> Float:
    """What the slices of `extra` say that `image` (I, J, K) should be more."""
    stack = extra.stack
    expected = stack.operator.slice(_moved(image, grid.affine, stack.grid))
    missing = (extra.slices - expected) * (extra.seen > 1 - 1e-3)
    return _moved(stack.operator.interpolate(missing), stack.grid.affine, grid)


def _intensities(slices: Float, expected: Float) -> tuple[np.float32, np.float32]:
    """Gain and offset that make `slices` (N,) like `expected` (N,), outliers aside.

    Both have errors, so the gain is the ratio of their standard deviations, not a regression.
    """
    inside = np.ones(slices.shape, bool)
    gain, offset = 1.0, 0.0
    for _ in range(3):
        mine, theirs = slices[inside], expected[inside]
        gain = float(theirs.std()) / max(float(mine.std()), 1e-12)
        offset = float(theirs.mean()) - gain * float(mine.mean())
        error = np.abs(gain * slices + offset - expected)
        limit = OUTLIER * DEVIATIONS_PER_MEDIAN * float(np.median(error[inside]))
        inside = error <= max(limit, 1e-12)
        if np.count_nonzero(inside) < FEWEST:
            break
    return np.float32(gain), np.float32(offset)


def _moved(volume: Float, source: Affine, target: Grid) -> Float:
    """`volume` on another grid: exactly where the voxels are the same, else a cubic B-spline."""
    same = is_aligned(source, target.affine) and _shared(source, target.affine)
    return np.asarray(resample(volume, source, target, order=1 if same else 3), np.float32)


def _shared(source: Affine, target: Affine) -> bool:
    """Whether the voxel centres of both are those of one lattice."""
    mapping = (source.inverse @ target).matrix[:3]
    return bool(np.abs(mapping - np.round(mapping)).max() < 1e-3)

# SPDX-License-Identifier: Apache-2.0
"""The terms of the guided method: detail predicted from a T1w, and smoothing along edges.

Around every voxel the slices are explained by a few tissues of the T1w, sliced alike: a local
linear relation of T2w to T1w whose coefficients come from slices on both sides, so partial volume
does no harm. The same relation then says what the slices left out. It is the guided filter
(He 2013) with the forward operator in the middle, and knows any contrast. Smoothing is one step
down a convex energy of neighbouring voxels: along edges, not across them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from encephalon.studies.isotropic.reconstruction.interpolation import linear_weights
from encephalon.transforms.slices import SliceOperator, along

Float = NDArray[np.float32]

#: Window of the local relation, standard deviation: voxels within a slice, and slices. Of 0.8 to 5
#: voxels and 0.4 to 1 slices, the best on real pairs cut into slices of 3 and 4 mm.
WINDOW, WINDOW_SLICES = 1.2, 0.7
#: Pull of the relation towards that of the whole scan, as a share of the tissues' mean variance.
PULL = 0.1
#: What variance of the slices that the relation leaves unexplained counts against what it explains,
#: where the T1w is believed the less. In 24 lesions of the T2w alone, in six real heads cut into
#: slices of 4 mm, the result became 0.6 dB better by it, and without a lesion 0.03 dB worse; twice
#: as much doubt costs twice as much.
DOUBT = 0.5
#: Quantiles of the T1w's foreground between which the tissues fade into each other.
TISSUES = (0.02, 0.5, 0.98)
#: Foreground of the T1w: above this share of its range.
FOREGROUND = 0.02

#: Differences, in standard deviations of the scan, from which two voxels count as apart. Half or
#: twice as much changes the result by less than 0.1 dB on real pairs.
APART_T2W, APART_T1W = 0.4, 0.3
#: What a pair counts per voxel step between its two (a diagonal is two or three steps).
PER_STEP = 0.7


@dataclass(frozen=True)
class Guide:
    """A T1w on the grid of the result.

    image   Intensities (I, J, K), finite everywhere.
    weight  How far they are to be believed (I, J, K): 0 where nothing was acquired, 1 well inside;
            None where that is everywhere.
    levels  The intensities at which one tissue begins to fade into the next: rising, any number.
    """

    image: Float = field(repr=False)
    weight: Float | None = field(default=None, repr=False)
    levels: tuple[float, ...] = ()

    @classmethod
    def of(cls, image: Float, coverage: NDArray[np.bool_] | None, reach: float) -> Guide | None:
        """A guide from `image` (I, J, K), believed `reach` voxels inside `coverage` (I, J, K).

        Values that are not finite count as not acquired. None when nothing is left to guide.
        """
        from scipy.ndimage import gaussian_filter

        known = np.isfinite(image) if coverage is None else np.isfinite(image) & coverage
        if not known.any():
            return None
        inside = image[known]
        low, high = np.percentile(inside, (0.5, 99.5))
        tissue = inside[inside > low + FOREGROUND * (high - low)]
        if not (tissue.size and high > low):
            return None
        levels = np.maximum.accumulate([low, *np.quantile(tissue, TISSUES)])
        # Equal levels would part tissues that are one.
        levels = levels[np.diff(levels, prepend=-np.inf) > 1e-4 * (high - low)]
        filled, weight = image.astype(np.float32), None
        if not known.all():
            filled[~known] = np.float32(inside.mean())
            # Rising from 0 to 1 over about two `reach` voxels inside.
            share = gaussian_filter(known.astype(np.float32), reach, mode="nearest", truncate=2)
            weight = np.asarray(np.clip(2 * share - 1, 0, 1), np.float32)
        return cls(filled, weight, tuple(float(level) for level in levels))

    def tissues(self) -> list[Float]:
        """The share of each step between two levels that a voxel has climbed: (I, J, K), 0 to 1."""
        pairs = zip(self.levels[:-1], self.levels[1:], strict=True)
        steps = [np.clip((self.image - low) / (high - low), 0, 1) for low, high in pairs]
        return [np.asarray(step, np.float32) for step in steps]


@dataclass(frozen=True)
class ProblemContext:
    """Slices that are to be made whole: the real ones, or those of an example.

    slices    (I, J, S), mean 0 and standard deviation about 1 within the scan.
    operator  What they measure of (I, J, K).
    guide     The T1w, if there is one.
    fine      Which of the first two axes are of full resolution; the other one is itself cut in
              slices.
    """

    slices: Float = field(repr=False)
    operator: SliceOperator
    guide: Guide | None
    fine: tuple[int, ...] = (0, 1)


def details(context: ProblemContext) -> list[Float]:
    """What the T1w says of what the slices cannot see: terms (I, J, K) to be weighed and summed.

    The predicted detail itself, and how it differs from its neighbours across the slices, within
    them, and both: weighed against each other they are a small filter against the T1w's noise. No
    terms without a guide.
    """
    if context.guide is None or len(context.guide.levels) < 2:
        return []
    detail = _predicted_from_guide(context, context.guide)
    across = neighbour_mean(detail, (2,)) - 2 * detail
    # Axes in slices have no close neighbours: the others stand for both.
    scale = np.float32(2 / len(context.fine))
    within = scale * neighbour_mean(detail, context.fine) - 4 * detail
    both = scale * neighbour_mean(across, context.fine) - 4 * across
    return [
        detail,
        null_space_component(context.operator, across),
        within,
        null_space_component(context.operator, both),
    ]


def null_space_component(operator: SliceOperator, volume: Float) -> Float:
    """The part of `volume` (I, J, K) that leaves the slices as they are."""
    return np.asarray(volume - operator.interpolate(operator.slice(volume)), np.float32)


def neighbour_mean(volume: Float, axes: Sequence[int]) -> Float:
    """The sum of both neighbours along each of `axes`; edge voxels are their own neighbours."""
    total = np.zeros_like(volume)
    for axis in axes:
        view, out = np.moveaxis(volume, axis, 0), np.moveaxis(total, axis, 0)
        out[1:] += view[:-1]
        out[:1] += view[:1]
        out[:-1] += view[1:]
        out[-1:] += view[-1:]
    return total


def _predicted_from_guide(context: ProblemContext, guide: Guide) -> Float:
    """The detail (I, J, K) that the local relation to the tissues makes of theirs."""
    tissues = guide.tissues()
    sliced = [context.operator.slice(tissue) for tissue in tissues]
    relation = _relation(context.slices, sliced, context.fine)
    agreement = _agreement(context.slices, sliced, relation, context.fine)
    reading = linear_weights(context.operator)
    detail = np.zeros_like(guide.image)
    for tissue, measured, coefficient in zip(tissues, sliced, relation, strict=True):
        hidden = tissue - context.operator.interpolate(measured)
        hidden *= along(reading, coefficient)
        detail += hidden
    detail *= along(reading, agreement)
    if guide.weight is not None:
        detail *= guide.weight
    return detail


def _relation(slices: Float, sliced: Sequence[Float], fine: tuple[int, ...]) -> list[Float]:
    """The coefficient of each tissue (I, J, S) that explains the slices best around a voxel.

    Least squares in a Gaussian window, drawn towards the coefficients of the whole scan.
    """
    mean = partial(_mean, fine=fine)
    count = range(len(sliced))
    centre, means = mean(slices), [mean(tissue) for tissue in sliced]
    joint = {
        (a, b): mean(sliced[a] * sliced[b]) - means[a] * means[b]
        for a in count
        for b in range(a + 1)
    }
    shared = [mean(sliced[a] * slices) - means[a] * centre for a in count]
    whole = np.array([[joint[max(a, b), min(a, b)].mean() for b in count] for a in count])
    # A tissue that is nowhere must not make the equations singular.
    variance = np.maximum(np.diag(whole), 1e-3 * np.trace(whole) + 1e-12)
    drawn = np.linalg.solve(whole + 1e-3 * np.diag(variance), [part.mean() for part in shared])
    for a in count:
        joint[a, a] += np.float32(PULL * variance[a])
        shared[a] += np.float32(PULL * variance[a] * drawn[a])
    return _solved(joint, shared)


def _agreement(
    slices: Float, sliced: Sequence[Float], relation: Sequence[Float], fine: tuple[int, ...]
) -> Float:
    """How far the relation holds around each voxel of the slices (I, J, S), 0 to 1.

    Where one of the two scans alone shows something, such as a lesion, the T1w must not draw there
    what it shows.
    """
    mean = partial(_mean, fine=fine)
    explained = np.zeros_like(slices)
    for tissue, coefficient in zip(sliced, relation, strict=True):
        explained += coefficient * (tissue - mean(tissue))
    left = np.square(slices - mean(slices) - explained)
    power = mean(np.square(explained))
    return np.asarray(power / (power + np.float32(DOUBT) * mean(left) + np.float32(1e-6)))


def _mean(values: Float, fine: tuple[int, ...]) -> Float:
    """The mean in the window of the local relation, of values in slices (I, J, S)."""
    from scipy.ndimage import gaussian_filter

    widths = [WINDOW if axis in fine else WINDOW_SLICES for axis in range(2)] + [WINDOW_SLICES]
    smooth: Float = gaussian_filter(values, widths, mode="nearest", truncate=2.5)
    return smooth


def _solved(matrix: dict[tuple[int, int], Float], values: list[Float]) -> list[Float]:
    """Solutions of small symmetric equations, one per voxel (Gaussian elimination, in place).

    `matrix` holds the lower triangle, each entry a field; it and `values` are used up.
    """
    count = len(values)
    for pivot in range(count):
        for row in range(pivot + 1, count):
            factor = matrix[row, pivot] / matrix[pivot, pivot]
            for column in range(row, count):
                matrix[column, row] -= factor * matrix[column, pivot]
            values[row] -= factor * values[pivot]
    for row in reversed(range(count)):
        for solved in range(row + 1, count):
            values[row] -= matrix[solved, row] * values[solved]
        values[row] /= matrix[row, row]
    return values


def smoothing(context: ProblemContext, image: Float) -> Float:
    """Where each voxel of `image` (I, J, K) is drawn by its 26 neighbours, unseen by the slices.

    A neighbour draws less the more the two differ, in `image` and in the T1w where there is one
    (Perona 1990; joint weights after Manjon 2010). Axes that are themselves cut in slices have
    no neighbours.
    """
    pull, weight = np.zeros_like(image), np.ones_like(image)
    guide = context.guide
    apart_t2w = APART_T2W * max(float(image.std()), 1e-12)
    apart_t1w = APART_T1W * max(float(guide.image.std()), 1e-12) if guide is not None else 1.0
    steps = [(-1, 0, 1) if axis in (*context.fine, 2) else (0,) for axis in range(3)]
    for offset in product(*steps):
        if offset <= (0, 0, 0):  # half of the neighbours; the other half are these backwards
            continue
        sizes = list(zip(offset, image.shape, strict=True))
        here = tuple(slice(max(0, -step), size + min(0, -step)) for step, size in sizes)
        there = tuple(slice(max(0, step), size + min(0, step)) for step, size in sizes)
        difference = image[there] - image[here]
        close = 1 + np.square(difference / np.float32(apart_t2w))
        if guide is not None:
            close += np.square((guide.image[there] - guide.image[here]) / np.float32(apart_t1w))
        np.square(close, out=close)
        share = np.float32(PER_STEP ** sum(map(abs, offset))) / close
        weight[here] += share
        weight[there] += share
        share *= difference
        pull[here] += share
        pull[there] -= share
    pull /= weight
    return null_space_component(context.operator, pull)

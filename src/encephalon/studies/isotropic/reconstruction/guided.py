# SPDX-License-Identifier: Apache-2.0
"""Model-based reconstruction without weights: any contrast, with a T1w or without.

The likeliest volume with the acquired slices (kriging) is the start. To it come, with fitted
weights, what a T1w predicts of the detail that slices cannot see, then two steps that smooth along
edges. Every term lies in the null space of the slices, so the result keeps them.

The weights come from self-supervised examples. Within a slice the scan is of full resolution: cut
there into slices as thick as the real ones and made whole again, the scan itself tells how much of
each term to add and how far off the sum is, and a T1w that does not belong is found out and left
aside. (Scans as their own teachers: Zhao 2020, SMORE; here a handful of weights is learnt.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Grid
from encephalon.studies.isotropic.reconstruction.guided_terms import (
    Guide,
    ProblemContext,
    details,
    smoothing,
)
from encephalon.studies.isotropic.reconstruction.interpolation import linear_weights
from encephalon.studies.isotropic.reconstruction.problem import (
    Estimate,
    Problem,
    enforce_consistency,
)
from encephalon.transforms.slices import SliceOperator, along

Float = NDArray[np.float32]

#: Steps of smoothing: the second still brings 0.1 dB on real pairs, a third nothing.
STEPS = 2
Matrix = NDArray[np.float64]
#: Fewer slices across a scan teach nothing.
FEWEST_SLICES = 4
#: Slices closer than this many voxels hide nothing.
LEAST_RATIO = 1.2
#: Share of each term's own power that is added to the equations: keeps twins apart.
RIDGE = 1e-3
#: Window in which the squared error of the examples is averaged: voxels, and slices.
ERROR_WINDOW, ERROR_WINDOW_SLICES = 1.5, 0.5
#: Errors between the slices are larger than those of the examples, whose truth is thick slices and
#: so less sharp. Set on three real pairs, on which the deviation is then 0.7 (4 mm) to 2.0 (2 mm)
#: times the error, 1.1 times in the mean over planes and thicknesses.
SHARPER = 1.25
#: Classes of the distance from a slice's middle, whose errors differ.
CLASSES = 6


def guided(problem: Problem) -> Estimate:
    """The first stack of `problem` made isotropic, by its T1w if it has one.

    The deviation is the error of the self-supervised examples, local and by distance from a slice's
    middle; None when the slices are too small to make any of (fewer than four slice distances
    across), in which case the image is the likeliest volume, unguided. Values that are not finite
    count as 0 in slices and as not acquired in the T1w.
    """
    operator, slices = problem.stack.operator, problem.stack.finite
    middle, scale = np.float32(slices.mean()), np.float32(max(float(slices.std()), 1e-12))
    guide = None
    if problem.guide is not None:
        guide = Guide.of(problem.guide, problem.coverage, max(operator.ratio, 1.0))
    context = ProblemContext((slices - middle) / scale, operator, guide)
    image, deviation = _reconstructed(context, problem)
    image *= scale
    image += middle
    if deviation is not None:
        deviation *= scale
    # What was cut off below 0 is made good: here the slices have the last word.
    image = operator.consistent(enforce_consistency(image, slices, operator), slices)
    return Estimate(image, deviation)


def _reconstructed(context: ProblemContext, problem: Problem) -> tuple[Float, Float | None]:
    """Image and deviation (I, J, K) in the units of `context`."""
    examples = self_supervised_examples(context, problem.grid)
    contexts = [context, *(example.context for example in examples)]
    images = [each.operator.interpolate(each.slices) for each in contexts]
    if not examples:
        return images[0], None
    truths = [example.truth for example in examples]
    for step in range(1 + STEPS):
        terms = [
            [smoothing(each, image)] if step else details(each)
            for each, image in zip(contexts, images, strict=True)
        ]
        if not terms[0]:
            continue
        # All gain by as much as the examples do.
        missing = [truth - image for truth, image in zip(truths, images[1:], strict=True)]
        weights = fit_weights(terms[1:], missing)
        for image, some in zip(images, terms, strict=True):
            for term, weight in zip(some, weights, strict=True):
                np.add(image, np.float32(weight) * term, out=image)
    errors = [truth - image for truth, image in zip(truths, images[1:], strict=True)]
    return images[0], propagate_error(context.operator, examples, errors)


@dataclass(frozen=True)
class SelfSupervisedExample:
    """Thick slices whose truth is known: made of the real ones, within these.

    axis     Of the real slices, across which they are cut again.
    context  The real slices with that axis last, cut across it.
    truth    The real slices, with that axis last.
    """

    axis: int
    context: ProblemContext
    truth: Float = field(repr=False)


def self_supervised_examples(context: ProblemContext, grid: Grid) -> list[SelfSupervisedExample]:
    """An example for each in-plane axis of a real `context` that is long enough to be cut."""
    found = []
    for axis in (0, 1):
        operator = _turned(context.operator, grid.shape[axis], grid.affine.spacing[axis])
        if operator is None:
            continue
        guide, truth = context.guide, _moved_last(context.slices, axis)
        if guide is not None:  # in slices as thick as those of the T2w
            image = _moved_last(context.operator.slice(guide.image), axis)
            weight = guide.weight
            if weight is not None:
                weight = _moved_last(context.operator.slice(weight), axis)
            guide = replace(guide, image=image, weight=weight)
        cut = ProblemContext(operator.slice(truth), operator, guide, (0,))
        found.append(SelfSupervisedExample(axis, cut, truth))
    return found


def _moved_last(volume: Float, axis: int) -> Float:
    return np.ascontiguousarray(np.moveaxis(volume, axis, 2))


def fit_weights(terms: Sequence[Sequence[Float]], missing: Sequence[Float]) -> Matrix:
    """What each of T terms is worth: weights (T,) by least squares over all examples.

    `terms` are the T terms of each example, `missing` what their sum should be.
    """
    count = range(len(terms[0]))
    powers, shared = np.zeros((len(count), len(count))), np.zeros(len(count))
    for some, wanted in zip(terms, missing, strict=True):
        powers += [[float(np.vdot(some[a], some[b])) for b in count] for a in count]
        shared += [float(np.vdot(some[a], wanted)) for a in count]
    ridge = RIDGE * np.diag(powers) + 1e-12
    return np.asarray(np.linalg.solve(powers + np.diag(ridge), shared))


def propagate_error(
    operator: SliceOperator, examples: Sequence[SelfSupervisedExample], errors: Sequence[Float]
) -> Float:
    """The standard deviation of the error of the real volume (I, J, K).

    `errors` are those of each example, shaped as its truth; at least one. Near a voxel they tell
    how hard the place is; over all, how the error grows away from the middle of a slice.
    """
    from scipy.ndimage import gaussian_filter

    squares = [
        np.moveaxis(np.square(error), 2, example.axis)
        for example, error in zip(examples, errors, strict=True)
    ]
    local = np.ascontiguousarray(sum(squares[1:], squares[0])) / np.float32(len(squares))
    widths = (ERROR_WINDOW, ERROR_WINDOW, ERROR_WINDOW_SLICES)
    local = gaussian_filter(local, widths, mode="nearest", truncate=3)
    variance = along(linear_weights(operator), local)
    variance *= _profile(operator, examples, errors).astype(np.float32)
    np.maximum(variance, 0, out=variance)
    return np.asarray(np.float32(SHARPER) * np.sqrt(variance), np.float32)


def _profile(
    operator: SliceOperator, examples: Sequence[SelfSupervisedExample], errors: Sequence[Float]
) -> Matrix:
    """How much larger than average the squared error of each voxel of a line is: (voxels,)."""
    places, squares = [], []
    for example, error in zip(examples, errors, strict=True):
        places.append(np.abs(example.context.operator.place()))
        squares.append(np.square(error).mean(axis=(0, 1)))
    place, square = np.concatenate(places), np.concatenate(squares)
    # Voxels beyond the outermost slices are guessed in an example as they are in the scan.
    edges = np.append(np.linspace(0, 0.5, CLASSES)[:-1] + 1e-6, np.inf)
    which = np.digitize(place, edges)
    filled = [c for c in range(CLASSES) if (which == c).any()]
    height = [square[which == c].mean() for c in filled]
    centre = [place[which == c].mean() for c in filled]
    mean = max(float(square.mean()), 1e-30)
    ratio = np.interp(np.abs(operator.place()), centre, np.asarray(height) / mean)
    return np.asarray(ratio)


def _turned(operator: SliceOperator, voxels: int, size: float) -> SliceOperator | None:
    """The same slices along a line of `voxels` of `size` mm; None if too few fit."""
    first = float(operator.middles[0])
    step = operator.distance
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

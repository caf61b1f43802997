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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Grid
from encephalon.studies.isotropic.reconstruction.guided_terms import (
    Guide,
    ProblemContext,
    details,
    interslice_weights,
    smoothing,
)
from encephalon.studies.isotropic.reconstruction.problem import (
    Estimate,
    Problem,
    enforce_consistency,
)
from encephalon.transforms.slices import SliceOperator, along

__all__ = [
    "SelfSupervisedExample",
    "fit_weights",
    "guided",
    "propagate_error",
    "self_supervised_examples",
]

Float = NDArray[np.float32]
Terms = Callable[["Volume"], Sequence[Float]]

#: Steps of smoothing: the second still brings 0.1 dB on real pairs, a third nothing.
STEPS = 2
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


@dataclass
class Volume:
    """A reconstruction under way: what was measured, and the volume (.., .., N) so far."""

    context: ProblemContext
    image: Float = field(repr=False)

    @classmethod
    def start(cls, context: ProblemContext) -> Volume:
        """The likeliest volume with the slices of `context`."""
        return cls(context, context.operator.interpolate(context.slices))

    def add(self, terms: Sequence[Float], weights: NDArray[np.float64]) -> None:
        """Add the weighed sum of `terms`."""
        for term, weight in zip(terms, weights, strict=True):
            self.image += np.float32(weight) * term


def guided(problem: Problem) -> Estimate:
    """The first stack of `problem` made isotropic, by its T1w if it has one.

    The deviation is the error of the practice, local and by distance from a slice's middle; None
    when the slices are too small to practise on (fewer than four slice distances across), in which
    case the image is the likeliest volume, unguided. Values that are not finite count as 0 in
    slices and as not acquired in the T1w.
    """
    stack, operator = problem.stack, problem.stack.operator
    slices = np.nan_to_num(stack.slices, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
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
    """Image and deviation (I, J, K) in the units of the scene."""
    rounds = self_supervised_examples(context, problem.grid)
    real = Volume.start(context)
    if not rounds:
        return real.image, None
    tries = [Volume.start(practice.context) for practice in rounds]
    truths = [practice.truth for practice in rounds]
    for terms in (_details, *[_smoothing] * STEPS):
        _improve(real, tries, truths, terms)
    errors = [truth - attempt.image for truth, attempt in zip(truths, tries, strict=True)]
    return real.image, propagate_error(context.operator, rounds, errors)


def _improve(real: Volume, tries: list[Volume], truths: list[Float], terms: Terms) -> None:
    """Add `terms` to all volumes, each as much as the examples (`tries`) gain by it."""
    practised = [terms(attempt) for attempt in tries]
    if not practised[0]:
        return
    missing = [truth - attempt.image for truth, attempt in zip(truths, tries, strict=True)]
    weights = fit_weights(practised, missing)
    for attempt, some in zip(tries, practised, strict=True):
        attempt.add(some, weights)
    real.add(terms(real), weights)


def _details(volume: Volume) -> list[Float]:
    return details(volume.context)


def _smoothing(volume: Volume) -> list[Float]:
    return [smoothing(volume.context, volume.image)]


@dataclass(frozen=True)
class SelfSupervisedExample:
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
    context: ProblemContext
    truth: Float = field(repr=False)

    def back(self, volume: Float) -> Float:
        """A volume of the practice in the axis order of the real slices."""
        return np.moveaxis(volume, 2, self.axis)


def self_supervised_examples(context: ProblemContext, grid: Grid) -> list[SelfSupervisedExample]:
    """A practice for each in-plane axis of a real `context` that is long enough to be cut."""
    found = []
    for axis in (0, 1):
        operator = _turned(context.operator, grid.shape[axis], grid.affine.spacing[axis])
        if operator is None:
            continue
        truth = np.ascontiguousarray(np.moveaxis(context.slices, axis, 2))
        guide = _sliced(context, axis)
        found.append(
            SelfSupervisedExample(
                axis, ProblemContext(operator.slice(truth), operator, guide, (0,)), truth
            )
        )
    return found


def fit_weights(terms: Sequence[Sequence[Float]], missing: Sequence[Float]) -> Matrix:
    """What each of T terms is worth: weights (T,) by least squares over all examples.

    `terms` are the T terms of each practice, `missing` what their sum should be.
    """
    count = range(len(terms[0]))
    powers, shared = np.zeros((len(count), len(count))), np.zeros(len(count))
    for some, wanted in zip(terms, missing, strict=True):
        powers += [[float(np.vdot(some[a], some[b])) for b in count] for a in count]
        shared += [float(np.vdot(some[a], wanted)) for a in count]
    ridge = RIDGE * np.diag(powers) + 1e-12
    return np.asarray(np.linalg.solve(powers + np.diag(ridge), shared))


def propagate_error(
    operator: SliceOperator, done: Sequence[SelfSupervisedExample], errors: Sequence[Float]
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
    variance = along(interslice_weights(operator), local)
    variance *= _profile(operator, done, errors).astype(np.float32)
    np.maximum(variance, 0, out=variance)
    return np.asarray(np.float32(SHARPER) * np.sqrt(variance), np.float32)


def _profile(
    operator: SliceOperator, done: Sequence[SelfSupervisedExample], errors: Sequence[Float]
) -> Matrix:
    """How much larger than average the squared error of each voxel of a line is: (voxels,)."""
    places, squares = [], []
    for practice, error in zip(done, errors, strict=True):
        places.append(_distances(practice.context.operator))
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


def _sliced(context: ProblemContext, axis: int) -> Guide | None:
    """The guide of a practice: the T1w in slices as thick as those of the T2w."""
    guide = context.guide
    if guide is None:
        return None

    def turned(volume: Float) -> Float:
        return np.ascontiguousarray(np.moveaxis(context.operator.slice(volume), axis, 2))

    weight = None if guide.weight is None else turned(guide.weight)
    return replace(guide, image=turned(guide.image), weight=weight)

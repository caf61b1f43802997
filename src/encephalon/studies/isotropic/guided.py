# SPDX-License-Identifier: Apache-2.0
"""Model-based reconstruction without weights: any contrast, with a T1w or without.

The likeliest volume with the measured slices (kriging) is the start. To it come, weighed by
practice within the slices: what a T1w foretells of the detail that slices cannot see, then two
steps that smooth along edges. Every term is unseen by the slices, so the result keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from encephalon.studies.isotropic.agreement import agreeing
from encephalon.studies.isotropic.guided_detail import Guide, Scene, details
from encephalon.studies.isotropic.guided_edges import smoothing
from encephalon.studies.isotropic.guided_practice import practices, spread_error, weigh
from encephalon.studies.isotropic.problem import Estimate, Problem

__all__ = ["guided"]

Float = NDArray[np.float32]
Terms = Callable[["Volume"], Sequence[Float]]

#: Steps of smoothing: the second still brings 0.1 dB on real pairs, a third nothing.
STEPS = 2


@dataclass
class Volume:
    """A reconstruction under way: what was measured, and the volume (.., .., N) so far."""

    scene: Scene
    image: Float = field(repr=False)

    @classmethod
    def start(cls, scene: Scene) -> Volume:
        """The likeliest volume with the slices of `scene`."""
        return cls(scene, scene.operator.interpolate(scene.slices))

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
    scene = Scene((slices - middle) / scale, operator, guide)
    image, deviation = _reconstructed(scene, problem)
    image *= scale
    image += middle
    if deviation is not None:
        deviation *= scale
    # What was cut off below 0 is made good: here the slices have the last word.
    image = operator.consistent(agreeing(image, slices, operator), slices)
    return Estimate(image, deviation)


def _reconstructed(scene: Scene, problem: Problem) -> tuple[Float, Float | None]:
    """Image and deviation (I, J, K) in the units of the scene."""
    rounds = practices(scene, problem.grid)
    real = Volume.start(scene)
    if not rounds:
        return real.image, None
    tries = [Volume.start(practice.scene) for practice in rounds]
    truths = [practice.truth for practice in rounds]
    for terms in (_details, *[_smoothing] * STEPS):
        _improve(real, tries, truths, terms)
    errors = [truth - attempt.image for truth, attempt in zip(truths, tries, strict=True)]
    return real.image, spread_error(scene.operator, rounds, errors)


def _improve(real: Volume, tries: list[Volume], truths: list[Float], terms: Terms) -> None:
    """Add `terms` to all volumes, each as much as the practices (`tries`) gain by it."""
    practised = [terms(attempt) for attempt in tries]
    if not practised[0]:
        return
    missing = [truth - attempt.image for truth, attempt in zip(truths, tries, strict=True)]
    weights = weigh(practised, missing)
    for attempt, some in zip(tries, practised, strict=True):
        attempt.add(some, weights)
    real.add(terms(real), weights)


def _details(volume: Volume) -> list[Float]:
    return details(volume.scene)


def _smoothing(volume: Volume) -> list[Float]:
    return [smoothing(volume.scene, volume.image)]

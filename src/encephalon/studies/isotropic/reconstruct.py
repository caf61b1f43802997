# SPDX-License-Identifier: Apache-2.0
"""From a problem to an isotropic volume by the trained network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import bounding_box
from encephalon.inference.runtimes import Runtime
from encephalon.inference.tiles import run_tiled
from encephalon.studies.isotropic.agreement import agreeing
from encephalon.studies.isotropic.features import Scale, make_features
from encephalon.studies.isotropic.guided import guided
from encephalon.studies.isotropic.problem import Estimate, Problem

__all__ = ["NetworkMethod", "tile_sizes"]

Float = NDArray[np.float32]

#: Largest edge of a tile, voxels: 16 channels of a cube of it are 130 MB.
TILE = 128
#: Voxels around a tile that the network sees and that are thrown away: beyond them its answer
#: changes by less than 1 % of its own correction.
HALO = 12
#: Intensity, in units of the scan's range, below which there is nothing to correct.
EMPTY = 0.02
#: Standard deviations of a Laplace distribution per scale parameter.
DEVIATIONS = 2**0.5


@dataclass(frozen=True)
class NetworkMethod:
    """The trained network as a method of reconstruction.

    Attributes
    ----------
    runtime
        The opened graph: features (B, 9, I, J, K) to image and log error (B, 2, I, J, K).
    trust, deviation_scale
        See `IsotropicSettings`.
    multiple
        Voxels that the edges of a tile are multiples of.
    """

    runtime: Runtime
    trust: float = 1.0
    deviation_scale: float = 1.0
    multiple: int = 8

    def __call__(self, problem: Problem) -> Estimate:
        """The estimate of the first stack: that of the guided method, refined."""
        stack = problem.stack
        scale, guide_scale = Scale.of(stack.slices, "the T2w"), None
        if problem.guide is not None:
            inside = problem.guide
            inside = inside if problem.coverage is None else inside[problem.coverage]
            guide_scale = Scale.of(inside, "the T1w")
        start = guided(problem)
        image, spread = self._answer(make_features(problem, start, scale, guide_scale))
        image = start.image + np.float32(self.trust) * (scale.restore(image) - start.image)
        deviation = np.exp(spread) * np.float32(DEVIATIONS * self.deviation_scale * scale.span)
        return Estimate(agreeing(image, stack.slices, stack.operator), deviation)

    def _answer(self, features: Float) -> Float:
        """Image and log error (2, I, J, K); the start where there is nothing to correct."""
        answer = np.empty((2, *features.shape[1:]), np.float32)
        answer[0] = features[0] + features[1]
        answer[1] = np.log(1e-3)
        box = bounding_box(features[0] > EMPTY, HALO)
        part = features[(slice(None), *box)]
        if part.size:
            answer[(slice(None), *box)] = run_tiled(
                lambda batch: self.runtime.run(batch)[0],
                part,
                tile_sizes(part.shape[1:], self.multiple),
                [HALO if size > TILE else 0 for size in part.shape[1:]],
                multiple=self.multiple,
            )
        return answer


def tile_sizes(shape: tuple[int, ...], multiple: int) -> tuple[int, ...]:
    """Edges of the fewest equal tiles, halo included, that cover `shape` voxels."""
    sizes = []
    for size in shape:
        tiles = -(-size // (TILE - 2 * HALO)) if size > TILE else 1
        edge = -(-size // tiles) + (2 * HALO if tiles > 1 else 0)
        sizes.append(-(-edge // multiple) * multiple)
    return tuple(sizes)

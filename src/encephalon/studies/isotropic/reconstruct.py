# SPDX-License-Identifier: Apache-2.0
"""From a problem to an isotropic volume by the trained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    deviation_scale
        See `IsotropicSettings`.
    multiple
        Voxels that the edges of a tile are multiples of.
    """

    runtime: Runtime
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
        image, spread = self._answer(make_features(problem, guided(problem), scale, guide_scale))
        deviation = np.exp(spread) * np.float32(DEVIATIONS * self.deviation_scale * scale.span)
        return Estimate(agreeing(scale.restore(image), stack.slices, stack.operator), deviation)

    def _answer(self, features: Float) -> Float:
        """Image and log error (2, I, J, K); the start where there is nothing to correct."""
        answer = np.empty((2, *features.shape[1:]), np.float32)
        answer[0] = features[0] + features[1]
        answer[1] = np.log(1e-3)
        box = _box(features[0] > EMPTY, HALO)
        part = features[(slice(None), *box)]
        if part.size:
            answer[(slice(None), *box)] = run_tiled(
                lambda batch: self.runtime.run(batch)[0],
                part,
                tile_sizes(part.shape[1:], self.multiple),
                HALO,
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


def _box(inside: NDArray[np.bool_], margin: int) -> tuple[slice, ...]:
    """The box around what is true, and `margin` voxels more; empty where nothing is."""
    box: list[Any] = []
    for axis, size in enumerate(inside.shape):
        others = tuple(a for a in range(inside.ndim) if a != axis)
        hit = np.flatnonzero(inside.any(axis=others))
        first, last = (int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, 0)
        box.append(slice(max(0, first - margin), min(size, last + margin)) if last else slice(0, 0))
    return tuple(box)

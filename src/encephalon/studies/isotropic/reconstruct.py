# SPDX-License-Identifier: Apache-2.0
"""From a problem to an isotropic volume by the trained network, made to agree with the slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.inference.runtimes import Runtime
from encephalon.inference.tiles import run_tiled
from encephalon.studies.isotropic.features import Scale, make_features
from encephalon.studies.isotropic.problem import Estimate, Problem
from encephalon.transforms.slices import SliceOperator

__all__ = ["NetworkMethod", "agreeing", "consistency"]

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
#: How often intensities below what the scan holds are cut off and the slices restored.
ROUNDS = 3


@dataclass(frozen=True)
class NetworkMethod:
    """The trained network as a method of reconstruction.

    Attributes
    ----------
    runtime
        The opened graph: features (B, 8, I, J, K) to image and log error (B, 2, I, J, K).
    deviation_scale
        See `IsotropicSettings`.
    multiple
        Voxels that the edges of a tile are multiples of.
    """

    runtime: Runtime
    deviation_scale: float = 1.0
    multiple: int = 8

    def __call__(self, problem: Problem) -> Estimate:
        """The estimate of the first stack, guided by the T1w where there is one."""
        stack, operator = problem.stack, problem.stack.operator
        scale = Scale.of(stack.slices, "the T2w")
        guide = problem.guide
        if guide is not None:
            inside = guide if problem.coverage is None else guide[problem.coverage]
            guide = Scale.of(inside, "the T1w").normalise(guide)
        slices = scale.normalise(stack.slices)
        features = make_features(slices, operator, guide, problem.coverage)
        image, spread = self._answer(features)
        deviation = np.exp(spread) * np.float32(DEVIATIONS * self.deviation_scale * scale.span)
        return Estimate(agreeing(scale.restore(image), stack.slices, operator), deviation)

    def _answer(self, features: Float) -> Float:
        """Image and log error (2, I, J, K); the interpolation where there is nothing to correct."""
        answer = np.empty((2, *features.shape[1:]), np.float32)
        answer[0] = features[0]
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


def agreeing(image: Float, slices: Float, operator: SliceOperator) -> Float:
    """`image` (I, J, K) made to have these `slices`, and nothing darker than the scan ever is."""
    floor = np.float32(min(0.0, float(slices.min())))
    for _ in range(ROUNDS):
        image = np.maximum(operator.consistent(image, slices), floor)
    return image


def consistency(image: Float, slices: Float, operator: SliceOperator) -> float:
    """NRMSE of the re-sliced image against the slices: 0 where they are the same."""
    error = float(np.linalg.norm(operator.slice(image) - slices))
    return error / max(float(np.linalg.norm(slices)), 1e-12)


def _box(inside: NDArray[np.bool_], margin: int) -> tuple[slice, ...]:
    """The box around what is true, and `margin` voxels more; empty where nothing is."""
    box: list[Any] = []
    for axis, size in enumerate(inside.shape):
        others = tuple(a for a in range(inside.ndim) if a != axis)
        hit = np.flatnonzero(inside.any(axis=others))
        first, last = (int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, 0)
        box.append(slice(max(0, first - margin), min(size, last + margin)) if last else slice(0, 0))
    return tuple(box)

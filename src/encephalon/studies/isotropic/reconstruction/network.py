# SPDX-License-Identifier: Apache-2.0
"""From a problem to an isotropic volume by the trained network, and the channels that it sees.

The channels of a problem are the same in training and in prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.geometry.affine import bounding_box
from encephalon.inference.runtimes import Runtime
from encephalon.inference.tiles import run_tiled
from encephalon.studies.isotropic.reconstruction.guided import guided
from encephalon.studies.isotropic.reconstruction.problem import (
    Estimate,
    Problem,
    enforce_consistency,
)
from encephalon.transforms.grey_levels import percentile_range

Float = NDArray[np.float32]

#: Largest edge of a tile, voxels: 16 channels of a cube of it are 130 MB.
TILE = 128
#: Voxels around a tile that the network sees and that are thrown away: beyond them its answer
#: changes by less than 1 % of its own correction.
HALO = 12
#: Intensity, in units of the scan's range, below which there is nothing to correct.
EMPTY = 0.02
#: Logarithm of the error, in units of the scan's range, that is told of where nothing is corrected.
LEAST_ERROR = float(np.log(1e-3))
#: Standard deviations of a Laplace distribution per scale parameter.
DEVIATIONS = 2**0.5

#: The channels, in order.
CHANNELS = (
    "interpolated scan",
    "what the guided method adds to it",
    "standard deviation of the guided method",
    "T1w",
    "T1w as the slices would show it",
    "1 where there is a T1w",
    "distance from the nearest slice, 0 to 1",
    "logarithm of the voxels between slices",
    "logarithm of the voxels in a slice",
)
#: The intensities that become 0 and 1, as published by BABY-AI.
PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True)
class NetworkMethod:
    """The trained network as a method of reconstruction.

    runtime               The opened graph: features (B, 9, I, J, K) to image and log error (B, 2,
                          I, J, K).
    trust, deviation_scale, deviation_scale_alone
                          See `IsotropicSettings`.
    batch_size            Tiles that the network sees at once.
    multiple              Voxels that the edges of a tile are multiples of.
    """

    runtime: Runtime
    trust: float = 1.0
    deviation_scale: float = 1.0
    deviation_scale_alone: float = 1.0
    batch_size: int = 1
    multiple: int = 8

    def __call__(self, problem: Problem) -> Estimate:
        """The estimate of the first stack: that of the guided method, refined."""
        return self.refine(problem, guided(problem))

    def refine(self, problem: Problem, start: Estimate) -> Estimate:
        """What the network makes of `start`, the guided estimate of the first stack."""
        stack = problem.stack
        scale, guide_scale = Scale.of(stack.slices, "the T2w"), None
        if problem.guide is not None:
            inside = problem.guide
            inside = inside if problem.coverage is None else inside[problem.coverage]
            guide_scale = Scale.of(inside, "the T1w")
        features = make_features(problem, start, scale, guide_scale)
        image, spread = self._answer(features)
        image = start.image + np.float32(self.trust) * (scale.restore(image) - start.image)
        wider = self.deviation_scale if problem.guide is not None else self.deviation_scale_alone
        of_guided = features[CHANNELS.index("standard deviation of the guided method")]
        deviation = np.float32(wider * scale.span) * expected_deviation(spread, of_guided)
        return Estimate(enforce_consistency(image, stack.slices, stack.operator), deviation)

    def _answer(self, features: Float) -> Float:
        """Image and log error (2, I, J, K); the start where there is nothing to correct."""
        answer = np.empty((2, *features.shape[1:]), np.float32)
        answer[0] = features[0] + features[1]
        answer[1] = LEAST_ERROR
        box = bounding_box(features[0] > EMPTY, HALO)
        part = features[(slice(None), *box)]
        if part.size:
            answer[(slice(None), *box)] = run_tiled(
                lambda batch: self.runtime.run(batch)[0],
                part,
                tile_sizes(part.shape[1:], self.multiple),
                [HALO if size > TILE else 0 for size in part.shape[1:]],
                batch_size=self.batch_size,
                multiple=self.multiple,
            )
        return answer


def expected_deviation(spread: Float, of_guided: Float) -> Float:
    """The geometric mean of the network's standard deviation and the guided method's, voxelwise.

    The network knows places that are hard, the guided method, by its errors within the slices, how
    hard this scan is: between heads, the share of errors within one deviation varies about 0.6
    times as much as with the network alone. `spread` is the logarithm of the scale of a Laplace
    distribution; where `of_guided` is 0, that method knows of none, and the network is believed.
    All in one shape, in the same units.
    """
    told = np.float32(DEVIATIONS) * np.exp(spread)
    return np.where(of_guided > 0, np.sqrt(told * np.maximum(of_guided, 0)), told)


def tile_sizes(shape: tuple[int, ...], multiple: int) -> tuple[int, ...]:
    """Edges of the fewest equal tiles, halo included, that cover `shape` voxels."""
    sizes = []
    for size in shape:
        tiles = -(-size // (TILE - 2 * HALO)) if size > TILE else 1
        edge = -(-size // tiles) + (2 * HALO if tiles > 1 else 0)
        sizes.append(-(-edge // multiple) * multiple)
    return tuple(sizes)


@dataclass(frozen=True)
class Scale:
    """Intensities of a file as those of the network and back: (x - low) / (high - low)."""

    low: float
    high: float

    @classmethod
    def of(cls, data: NDArray[np.float32], what: str = "the scan") -> Scale:
        """The scale of `data` by percentiles 1 and 99 of what is above 0, or of all where none is.

        Raises ContentError, naming `what`, where all intensities are the same.
        """
        low, high = percentile_range(data, PERCENTILES)
        if not high > low:
            low, high = float(data.min()), float(data.max())
        if not high > low:
            raise ContentError(
                f"{what} has the same intensity everywhere: give one that shows something."
            )
        return cls(float(low), float(high))

    @property
    def span(self) -> float:
        """The range between both percentiles, in units of the file."""
        return self.high - self.low

    def normalise(self, data: NDArray[np.float32]) -> Float:
        """Intensities of the file as those of the network; not clipped, so nothing is lost."""
        return np.asarray((data - np.float32(self.low)) / np.float32(self.span), np.float32)

    def restore(self, data: NDArray[np.float32]) -> Float:
        """Intensities of the network as those of the file."""
        return np.asarray(data * np.float32(self.span) + np.float32(self.low), np.float32)


def make_features(
    problem: Problem, start: Estimate, scale: Scale, guide_scale: Scale | None
) -> Float:
    """The channels (9, I, J, K) of a problem that the guided method has solved as `start`.

    Intensities are normalised by `scale`, those of the T1w by `guide_scale`. Where no T1w was
    acquired its channels are 0. The T1w as the slices would show it lets the network see what they
    hide of it.
    """
    operator = problem.stack.operator
    features = np.zeros((len(CHANNELS), *problem.grid.shape), np.float32)
    features[0] = operator.interpolate(scale.normalise(problem.stack.slices))
    features[1] = scale.normalise(start.image) - features[0]
    if start.deviation is not None:
        features[2] = start.deviation / np.float32(scale.span)
    if problem.guide is not None and guide_scale is not None:
        coverage = problem.coverage
        covered = np.float32(1) if coverage is None else coverage.astype(np.float32)
        features[3] = guide_scale.normalise(problem.guide) * covered
        features[4] = operator.interpolate(operator.slice(features[3])) * covered
        features[5] = covered
    features[6] = np.minimum(2 * np.abs(operator.place()), 1).astype(np.float32)
    features[7] = np.log(operator.ratio)
    features[8] = np.log(operator.thickness / operator.voxel_size)
    return features

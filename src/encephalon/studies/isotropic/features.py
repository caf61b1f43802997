# SPDX-License-Identifier: Apache-2.0
"""What the network sees of a problem: the same in training and in prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.studies.isotropic.problem import Estimate, Problem

__all__ = ["CHANNELS", "Scale", "make_features"]

Float = NDArray[np.float32]

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
#: The intensities that become 0 and 1, as published (spec baby-ai, section 3).
PERCENTILES = (1.0, 99.0)


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
        above = data[data > 0]
        low, high = np.percentile(above if above.size else data, PERCENTILES)
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

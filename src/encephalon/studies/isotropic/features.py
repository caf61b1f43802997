# SPDX-License-Identifier: Apache-2.0
"""What the network sees of a thick-slice scan and its guide: the same in training and prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.transforms.slices import SliceOperator

__all__ = ["CHANNELS", "Scale", "make_features"]

Float = NDArray[np.float32]

#: The channels, in order.
CHANNELS = (
    "interpolated scan",
    "detail that the guide foretells",
    "guide",
    "guide as the slices would show it",
    "1 where there is a guide",
    "distance from the nearest slice, 0 to 1",
    "logarithm of the voxels between slices",
    "logarithm of the voxels in a slice",
)
#: Standard deviation of the window in which scan and guide are compared, voxels, and the variance
#: below which the guide shows nothing, in squares of its range: best of 1 to 5 and of 0.001 and
#: 0.01 on real pairs, where they change PSNR by 0.1 dB.
WINDOW, FLAT = 2.0, 1e-2
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
            message = f"{what} has the same intensity everywhere: give one that shows something."
            raise ContentError(message)
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
    slices: Float,
    operator: SliceOperator,
    guide: Float | None = None,
    coverage: NDArray[np.bool_] | None = None,
) -> Float:
    """The channels (8, I, J, K) for normalised `slices` (I, J, S) and a normalised guide (I, J, K).

    `coverage` (I, J, K) is False where the guide was not acquired; without a guide its channels
    are 0. The guide as the slices would show it lets the network see what they hide of it.
    """
    voxels = operator.matrix.shape[1]
    features = np.zeros((len(CHANNELS), *slices.shape[:2], voxels), np.float32)
    features[0] = operator.interpolate(slices)
    if guide is not None:
        covered = np.float32(1) if coverage is None else coverage.astype(np.float32)
        features[2] = guide * covered
        sliced = operator.slice(features[2])
        features[3] = operator.interpolate(sliced) * covered
        slope = operator.interpolate(local_slope(slices, sliced, operator.ratio))
        features[1] = slope * (features[2] - features[3]) * covered
        features[4] = covered
    features[5] = np.minimum(2 * np.abs(operator.place()), 1).astype(np.float32)
    features[6] = np.log(operator.ratio)
    features[7] = np.log(operator.thickness / operator.voxel_size)
    return features


def local_slope(slices: Float, guide: Float, ratio: float) -> Float:
    """The slope of `slices` on the guide as the slices show it, both (I, J, S), around each voxel.

    Linear regression in a Gaussian window, as in the guided filter (He et al. 2013); near 0 where
    the guide shows nothing. `ratio` is the distance of the slices in voxels.
    """
    from scipy.ndimage import gaussian_filter

    widths = (WINDOW, WINDOW, max(WINDOW / ratio, 0.3))

    def mean(values: Float) -> Float:
        return np.asarray(gaussian_filter(values, widths, mode="nearest", truncate=2.5))

    scan_mean, guide_mean = mean(slices), mean(guide)
    shared = mean(slices * guide) - scan_mean * guide_mean
    spread = mean(guide * guide) - guide_mean * guide_mean
    return np.asarray(shared / (np.maximum(spread, 0) + FLAT), np.float32)

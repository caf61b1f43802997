# SPDX-License-Identifier: Apache-2.0
"""Vary a training image of a whole brain: draw the variation first, then apply it, on any device.

The effects and their strengths are those of the published study of legibility (700 models of the
UK Biobank). Elastic deformation and histogram shift are as MONAI's `Rand3DElastic` and
`RandHistogramShift` have them. All that moves voxels is one interpolation, and an image of which no
effect was drawn is not touched.

A variation is a pure function of the random numbers: an image that is given the same ones every
K-th epoch has the K copies that the published study made beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encephalon.transforms.parameters import VolumeRanges
from encephalon.transforms.spatial import Placement, rotation, sample_linear, sampling_points

__all__ = ["VolumeVariation", "draw_variation", "vary"]

#: Standard deviation of the place that is inflated, as a share of the image's shortest side.
INFLATED = 0.25
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VolumeVariation:
    """What was drawn for one image; the defaults change nothing. Axes are those of the image.

    matrix      (3, 3): directions in the varied image to directions in the original; None is still
    shift       where the middle of the varied image lies in the original, voxels from its middle
    elastic     displacement of each voxel before smoothing, at most, along each axis, voxels
    smoothness  standard deviation of the smoothing, voxels
    seed        of the displacements
    inflation   relative change of size around `centre` (shares of the image), fading with distance
    keep        first and last share of each axis that is kept, (3, 2)
    levels      where equally spaced levels go, darkest to brightest, all in [0, 1]; () is nowhere
    """

    matrix: Matrix | None = None
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    elastic: float = 0.0
    smoothness: float = 1.0
    seed: int = 0
    inflation: float = 0.0
    centre: tuple[float, float, float] = (0.5, 0.5, 0.5)
    keep: Matrix | None = None
    levels: tuple[float, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether any voxel is seen from another place."""
        return bool(
            self.matrix is not None or any(self.shift) or self.elastic > 0 or self.inflation
        )


def draw_variation(rng: np.random.Generator, ranges: VolumeRanges) -> VolumeVariation:
    """Draw a variation; which effects it has is drawn first, and of each the same numbers always.

    So the draws of one effect do not depend on whether there is another, or how strong it is.
    """
    levels, elastic, scale, shift, shear, turn, crop, inflation = (
        rng.random(8) < ranges.probability
    ).tolist()
    stretched = np.eye(3) * (1 + scale * rng.uniform(-1, 1) * ranges.scale)
    leaning = np.eye(3)
    leaning[np.triu_indices(3, 1)] = shear * np.tan(
        np.deg2rad(rng.uniform(-1, 1, 3) * ranges.shear)
    )
    turned = rotation(turn * np.deg2rad(rng.uniform(-1, 1, 3) * ranges.rotation))
    x, y, z = (shift * rng.uniform(-1, 1, 3) * ranges.shift).tolist()
    strength, smoothness = rng.uniform(*ranges.elastic), rng.uniform(*ranges.smoothness)
    seed, swollen = int(rng.integers(1 << 62)), rng.uniform(-1, 1) * ranges.inflation
    i, j, k = rng.uniform(0.25, 0.75, 3).tolist()
    kept = rng.uniform(ranges.crop, 1, 3)
    first = (1 - kept) * rng.random(3)
    count = int(rng.integers(ranges.control_points[0], ranges.control_points[1] + 1))
    bent = rng.random(max(ranges.control_points))
    return VolumeVariation(
        turned @ leaning @ stretched if scale or shear or turn else None,
        (x, y, z),
        strength * elastic,
        smoothness,
        seed,
        swollen * inflation,
        (i, j, k),
        np.stack([first, first + kept], axis=1) if crop else None,
        _curve(bent, count) if levels else (),
    )


def _curve(bent: NDArray[np.float64], count: int) -> tuple[float, ...]:
    """`count` control points of a rising curve: each but the ends lies between its neighbours."""
    points = np.linspace(0, 1, count)
    for n in range(1, count - 1):
        points[n] = points[n - 1] + bent[n] * (points[n + 1] - points[n - 1])
    return tuple(points.tolist())


def vary(images: Tensor, variations: Sequence[VolumeVariation], outside: float = -1.0) -> Tensor:
    """Images (B, C, Z, Y, X), varied one by one, on their device; their channels alike.

    `outside` is the level of what lies beyond an image and of what is cut off.
    """
    return torch.stack(
        [_varied(image, one, outside) for image, one in zip(images, variations, strict=True)]
    )


def _varied(image: Tensor, variation: VolumeVariation, outside: float) -> Tensor:
    if variation.moves:
        shape = (image.shape[1], image.shape[2], image.shape[3])
        points = _points(variation, shape, image.device)
        image = sample_linear(image, points, outside).to(image.dtype)
    if variation.keep is not None:
        image = _cut(image, variation.keep, outside)
    return _bent(image, variation.levels) if variation.levels else image


def _points(
    variation: VolumeVariation, shape: tuple[int, int, int], device: torch.device
) -> Tensor:
    """Where in the image (Z, Y, X, 3) each voxel of the varied one is seen."""
    middle = (np.asarray(shape) - 1) / 2
    matrix = np.eye(3) if variation.matrix is None else variation.matrix
    still = np.zeros((3, 1, 1, 1), np.float32)
    placement = Placement(matrix, middle + np.asarray(variation.shift), still)
    points = sampling_points(placement, shape, device)
    if variation.elastic > 0:
        points = points + _elastic(variation, shape, device)
    if variation.inflation:
        points = points + inflating(points, variation, shape)
    return points


def _elastic(
    variation: VolumeVariation, shape: tuple[int, int, int], device: torch.device
) -> Tensor:
    """Smooth displacements (Z, Y, X, 3), voxels."""
    from monai.networks.layers.simplelayers import GaussianFilter

    generator = torch.Generator().manual_seed(variation.seed)
    rough = 2 * torch.rand((1, 3, *shape), generator=generator) - 1
    smooth: Tensor = GaussianFilter(3, variation.smoothness).to(device)(rough.to(device))
    return variation.elastic * smooth[0].permute(1, 2, 3, 0)


def inflating(points: Tensor, variation: VolumeVariation, shape: Sequence[int]) -> Tensor:
    """By how much `points` (..., 3) move so that what lies around the centre looks larger."""
    sizes = torch.tensor(shape, dtype=points.dtype, device=points.device)
    away = points - (sizes - 1) * torch.tensor(variation.centre, device=points.device)
    reach = INFLATED * min(shape)
    fading = torch.exp(-(away.square().sum(-1, keepdim=True)) / (2 * reach**2))
    return -variation.inflation * fading * away


def _cut(image: Tensor, keep: Matrix, outside: float) -> Tensor:
    """`outside` beyond the kept box; a voxel that its side cuts has its share of either."""
    for axis, (first, last) in enumerate(keep.tolist()):
        size = image.shape[axis + 1]
        edges = torch.arange(size, device=image.device, dtype=image.dtype)
        share = torch.clamp(last * size - edges, 0, 1) * torch.clamp(edges + 1 - first * size, 0, 1)
        view = [1, 1, 1, 1]
        view[axis + 1] = size
        share = share.view(view)
        image = image * share + outside * (1 - share)
    return image


def _bent(image: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Its levels on a curve of straight pieces, the darkest and the brightest where they are."""
    low, high = image.amin(), image.amax()
    span = (high - low).clamp_min(torch.finfo(image.dtype).tiny)
    curve = torch.tensor(levels, dtype=image.dtype, device=image.device)
    place = (image - low) / span * (len(levels) - 1)
    piece = place.floor().clamp(0, len(levels) - 2).long()
    return low + span * torch.lerp(curve[piece], curve[piece + 1], place - piece)

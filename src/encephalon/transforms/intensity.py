# SPDX-License-Identifier: Apache-2.0
"""What a scanner does to intensities: resolution, thick slices, bias field, noise, contrast.

Images are float32 tensors (I, J, K). Every function that draws takes the generator, so that the
same seed gives the same image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf

from encephalon.transforms import grey_levels as normalise


def gaussian_blur(image: Tensor, sigma: Sequence[float]) -> Tensor:
    """Blur (I, J, K) with a Gaussian of `sigma` voxels along each axis; edges are extended."""
    for axis, width in enumerate(sigma):
        if width > 0.05:
            reach = max(1, math.ceil(3 * width))
            positions = torch.arange(-reach, reach + 1, dtype=torch.float32)
            kernel = torch.exp(-0.5 * (positions / width) ** 2)
            lines = image.movedim(axis, -1)
            flat = nnf.pad(lines.reshape(-1, 1, lines.shape[-1]), (reach, reach), "replicate")
            blurred = nnf.conv1d(flat, (kernel / kernel.sum()).view(1, 1, -1))
            image = blurred.view(lines.shape).movedim(-1, axis)
    return image


def thick_slices(image: Tensor, axis: int, factor: float) -> Tensor:
    """Average slabs of `factor` voxels along `axis`, then interpolate back to the same grid."""
    size = image.shape[axis]
    slices = max(2, round(size / factor))
    lines = image.movedim(axis, -1)
    flat = lines.reshape(-1, 1, size)
    slabs = nnf.adaptive_avg_pool1d(flat, slices)
    raised = nnf.interpolate(slabs, size=size, mode="linear", align_corners=False)
    return raised.view(lines.shape).movedim(-1, axis)


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], points: int) -> Tensor:
    """A smooth random field (I, J, K) of unit variance at `points` control points an axis."""
    control = torch.as_tensor(rng.standard_normal((1, 1, points, points, points), dtype=np.float32))
    return nnf.interpolate(control, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0]


def bias_field(rng: np.random.Generator, image: Tensor, strength: float) -> Tensor:
    """Multiply by a smooth positive field whose logarithm has standard deviation `strength`."""
    return image * torch.exp(strength * smooth_field(rng, tuple(image.shape), 4))


def rician_noise(rng: np.random.Generator, image: Tensor, sigma: float) -> Tensor:
    """Magnitude of the image with complex Gaussian noise of `sigma` in both channels."""
    noise = torch.as_tensor(rng.standard_normal((2, *image.shape), dtype=np.float32)) * sigma
    return torch.sqrt((image + noise[0]) ** 2 + noise[1] ** 2)


def normalise_percentiles(image: Tensor, inside: Tensor | None = None) -> Tensor:
    """`encephalon.transforms.grey_levels.normalise_percentiles` for tensors on the CPU."""
    kept = None if inside is None else inside.numpy()
    return torch.from_numpy(normalise.normalise_percentiles(image.numpy(), kept))

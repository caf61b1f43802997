# SPDX-License-Identifier: Apache-2.0
"""Vary a training picture: draw the augmentation first, then apply it. The picture is a plane.

Everything that is measured against the picture's own levels works on any scaling of them, so the
same ranges serve grey pictures around 0 and pictures normalised channel by channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as nnf

from encephalon.transforms.parameters import PlanarRanges


@dataclass(frozen=True, eq=False)
class Augmentation:
    """What was drawn for one picture; the defaults change nothing.

    matrix             (2, 2): directions in the varied picture to directions in the original, (x,
                       y).
    shift              Where the middle of the varied picture lies in the original, shares of it,
                       (x, y).
    gamma, contrast    Exponent of the levels, and factor of their distance from the mean.
    brightness, noise  Level added, and standard deviation of noise, in standard deviations of the
                       picture.
    seed               Of the noise.
    blur               Standard deviation, pixels.
    cutout             Centre (x, y) and side of an erased square, shares of the picture.
    """

    matrix: NDArray[np.float64]
    shift: tuple[float, float] = (0.0, 0.0)
    gamma: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0
    noise: float = 0.0
    seed: int = 0
    blur: float = 0.0
    cutout: tuple[float, float, float] = (0.5, 0.5, 0.0)


def draw_augmentation(rng: np.random.Generator, ranges: PlanarRanges) -> Augmentation:
    """Draw an augmentation; always the same numbers of `rng`, whatever the ranges allow."""
    column_flip, row_flip = np.where(rng.random(2) < 0.5, -1.0, 1.0)
    quarter = rng.integers(4) * ranges.quarter_turns
    angle = quarter * math.pi / 2 + math.radians(rng.uniform(-1, 1) * ranges.rotation)
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    mirror = np.diag(
        [column_flip if ranges.flip_columns else 1.0, row_flip if ranges.flip_rows else 1.0]
    )
    magnification = math.exp(rng.uniform(*np.log(ranges.scale)))
    shift_x, shift_y, gamma, contrast, brightness = rng.uniform(-1, 1, 5).tolist()
    noise, blur, side, centre_x, centre_y = rng.uniform(0, 1, 5).tolist()
    return Augmentation(
        turn @ mirror / magnification,
        (shift_x * ranges.shift, shift_y * ranges.shift),
        math.exp(gamma * ranges.gamma),
        math.exp(contrast * ranges.contrast),
        brightness * ranges.brightness,
        noise * ranges.noise,
        int(rng.integers(1 << 62)),
        blur * ranges.blur,
        (centre_x, centre_y, side * ranges.cutout),
    )


def augment(image: Tensor, augmentation: Augmentation) -> Tensor:
    """`image` (C, S, S), float32, varied; what lies beyond its border is its reflection."""
    varied = move(image, augmentation)
    if augmentation.blur > 0.05:
        varied = _blurred(varied, augmentation.blur)
    return _cut_out(_adjust_levels(varied, augmentation), augmentation.cutout)


def move(image: Tensor, augmentation: Augmentation, beyond: str = "reflection") -> Tensor:
    """`image` (C, S, S) turned, mirrored, magnified and shifted alone; "reflection" or "zeros"
    beyond its border.
    """
    still = np.array_equal(augmentation.matrix, np.eye(2)) and not any(augmentation.shift)
    if still:
        return image
    theta = np.column_stack([augmentation.matrix, 2 * np.asarray(augmentation.shift)])
    matrix = torch.as_tensor(theta, dtype=image.dtype)[None]
    grid = nnf.affine_grid(matrix, [1, *image.shape], align_corners=False)
    return nnf.grid_sample(
        image[None], grid, mode="bilinear", padding_mode=beyond, align_corners=False
    )[0]


def _blurred(image: Tensor, sigma: float) -> Tensor:
    reach = min(max(1, math.ceil(3 * sigma)), image.shape[-1] - 1, image.shape[-2] - 1)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=image.dtype) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    padded = nnf.pad(image[:, None], (reach,) * 4, mode="reflect")
    across = nnf.conv2d(padded, kernel)
    return nnf.conv2d(across, kernel.transpose(2, 3))[:, 0]


def _adjust_levels(image: Tensor, augmentation: Augmentation) -> Tensor:
    """Gamma between the darkest and brightest level, then contrast, brightness and noise."""
    low, high = image.amin(), image.amax()
    span = (high - low).clamp_min(torch.finfo(image.dtype).tiny)
    if augmentation.gamma != 1:
        image = low + span * ((image - low) / span).pow(augmentation.gamma)
    deviation = image.std()
    if augmentation.contrast != 1 or augmentation.brightness != 0:
        mean = image.mean()
        image = mean + augmentation.contrast * (image - mean) + augmentation.brightness * deviation
    if augmentation.noise > 0:
        generator = torch.Generator().manual_seed(augmentation.seed)
        noise = torch.randn(image.shape[1:], generator=generator, dtype=image.dtype)
        image = image + augmentation.noise * deviation * noise
    return image


def _cut_out(image: Tensor, cutout: tuple[float, float, float]) -> Tensor:
    """The picture with a square of its mean level in it."""
    rows, columns = image.shape[1:]
    x, y, side = cutout
    height, width = round(side * rows), round(side * columns)
    if not height or not width:
        return image
    top = min(max(round(y * rows - height / 2), 0), rows - height)
    left = min(max(round(x * columns - width / 2), 0), columns - width)
    erased = image.clone()
    erased[:, top : top + height, left : left + width] = image.mean()
    return erased

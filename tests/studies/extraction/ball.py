# SPDX-License-Identifier: Apache-2.0
"""A world where the truth is known: a bright ball in the dark, and a runtime that sees it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.studies.extraction.predictor import ExtractionPredictor
from encephalon.studies.extraction.settings import ExtractionSettings, Grids, PredictOptions

Float = NDArray[np.float32]
GRIDS = Grids(coarse=(24, 32, 24), fine=(48, 56, 48), margin=0.2)


class BallRuntime:
    """Says how far each voxel is from the border of what is brighter than half."""

    name, device = "ball 1", "cpu"

    def run(self, array: Float) -> list[Float]:
        """(B, 1, I, J, K) in [0, 1] to distances (B, 2, I, J, K), the second 1 voxel further in."""
        distances = [_signed(sample[0]) for sample in array]
        return [np.stack([np.stack([d, d - 1]) for d in distances]).astype(np.float32)]


def _signed(image: Float) -> Float:
    inside = image > 0.5
    if not inside.any():
        return np.full(image.shape, -6, np.float32)
    distance = np.where(
        inside,
        ndimage.distance_transform_edt(inside) - 0.5,
        0.5 - ndimage.distance_transform_edt(~inside),
    )
    return np.clip(ndimage.gaussian_filter(distance, 0.8), -6, 6).astype(np.float32)


def ball_image(
    shape: tuple[int, int, int] = (60, 70, 64),
    spacing: tuple[float, float, float] = (3.0, 3.0, 3.0),
    radius: float = 65.0,
    centre: tuple[float, float, float] | None = None,
    level: float = 100.0,
) -> Image:
    """A ball of `radius` mm around `centre` mm (the middle by default), on a RAS grid at 0."""
    affine = Affine.from_spacing(spacing)
    middle = centre or tuple((n - 1) / 2 * s for n, s in zip(shape, spacing, strict=True))
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    squares = sum((x * s - c) ** 2 for x, s, c in zip(axes, spacing, middle, strict=True))
    noise = np.random.default_rng(0).uniform(0, 5, shape)
    data = np.where(squares <= radius**2, level, 0.0) + noise
    return Image(data.astype(np.float32), affine)


def ball_predictor(**options: object) -> ExtractionPredictor:
    """The default predictor with the ball's runtime in the place of a network."""
    model = {"name": "ball", "version": "1", "sha256": "0" * 64}
    return ExtractionPredictor(
        model,
        BallRuntime(),
        PredictOptions(**options),  # type: ignore[arg-type]
        ExtractionSettings(grids=GRIDS),
    )


def ball_volume(radius: float) -> float:
    """Millilitres of a ball of `radius` mm."""
    return 4 / 3 * np.pi * radius**3 / 1000

# SPDX-License-Identifier: Apache-2.0
"""Two contrasts of one synthetic head: what a network learns from where there are no real pairs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encephalon.transforms import intensity
from encephalon.transforms.labels import LARGEST_BRAIN_LABEL
from encephalon.transforms.ranges import SynthesisRanges
from encephalon.transforms.synthesis import CONTRASTS, Tissues, draw_tissue_table

__all__ = ["ADULT", "YOUNG", "draw_contrasts", "paint_pair"]

#: Mean intensities (white matter, grey matter, fluid, eyes) before white matter is myelinated,
#: when T1w and T2w swap the order of white and grey matter (Dubois et al. 2021); read off scans.
INFANT: dict[str, Tissues] = {
    "T1w": (0.50, 0.65, 0.20, 0.20),
    "T2w": (0.75, 0.55, 0.95, 0.95),
}
TEXTURE = SynthesisRanges(texture=0.1)


#: Tissue means of scan and guide; None for what is drawn at random.
Contrasts = tuple[Tissues | None, Tissues | None]
ADULT: Contrasts = (CONTRASTS["T2w"], CONTRASTS["T1w"])
YOUNG: Contrasts = (INFANT["T2w"], INFANT["T1w"])


def draw_contrasts(rng: np.random.Generator) -> Contrasts:
    """Tissue means of scan and guide: a T2w and a T1w mostly, or any two contrasts."""
    chance = rng.random()
    if chance < 0.45:
        return ADULT
    if chance < 0.6:
        return YOUNG
    if chance < 0.7:
        scan, guide = rng.permutation(list(CONTRASTS))[:2]
        return CONTRASTS[str(scan)], CONTRASTS[str(guide)]
    return None, None


def paint_pair(
    rng: np.random.Generator,
    scan_labels: Tensor,
    guide_labels: Tensor,
    lesion: float,
    contrasts: Contrasts | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scan and guide, both (I, J, K) with most tissue in [0, 1], of label cubes (I, J, K), int64.

    The guide's labels may lie elsewhere (misregistration). Fine texture is shared in part, and with
    probability `lesion` something shows in one of the two alone, or in both. The contrasts are
    drawn where none are given.
    """
    shape = scan_labels.shape
    tables = [
        draw_tissue_table(rng, TEXTURE, contrast) for contrast in contrasts or draw_contrasts(rng)
    ]
    textures = _textures(rng, tuple(shape))
    stripped = rng.random() < 0.5
    painted = []
    for labels, table, texture in zip((scan_labels, guide_labels), tables, textures, strict=True):
        means, spreads = (torch.as_tensor(values) for values in table)
        image = means[labels] + spreads[labels] * texture
        if stripped:
            image = image * ((labels > 0) & (labels < LARGEST_BRAIN_LABEL))
        painted.append(image)
    if rng.random() < lesion:
        painted = _with_lesion(rng, painted)
    blurred = [_blurred(rng, image).clamp_min(0).numpy() for image in painted]
    return blurred[0], blurred[1]


def _textures(rng: np.random.Generator, shape: tuple[int, ...]) -> list[Tensor]:
    """Two fields of about unit variance, alike to a degree that is drawn."""
    grains = torch.as_tensor(rng.standard_normal((2, *shape), dtype=np.float32))
    width = float(rng.uniform(0.0, 1.2))
    fine = [intensity.gaussian_blur(grain, (width,) * 3) for grain in grains]
    fine = [field / field.std().clamp_min(1e-3) for field in fine]
    broad = intensity.smooth_field(rng, shape, int(rng.integers(4, 10)))
    share = float(rng.uniform(0, 1))
    sign = float(rng.choice([-1.0, 1.0]))
    other = sign * (share * fine[0] + (1 - share**2) ** 0.5 * fine[1])
    mix = float(rng.uniform(0, 0.7))
    return [mix * fine[0] + (1 - mix) * broad, mix * other + (1 - mix) * sign * broad]


def _with_lesion(rng: np.random.Generator, images: list[Tensor]) -> list[Tensor]:
    field = intensity.smooth_field(rng, tuple(images[0].shape), int(rng.integers(5, 16)))
    blob = torch.sigmoid(12 * (field - float(rng.uniform(0.8, 1.8))))
    shown = int(rng.integers(3))  # in the scan, in the guide, in both
    result = []
    for number, image in enumerate(images):
        value = float(rng.uniform(0, 1.2))
        visible = blob * (image > 0) if shown in (number, 2) else torch.zeros_like(blob)
        result.append(image * (1 - visible) + value * visible)
    return result


def _blurred(rng: np.random.Generator, image: Tensor) -> Tensor:
    """As a 1 mm scanner blurs: voxels are not points."""
    return intensity.gaussian_blur(image, (float(rng.uniform(0.3, 0.75)),) * 3)

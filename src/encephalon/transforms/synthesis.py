# SPDX-License-Identifier: Apache-2.0
"""Intensities for label maps of a head, in one contrast or in two, after SynthSeg and SynthStrip.

Label maps follow FreeSurfer's colour table inside the brain and use 502-530 for the tissues
around it (clusters of unknown meaning, so they are drawn at random). Half of the drawn contrasts
are fully random, the other half resemble T1w, T2w, FLAIR and proton density, because with few
training steps a network should see most of what it will meet. Two contrasts of one head are what a
network learns from where there are no real pairs. What a scanner does to intensities is here, too:
resolution, bias field, noise, contrast.

Images are float32 tensors (I, J, K). Every function that draws takes the generator, so that the
same seed gives the same image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as nnf

from encephalon.transforms import grey_levels
from encephalon.transforms.masks import (
    CORTEX,
    CSF,
    DEEP_GREY,
    EYES,
    LABEL_COUNT,
    LARGEST_BRAIN_LABEL,
    SKULL,
    VENTRICLES,
    WHITE_MATTER,
)
from encephalon.transforms.parameters import SynthesisRanges

Tissues = tuple[float, float, float, float]

#: Mean intensities (white matter, grey matter, fluid, eyes) of the familiar contrasts, in the
#: unit of the brightest tissue; read off typical scans, jittered at every draw.
CONTRASTS = {
    "T1w": (0.85, 0.60, 0.20, 0.20),
    "T2w": (0.35, 0.50, 0.95, 0.95),
    "FLAIR": (0.50, 0.62, 0.12, 0.15),
    "PDw": (0.60, 0.75, 0.85, 0.85),
}

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


def draw_tissue_table(
    rng: np.random.Generator, ranges: SynthesisRanges, contrast: Tissues | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation for every label: two arrays (600,).

    The means resemble those of `contrast`; without one, of a contrast drawn as `ranges` say.
    """
    means = rng.uniform(0.0, 1.0, LABEL_COUNT)
    spreads = rng.uniform(0.0, ranges.texture, LABEL_COUNT)
    if contrast is not None or rng.random() < ranges.familiar:
        typical = contrast or CONTRASTS[str(rng.choice(list(CONTRASTS)))]
        tissues = np.clip(np.array(typical) + rng.normal(0, 0.07, 4), 0.02, 1.1)
    else:
        tissues = rng.uniform(0.05, 1.0, 4)
    white, grey, fluid, eyes = tissues.tolist()

    def assign(group: tuple[int, ...], mean: float, jitter: float) -> None:
        means[list(group)] = mean + rng.normal(0, jitter) + rng.normal(0, jitter / 3, len(group))

    for group, mean in ((WHITE_MATTER, white), (CORTEX, grey), (DEEP_GREY, grey)):
        assign(group, mean, 0.06)
    assign(DEEP_GREY, float(rng.uniform(min(grey, white), max(grey, white))), 0.04)
    assign(VENTRICLES, fluid, 0.03)
    assign(CSF, fluid, 0.08)
    assign(EYES, eyes, 0.1)
    if rng.random() < 0.7:
        assign(SKULL, float(rng.uniform(0.0, 0.25)), 0.08)
    means[0] = rng.uniform(0.0, 0.3) if rng.random() < 0.1 else 0.0
    spreads[0] = 0.0
    return np.clip(means, 0, 1.2).astype(np.float32), spreads.astype(np.float32)


def smooth_blob(
    rng: np.random.Generator, shape: tuple[int, ...], points: int, rarity: tuple[float, float]
) -> Tensor:
    """How much of each voxel (I, J, K) a lesion takes: smooth, of 5 to `points` control points."""
    field = smooth_field(rng, tuple(shape), int(rng.integers(5, points)))
    return torch.sigmoid(12 * (field - float(rng.uniform(*rarity))))


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


def synthesise_pair(
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
    images = []
    for labels, table, texture in zip((scan_labels, guide_labels), tables, textures, strict=True):
        means, spreads = (torch.as_tensor(values) for values in table)
        image = means[labels] + spreads[labels] * texture
        if stripped:
            image = image * ((labels > 0) & (labels < LARGEST_BRAIN_LABEL))
        images.append(image)
    if rng.random() < lesion:
        blob = smooth_blob(rng, tuple(shape), 16, (0.8, 1.8))
        shown = int(rng.integers(3))  # in the scan, in the guide, in both
        for number, image in enumerate(images):
            value = float(rng.uniform(0, 1.2))
            visible = blob * (image > 0) if shown in (number, 2) else torch.zeros_like(blob)
            images[number] = image * (1 - visible) + value * visible
    # As a 1 mm scanner blurs: voxels are not points.
    scan, guide = (
        gaussian_blur(image, (float(rng.uniform(0.3, 0.75)),) * 3).clamp_min(0).numpy()
        for image in images
    )
    return scan, guide


def _textures(rng: np.random.Generator, shape: tuple[int, ...]) -> list[Tensor]:
    """Two fields of about unit variance, alike to a degree that is drawn."""
    grains = torch.as_tensor(rng.standard_normal((2, *shape), dtype=np.float32))
    width = float(rng.uniform(0.0, 1.2))
    fine = [gaussian_blur(grain, (width,) * 3) for grain in grains]
    fine = [field / field.std().clamp_min(1e-3) for field in fine]
    broad = smooth_field(rng, shape, int(rng.integers(4, 10)))
    share = float(rng.uniform(0, 1))
    sign = float(rng.choice([-1.0, 1.0]))
    other = sign * (share * fine[0] + (1 - share**2) ** 0.5 * fine[1])
    mix = float(rng.uniform(0, 0.7))
    return [mix * fine[0] + (1 - mix) * broad, mix * other + (1 - mix) * sign * broad]


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
    return torch.from_numpy(grey_levels.normalise_percentiles(image.numpy(), kept))

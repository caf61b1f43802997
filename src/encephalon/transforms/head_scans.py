# SPDX-License-Identifier: Apache-2.0
"""Scans of a head as they come from the scanner, made up from a label map.

A network that only ever met well-kept adults draws an adult's border everywhere. So the layer
between brain and skin is as deep as a newborn's or deeper than any adult's, whatever the size of
the head; slices are as thick as clinical ones, with the gaps between them, and are averaged from
what lies in them; the field of view ends within the brain; and what surrounds the brain is as
bright as contrast agent, fat and marrow make it. Contrasts are those of
`encephalon.transforms.synthesis`, after SynthSeg and SynthStrip.

Coordinates are voxels of the label map, 1 mm. Every function that draws takes the generator, so
that the same seed gives the same scan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as nnf

from encephalon.geometry.affine import bounding_box
from encephalon.transforms.masks import CSF, EYES, SKULL
from encephalon.transforms.parameters import FAR_SPACING, SynthesisRanges
from encephalon.transforms.spatial import sample_linear, sample_nearest
from encephalon.transforms.synthesis import (
    bias_field,
    draw_tissue_table,
    gaussian_blur,
    normalise_percentiles,
    rician_noise,
    smooth_blob,
    smooth_field,
)

__all__ = [
    "Head",
    "Slices",
    "draw_fluid",
    "draw_slices",
    "reshape_shell",
    "reshaped_labels",
    "synthesise_head",
]

#: Depth (mm) of the skin above the brain in the label maps, and how far out the layer between them
#: is stretched or pressed; what lies beyond is moved along.
SCALP, SHELL = 12.8, 20.0
#: Depth (mm) of the fluid next to the brain, in which nothing moves; less where the skin is near.
FLUID = 2.0
#: Depth (mm) of the layer of the label map that is drawn out where more fluid is put in.
INNERMOST = 1.0
#: Distance (mm) down to which a training target tells it exactly.
NEAR = -10.0
#: Share of the brain's length beyond a face that is not there.
NO_FACE = -9.0
#: Slices less than so many voxels of the grid apart are no slices.
THIN = 1.2
#: Largest part of a slice (voxels of the grid) that is looked at as a point.
PART = 1.0


@dataclass(frozen=True)
class Head:
    """A head to make scans of.

    labels  (A, B, C) integers, 1 mm.
    far     (a, b, c), rough signed distance to the border of the brain in mm, positive inside, at
            every `FAR_SPACING`-th voxel of `labels`.
    """

    labels: Tensor
    far: Tensor


@dataclass(frozen=True)
class Slices:
    """Slices across `axis` of a grid: where the parts of each lie, (slices, parts), in voxels."""

    axis: int
    positions: Tensor

    def spread(self, values: Tensor) -> Tensor:
        """`values` (I, J, K, ...) of the grid at every part of every slice, along the axis."""
        lines = values.movedim(self.axis, 0)
        at = self.positions.flatten().clamp(0, len(lines) - 1)
        low = at.floor().long().clamp(max=max(0, len(lines) - 2))
        share = (at - low).view(-1, *[1] * (lines.ndim - 1))
        above = lines[(low + 1).clamp(max=len(lines) - 1)]
        return torch.lerp(lines[low], above, share).movedim(0, self.axis)

    def average(self, image: Tensor) -> Tensor:
        """The slices (I, J, K), one plane each, of what lies in their parts."""
        lines = image.movedim(self.axis, 0)
        parts = lines.view(*self.positions.shape, *lines.shape[1:])
        return parts.mean(1).movedim(0, self.axis)

    def fill(self, slices: Tensor, size: int) -> Tensor:
        """The grid, `size` voxels along the axis, between the middles of `slices`."""
        middles = self.positions.mean(1)
        at = (torch.arange(size) - middles[0]) / (middles[1] - middles[0])
        lines = slices.movedim(self.axis, 0)
        at = at.clamp(0, len(lines) - 1)
        low = at.floor().long().clamp(max=len(lines) - 2)
        share = (at - low).view(-1, 1, 1)
        return torch.lerp(lines[low], lines[low + 1], share).movedim(0, self.axis)


def draw_slices(
    rng: np.random.Generator, shape: tuple[int, ...], voxel: float, ranges: SynthesisRanges
) -> Slices | None:
    """Slices over a grid of `shape` with voxels of `voxel` mm; None for a scan without."""
    if rng.random() >= ranges.thick:
        return None
    thickness = float(rng.uniform(*ranges.thickness))
    gap = float(rng.uniform(0, ranges.gap)) if rng.random() < 0.5 else 0.0
    axis, offset = int(rng.integers(3)), float(rng.random())
    step = thickness * (1 + gap) / voxel
    if step < THIN:
        return None
    parts = max(2, math.ceil(thickness / voxel / PART))
    middles = (torch.arange(math.ceil(shape[axis] / step) + 1) - offset) * step
    within = ((torch.arange(parts) + 0.5) / parts - 0.5) * (thickness / voxel)
    return Slices(axis, middles[:, None] + within)


def synthesise_head(
    rng: np.random.Generator,
    head: Head,
    points: Tensor,
    distance: Tensor,
    ranges: SynthesisRanges,
    voxel: float,
    unseen: float = 0.0,
) -> Tensor:
    """One scan (I, J, K) of the head, in [0, 1] where it was acquired and `unseen` elsewhere.

    `points` (I, J, K, 3) are the voxels of the label map that the grid sees, `distance` (I, J, K)
    is the signed distance to the border of the brain, mm, and `voxel` the edge of the grid's
    voxels, mm.
    """
    shape = tuple(distance.shape)
    slices = draw_slices(rng, shape, voxel, ranges)
    grid = points, distance
    seen, near = (slices.spread(one) for one in grid) if slices else grid
    fluid = draw_fluid(rng, tuple(near.shape), ranges)
    labels = reshaped_labels(rng, head, seen, near, fluid, ranges)
    image = _anatomy(rng, labels, near, ranges)
    image = _receive(rng, image, ranges)
    image = gaussian_blur(image, _blur(rng, ranges, slices))
    if slices:
        image = slices.average(image)
    image = rician_noise(rng, image, float(rng.uniform(0, ranges.noise)))
    if slices:
        image = slices.fill(image, shape[slices.axis])
    exponent = float(np.exp(rng.normal(0, ranges.gamma)))
    image = (image / image.max().clamp_min(1e-6)) ** exponent
    kept, told = _field_of_view(rng, head, points, distance, ranges)
    image = normalise_percentiles(image * kept, told)
    return torch.where(told, image, torch.tensor(unseen))


def draw_fluid(
    rng: np.random.Generator, shape: tuple[int, ...], ranges: SynthesisRanges
) -> Tensor | None:
    """Fluid (mm) put in between brain and skull, as above a brain that shrank; None for none.

    A smooth map (I, J, K) of `shape`, nearly 0 over one part of the brain and deepest over another.
    """
    # Nothing is drawn where there is never any, so that trainings of before can be repeated.
    if not ranges.atrophy or rng.random() >= ranges.atrophy:
        return None
    depth, share = float(rng.uniform(*ranges.fluid)), float(rng.normal())
    return depth * torch.sigmoid(4 * (smooth_field(rng, shape, 4) + share))


def reshaped_labels(
    rng: np.random.Generator,
    head: Head,
    points: Tensor,
    near: Tensor,
    fluid: Tensor | None,
    ranges: SynthesisRanges,
) -> Tensor:
    """Labels (I, J, K) at `points` of a head with another scalp, and with `fluid` put in.

    What leaves the skull next to the brain, such as the spinal cord, goes through the fluid.
    """
    labels = sample_nearest(head.labels, reshape_shell(rng, head.far, points, near, ranges, fluid))
    if fluid is None:
        return labels
    put_in = (near < 0) & (-near < fluid + INNERMOST)
    beside = torch.isin(labels, torch.tensor((*CSF, *SKULL), dtype=labels.dtype))
    return torch.where(put_in & beside, torch.tensor(CSF[0], dtype=labels.dtype), labels)


def reshape_shell(
    rng: np.random.Generator,
    far: Tensor,
    points: Tensor,
    near: Tensor,
    ranges: SynthesisRanges,
    fluid: Tensor | None = None,
) -> Tensor:
    """`points` moved so that the skin lies at a drawn depth above the brain, not quite evenly.

    `near` is the true distance at the points, mm, as far as that goes. The fluid next to the brain
    keeps its depth: a border that lay the deeper in fluid the thicker the skull would teach that
    it lies next to bone. `fluid` (I, J, K), mm, comes on top of it.
    """
    depth = rng.uniform(*ranges.scalp) if rng.random() < ranges.reshape else SCALP
    uneven = smooth_field(rng, tuple(points.shape[:3]), 5)
    if depth == SCALP and fluid is None:
        return points
    still = min(FLUID, depth / 3)
    varied = torch.ones(()) if depth == SCALP else torch.exp(ranges.uneven * uneven)
    ratio = float(depth - still) / (SCALP - still) * varied
    away = gaussian_blur(far, (1.0,) * 3)
    # A distance is positive inside, so that outwards is down its slope.
    outwards = [-slope for slope in torch.gradient(away)]
    beyond = -float(far.min())  # so that what is outside the map is far
    sampled = sample_linear(torch.stack([far + beyond, *outwards]), points / FAR_SPACING, 0.0)
    above = torch.where(near > NEAR, -near, beyond - sampled[0]).clamp_min(0)
    level = above if fluid is None else (above - fluid).maximum(above.clamp_max(INNERMOST))
    shell = (level - still).clamp_min(0)
    within = shell.minimum(SHELL * ratio)
    moved = level + within / ratio - within - above
    return points + (nnf.normalize(sampled[1:], dim=0) * moved).movedim(0, -1)


def _anatomy(
    rng: np.random.Generator, labels: Tensor, distance: Tensor, ranges: SynthesisRanges
) -> Tensor:
    """Intensities of `labels`: tissues, texture, lesions, and what is bright around the brain."""
    means, spreads = (torch.as_tensor(values) for values in _tissues(rng, ranges))
    grain = torch.as_tensor(rng.standard_normal(labels.shape, dtype=np.float32))
    smooth = smooth_field(rng, tuple(labels.shape), int(rng.integers(8, 20)))
    mix = float(rng.uniform(0, 1))
    image = (means[labels] + spreads[labels] * (mix * grain + (1 - mix) * smooth)).clamp_min(0)
    if rng.random() < ranges.lesion:
        image = _patched(rng, image, distance > 0, (12, (1.2, 2.2)))
    head_here = labels > 0
    if rng.random() < ranges.dura:
        rim = (distance < 0.3) & (distance > -float(rng.uniform(1.0, 3.0))) & head_here
        image = torch.where(rim, float(rng.uniform(0.5, 1.2)), image)
    if rng.random() < ranges.patches:  # sinuses, fat, muscle, marrow of another brightness
        around = (distance < float(rng.uniform(-4, 0.5))) & head_here
        image = _patched(rng, image, around, (16, (0.3, 1.8)))
    if rng.random() < ranges.strip:
        image = image * (distance > float(rng.uniform(-4, 1)))
    return image


def _tissues(
    rng: np.random.Generator, ranges: SynthesisRanges
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and spread of every label, with fluid as dark as bone, or bright marrow, at times."""
    means, spreads = draw_tissue_table(rng, ranges)
    if rng.random() < ranges.dark_fluid:
        means[list(CSF)] = float(np.clip(means[SKULL[0]] + rng.normal(0, 0.03), 0, 0.3))
    if rng.random() < ranges.marrow:
        means[int(rng.choice(SKULL))] = rng.uniform(0.4, 1.1)
    return means, spreads


def _patched(
    rng: np.random.Generator,
    image: Tensor,
    where: Tensor,
    kind: tuple[int, tuple[float, float]],
) -> Tensor:
    """`image` with smooth blobs of another intensity, which may be none, in the voxels `where`."""
    blob = smooth_blob(rng, tuple(image.shape), *kind) * where
    return image * (1 - blob) + float(rng.uniform(0, 1.2)) * blob


def _receive(rng: np.random.Generator, image: Tensor, ranges: SynthesisRanges) -> Tensor:
    """`image` as coils receive it: a bias field, and at times a strong fall-off to one side."""
    image = bias_field(rng, image, float(rng.uniform(0, ranges.bias)))
    if rng.random() < ranges.falloff:
        lines = [torch.linspace(-0.5, 0.5, size) for size in image.shape]
        slopes = rng.normal(0, 1, 3)
        slopes *= rng.uniform(0.5, 2.0) / np.linalg.norm(slopes)
        for axis, (line, slope) in enumerate(zip(lines, slopes.tolist(), strict=True)):
            image = image * torch.exp(line * slope).view([-1 if a == axis else 1 for a in range(3)])
    return image


def _blur(rng: np.random.Generator, ranges: SynthesisRanges, slices: Slices | None) -> list[float]:
    """Standard deviation of the blur along each axis, voxels; none across slices."""
    width = float(rng.uniform(0.2, 0.8))
    sigma = rng.uniform(0.2, ranges.blur, 3).tolist() if rng.random() < 0.5 else [width] * 3
    if slices:
        sigma[slices.axis] = 0.0
    return [float(one) for one in sigma]


def _field_of_view(
    rng: np.random.Generator, head: Head, points: Tensor, distance: Tensor, ranges: SynthesisRanges
) -> tuple[Tensor, Tensor]:
    """Which voxels (I, J, K) hold anything, and which the network is told were acquired.

    The field ends at planes near or within the brain. Where it was padded, or the scan turned,
    after it was acquired, the network is not told.
    """
    kept = torch.ones(distance.shape, dtype=torch.bool)
    brain = (distance > 0).numpy()
    # Without a brain, around all there is.
    for axis, box in enumerate(bounding_box(brain if brain.any() else ~brain)):
        size = box.stop - box.start
        lines = kept.movedim(axis, 0)
        lines[: max(0, math.floor(box.start + _lost(rng, ranges) * size))] = False
        lines[math.ceil(box.stop - _lost(rng, ranges) * size) :] = False
    padded = rng.random() < ranges.padded
    told = torch.ones_like(kept) if padded else kept.clone()
    if rng.random() < ranges.oblique:
        kept = kept & _oblique(rng, brain, ranges.cut)
    if rng.random() < ranges.deface:
        kept = kept & _outside_face(rng, head, points, distance)
    return kept, told


def _lost(rng: np.random.Generator, ranges: SynthesisRanges) -> float:
    """Share of the brain's length beyond a face; below 0, room between the two."""
    if rng.random() >= ranges.crop:
        return NO_FACE
    least = min(0.03, ranges.cut)
    ends = (-0.15, least) if rng.random() < 0.5 else (least, ranges.cut)
    return float(rng.uniform(*ends))


def _oblique(rng: np.random.Generator, brain: NDArray[np.bool_], cut: float) -> Tensor:
    """True before a tilted plane that leaves up to `cut` of the brain's length behind it."""
    inside = np.argwhere(brain[::2, ::2, ::2]) * 2.0
    if not len(inside):
        return torch.ones(brain.shape, dtype=torch.bool)
    normal = np.eye(3)[rng.integers(3)] * rng.choice([-1.0, 1.0]) + rng.normal(0, 0.3, 3)
    normal /= np.linalg.norm(normal)
    along = inside @ normal
    end = along.max() - rng.uniform(-0.1, cut) * np.ptp(along)
    axes = np.ogrid[tuple(slice(0, size) for size in brain.shape)]
    away = sum(line * part for line, part in zip(axes, normal, strict=True))
    return torch.as_tensor(away < end)


def _outside_face(rng: np.random.Generator, head: Head, points: Tensor, distance: Tensor) -> Tensor:
    """True except in a half-space before and below the brain, as left by defacing tools."""
    eyes = (sample_nearest(head.labels, points[::2, ::2, ::2]) == EYES[0]).nonzero().float()
    brain = (distance > 0).nonzero().float()
    if not (len(eyes) and len(brain)):
        return torch.ones(distance.shape, dtype=torch.bool)
    middle = 2 * eyes.mean(0)
    forward = nnf.normalize(middle - brain.mean(0), dim=0)
    ahead = torch.zeros(1)
    for axis, size in enumerate(distance.shape):
        line = (torch.arange(size, dtype=torch.float32) - middle[axis]) * forward[axis]
        ahead = ahead + line.view([-1 if a == axis else 1 for a in range(3)])
    kept: Tensor = (ahead < float(rng.uniform(-8, 4))) | (distance > -float(rng.uniform(1.5, 7)))
    return kept

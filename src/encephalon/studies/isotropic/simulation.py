# SPDX-License-Identifier: Apache-2.0
"""Thick slices of an isotropic scan, as a scanner would have measured them, and their truth.

Slices follow one another from the first voxel of the slice axis on, each with half of the gap on
either side. The grid of the truth is the part of the scan that whole slices cover, in the scan's
own voxels: nothing is ever interpolated, so the truth is exact and the slices are its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError, UsageError
from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.studies.isotropic.reconstruction.problem import Problem, Stack, permuted, slice_axis
from encephalon.transforms.slices import SliceOperator, SliceProfile, along, slice_matrix

Float = NDArray[np.float32]

BOX = SliceProfile()
#: Share of a slice, or of a voxel, by which rounded headers may fall short of a whole one.
ROUNDING = 1e-3
#: Intensity that `noise` is a share of: bright tissue, as BABY-AI's scale has it.
BRIGHT = 99


@dataclass(frozen=True)
class SliceSettings:
    """How thick slices are cut out of a scan.

    axis            The plane of the slices, or the voxel axis across them, see `slice_axis`.
    thickness, gap  Of a slice and between two, mm.
    profile         The sensitivity of a slice.
    noise, seed     Standard deviation of the Rician noise, as a share of the 99th percentile of
                    what is above 0, and what draws it.
    """

    axis: str | int
    thickness: float
    gap: float = 0.0
    profile: SliceProfile = BOX
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise UsageError for sizes that make no sense."""
        if not 0 < self.thickness < np.inf:
            raise UsageError(
                "The thickness of a slice must be above 0 mm, but it is "
                f"{self.thickness:g}: correct it."
            )
        if not 0 <= self.gap < np.inf:
            raise UsageError(
                f"The gap between slices must be 0 mm or more, but it is {self.gap:g}: correct it."
            )
        if not 0 <= self.noise < np.inf:
            raise UsageError(
                f"The noise must be 0 or more, a share of bright tissue, but it is {self.noise:g}."
            )


def place_slices(
    voxels: int, voxel_size: float, settings: SliceSettings, name: str = "the volume"
) -> tuple[int, NDArray[np.float64]]:
    """How many of `voxels` voxels whole slices cover, and the middles of the slices (S,).

    Middles are in mm from the centre of the first voxel, at whose outer face the first slice
    begins, with its half of the gap. Where the voxels between slices are no whole number, the
    slices are centred on the voxels that they cover, at most a quarter of a voxel off. Slices of
    the profile "point" are decimation: they lie at the centres of the first voxel and of those
    every `thickness` + `gap` mm from it, and cover all voxels.

    Raises GeometryError, naming the scan `name`, for slices thinner than its voxels or too thick
    for two of them.
    """
    distance = settings.thickness + settings.gap
    if settings.thickness < voxel_size * (1 - ROUNDING):
        raise GeometryError(
            f"{name}: slices of {settings.thickness:g} mm are thinner than its voxels, which are "
            f"{voxel_size:g} mm long across them: ask for slices that are thicker."
        )
    length = voxels * voxel_size
    if settings.profile.kind == "point":
        count = int((length - voxel_size) / distance + ROUNDING) + 1
        covered, begin = voxels, 0.0
    else:
        count = int(length / distance + ROUNDING)
        covered = round(count * distance / voxel_size)
        begin = (covered * voxel_size - voxel_size) / 2 - (count - 1) * distance / 2
    if count < 2:
        raise GeometryError(
            f"{name}: {voxels} voxels of {voxel_size:g} mm hold fewer than two slices every "
            f"{distance:g} mm: ask for thinner ones."
        )
    return covered, np.asarray(begin + np.arange(count) * distance)


def simulate_stack(image: Image, settings: SliceSettings) -> tuple[Stack, Float]:
    """Thick slices of `image`, and the part of it that they cover, in work order.

    The truth is (I, J, K) float32 on the grid of the stack. Raises UsageError for an axis that
    there is not, GeometryError for slices that do not fit the scan.
    """
    across = slice_axis(image.affine, settings.axis)
    size = image.spacing[across]
    covered, middles = place_slices(image.shape[across], size, settings, image.name)
    order = _work_order(across)
    truth = np.ascontiguousarray(image.data.transpose(order)[..., :covered], dtype=np.float32)
    i, j, k = truth.shape
    operator = SliceOperator.of(settings.profile, settings.thickness, middles, covered, size)
    slices = operator.slice(truth)
    seen = truth[truth > 0]
    if settings.noise > 0 and seen.size:
        # Noise of the complex signal, of which a scanner makes magnitudes.
        rng = np.random.default_rng(settings.seed)
        level = np.float32(settings.noise * np.percentile(seen, BRIGHT))
        real, imaginary = level * rng.standard_normal((2, *slices.shape), dtype=np.float32)
        slices = np.asarray(np.hypot(slices + real, imaginary), np.float32)
    return Stack(slices, Grid((i, j, k), permuted(image.grid, order).affine), operator), truth


def simulate_slices(image: Image, settings: SliceSettings) -> Image:
    """What a scan with thick slices measures of `image`, in its axis order, float32.

    Voxel centres are the middles of the slices. Raises what `simulate_stack` raises.
    """
    stack, _ = simulate_stack(image, settings)
    operator = stack.operator
    matrix = stack.grid.affine.matrix.copy()
    matrix[:3, 3] += matrix[:3, 2] * operator.middles[0] / operator.voxel_size
    matrix[:3, 2] *= operator.ratio
    back = np.argsort(_work_order(slice_axis(image.affine, settings.axis)))
    matrix[:3, :3] = matrix[:3, back]
    slices = np.ascontiguousarray(stack.slices.transpose(back))
    return Image(slices, Affine(matrix), image.source, image.header)


def simulate_problem(
    t2w: Image, t1w: Image | None, settings: SliceSettings
) -> tuple[Problem, Float]:
    """The problem of getting the isotropic `t2w` back from its slices, and its truth (I, J, K).

    Both are in work order, voxel for voxel. The headers of `t1w` and `t2w` are trusted; a T1w on
    the voxels of the T2w is not interpolated either. Raises what `simulate_stack` raises.
    """
    stack, truth = simulate_stack(t2w, settings)
    axis = slice_axis(t2w.affine, settings.axis)
    if t1w is None:
        return Problem((stack,), axis), truth
    mapping = (t1w.affine.inverse @ stack.grid.affine).matrix
    shared = np.abs(mapping - np.round(mapping)).max() < ROUNDING
    data = np.asarray(t1w.data, np.float32)
    guide = resample(data, t1w.affine, stack.grid, order=0 if shared else 3)
    acquired = resample(np.ones(t1w.shape, np.uint8), t1w.affine, stack.grid, order=0) > 0
    return Problem((stack,), axis, np.asarray(guide, np.float32), acquired), truth


def coarser(image: Image, spacing: float) -> Image:
    """`image` as a scan of cubes of `spacing` mm shows it: each the mean of what lies within.

    The first voxels of both begin at the same faces; what is left of the last ones is dropped.
    Raises GeometryError where a voxel is larger than `spacing`.
    """
    data, matrix = np.asarray(image.data, np.float32), image.affine.matrix.copy()
    for axis, size in enumerate(image.spacing):
        settings = SliceSettings(axis, spacing)
        covered, middles = place_slices(data.shape[axis], size, settings, image.name)
        weights = slice_matrix(BOX, spacing, middles, covered, size)
        lines = np.moveaxis(data, axis, -1)[..., :covered]
        data = np.moveaxis(along(weights, lines), -1, axis)
        matrix[:3, 3] += image.affine.matrix[:3, axis] * middles[0] / size
        matrix[:3, axis] *= spacing / size
    return Image(np.ascontiguousarray(data), Affine(matrix), image.source)


def _work_order(across: int) -> tuple[int, int, int]:
    """The axes of the scan in work order: the one across the slices comes last."""
    first, second = (axis for axis in range(3) if axis != across)
    return first, second, across

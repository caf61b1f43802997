# SPDX-License-Identifier: Apache-2.0
"""Thick slices of an isotropic scan, as a scanner would have measured them, and their truth.

Slices follow one another from the first voxel of the slice axis on, each with half of the gap on
either side. The grid of the truth is the part of the scan that whole slices cover, in the scan's
own voxels: nothing is ever interpolated, so the truth is exact and the slices are its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError, UsageError
from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.studies.isotropic.reconstruction.problem import Problem, Stack, permuted, slice_axis
from encephalon.transforms.slices import SliceOperator, SliceProfile

__all__ = [
    "Cut",
    "place_slices",
    "simulate_problem",
    "simulate_slices",
    "simulate_stack",
]

Float = NDArray[np.float32]

BOX = SliceProfile()
#: Share of a slice, or of a voxel, by which rounded headers may fall short of a whole one.
ROUNDING = 1e-3
#: Intensity that `noise` is a share of: bright tissue, as the published scale has it (spec
#: baby-ai, section 3).
BRIGHT = 99


@dataclass(frozen=True, eq=False)
class Cut:
    """Where slices lie on a line of voxels.

    `first` is the first voxel of the line that they cover and `voxels` how many they do; `middles`
    (S,) are those of the slices in mm from the centre of that voxel.
    """

    first: int
    voxels: int
    middles: NDArray[np.float64] = field(repr=False)


def place_slices(
    voxels: int,
    voxel_size: float,
    thickness: float,
    gap: float = 0.0,
    *,
    profile: SliceProfile = BOX,
    shift: float = 0.0,
    name: str = "the volume",
) -> Cut:
    """Where whole slices of `thickness` mm with `gap` mm between them lie on `voxels` voxels.

    The first begins, with its half of the gap, `shift` mm from the outer face of the first voxel.
    Where the voxels between slices are no whole number, the slices are centred on the voxels that
    they cover, at most a quarter of a voxel off. Slices of the profile "point" are decimation:
    they lie at the centres of the first voxel and of those every `thickness` + `gap` mm from it,
    and cover all voxels.

    Raises UsageError for sizes that make no sense, GeometryError, naming the scan `name`, for
    slices thinner than its voxels or too thick for two of them.
    """
    _check_sizes(thickness, gap, shift)
    distance = thickness + gap
    if thickness < voxel_size * (1 - ROUNDING):
        raise GeometryError(
            f"{name}: slices of {thickness:g} mm are thinner than its voxels, which are "
            f"{voxel_size:g} mm long across them: ask for slices that are thicker."
        )
    first = int(np.floor(shift / voxel_size + ROUNDING))
    length = voxels * voxel_size - shift
    if profile.kind == "point":
        count = int((length - voxel_size) / distance + ROUNDING) + 1
        covered, begin = voxels - first, shift - first * voxel_size
    else:
        count = int(length / distance + ROUNDING)
        covered = round(count * distance / voxel_size)
        begin = (covered * voxel_size - voxel_size) / 2 - (count - 1) * distance / 2
        begin += shift - first * voxel_size
    if count < 2:
        raise GeometryError(
            f"{name}: {voxels} voxels of {voxel_size:g} mm hold fewer than two slices every "
            f"{distance:g} mm: ask for thinner ones."
        )
    return Cut(first, covered, np.asarray(begin + np.arange(count) * distance))


def _check_sizes(thickness: float, gap: float, shift: float) -> None:
    for what, size, fits in (
        ("thickness of a slice", thickness, 0 < thickness < np.inf),
        ("gap between slices", gap, 0 <= gap < np.inf),
        ("shift of the first slice", shift, 0 <= shift < np.inf),
    ):
        if not fits:
            least = "above 0" if what.startswith("thickness") else "0 or more"
            raise UsageError(f"The {what} must be {least} mm, but it is {size:g}: correct it.")


def simulate_stack(
    volume: NDArray[Any],
    grid: Grid,
    axis: str | int,
    thickness: float,
    gap: float = 0.0,
    profile: SliceProfile = BOX,
    noise: float = 0.0,
    seed: int = 0,
    shift: float = 0.0,
    name: str = "the volume",
) -> tuple[Stack, Float]:
    """Thick slices of `volume` (I, J, K), and the part of it that they cover, in work order.

    The arguments are those of `simulate_slices`; the truth is (I', J', K') float32 on the grid of
    the stack.
    """
    across = slice_axis(grid.affine, axis)
    size = grid.affine.spacing[across]
    cut = place_slices(
        grid.shape[across], size, thickness, gap, profile=profile, shift=shift, name=name
    )
    order = _work_order(across)
    inside = slice(cut.first, cut.first + cut.voxels)
    truth = np.ascontiguousarray(volume.transpose(order)[..., inside], dtype=np.float32)
    work = permuted(grid, order)
    placed = Grid(_sizes(truth), work.affine.shifted((0, 0, cut.first)))
    operator = SliceOperator.of(profile, thickness, cut.middles, cut.voxels, size)
    slices = _noisy(operator.slice(truth), noise, truth, seed)
    return Stack(slices, placed, operator), truth


def simulate_slices(
    volume: NDArray[Any],
    grid: Grid,
    axis: str | int,
    thickness: float,
    gap: float = 0.0,
    profile: SliceProfile = BOX,
    noise: float = 0.0,
    seed: int = 0,
    shift: float = 0.0,
    name: str = "the volume",
) -> tuple[Float, Affine]:
    """What a scan with thick slices measures of `volume` (I, J, K) on `grid`, in its axis order.

    axis              the plane of the slices, or the voxel axis across them, see `slice_axis`
    thickness, gap    of a slice and between two, mm
    profile           the sensitivity of a slice
    noise             standard deviation of the Rician noise, as a share of the 99th percentile of
                      what is above 0; `seed` draws it
    shift             from the outer face of the first voxel to the first slice, mm
    name              of the scan, for messages

    Returns the slices, float32, and the affine whose voxel centres are their middles. Raises
    UsageError for arguments that make no sense, GeometryError for slices that do not fit the scan.
    """
    stack, _ = simulate_stack(volume, grid, axis, thickness, gap, profile, noise, seed, shift, name)
    across = slice_axis(grid.affine, axis)
    operator = stack.operator
    matrix = stack.grid.affine.matrix.copy()
    matrix[:3, 3] += matrix[:3, 2] * operator.middles[0] / operator.voxel_size
    matrix[:3, 2] *= operator.ratio
    back = np.argsort(_work_order(across))
    slices = np.ascontiguousarray(stack.slices.transpose(back))
    matrix[:3, :3] = matrix[:3, back]
    return slices, Affine(matrix)


def simulate_problem(
    t2w: Image,
    t1w: Image | None,
    axis: str | int,
    thickness: float,
    gap: float = 0.0,
    profile: SliceProfile = BOX,
    noise: float = 0.0,
    seed: int = 0,
    shift: float = 0.0,
    misalign: Affine | None = None,
) -> tuple[Problem, Float]:
    """The problem of getting the isotropic `t2w` back from its slices, and its truth (I, J, K).

    The arguments are those of `simulate_slices`; both results are in work order, voxel for voxel.
    The headers of `t1w` and `t2w` are trusted. `misalign` maps mm to mm and moves the T1w's head, a
    registration gone wrong. A T1w on the voxels of the T2w is not interpolated either.
    """
    stack, truth = simulate_stack(
        t2w.data, t2w.grid, axis, thickness, gap, profile, noise, seed, shift, t2w.name
    )
    guide, coverage = None, None
    if t1w is not None:
        guide, coverage = _guide(t1w, stack.grid, misalign)
    return Problem((stack,), slice_axis(t2w.affine, axis), guide, coverage), truth


def _work_order(across: int) -> tuple[int, int, int]:
    """The axes of the scan in work order: the one across the slices comes last."""
    first, second = (axis for axis in range(3) if axis != across)
    return first, second, across


def _sizes(volume: Float) -> tuple[int, int, int]:
    i, j, k = volume.shape
    return i, j, k


def _noisy(slices: Float, noise: float, truth: Float, seed: int) -> Float:
    """Slices whose complex signal has noise, as a scanner makes magnitudes."""
    if not 0 <= noise < np.inf:
        raise UsageError(
            f"The noise must be 0 or more, a share of bright tissue, but it is {noise:g}."
        )
    seen = truth[truth > 0]
    if noise == 0 or not seen.size:
        return slices
    rng = np.random.default_rng(seed)
    level = np.float32(noise * np.percentile(seen, BRIGHT))
    real, imaginary = level * rng.standard_normal((2, *slices.shape), dtype=np.float32)
    return np.asarray(np.hypot(slices + real, imaginary), np.float32)


def _guide(t1w: Image, grid: Grid, misalign: Affine | None) -> tuple[Float, NDArray[np.bool_]]:
    """The T1w on `grid`, and where it was acquired."""
    place = t1w.affine if misalign is None else misalign @ t1w.affine
    mapping = (place.inverse @ grid.affine).matrix
    shared = np.abs(mapping - np.round(mapping)).max() < ROUNDING
    data = np.asarray(t1w.data, np.float32)
    guide = resample(data, place, grid, order=0 if shared else 3)
    there = resample(np.ones(t1w.shape, np.uint8), place, grid, order=0)
    return np.asarray(guide, np.float32), there > 0

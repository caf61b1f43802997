# SPDX-License-Identifier: Apache-2.0
"""Bring scans to the grid that is worked on: slices along their own axes, a T1w by registration.

A scan of thick slices becomes its slices and the isotropic grid that they cut; the T1w is
registered to it, checked for its person and side, and resampled once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.studies.isotropic.acquisition.slices import Acquisition
from encephalon.studies.isotropic.reconstruction.problem import Stack, permuted
from encephalon.transforms.registration import (
    RegistrationFit,
    image_similarity,
    mirrored,
    refine_rigid,
    register_rigid,
)
from encephalon.transforms.slices import SIGMA_PER_FWHM, SliceOperator, SliceProfile, along

Float = NDArray[np.float32]

#: Mean displacement, mm, up to which the headers are kept: registration is no truer than this.
KEPT = 0.5
#: How much more alike the T2w the right T1w is than its own mirror image, at least. Set between the
#: pairs it was looked at on, all of adults: 13 right ones (10 people) had 2.2 to 3.2, 23 wrong ones
#: 0.9 to 1.1. Infants, and scans that are much noisier, have not been measured.
SAME_PERSON = 1.5
#: Share of the detail that must agree at all. The same right pairs had 0.42 to 0.66, wrong ones to
#: 0.23: this only refuses scans that tell nothing.
SAME_HEAD = 0.1
#: Share of the T2w's head that the T1w should cover.
COVERED = 0.5
#: Ends of the two starts further apart than this, mm, are said; alone they condemn nothing.
APART = 2.0

#: A plane whose voxels differ from what is asked for by less than this share is left as it is.
UNTOUCHED = 0.005


@dataclass(frozen=True)
class Registration:
    """A T1w on the grid of the result, and whether it may be used.

    guide                 The T1w (I, J, K) in work order, in the units of its file; 0 where there
                          is none.
    coverage              True where the T1w was acquired (I, J, K).
    matrix                What was used: T2w world RAS mm to T1w world RAS mm.
    fit                   What the registration found; None when none was asked for.
    similarity, mirror_similarity
                          Share of local variance that T1w and T2w explain of each other, and the
                          same of the T1w mirrored and registered anew.
    trusted               Whether the T1w shows the same head in the same place. If not, do without
                          it.
    reasons               Plain sentences: why not, and what else was noticed.
    """

    guide: Float = field(repr=False)
    coverage: NDArray[np.bool_] = field(repr=False)
    matrix: Affine
    fit: RegistrationFit | None
    similarity: float
    mirror_similarity: float
    trusted: bool
    reasons: tuple[str, ...]


def register_t1w(
    t1w: Image,
    t2w: Image,
    grid: Grid,
    mode: Literal["rigid", "none"] = "rigid",
) -> Registration:
    """`t1w` on `grid`, which lies in the world of `t2w`, by one cubic interpolation.

    "rigid" registers, and keeps the headers where that would change less than it can tell; "none"
    believes the headers. Either way the T1w is compared with its own mirror image, so that another
    person's, a mirrored and a misplaced one are noticed.

    Raises ContentError when nothing stands out from the background of either scan.
    """
    matrix, fit = Affine(np.eye(4)), None
    if mode == "rigid":
        fit = register_rigid(t2w, t1w)
        kept = fit.moved_mm < KEPT or fit.header_information >= fit.information
        matrix = matrix if kept else fit.matrix
    similarity, other = _similarities(t2w, t1w, matrix)
    guide, coverage = resample_filtered(t1w, Grid(grid.shape, matrix @ grid.affine))
    doubts = _doubts(similarity, other) + _uncovered(float(coverage.mean()), fit)
    reasons = doubts
    if fit is not None and fit.disagreement_mm > APART:
        reasons += (
            "Registrations of the T1w from the headers and from the middles of the heads ended "
            f"{fit.disagreement_mm:.0f} mm apart; the best of several was used.",
        )
    return Registration(guide, coverage, matrix, fit, similarity, other, not doubts, reasons)


def is_same_head(fixed: Image, moving: Image, matrix: Affine) -> bool:
    """Whether two scans show one head in one place, as far as its own mirror image tells.

    `matrix` maps fixed world RAS mm to moving world RAS mm. Raises ContentError when nothing stands
    out from the background of either.
    """
    return not _doubts(*_similarities(fixed, moving, matrix))


def _similarities(fixed: Image, moving: Image, matrix: Affine) -> tuple[float, float]:
    """The similarity of two scans, and that of the second one mirrored and registered anew."""
    mirror = mirrored(moving)
    refined = refine_rigid(fixed, mirror, matrix)
    return image_similarity(fixed, moving, matrix), image_similarity(fixed, mirror, refined)


def resample_filtered(scan: Image, target: Grid) -> tuple[Float, NDArray[np.bool_]]:
    """`scan` on `target` (I, J, K), filtered first where its voxels are finer, and its coverage.

    The filter widens voxels to those of the target, both taken for Gaussian with the voxel as full
    width at half maximum; a difference of less than a tenth is left alone.
    """
    from scipy import ndimage

    data = np.asarray(scan.data, np.float32)
    low, high = float(data.min()), float(data.max())
    edges = np.asarray(scan.spacing)
    across = np.abs(scan.affine.direction.T @ target.affine.direction)
    wanted = np.sqrt((across**2 * np.asarray(target.affine.spacing) ** 2).sum(axis=1))
    added = np.sqrt(np.maximum(wanted**2 - edges**2, 0))
    widths = np.where(wanted > 1.1 * edges, SIGMA_PER_FWHM * added / edges, 0)
    if widths.any():
        data = ndimage.gaussian_filter(data, widths, mode="nearest", truncate=3)
    values = resample(data, scan.affine, target, order=3, outside=float("nan"))
    coverage = np.isfinite(values)
    # Splines overshoot at edges: beyond what was measured there is nothing.
    return np.where(coverage, np.clip(values, low, high), np.float32(0)), coverage


def _doubts(similarity: float, other: float) -> tuple[str, ...]:
    """What the mirror image says: another side, another person or place, or nothing."""
    if similarity >= SAME_HEAD and similarity >= SAME_PERSON * other:
        return ()
    if other >= SAME_HEAD and other >= SAME_PERSON * similarity:
        return (
            "The T1w seems to be mirrored left to right, or out of place: its mirror image fits "
            f"the T2w much better ({other:.0%} of the detail agree, against {similarity:.0%}); "
            "check the headers of both.",
        )
    return (
        "The T1w may show another person, or may be out of place: it fits the T2w hardly better "
        f"than its own mirror image does ({similarity:.0%} of the detail agree, against "
        f"{other:.0%}).",
    )


def _uncovered(covered: float, fit: RegistrationFit | None) -> tuple[str, ...]:
    """Too little of the head in the field of view of the T1w."""
    share = covered if fit is None else fit.overlap
    if share >= COVERED:
        return ()
    return (f"The T1w covers only {share:.0%} of what the T2w shows.",)


def make_stack(
    image: Image,
    acquisition: Acquisition,
    spacing: float,
    profile: SliceProfile,
    motion: Affine | None = None,
) -> Stack:
    """The slices of `image` (I, J, K, finite), and the grid of `spacing` mm that they cut.

    Planes of another spacing are resampled, blurred first where they become coarser; slices that
    were not measured are left out. `motion` maps the world of this scan to that of the grid wanted,
    mm to mm; without it they are the same.
    """
    axis = acquisition.axis
    order = (*(other for other in range(3) if other != axis), axis)
    native = output_grid(image.grid, axis, spacing)
    grid = permuted(native, (order[0], order[1], order[2]))
    slices = _planes(image, grid, order)[..., list(acquisition.measured)]
    if motion is not None:
        grid = Grid(grid.shape, motion @ grid.affine)
    voxels = grid.shape[2]
    # Scan and grid share their middle, from which both are counted.
    places = np.asarray(acquisition.measured) - (acquisition.slices - 1) / 2
    middles = places * acquisition.distance + (voxels - 1) / 2 * spacing
    operator = SliceOperator.of(profile, acquisition.thickness, middles, voxels, spacing)
    return Stack(np.ascontiguousarray(slices, dtype=np.float32), grid, operator)


def output_grid(scan: Grid, axis: int, spacing: float) -> Grid:
    """Voxels of `spacing` mm along the axes of `scan`, on the same field of view.

    Outer faces lie where those of the scan do, or as evenly as whole voxels allow, since the
    middles are the same. An axis in the plane that has this spacing already is left as it is;
    `axis` never is.
    """
    sizes, shape = list(scan.affine.spacing), list(scan.shape)
    for each in range(3):
        if each == axis or abs(sizes[each] - spacing) > UNTOUCHED * spacing:
            shape[each] = max(1, round(scan.extent[each] / spacing))
            sizes[each] = spacing
    middle = (np.asarray(shape) - 1) / 2
    affine = Affine.from_parts(scan.affine.direction, sizes, (0.0, 0.0, 0.0))
    origin = scan.centre - affine.apply(middle)
    i, j, k = shape
    return Grid((i, j, k), Affine.from_parts(scan.affine.direction, sizes, origin))


def missing_voxels(operator: SliceOperator) -> NDArray[np.bool_]:
    """Which voxels along the slice axis (voxels,) lie beyond the first and the last slice.

    Nothing but the slices next to them tells what they hold.
    """
    # Half a voxel of grace: the outer faces of a scan need not fall between voxels.
    reach = max(operator.distance, operator.thickness) / 2 + operator.voxel_size / 2
    low, high = operator.middles.min() - reach, operator.middles.max() + reach
    return np.asarray((operator.places < low) | (operator.places > high))


def _planes(image: Image, grid: Grid, order: tuple[int, ...]) -> NDArray[np.float32]:
    """The slices (I, J, S) of the scan in the plane of `grid` (I, J, K)."""
    slices = np.asarray(image.data.transpose(order), np.float32)
    for axis in (0, 1):
        fine, coarse = image.spacing[order[axis]], grid.affine.spacing[axis]
        count = grid.shape[axis]
        if count != slices.shape[axis] or abs(coarse - fine) > 1e-6 * fine:
            weights = _raster(slices.shape[axis], count, coarse / fine)
            slices = np.moveaxis(along(weights, np.moveaxis(slices, axis, -1)), -1, axis)
    # A spline rings: nothing may become darker or brighter than the scan is.
    return np.clip(slices, image.data.min(), image.data.max())


def _raster(size: int, count: int, scale: float) -> NDArray[np.float64]:
    """Weights (count, size) of a raster of the same middle, `scale` times as coarse.

    Cubic splines keep a ramp where it is; linear weights move it by 0.07 mm when they also blur. A
    coarser raster is blurred first, by what makes its voxels of a Gaussian profile as wide.
    """
    from scipy import interpolate, ndimage

    lines = np.eye(size)
    if scale > 1:
        width = np.sqrt(scale**2 - 1) * SIGMA_PER_FWHM
        lines = ndimage.gaussian_filter1d(lines, width, axis=0, mode="nearest")
    places = (np.arange(count) - (count - 1) / 2) * scale + (size - 1) / 2
    spline = interpolate.make_interp_spline(np.arange(size), lines, k=min(3, size - 1))
    return np.asarray(spline(np.clip(places, 0, size - 1)))

# SPDX-License-Identifier: Apache-2.0
"""The T1w where the T2w is: registered, checked for its person and side, resampled once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine, Grid, resample
from encephalon.io.image import Image
from encephalon.transforms.registration import (
    RigidFit,
    image_similarity,
    mirrored,
    refine_rigid,
    register_rigid,
)
from encephalon.transforms.slices import SIGMA_PER_FWHM

__all__ = ["Registration", "is_same_head", "register_t1w"]

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


@dataclass(frozen=True)
class Registration:
    """A T1w on the grid of the result, and whether it may be used.

    Attributes
    ----------
    guide
        The T1w (I, J, K) in work order, in the units of its file; 0 where there is none.
    coverage
        True where the T1w was acquired (I, J, K).
    matrix
        What was used: T2w world RAS mm to T1w world RAS mm.
    fit
        What the registration found; None when none was asked for.
    similarity, mirror_similarity
        Share of local variance that T1w and T2w explain of each other, and the same of the T1w
        mirrored and registered anew.
    trusted
        Whether the T1w shows the same head in the same place. If not, do without it.
    reasons
        Plain sentences: why not, and what else was noticed.
    """

    guide: Float = field(repr=False)
    coverage: NDArray[np.bool_] = field(repr=False)
    matrix: Affine
    fit: RigidFit | None
    similarity: float
    mirror_similarity: float
    trusted: bool
    reasons: tuple[str, ...]


def register_t1w(
    t1w: Image,
    t2w: Image,
    grid: Grid,
    mode: Literal["rigid", "none"] = "rigid",
    threads: int | None = None,
) -> Registration:
    """`t1w` on `grid`, which lies in the world of `t2w`, by one cubic interpolation.

    "rigid" registers, and keeps the headers where that would change less than it can tell; "none"
    believes the headers. Either way the T1w is compared with its own mirror image, so that another
    person's, a mirrored and a misplaced one are noticed. `threads` as for `register_rigid`.

    Raises ContentError when nothing stands out from the background of either scan.
    """
    matrix, fit = Affine(np.eye(4)), None
    if mode == "rigid":
        fit = register_rigid(t2w, t1w, threads=threads)
        kept = fit.moved_mm < KEPT or fit.header_information >= fit.information
        matrix = matrix if kept else fit.matrix
    similarity, other = _similarities(t2w, t1w, matrix)
    guide, coverage = _resampled(t1w, Grid(grid.shape, matrix @ grid.affine))
    doubts = _doubts(similarity, other) + _uncovered(float(coverage.mean()), fit)
    return Registration(
        guide,
        coverage,
        matrix,
        fit,
        similarity,
        other,
        trusted=not doubts,
        reasons=doubts + _apart(fit),
    )


def is_same_head(fixed: Image, moving: Image, matrix: Affine) -> bool:
    """Whether two scans show one head in one place, as far as its own mirror image tells.

    `matrix` maps fixed world RAS mm to moving world RAS mm. Raises ContentError when nothing stands
    out from the background of either.
    """
    similarity, other = _similarities(fixed, moving, matrix)
    return similarity >= SAME_HEAD and similarity >= SAME_PERSON * other


def _similarities(fixed: Image, moving: Image, matrix: Affine) -> tuple[float, float]:
    """The similarity of two scans, and that of the second one mirrored and registered anew."""
    mirror = mirrored(moving)
    refined = refine_rigid(fixed, mirror, matrix)
    return (
        image_similarity(fixed, moving, matrix),
        image_similarity(fixed, mirror, refined),
    )


def _resampled(t1w: Image, target: Grid) -> tuple[Float, NDArray[np.bool_]]:
    """`t1w` on `target` (I, J, K), filtered first where its voxels are finer, and its coverage."""
    from scipy import ndimage

    data = np.asarray(t1w.data, np.float32)
    low, high = float(data.min()), float(data.max())
    widths = _filter_widths(t1w.affine, target.affine)
    if any(widths):
        data = ndimage.gaussian_filter(data, widths, mode="nearest", truncate=3)
    values = resample(data, t1w.affine, target, order=3, outside=float("nan"))
    coverage = np.isfinite(values)
    # Splines overshoot at edges: beyond what was measured there is nothing.
    return np.where(coverage, np.clip(values, low, high), np.float32(0)), coverage


def _filter_widths(source: Affine, target: Affine) -> list[float]:
    """Standard deviations (3,), source voxels, that widen source voxels to target ones; 0: none.

    Both are taken for Gaussian with the voxel as full width at half maximum; a difference of less
    than a tenth is left alone.
    """
    edges = np.asarray(source.spacing)
    across = np.abs(source.direction.T @ target.direction)
    wanted = np.sqrt((across**2 * np.asarray(target.spacing) ** 2).sum(axis=1))
    added = np.sqrt(np.maximum(wanted**2 - edges**2, 0))
    return [float(w) for w in np.where(wanted > 1.1 * edges, SIGMA_PER_FWHM * added / edges, 0)]


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


def _uncovered(covered: float, fit: RigidFit | None) -> tuple[str, ...]:
    """Too little of the head in the field of view of the T1w."""
    share = covered if fit is None else fit.overlap
    if share >= COVERED:
        return ()
    return (f"The T1w covers only {share:.0%} of what the T2w shows.",)


def _apart(fit: RigidFit | None) -> tuple[str, ...]:
    """What condemns nothing but should be known."""
    if fit is None or fit.disagreement_mm <= APART:
        return ()
    return (
        "Registrations of the T1w from the headers and from the middles of the heads ended "
        f"{fit.disagreement_mm:.0f} mm apart; the best of several was used.",
    )

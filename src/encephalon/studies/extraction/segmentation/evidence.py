# SPDX-License-Identifier: Apache-2.0
"""What a network and its mask show of how right the mask is, in numbers, and what follows of them.

A network that is lost disagrees with itself: when the scan is mirrored or turned, between the two
grids, or in maps that are no distances. How much each tells of the error was fitted on synthetic
heads whose truth is known, a quarter of them too hard on purpose: a linear model of each kind of
error in these numbers, of disagreements in their logarithms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Grid, corners
from encephalon.geometry.resample import resample_aligned
from encephalon.metrics.segmentation import dice
from encephalon.studies.extraction.segmentation.boundary import Boundary
from encephalon.studies.extraction.settings import ErrorModel, Fit

__all__ = ["EDGE_MM", "LIMIT", "ExpectedError", "evidence_of", "expected_error", "share_near_faces"]

#: Distance (mm) from a face of the field of view within which a mask may be cut.
EDGE_MM = 6.0
#: Disagreement (1 - Dice) below which two masks are as good as the same.
SAME = 0.002
#: Millimetres in which the odds of lying inside are taken to change by a factor of e. Fixed, not
#: `border_spread`: the fit scales this evidence itself, and must not change when that does.
SOFT = 1.0
#: Voxels of the fine grid within which a distance is that to the border.
BORDER = 0.5
#: Share of the tissue in what the border encloses, and volume of a brain (mL), about those of
#: adults; what is told is how far a mask is from them.
TISSUE, VOLUME_ML = 0.85, 1400.0
#: Standard deviations beyond which evidence counts no more: a line goes on for ever.
LIMIT = 4.0


@dataclass(frozen=True)
class ExpectedError:
    """How wrong a mask is likely to be.

    good       Probability of a Dice above `settings.GOOD_DICE`.
    dice       Dice with the truth, median.
    missed_ml  Brain outside the mask, median.
    leaked_ml  Mask outside the brain, median.
    """

    good: float
    dice: float
    missed_ml: float
    leaked_ml: float


def evidence_of(borders: Boundary, scan: Grid) -> dict[str, float]:
    """The numbers that a fit knows, by name; `scan` is the scan's own grid.

    Those of looks that were not taken are left out.
    """
    distance, view = borders.distances[0], borders.view
    inside = distance > 0
    coarse = resample_aligned(borders.found.distances[0], borders.found.view.grid.affine, view.grid)
    looks = {
        "mirror": borders.mirror,
        "turn": borders.turn,
        "coarse": dice(inside, coarse > 0),
        "soft": 1 - _lost_overlap(distance, inside),
    }
    told = {name: _doubt(one) for name, one in looks.items() if one is not None}
    voxels = max(1, int(np.count_nonzero(inside)))
    tissue = int(np.count_nonzero(borders.distances[-1] > 0)) / voxels
    volume = voxels * view.spacing**3 / 1000
    return told | {
        "slope": float(np.log(max(borders.slope_error, SAME))),
        "pieces": float(np.sqrt(borders.second_piece)),
        "tissue": abs(tissue - TISSUE),
        "volume": abs(float(np.log(volume / VOLUME_ML))),
        "faces": float(np.sqrt(share_near_faces(distance, view.grid, scan))),
        "across": float(np.sqrt(sum(borders.across.values()))) / 10,
        "bare": borders.bare,
        "spacing": view.spacing,
    }


def expected_error(evidence: Mapping[str, float], model: ErrorModel) -> ExpectedError | None:
    """What the fit with the most looks that were taken says; None where nothing fits."""
    for fit in sorted(model.fits, key=lambda one: -len(one.evidence)):
        if set(fit.evidence) <= set(evidence):
            values = np.array([evidence[name] for name in fit.evidence])
            return _error(fit, np.clip((values - fit.centre) / fit.scale, -LIMIT, LIMIT))
    return None


def _error(fit: Fit, standard: NDArray[np.float64]) -> ExpectedError:
    def line(coefficients: tuple[float, ...]) -> float:
        return float(coefficients[0] + np.dot(coefficients[1:], standard))

    return ExpectedError(
        good=float(1 / (1 + np.exp(-line(fit.good)))),
        dice=float(1 - np.exp(min(0.0, line(fit.loss)))),
        missed_ml=float(np.expm1(max(0.0, line(fit.missed)))),
        leaked_ml=float(np.expm1(max(0.0, line(fit.leaked)))),
    )


def share_near_faces(distance: NDArray[np.float32], grid: Grid, scan: Grid) -> float:
    """Share of the border's voxels on `grid` within `EDGE_MM` of a face of the field of view.

    `distance` (I, J, K), mm, lies on the parallel `grid`; voxels beyond the faces do not count.
    """
    ends = grid.affine.inverse.apply(scan.affine.apply(_box_ends(scan)))
    low, high = ends.min(axis=0), ends.max(axis=0)
    spacing = float(grid.affine.spacing[0])
    at = np.argwhere(np.abs(distance) < BORDER * spacing)
    seen = at[((at >= low) & (at <= high)).all(axis=1)]
    if not len(seen):
        return 0.0
    near = EDGE_MM / spacing
    return float(((seen - low < near) | (high - seen < near)).any(axis=1).mean())


def _box_ends(grid: Grid) -> NDArray[np.float64]:
    """The corners (8, 3) of the field of view, voxels: half a one beyond the outermost centres."""
    last = np.array(grid.shape) - 0.5
    return corners(np.stack([np.full(3, -0.5), last], axis=1))


def _lost_overlap(distance: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    """1 - Dice to be expected if the odds of lying inside change by a factor of e in `SOFT` mm."""
    chance = 1 / (1 + np.exp(-np.abs(distance) / SOFT))  # of being on the side that was chosen
    return float((1 - chance).sum() / max(1.0, 2.0 * np.count_nonzero(inside)))


def _doubt(agreement: float) -> float:
    return float(np.log(max(SAME, 1 - agreement)))

# SPDX-License-Identifier: Apache-2.0
"""Which methods are compared on a table, and every figure of an estimate against its truth.

Compared are the model's network, itself without the T1w, and what it must beat; all are scored
region by region.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Grid
from encephalon.geometry.resample import resample
from encephalon.metrics.image_quality import (
    Similarity,
    foreground,
    foreground_similarities,
    nrmse,
    published_similarity,
)
from encephalon.studies.isotropic.evaluation.cases import LESION, RADIUS_MM, SimulatedCase
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Method, Problem
from encephalon.studies.isotropic.settings import NORMAL

if TYPE_CHECKING:
    from encephalon.studies.isotropic.predictor import IsotropicPredictor

__all__ = [
    "CUBIC",
    "GUIDED",
    "NETWORK",
    "T2W_ONLY",
    "acquired_voxels",
    "compared_methods",
    "regions",
    "score",
]

NETWORK, T2W_ONLY, GUIDED, CUBIC = "network", "T2w only", "guided", "cubic"

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
REGIONS = ("foreground", "whole", "acquired", "missing", "lesion")
FIGURES = ("psnr", "ssim", "nrmse", "mse")
#: PSNR that counts for an image equal to its truth, dB, so that means exist; single precision
#: ends near 140 dB.
HIGHEST_PSNR = 100.0
#: Standard deviations within which an error of normal distribution lies in 95 % of voxels.
NORMAL_95 = 1.96
# Voxels that ranks are correlated over; more would not move the figure visibly.
_SAMPLE = 300_000
# Of a voxel: what rounding of positions may amount to.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class ComparedMethod:
    """A method by its name; `guided` says whether it looks at the T1w."""

    name: str
    method: Method
    guided: bool = False

    def takes_part(self, problem: Problem, condition: str) -> bool:
        """Whether its answer in this condition is another one than in the normal one.

        Without a T1w the network is itself what is compared as "T2w only".
        """
        if self.name == T2W_ONLY and problem.guide is None:
            return False
        return self.guided or condition in (NORMAL, LESION)


def compared_methods(predictor: IsotropicPredictor) -> list[ComparedMethod]:
    """All methods of the evaluation of a predictor, the model's own first.

    One whose option `method` is another than its network is compared by that alone.
    """
    from encephalon.studies.isotropic.reconstruction.guided import guided
    from encephalon.studies.isotropic.reconstruction.interpolation import METHODS
    from encephalon.studies.isotropic.reconstruction.multi_stack import fuse_stacks

    own = predictor.reconstruct

    def without_guide(problem: Problem) -> Estimate:
        return own(replace(problem, guide=None, coverage=None))

    def guided_by_all(problem: Problem) -> Estimate:
        return fuse_stacks(problem, guided(problem))

    found = []
    if predictor.options.method == NETWORK:
        found += [ComparedMethod(NETWORK, own, True), ComparedMethod(T2W_ONLY, without_guide)]
    found.append(ComparedMethod(GUIDED, guided_by_all, True))
    return found + [ComparedMethod(name, method) for name, method in METHODS.items()]


def regions(case: SimulatedCase) -> dict[str, Mask]:
    """The masks (I, J, K) that figures are computed in, on the grid of the truth.

    "whole" is all that the scan reaches, "foreground" where the truth shows no air in it,
    "acquired" and "missing" the parts of that that `acquired_voxels` tells apart, and "lesion" what
    was added.
    """
    whole = _reached(case)
    inside = foreground(case.truth) & whole
    acquired = acquired_voxels(case.problem, case.grid)
    found = {"foreground": inside, "whole": whole}
    found |= {"acquired": inside & acquired, "missing": inside & ~acquired}
    if case.lesion is not None:
        found["lesion"] = case.lesion.distance(case.grid) < RADIUS_MM
    return found


def acquired_voxels(problem: Problem, grid: Grid) -> Mask:
    """Which voxels of `grid` (I, J, K) hold the middle of a slice, both where it is between two.

    Voxels are those of the result. Of an odd number from slice to slice the middle one is acquired,
    of an even number the pair in the middle; with two voxels a slice nothing is missing.
    """
    operator = problem.stack.operator
    mapping = problem.grid.affine.inverse @ grid.affine
    row, start = mapping.matrix[2, :3], mapping.origin[2]
    i, j, k = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
    place = row[0] * i + row[1] * j + (row[2] * k + start)
    middles = np.sort(operator.middles / operator.voxel_size)
    halves = (middles[1:] + middles[:-1]) / 2
    apart = np.abs(place - middles[np.searchsorted(halves, place)])
    return np.asarray(apart <= 0.5 + _ROUNDING)


def score(case: SimulatedCase, masks: dict[str, Mask], estimate: Estimate) -> dict[str, float]:
    """Every figure of an estimate; one that cannot be told is NaN.

    PSNR (dB), SSIM, NRMSE and MSE as published ("psnr_published" ...) and in each region of
    `masks`, the error of the slices ("consistency"), the share of a lesion that is left, and how
    well the deviation tells the error.
    """
    image = case.compared(estimate.image)
    # Beyond what the scan reaches, truth and image are 0, like the padding around both.
    reached = _reached(case)
    similarities = {"published": published_similarity(case.truth * reached, image * reached)}
    similarities |= dict.fromkeys(REGIONS, Similarity(nan, nan, nan, nan))
    similarities |= foreground_similarities(case.truth, image, masks)
    found = dict[str, float]()
    for region, figures in similarities.items():
        found |= {f"{name}_{region}": float(getattr(figures, name)) for name in FIGURES}
        found[f"psnr_{region}"] = min(figures.psnr, HIGHEST_PSNR)
    stack = case.problem.stack
    found["consistency"] = nrmse(stack.slices, stack.operator.slice(estimate.image))
    lesion = case.lesion
    found["lesion_kept"] = lesion.kept(image, case.truth, case.grid) if lesion else nan
    return found | _uncertainty(case, masks["foreground"], image, estimate.deviation)


def _reached(case: SimulatedCase) -> Mask:
    """Where the grid of the truth lies within that of the estimate."""
    if case.is_shared:
        return np.ones(case.grid.shape, bool)
    there = np.ones(case.problem.grid.shape, np.uint8)
    return np.asarray(resample(there, case.problem.grid.affine, case.grid, order=0) > 0)


def _uncertainty(
    case: SimulatedCase, inside: Mask, image: Float, deviation: Float | None
) -> dict[str, float]:
    """Rank correlation of deviation and error, their ratio, and the shares within the intervals.

    The ratio is the root mean square of the errors over that of the deviations.
    """
    from scipy.stats import spearmanr

    names = ("deviation_correlation", "deviation_ratio", "coverage_68", "coverage_95")
    found = dict.fromkeys(names, nan)
    if deviation is None or not inside.any():
        return found
    spread = case.compared(deviation, difference=True)[inside].astype(np.float64)
    error = np.abs(image[inside] - case.truth[inside]).astype(np.float64)
    power = float(np.mean(spread**2))
    found["deviation_ratio"] = float(np.sqrt(np.mean(error**2) / power)) if power > 0 else nan
    found["coverage_68"] = float(np.mean(error <= spread))
    found["coverage_95"] = float(np.mean(error <= NORMAL_95 * spread))
    step = max(1, -(-error.size // _SAMPLE))
    one, two = spread[::step], error[::step]
    if one.size > 1 and np.ptp(one) > 0 and np.ptp(two) > 0:
        found["deviation_correlation"] = float(spearmanr(one, two).statistic)
    return found

# SPDX-License-Identifier: Apache-2.0
"""Does this reconstruction deserve trust? What is measured on problem and estimate, and its limits.

`measure_quality` measures, `check_quality` compares with limits and says why in plain sentences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from math import isfinite
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.inference.predictor import Quality, Value, told_apart
from encephalon.metrics.image_quality import foreground, nrmse
from encephalon.studies.isotropic.acquisition.registration import missing_voxels
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Problem
from encephalon.transforms.grey_levels import percentile_range

__all__ = [
    "LARGE_DEVIATION",
    "Guide",
    "QualityMetrics",
    "check_quality",
    "guide_state",
    "head_of",
    "intensity_range",
    "measure_quality",
    "quality_checks",
    "residual",
    "values",
]

Guide = Literal["absent", "used", "untrusted"]

#: Residual of the slices, relative to them, beyond which to look and beyond which the result shows
#: another head: one scan (our aim: below 1 %), and several, which differ by their noise.
CONSISTENCY, CONSISTENCY_OF_SEVERAL = (0.01, 0.10), (0.05, 0.20)
#: A deviation is large from this share of the range of intensities (1st to 99th percentile) on:
#: about the difference between grey and white matter in a T2w.
LARGE_DEVIATION = 0.15
#: Share of the head where the deviation may be large: our choice.
UNCERTAIN = 0.10
#: Difference to another method for each voxel between slices. Interpolation alone is off by 0.017
#: to 0.022 of the range in three pairs of real T1w and T2w scans, at ratios from 2 to 8.
DISAGREEMENT = 0.03
#: Share of the head that the T1w covers below which this is said, and below which it needs a look.
COVERAGE = (0.98, 0.60)
#: Correlation of T1w and T2w in the head. True pairs of the development data have -0.6 (brains) to
#: 0.5 (whole heads with bright skin), the same contrast twice has 0.95 or more.
LARGEST_CORRELATION = 0.80
#: Largest gap as a share of the thickness: beyond it less than half of the head was measured.
LARGEST_GAP = 1.0
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
#: Share of the 99th percentile above which a voxel is no air: the noise of air reaches 4 % in the
#: real thick-slice scans of the development data.
_AIR = 0.1
#: Values that percentiles and correlations are taken from; more would not move them visibly.
_SAMPLE = 1_000_000
#: Foreground voxels below which a correlation says nothing.
_ENOUGH = 500


@dataclass(frozen=True)
class QualityMetrics:
    """What a verdict rests on; None is "not known" or "does not apply".

    consistency   the result sliced again, minus the slices, as a share of them (NRMSE)
    ratio         output voxels from one slice to the next
    distance      between the middles of slices, mm
    thickness     of a slice, mm
    trained       the ratios that the network learnt; None for a method without weights
    stacks        scans of thick slices that were combined
    trusted       whether the T1w could be put onto the T2w, None without a T1w
    reasons       why it could not
    coverage      share of the head in the T2w that the T1w shows
    correlation   of T1w and T2w in the head
    uncertain     share of the head where the deviation exceeds `LARGE_DEVIATION`
    disagreement  root mean square difference to another method, as a share of the range of
                  intensities
    warnings      remarks of the reading that deserve a look
    notes         its other remarks
    """

    consistency: float
    ratio: float
    distance: float
    thickness: float
    trained: tuple[float, float] | None = None
    stacks: int = 1
    trusted: bool | None = None
    reasons: tuple[str, ...] = ()
    coverage: float | None = None
    correlation: float | None = None
    uncertain: float | None = None
    disagreement: float | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """Between neighbouring slices, mm; 0 where they touch or overlap."""
        return max(0.0, self.distance - self.thickness)

    @property
    def guide(self) -> Guide:
        """What became of the T1w."""
        return guide_state(self.trusted)


def guide_state(trusted: bool | None) -> Guide:
    """What became of a T1w whose place was trusted, or not, or of none."""
    if trusted is None:
        return "absent"
    return "used" if trusted else "untrusted"


def check_quality(metrics: QualityMetrics) -> Quality:
    """The verdict: "fail" only for a result that is of no use; every reason is a plain sentence."""
    return reduce(Quality.worse_of, quality_checks(metrics), Quality("ok"))


def quality_checks(metrics: QualityMetrics) -> tuple[Quality, ...]:
    """One verdict with one reason for everything worth saying, the gravest first."""
    found = (
        *_doubts_of_slices(metrics),
        *_doubts_of_guide(metrics),
        *_doubts_of_method(metrics),
        *(Quality("check", (_plain(warning),)) for warning in metrics.warnings),
        *(Quality("ok", (_plain(note),)) for note in metrics.notes),
    )
    return tuple(sorted(found, key=lambda one: ("fail", "check", "ok").index(one.status)))


def values(metrics: QualityMetrics) -> dict[str, Value]:
    """The evidence as cells of predictions.csv; lengths in mm, shares from 0 to 1."""
    known: dict[str, float | None] = {
        "coverage_share": metrics.coverage,
        "distance_mm": metrics.distance,
        "thickness_mm": metrics.thickness,
        "ratio": metrics.ratio,
        "inconsistency": metrics.consistency,
        "uncertain_share": metrics.uncertain,
        "disagreement": metrics.disagreement,
    }
    cells = {name: None if cell is None else round(cell, 5) for name, cell in known.items()}
    return {"guide": metrics.guide, **cells}


def _plain(remark: str) -> str:
    """A remark as a reason: rows join reasons by semicolons, and pages end them with full stops."""
    return remark.rstrip(".").replace(";", ",")


def _doubts_of_slices(metrics: QualityMetrics) -> Iterator[Quality]:
    """Whether the result agrees with what was measured."""
    check, fail = CONSISTENCY if metrics.stacks == 1 else CONSISTENCY_OF_SEVERAL
    share = metrics.consistency
    if not isfinite(share):
        words = "the result has voxels that are not numbers: do not use it, and report the scan"
        yield Quality("fail", (words,))
    elif share > check:
        words = (
            "the result, sliced again, differs from the measured slices by "
            f"{told_apart(share, check, 1, '%')} (at most {check:.0%} expected)"
        )
        if share <= fail:
            yield Quality("check", (f"{words}: look at the residual",))
        else:
            advice = "do not use it, and check the thickness, the gap and the slice axis"
            yield Quality("fail", (f"{words}: {advice}",))


def _doubts_of_guide(metrics: QualityMetrics) -> Iterator[Quality]:
    """Whether there is a T1w, of the same head and of another contrast."""
    if metrics.trusted is None:
        words = "no T1w was used, so what lies between slices rests on the T2w alone: add a T1w"
        yield Quality("ok", (f"{words} of the same visit if there is one",))
    elif not metrics.trusted:
        why = ", ".join(map(_plain, metrics.reasons)) or "the two scans could not be aligned"
        advice = "check that both scans show the same head"
        yield Quality("check", (f"the T1w was left out ({why}): {advice}",))
    share, correlation = metrics.coverage, metrics.correlation
    if share is not None and share < COVERAGE[0]:
        words = f"the T1w shows only {share:.0%} of the head: elsewhere the T2w stands alone"
        yield Quality("check" if share < COVERAGE[1] else "ok", (words,))
    if correlation is not None and correlation >= LARGEST_CORRELATION:
        words = (
            f"the T2w looks like the T1w (correlation "
            f"{told_apart(correlation, LARGEST_CORRELATION)}, expected below "
            f"{LARGEST_CORRELATION})"
        )
        yield Quality("check", (f"{words}: check that it is a T2w",))


def _doubts_of_method(metrics: QualityMetrics) -> Iterator[Quality]:
    """Whether the slices are such as a method can do, and what it says of its own result."""
    ratio, trained = metrics.ratio, metrics.trained
    # Half a percent is the rounding of headers.
    if trained is not None and not 0.995 * trained[0] <= ratio <= 1.005 * trained[1]:
        coarser = ratio > trained[1]
        advice = "a coarser spacing or the guided method" if coarser else "a finer spacing"
        words = f"the slices are {ratio:.1f} voxels apart, and the network learnt {trained[0]:g} to"
        yield Quality("check", (f"{words} {trained[1]:g}: choose {advice}",))
    if metrics.gap > LARGEST_GAP * metrics.thickness:
        missed = f"{metrics.gap / metrics.distance:.0%} of the head was never measured"
        words = (
            f"the gap of {metrics.gap:.1f} mm exceeds the thickness of {metrics.thickness:.1f} mm"
        )
        advice = "check the thickness in the header, or give the right one"
        yield Quality("check", (f"{words}, so {missed}: {advice}",))
    share = metrics.uncertain
    if share is not None and share > UNCERTAIN:
        words = (
            f"the uncertainty is large in {told_apart(share, UNCERTAIN, 0, '%')} of the head "
            f"(at most {UNCERTAIN:.0%} expected)"
        )
        yield Quality("check", (f"{words}: look at its map before using small detail",))
    share, limit = metrics.disagreement, DISAGREEMENT * ratio
    if share is not None and share > limit:
        apart = told_apart(share, limit, 0, "%")
        words = f"two methods of reconstruction differ by {apart} of the range of intensities"
        advice = "compare with the result of the guided method"
        yield Quality("check", (f"{words} (at most {limit:.1%} expected here): {advice}",))


def measure_quality(
    problem: Problem,
    estimate: Estimate,
    *,
    trained: tuple[float, float] | None = None,
    trusted: bool | None = None,
    reasons: Sequence[str] = (),
    other: Float | None = None,
    warnings: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> QualityMetrics:
    """The evidence on one reconstruction.

    `trained` is the range of ratios that a network learnt, None for a method without weights;
    `trusted` and `reasons` are the verdict on the registration, None without a T1w; `other` is the
    volume (I, J, K) of another method to compare with; `warnings` are remarks of the reading that
    deserve a look, `notes` those that do not.
    """
    stack = problem.stack
    low, high = intensity_range(stack.slices)
    head = head_of(stack.slices)
    inside = head[..., stack.operator.nearest]
    # The result is 0 there, whatever the method.
    inside[..., missing_voxels(stack.operator)] = False
    width, deviation = max(high - low, 1e-6), estimate.deviation
    covered = uncertain = disagreement = None
    if inside.any():
        if trusted and problem.coverage is not None:
            covered = float(problem.coverage[inside].mean())
        if deviation is not None:
            uncertain = float((deviation[inside] > LARGE_DEVIATION * width).mean())
        if other is not None:
            difference = np.asarray(estimate.image[inside] - other[inside], np.float64)
            disagreement = float(np.sqrt(np.mean(difference**2))) / width
    return QualityMetrics(
        consistency=nrmse(stack.slices, stack.operator.slice(estimate.image)),
        ratio=stack.operator.ratio,
        distance=stack.operator.distance,
        thickness=stack.operator.thickness,
        trained=trained,
        stacks=len(problem.stacks),
        trusted=trusted,
        reasons=tuple(reasons),
        coverage=covered,
        correlation=_correlation_with_guide(problem, head) if trusted else None,
        uncertain=uncertain,
        disagreement=disagreement,
        warnings=tuple(warnings),
        notes=tuple(notes),
    )


def residual(problem: Problem, image: NDArray[Any]) -> Float:
    """What `image` (I, J, K) measures beyond the slices of the first scan: (I, J, slices)."""
    return problem.stack.operator.slice(image) - problem.stack.slices


def intensity_range(slices: NDArray[Any]) -> tuple[float, float]:
    """The 1st and 99th percentile of what is above 0, or of everything if nothing is."""
    step = max(1, round(slices.size / _SAMPLE))
    return percentile_range(np.asarray(slices.ravel()[::step], np.float32))


def head_of(slices: NDArray[Any]) -> Mask:
    """Where the slices (I, J, S) show a head."""
    return foreground(slices, _AIR)


def _correlation_with_guide(problem: Problem, head: Mask) -> float | None:
    """Correlation of the T1w, as thick as the slices, with the T2w in the head."""
    if problem.guide is None:
        return None
    guide = problem.stack.operator.slice(problem.guide)
    step = max(1, round(head.size / _SAMPLE))
    first, second, kept = (each.ravel()[::step] for each in (guide, problem.stack.slices, head))
    if np.count_nonzero(kept) < _ENOUGH or not first[kept].std() * second[kept].std() > 0:
        return None
    return float(np.corrcoef(first[kept], second[kept])[0, 1])

# SPDX-License-Identifier: Apache-2.0
"""What speaks for a reconstruction and against it, measured on the problem and the estimate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.evaluation.similarity import foreground, nrmse
from encephalon.studies.isotropic.problem import Estimate, Problem
from encephalon.studies.isotropic.quality import LARGE_DEVIATION, Evidence
from encephalon.studies.isotropic.stacking import unmeasured

__all__ = ["gather", "head_of", "intensity_range", "residual"]

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Share of the 99th percentile above which a voxel is no air: the noise of air reaches 4 % in the
#: real thick-slice scans of the development data.
_AIR = 0.1
#: Values that percentiles and correlations are taken from; more would not move them visibly.
_SAMPLE = 1_000_000
#: Foreground voxels below which a correlation says nothing.
_ENOUGH = 500


def gather(
    problem: Problem,
    estimate: Estimate,
    *,
    trained: tuple[float, float] | None = None,
    trusted: bool | None = None,
    reasons: Sequence[str] = (),
    other: Float | None = None,
    warnings: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Evidence:
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
    inside[..., unmeasured(stack.operator)] = False  # the result is 0 there, whatever the method
    width = max(high - low, 1e-6)
    return Evidence(
        consistency=nrmse(stack.slices, stack.operator.slice(estimate.image)),
        ratio=stack.operator.ratio,
        distance=stack.operator.distance,
        thickness=stack.operator.thickness,
        trained=trained,
        stacks=len(problem.stacks),
        trusted=trusted,
        reasons=tuple(reasons),
        coverage=_coverage(problem, inside) if trusted else None,
        alike=_alike(problem, head) if trusted else None,
        uncertain=_uncertain(estimate, inside, width),
        disagreement=_disagreement(estimate.image, other, inside, width),
        warnings=tuple(warnings),
        notes=tuple(notes),
    )


def residual(problem: Problem, image: NDArray[Any]) -> Float:
    """What `image` (I, J, K) measures beyond the slices of the first scan: (I, J, slices)."""
    return problem.stack.operator.slice(image) - problem.stack.slices


def intensity_range(slices: NDArray[Any]) -> tuple[float, float]:
    """The 1st and 99th percentile of what is above 0, or of everything if nothing is."""
    values = _sampled(slices)
    bright = values[values > 0]
    low, high = np.percentile(bright if bright.size else values, [1, 99])
    return float(low), float(high)


def head_of(slices: NDArray[Any]) -> Mask:
    """Where the slices (I, J, S) show a head."""
    return foreground(slices, _AIR)


def _uncertain(estimate: Estimate, inside: Mask, width: float) -> float | None:
    if estimate.deviation is None or not inside.any():
        return None
    return float((estimate.deviation[inside] > LARGE_DEVIATION * width).mean())


def _disagreement(image: Float, other: Float | None, inside: Mask, width: float) -> float | None:
    if other is None or not inside.any():
        return None
    difference = np.asarray(image[inside] - other[inside], np.float64)
    return float(np.sqrt(np.mean(difference**2))) / width


def _coverage(problem: Problem, inside: Mask) -> float | None:
    if problem.coverage is None or not inside.any():
        return None
    return float(problem.coverage[inside].mean())


def _alike(problem: Problem, head: Mask) -> float | None:
    """Correlation of the T1w, as thick as the slices, with the T2w in the head."""
    if problem.guide is None:
        return None
    guide = problem.stack.operator.slice(problem.guide)
    step = max(1, round(head.size / _SAMPLE))
    first, second, kept = (each.ravel()[::step] for each in (guide, problem.stack.slices, head))
    if np.count_nonzero(kept) < _ENOUGH or not first[kept].std() * second[kept].std() > 0:
        return None
    return float(np.corrcoef(first[kept], second[kept])[0, 1])


def _sampled(values: NDArray[Any]) -> NDArray[np.float32]:
    step = max(1, round(values.size / _SAMPLE))
    return np.asarray(values.ravel()[::step], np.float32)

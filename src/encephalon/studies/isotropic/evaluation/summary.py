# SPDX-License-Identifier: Apache-2.0
"""What the scores of an evaluation say together: means, differences, and how sure both are.

Two methods on the same trials: which rows are pairs, and how far apart they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, isnan
from typing import Any

import numpy as np

from encephalon.statistics.comparison import Comparison, compare_paired, holm
from encephalon.statistics.intervals import Interval, bootstrap_weighted, mean_of
from encephalon.statistics.subgroups import subgroups as cut_subgroups
from encephalon.studies.isotropic.evaluation.methods import CUBIC, GUIDED, NETWORK, T2W_ONLY
from encephalon.studies.isotropic.evaluation.trials import LESION
from encephalon.studies.isotropic.settings import NORMAL

__all__ = [
    "ALL",
    "COMPARED",
    "METRICS",
    "OTHERS",
    "SAME",
    "Difference",
    "Mean",
    "Part",
    "Standing",
    "differences",
    "key_of",
    "overall",
    "standings",
    "stratified",
]

Row = Mapping[str, Any]

#: What stands for every axis, or every thickness, together.
ALL = "all"


METRICS = (
    "psnr_foreground",
    "ssim_foreground",
    "nrmse_foreground",
    "mse_foreground",
    "psnr_acquired",
    "psnr_missing",
    "ssim_acquired",
    "ssim_missing",
    "psnr_lesion",
    "lesion_kept",
    "psnr_published",
    "ssim_published",
    "nrmse_published",
    "mse_published",
    "consistency",
    "deviation_correlation",
    "coverage_68",
    "coverage_95",
    "seconds",
)


#: The metrics of which differences are taken; larger is better in both.
COMPARED = ("psnr_foreground", "ssim_foreground")
#: The methods that every other one is compared with, trial by trial.
OTHERS = (CUBIC, GUIDED, T2W_ONLY)
#: The comparison of a method under stress with itself without.
SAME = "itself, normal"


@dataclass(frozen=True)
class Mean:
    """The mean of one metric over `n` trials, with its interval, and how far they lie apart."""

    n: int
    mean: float
    sd: float
    minimum: float
    maximum: float
    interval: Interval


@dataclass(frozen=True)
class Standing:
    """One method on the trials of one condition, axis and thickness: `n` of `units` persons."""

    condition: str
    axis: str
    thickness: str
    method: str
    n: int
    units: int
    metrics: dict[str, Mean]
    differences: list[Difference] = field(default_factory=list)

    def difference(self, other: str, metric: str = COMPARED[0]) -> Difference | None:
        """The comparison with that method; None where there are no pairs."""
        return next((d for d in self.differences if (d.other, d.metric) == (other, metric)), None)

    @property
    def is_whole(self) -> bool:
        """Whether it is of one axis and one thickness, and not of several together."""
        return ALL not in (self.axis, self.thickness)


@dataclass(frozen=True)
class Part:
    """A method on the normal trials of the rows whose `column` says `value`."""

    column: str
    value: str
    method: str
    n: int
    units: int
    metrics: dict[str, Mean]


def standings(rows: Sequence[Row]) -> list[Standing]:
    """The standing of each method, in each cell of condition, axis and thickness, and in all.

    Intervals are 95 % bootstrap intervals that draw whole persons (column `group`).
    """
    scored = [row for row in rows if "psnr_foreground" in row]
    known = {key_of(row, row["condition"], row["method"]): row for row in scored}
    cells: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in scored:
        axis, thickness = str(row["axis"]), f"{row['thickness']:g}"
        for where in dict.fromkeys([(axis, thickness), (ALL, thickness), (axis, ALL), (ALL, ALL)]):
            cells.setdefault((row["condition"], *where, row["method"]), []).append(row)
    found = [_standing(key, part, known) for key, part in cells.items()]
    return _corrected(sorted(_telling(found), key=_order))


def overall(found: Sequence[Standing], condition: str = NORMAL) -> list[Standing]:
    """The standing of each method on all trials of a condition."""
    kept = [each for each in found if each.condition == condition]
    widest: dict[str, Standing] = {}
    for each in kept:
        known = widest.get(each.method)
        if known is None or each.n > known.n:
            widest[each.method] = each
    return list(widest.values())


def stratified(rows: Sequence[Row], columns: Sequence[str]) -> list[Part]:
    """The methods' figures on normal trials, cut by each of the `columns`."""
    normal = [row for row in rows if "psnr_foreground" in row and row["condition"] == NORMAL]
    found = []
    for column in columns if normal else ():
        for stratum in cut_subgroups(normal, column):
            for method in dict.fromkeys(row["method"] for row in stratum.rows):
                part = [row for row in stratum.rows if row["method"] == method]
                figures = _means(part)
                units = len({row["group"] for row in part})
                found.append(Part(column, stratum.value, method, len(part), units, figures))
    return found


def _standing(
    key: tuple[str, str, str, str], rows: Sequence[Row], known: Mapping[Any, Row]
) -> Standing:
    condition, axis, thickness, method = key
    return Standing(
        condition,
        axis,
        thickness,
        method,
        len(rows),
        len({row["group"] for row in rows}),
        _means(rows),
        differences(rows, known),
    )


def _means(rows: Sequence[Row]) -> dict[str, Mean]:
    """The mean of each metric over the rows where it could be told."""
    found = {}
    for metric in METRICS:
        kept = [row for row in rows if isfinite(row[metric])]
        values = np.array([row[metric] for row in kept], np.float64)
        groups = [row["group"] for row in kept]
        interval = bootstrap_weighted(values, mean_of, groups=groups)
        spread = float(values.std(ddof=1)) if len(kept) > 1 else float("nan")
        ends = (float(values.min()), float(values.max())) if kept else (float("nan"),) * 2
        found[metric] = Mean(len(kept), interval.value, spread, *ends, interval)
    return found


def _corrected(found: list[Standing]) -> list[Standing]:
    """The same with p values corrected over the whole cells of each method, other and metric."""
    families: dict[tuple[str, str, str], list[Difference]] = {}
    for standing in found:
        if standing.is_whole:
            for each in standing.differences:
                if not isnan(each.comparison.p_value):
                    family = standing.method, each.other, each.metric
                    families.setdefault(family, []).append(each)
    fixed: dict[int, float] = {}
    for members in families.values():
        values = holm([each.comparison.p_value for each in members])
        fixed |= {id(each): value for each, value in zip(members, values, strict=True)}
    return [
        replace(
            standing,
            differences=[
                replace(each, corrected=fixed.get(id(each), float("nan")))
                for each in standing.differences
            ],
        )
        for standing in found
    ]


def _telling(found: Sequence[Standing]) -> list[Standing]:
    """Without the totals over a single axis or thickness, which repeat it."""
    axes = {each.axis for each in found} - {ALL}
    thicknesses = {each.thickness for each in found} - {ALL}
    return [
        each
        for each in found
        if not (each.axis == ALL and len(axes) == 1)
        and not (each.thickness == ALL and len(thicknesses) == 1)
    ]


def _order(each: Standing) -> tuple[Any, ...]:
    thickness = float("inf") if each.thickness == ALL else float(each.thickness)
    methods = (NETWORK, T2W_ONLY, GUIDED, CUBIC)
    rank = methods.index(each.method) if each.method in methods else len(methods)
    return (
        each.condition != NORMAL,
        each.condition,
        each.axis == ALL,
        each.axis,
        thickness,
        rank,
        each.method,
    )


@dataclass(frozen=True)
class Difference:
    """A method minus `other` in one metric, person by person.

    `corrected` is the p value corrected by Holm for all axes, thicknesses and conditions of this
    method; it and the intervals are NaN where there are fewer than two persons.
    """

    other: str
    metric: str
    comparison: Comparison
    corrected: float = float("nan")


def differences(rows: Sequence[Row], known: Mapping[Any, Row]) -> list[Difference]:
    """The rows of one method in one condition, compared with the others and itself.

    `known` holds every row by its `key_of`.
    """
    method, condition = str(rows[0]["method"]), str(rows[0]["condition"])
    others = [(name, name) for name in OTHERS if name != method]
    if condition != NORMAL:
        others.append((SAME, method))
    pairs = ((label, _paired(rows, other, label, known)) for label, other in others)
    return [
        difference
        for label, paired in pairs
        for metric in COMPARED
        if (difference := _difference(label, metric, paired)) is not None
    ]


def key_of(row: Row, condition: str, method: str) -> tuple[Any, ...]:
    """What tells the row of a method on the same trial, in that condition, from others."""
    return row["id"], row["axis"], row["thickness"], condition, method


def _paired(
    rows: Sequence[Row], other: str, label: str, known: Mapping[Any, Row]
) -> list[tuple[Row, Row]]:
    """Each row with that of the other method on the same trial.

    What does not look at the T1w is not run again when the T1w alone is made worse: then its row of
    the normal trial is the one to compare with.
    """
    found = []
    for row in rows:
        same = None if label == SAME else known.get(key_of(row, row["condition"], other))
        match = same or (known.get(key_of(row, NORMAL, other)) if _may_borrow(row, label) else None)
        if match is not None:
            found.append((row, match))
    return found


def _may_borrow(row: Row, label: str) -> bool:
    # With a lesion the truth is another one, which only a comparison with itself may overlook.
    return label == SAME or (row["condition"] != LESION and label != GUIDED)


def _difference(label: str, metric: str, pairs: list[tuple[Row, Row]]) -> Difference | None:
    values = [(one[metric], two[metric], one["group"]) for one, two in pairs]
    values = [each for each in values if isfinite(each[0]) and isfinite(each[1])]
    if not values:
        return None
    first, second, groups = zip(*values, strict=True)
    found = compare_paired(first, second, groups=groups)
    if found.mean_difference.units < 2:
        found = replace(found, p_value=float("nan"))
    return Difference(label, metric, found)

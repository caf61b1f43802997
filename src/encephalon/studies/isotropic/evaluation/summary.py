# SPDX-License-Identifier: Apache-2.0
"""What the scores of an evaluation say together: means, differences, and how sure both are.

Methods are compared on the cases that both have scores of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, isnan
from typing import Any

from encephalon.statistics.comparison import Comparison, compare_paired, holm
from encephalon.statistics.summary import (
    Subgroup,
    SubgroupSummary,
    Summary,
    subgroups,
    summarise_rows,
    summarise_subgroup,
)
from encephalon.studies.isotropic.evaluation.cases import LESION
from encephalon.studies.isotropic.evaluation.scoring import CUBIC, GUIDED, NETWORK, T2W_ONLY
from encephalon.studies.isotropic.settings import NORMAL

__all__ = [
    "ALL",
    "METRICS",
    "OTHERS",
    "SAME",
    "MethodSummary",
    "ReconstructionSummary",
    "overall",
    "summarise_methods",
    "summarise_subgroups",
]

Row = Mapping[str, Any]

#: What stands for every axis, or every thickness, together.
ALL = "all"
METRICS = (
    "psnr_foreground", "ssim_foreground", "nrmse_foreground", "mse_foreground", "psnr_whole",
    "psnr_acquired", "psnr_missing", "ssim_acquired", "ssim_missing",
    "psnr_lesion", "lesion_kept",
    "psnr_published", "ssim_published", "nrmse_published", "mse_published",
    "consistency", "deviation_correlation", "deviation_ratio",
    "coverage_68", "coverage_95", "seconds",
)  # fmt: skip
#: The metrics of which differences are taken; larger is better in both.
COMPARED = ("psnr_foreground", "ssim_foreground")
#: The methods that every other one is compared with, case by case.
OTHERS = (CUBIC, GUIDED, T2W_ONLY)
#: The comparison of a method under stress with itself without.
SAME = "itself, normal"


@dataclass
class Difference:
    """A method minus `other` in one metric, person by person.

    `corrected` is the p value corrected by Holm for all axes, thicknesses and conditions of this
    method; it and the intervals are NaN where there are fewer than two persons.
    """

    other: str
    metric: str
    comparison: Comparison
    corrected: float = float("nan")


@dataclass(frozen=True)
class MethodSummary:
    """One method on the cases of one condition, axis and thickness: `n` of `units` persons."""

    condition: str
    axis: str
    thickness: str
    method: str
    n: int
    units: int
    metrics: dict[str, Summary]
    differences: list[Difference] = field(default_factory=list)

    def difference(self, other: str) -> Difference | None:
        """The comparison of PSNR with that method; None where there are no pairs."""
        key = other, COMPARED[0]
        return next((each for each in self.differences if (each.other, each.metric) == key), None)

    def plain(self) -> dict[str, Any]:
        """Plain data for summary.json."""
        return {**vars(self), "metrics": _plain(self.metrics)}

    def flat(self) -> dict[str, Any]:
        """A row of summary.csv."""
        place = ("condition", "axis", "thickness", "method", "n")
        row: dict[str, Any] = {name: getattr(self, name) for name in place}
        row["groups"] = self.units
        for name, found in self.metrics.items():
            row |= found.mean_interval.cells(name)
        for each in self.differences:
            name, mean = f"{each.metric} minus {each.other}", each.comparison.mean_difference
            row |= {name: mean.value, f"{name}, low": mean.low, f"{name}, high": mean.high}
            row |= {f"{name}, p": each.comparison.p_value, f"{name}, p (Holm)": each.corrected}
        return row


@dataclass(frozen=True)
class MethodSubgroup:
    """A method on the normal cases of a subgroup of the rows."""

    method: str
    of: SubgroupSummary

    def plain(self) -> dict[str, Any]:
        """Plain data for summary.json."""
        part = self.of
        place = {"column": part.column, "value": part.value, "method": self.method}
        return {**place, "n": part.n, "units": part.units, "metrics": _plain(part.metrics)}


@dataclass(frozen=True)
class ReconstructionSummary:
    """What is known of each method in each condition, axis and thickness, and in each subgroup."""

    methods: list[MethodSummary]
    subgroups: list[MethodSubgroup]


def _plain(metrics: Mapping[str, Summary]) -> dict[str, dict[str, Any]]:
    """The metrics that something was measured of."""
    return {
        name: {
            "n": one.n,
            "mean": one.mean,
            "interval": [one.mean_interval.low, one.mean_interval.high],
            "interval_method": one.mean_interval.method,
            "sd": one.sd,
            "minimum": one.minimum,
            "maximum": one.maximum,
        }
        for name, one in metrics.items()
        if one.n
    }


def summarise_methods(rows: Sequence[Row]) -> list[MethodSummary]:
    """The summary of each method for each condition, axis and thickness, and for all together.

    Intervals are 95 % bootstrap intervals that draw whole persons (column `group`).
    """
    scored = [row for row in rows if "psnr_foreground" in row]
    known = {_key(row, row["condition"], row["method"]): row for row in scored}
    # A total over a single axis or thickness would repeat it.
    all_axes, all_thicknesses = (
        [ALL] if len({row[name] for row in scored}) > 1 else [] for name in ("axis", "thickness")
    )
    parts: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in scored:
        for axis in (str(row["axis"]), *all_axes):
            for thickness in (f"{row['thickness']:g}", *all_thicknesses):
                key = row["condition"], axis, thickness, row["method"]
                parts.setdefault(key, []).append(row)
    found = []
    for key, part in parts.items():
        units = len({row["group"] for row in part})
        metrics = summarise_rows(part, METRICS, group="group")
        found.append(MethodSummary(*key, len(part), units, metrics, _differences(part, known)))
    _correct(found)
    return sorted(found, key=_order)


def overall(found: Sequence[MethodSummary], condition: str = NORMAL) -> list[MethodSummary]:
    """The summary of each method on all cases of a condition."""
    methods: dict[str, list[MethodSummary]] = {}
    for each in found:
        if each.condition == condition:
            methods.setdefault(each.method, []).append(each)
    return [max(parts, key=lambda each: each.n) for parts in methods.values()]


def summarise_subgroups(rows: Sequence[Row], columns: Sequence[str]) -> list[MethodSubgroup]:
    """The methods' metrics on normal cases, cut by each of the `columns`."""
    normal = [row for row in rows if "psnr_foreground" in row and row["condition"] == NORMAL]
    found = []
    for part in (part for column in columns if normal for part in subgroups(normal, column)):
        for method in dict.fromkeys(row["method"] for row in part.rows):
            own = tuple(row for row in part.rows if row["method"] == method)
            of = summarise_subgroup(Subgroup(part.column, part.value, own), METRICS, "group")
            found.append(MethodSubgroup(method, of))
    return found


def _correct(found: Sequence[MethodSummary]) -> None:
    """Correct p values over all conditions, axes and thicknesses of a method by Holm's rule."""
    families: dict[tuple[str, str, str], list[Difference]] = {}
    for summary in found:
        is_whole = ALL not in (summary.axis, summary.thickness)
        for each in summary.differences if is_whole else ():
            if not isnan(each.comparison.p_value):
                key = summary.method, each.other, each.metric
                families.setdefault(key, []).append(each)
    for members in families.values():
        corrected = holm([each.comparison.p_value for each in members])
        for each, p_value in zip(members, corrected, strict=True):
            each.corrected = p_value


def _order(each: MethodSummary) -> tuple[Any, ...]:
    condition = each.condition != NORMAL, each.condition
    axis = each.axis == ALL, each.axis
    thickness = float("inf") if each.thickness == ALL else float(each.thickness)
    methods = (NETWORK, T2W_ONLY, GUIDED, CUBIC, each.method)
    return condition, axis, thickness, methods.index(each.method), each.method


def _differences(rows: Sequence[Row], known: Mapping[Any, Row]) -> list[Difference]:
    """The rows of one method in one condition, compared with the others and itself.

    `known` holds every row by its `_key`. What does not look at the T1w is not run again when the
    T1w alone is made worse: then its row of the normal case is the one to compare with.
    """
    method, condition = str(rows[0]["method"]), str(rows[0]["condition"])
    others = [(name, name) for name in OTHERS if name != method]
    if condition != NORMAL:
        others.append((SAME, method))
    found = []
    for label, other in others:
        # With a lesion the truth is another one, which only a comparison with itself may overlook.
        borrows = label == SAME or (condition != LESION and label != GUIDED)
        pairs = []
        for row in rows:
            match = None if label == SAME else known.get(_key(row, condition, other))
            if match is None and borrows:
                match = known.get(_key(row, NORMAL, other))
            if match is not None:
                pairs.append((row, match))
        for metric in COMPARED:
            values = [(one[metric], two[metric], one["group"]) for one, two in pairs]
            values = [each for each in values if isfinite(each[0]) and isfinite(each[1])]
            if not values:
                continue
            first, second, groups = zip(*values, strict=True)
            comparison = compare_paired(first, second, groups=groups)
            if comparison.mean_difference.units < 2:
                comparison = replace(comparison, p_value=float("nan"))
            found.append(Difference(label, metric, comparison))
    return found


def _key(row: Row, condition: str, method: str) -> tuple[Any, ...]:
    """What tells the row of a method on the same case, in that condition, from others."""
    return row["id"], row["axis"], row["thickness"], condition, method

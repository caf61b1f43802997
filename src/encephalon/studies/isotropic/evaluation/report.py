# SPDX-License-Identifier: Apache-2.0
"""The page of an evaluation: who is best where, by how much, how sure, and one case to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

from encephalon.reports.batch import model_facts, model_name
from encephalon.reports.blocks import StatCard, facts, figure, grid, note, stat_cards, table
from encephalon.reports.charts import Series, line_chart
from encephalon.reports.format import (
    Html,
    format_difference,
    format_interval,
    format_number,
    format_p_value,
)
from encephalon.reports.page import Page
from encephalon.studies.isotropic.evaluation.scoring import CUBIC, GUIDED, NETWORK, T2W_ONLY
from encephalon.studies.isotropic.evaluation.summary import (
    ALL,
    OTHERS,
    SAME,
    MethodSummary,
    ReconstructionSummary,
    overall,
)
from encephalon.studies.isotropic.images import FULL_ERROR
from encephalon.studies.isotropic.settings import NORMAL, EvaluationOptions

if TYPE_CHECKING:
    from encephalon.evaluation.run import EvaluationResult
    from encephalon.statistics.summary import SubgroupSummary

__all__ = ["evaluation_page"]

_HOW = (
    "PSNR, SSIM and NRMSE are of the foreground, with the truth's percentiles 1 and 99 as 0 and 1. "
    "What bleeds out of the head into the air, the whole volume alone sees, on the same scale. "
    "Acquired are the voxels that hold the middle of a slice, the two beside it where it lies "
    "between them, and missing the others; of two voxels a slice none is missing. As published: "
    "each volume by its own percentiles, clipped, padded with zeros, background included. A PSNR "
    "above 100 dB counts as 100. "
)
#: Where a T1w lies, and where the method alone is tested.
_T1W = {
    False: "A T1w is registered to the slices, and left out if it does not fit, as if predicting.",
    True: "The method alone is tested: the T1w of simulated cases lie where their headers say.",
}
# Persons below which Wilcoxon's test cannot reach 0.05.
_FEWEST = 6
_METHODS = {
    NETWORK: "the model, with the T1w where there is one",
    T2W_ONLY: "the model without the T1w",
    GUIDED: "model-based, without weights, with the T1w",
    CUBIC: "cubic spline through the slices at their places",
    "linear": "straight lines between the slices at their places",
    "zoom": "the published interpolation, which moves the slices",
}
_PLACE = {"axis": "Slices", "thickness": "Thickness, mm"}
_FOREGROUND = {
    "units": "Persons",
    "n": "Cases",
    "psnr_foreground": "PSNR, dB",
    "interval": "95 % interval",
    "psnr_whole": "Whole volume, dB",
    "ssim_foreground": "SSIM",
    "nrmse_foreground": "NRMSE",
    CUBIC: "Over cubic, dB",
    GUIDED: "Over guided, dB",
}
_FURTHER = {
    "psnr_acquired": "Acquired, dB",
    "psnr_missing": "Missing, dB",
    "psnr_published": "PSNR as published, dB",
    "ssim_published": "SSIM as published",
    "consistency": "Error of the slices",
    "seconds": "Seconds",
}
_STRESS = {
    "condition": "Wrong",
    "method": "Method",
    "n": "Cases",
    "psnr_foreground": "PSNR, dB",
    "psnr_lesion": "In the lesion, dB",
    SAME: "Against itself, normal, dB",
    CUBIC: "Over cubic, dB",
    T2W_ONLY: "Over T2w only, dB",
    "lesion_kept": "Share of the lesion kept",
}
_SUBGROUP = {
    "column": "By",
    "value": "Subgroup",
    "method": "Method",
    "units": "Persons",
    "n": "Cases",
    "psnr_foreground": "PSNR, dB",
    "interval": "95 % interval",
}
_UNCERTAINTY = {
    "method": "Method",
    "deviation_correlation": "Rank correlation of deviation and error",
    "deviation_ratio": "Error over deviation",
    "coverage_68": "Errors within 1 deviation",
    "coverage_95": "Errors within 1.96 deviations",
}


def evaluation_page(
    about: Mapping[str, Any],
    options: EvaluationOptions,
    result: EvaluationResult[ReconstructionSummary],
    pictures: Sequence[Html],
    failures: Sequence[Html],
) -> Page:
    """The page of an evaluation: `about` is the model, `pictures` are those of one scan."""
    scans, persons = (len({row[name] for row in result.rows}) for name in ("id", "group"))
    page = Page(
        title="Isotropic scans against their truth",
        lead=f"{model_name(about)}. Scans: {scans}. Persons: {persons}.",
    )
    methods = result.summary.methods
    totals = overall(methods)
    page.add(stat_cards(_stat_cards(totals)), *failures)
    what = facts({each.method: _METHODS.get(each.method) for each in totals})
    page.section(
        "Overall",
        *_method_tables(totals, {}),
        what,
        note(_how_sure(persons)),
        note(_HOW + _T1W[options.bare]),
    )
    normal = [each for each in methods if each.condition == NORMAL]
    if charts := _charts(normal):
        page.section("PSNR by thickness", grid(*charts))
    tables = _method_tables(normal, _PLACE)
    page.section("Every axis and thickness", _psnr_table(normal), *tables)
    # What each method loses in each condition, over all cases of it.
    stresses = dict.fromkeys(each.condition for each in methods if each.condition != NORMAL)
    if stressed := [each for one in stresses for each in overall(methods, one)]:
        page.section("When something is wrong", table(_STRESS, _rows(stressed)))
    if parts := result.summary.subgroups:
        rows = [{**vars(each.of), "method": each.method, **_metrics(each.of)} for each in parts]
        page.section("Subgroups", table(_SUBGROUP, rows))
    # How well the deviations of those methods that have one tell their errors.
    if told := [each for each in totals if each.metrics["coverage_95"].n]:
        words = (
            "Of errors that are normally distributed, 0.683 and 0.950 lie within. Error over "
            "deviation, both as root mean squares, is 1 where the deviation is right on average."
        )
        page.section("Uncertainty", table(_UNCERTAINTY, _rows(told)), note(words))
    if pictures:
        first = totals[0].method
        words = (
            f"From the left: cubic, {first}, the truth, the error of {first}, and its deviation if "
            f"it has one. The last two are white at {FULL_ERROR:.0%} of the white of the others."
        )
        page.section("One case", note(words), *pictures)
    words = (
        f"Simulated slices: profile {options.profile}, gap {options.gap:g} mm, noise "
        f"{options.noise:g} of the range, seed {options.seed}."
    )
    return page.section("Model", model_facts(about), note(words))


def _stat_cards(totals: Sequence[MethodSummary]) -> list[StatCard]:
    shown = []
    for each in totals[:4]:
        metric = each.metrics["psnr_foreground"]
        value, detail = f"{format_number(metric.mean)} dB", format_interval(metric.mean_interval, 4)
        shown.append(StatCard(value, f"PSNR, {each.method}", detail))
    if totals and (gain := totals[0].difference(CUBIC)):
        mean = gain.comparison.mean_difference
        label = f"dB, {totals[0].method} over cubic"
        shown.append(StatCard(format_difference(mean.value), label, format_interval(mean, 4)))
    return shown


def _how_sure(persons: int) -> str:
    if persons < 2:
        return "All scans are of one person: there are neither intervals nor p values."
    words = (
        f"Intervals are 95 % percentile bootstrap intervals over {persons} persons; p is "
        "Wilcoxon's signed rank test on the mean difference of each person, corrected by Holm over "
        "all axes and thicknesses of a method where it is of one of them."
    )
    if persons < _FEWEST:
        words += (
            f" Of {persons} persons no p can fall below {2 ** (1 - persons):.2g}, and intervals "
            "of so few are too narrow."
        )
    return words


def _charts(normal: Sequence[MethodSummary]) -> list[Html]:
    """PSNR over thickness, a chart for each axis and a curve for each method."""
    axes: dict[str, dict[str, dict[float, float]]] = {}
    for each in normal:
        if each.thickness != ALL:
            curves = axes.setdefault(each.axis, {})
            points = curves.setdefault(each.method, {})
            points[float(each.thickness)] = each.metrics["psnr_foreground"].mean
    found = []
    for axis, curves in axes.items():
        if len(set().union(*curves.values())) > 1:
            series = [Series(name, [*known], [*known.values()]) for name, known in curves.items()]
            chart = line_chart(series, "Thickness of the slices, mm", "PSNR, foreground, dB")
            found.append(
                figure(chart, "All slices" if axis == ALL else f"{axis.capitalize()} slices")
            )
    return found


def _psnr_table(normal: Sequence[MethodSummary]) -> Html:
    """PSNR at a glance: a row for each axis and thickness, a column for each method."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for each in normal:
        place = {"axis": each.axis, "thickness": each.thickness}
        row = rows.setdefault((each.axis, each.thickness), place)
        row[each.method] = each.metrics["psnr_foreground"].mean
    columns = _PLACE | {each.method: each.method for each in normal}
    return table(columns, list(rows.values()), caption="Mean PSNR of the foreground, dB")


def _method_tables(methods: Sequence[MethodSummary], place: Mapping[str, str]) -> list[Html]:
    """Every method as a row of two tables, which are too wide for one, behind its `place`."""
    rows = _rows(methods)
    return [table({**place, "method": "Method", **each}, rows) for each in (_FOREGROUND, _FURTHER)]


def _rows(methods: Sequence[MethodSummary]) -> list[dict[str, Any]]:
    """All that tables show of a method: where it is, its metrics, and what it gains over others."""
    return [
        {**vars(each), **_metrics(each), **{other: _gain(each, other) for other in (*OTHERS, SAME)}}
        for each in methods
    ]


def _metrics(found: MethodSummary | SubgroupSummary) -> dict[str, Any]:
    means = {name: one.mean if one.n else None for name, one in found.metrics.items()}
    return {**means, "interval": format_interval(found.metrics["psnr_foreground"].mean_interval, 4)}


def _gain(each: MethodSummary, other: str) -> str | None:
    found = each.difference(other)
    if found is None:
        return None
    mean = found.comparison.mean_difference
    words, span = format_difference(mean.value), format_interval(mean, signed=True)
    if span is not None:
        words += f" ({span})"
    p = found.corrected if isfinite(found.corrected) else found.comparison.p_value
    if isnan(p):
        return words
    return f"{words}, p {'' if p < 0.001 else '= '}{format_p_value(p)}"

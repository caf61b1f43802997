# SPDX-License-Identifier: Apache-2.0
"""The tables of an evaluation's page."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, isnan
from typing import Any

from encephalon.evaluation import Interval
from encephalon.reports import Html, facts, note, table
from encephalon.reports.markup import join, number
from encephalon.studies.isotropic.contenders import CUBIC, GUIDED, NETWORK, T2W_ONLY
from encephalon.studies.isotropic.differences import SAME
from encephalon.studies.isotropic.standings import Part, Standing, overall

__all__ = [
    "grid_table",
    "signed",
    "span_words",
    "standing_table",
    "strata_table",
    "stress_table",
    "uncertainty_table",
]

_METHODS = {
    NETWORK: "the model, with the T1w where there is one",
    T2W_ONLY: "the model without the T1w",
    GUIDED: "model-based, without weights, with the T1w",
    CUBIC: "cubic spline through the slices at their places",
    "linear": "straight lines between the slices at their places",
    "zoom": "the published interpolation, which moves the slices",
}

_FOREGROUND = {
    "units": "Persons",
    "n": "Trials",
    "psnr": "PSNR, dB",
    "span": "95 % interval",
    "ssim": "SSIM",
    "nrmse": "NRMSE",
    "cubic": "Over cubic, dB",
    "guided": "Over guided, dB",
}
_FURTHER = {
    "acquired": "Acquired, dB",
    "missing": "Missing, dB",
    "published": "PSNR as published, dB",
    "published_ssim": "SSIM as published",
    "consistency": "Error of the slices",
    "seconds": "Seconds",
}


def grid_table(normal: Sequence[Standing]) -> Html:
    """PSNR at a glance: a row for each axis and thickness, a column for each method."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for each in normal:
        row = rows.setdefault(
            (each.axis, each.thickness), {"axis": each.axis, "thickness": each.thickness}
        )
        row[each.method] = each.metrics["psnr_foreground"].mean
    methods = {each.method: each.method for each in normal}
    columns = {"axis": "Slices", "thickness": "Thickness, mm", **methods}
    caption = "Mean PSNR of the foreground, dB"
    return table(columns, list(rows.values()), caption=caption)


def standing_table(standings: Sequence[Standing], whole: bool = True) -> Html:
    """Every standing as a row of two tables, which are too wide for one.

    Without `whole` axis and thickness are left out, and what each method is stands behind.
    """
    place = {"axis": "Slices", "thickness": "Thickness, mm"} if whole else {}
    names = {**place, "method": "Method"}
    rows = [_row(each) for each in standings]
    parts = [
        table({key: label for key, label in part.items() if _is_told(rows, key)}, rows)
        for part in (names | _FOREGROUND, names | _FURTHER)
    ]
    what = {each.method: _METHODS.get(each.method) for each in standings}
    return join(*parts, None if whole else facts(what))


def _is_told(rows: Sequence[dict[str, Any]], key: str) -> bool:
    return any(row.get(key) not in (None, "") for row in rows)


def _row(each: Standing) -> dict[str, Any]:
    means = {name: one.mean if one.n else None for name, one in each.metrics.items()}
    return {
        "axis": each.axis,
        "thickness": each.thickness,
        "method": each.method,
        "units": each.units,
        "n": each.n,
        "psnr": means["psnr_foreground"],
        "span": span_words(each.metrics["psnr_foreground"].interval),
        "ssim": means["ssim_foreground"],
        "nrmse": means["nrmse_foreground"],
        "acquired": means["psnr_acquired"],
        "missing": means["psnr_missing"],
        "cubic": _gain(each, CUBIC),
        "guided": _gain(each, GUIDED),
        "published": means["psnr_published"],
        "published_ssim": means["ssim_published"],
        "consistency": means["consistency"],
        "seconds": means["seconds"],
    }


def stress_table(stressed: Sequence[Standing]) -> Html:
    """What each method loses in each condition, over all trials of it."""
    totals = [
        each
        for condition in dict.fromkeys(one.condition for one in stressed)
        for each in overall(stressed, condition)
    ]
    columns = {
        "condition": "Wrong",
        "method": "Method",
        "n": "Trials",
        "psnr": "PSNR, dB",
        "same": "Against itself, normal, dB",
        "cubic": "Over cubic, dB",
        "alone": "Over T2w only, dB",
        "contrast": "Share of the lesion kept",
    }
    rows = [
        {
            **_row(each),
            "condition": each.condition,
            "same": _gain(each, SAME),
            "alone": _gain(each, T2W_ONLY),
            "contrast": each.metrics["lesion_kept"].mean if each.metrics["lesion_kept"].n else None,
        }
        for each in totals
    ]
    return table(columns, rows)


def strata_table(parts: Sequence[Part]) -> Html:
    """PSNR by the columns of the table."""
    columns = {
        "column": "By",
        "value": "Part",
        "method": "Method",
        "units": "Persons",
        "n": "Trials",
        "psnr": "PSNR, dB",
        "span": "95 % interval",
    }
    rows = []
    for part in parts:
        metric = part.metrics["psnr_foreground"]
        span = span_words(metric.interval)
        rows.append({**vars(part), "psnr": metric.mean, "span": span})
    return table(columns, rows)


def uncertainty_table(totals: Sequence[Standing]) -> Html:
    """How well the deviations of those methods that have one tell their errors."""
    columns = {
        "method": "Method",
        "deviation_correlation": "Rank correlation of deviation and error",
        "coverage_68": "Errors within 1 deviation",
        "coverage_95": "Errors within 1.96 deviations",
    }
    names = list(columns)[1:]
    rows = [
        {"method": each.method, **{name: each.metrics[name].mean for name in names}}
        for each in totals
        if each.metrics["coverage_95"].n
    ]
    words = "Of errors that are normally distributed, 0.683 and 0.950 lie within."
    return join(table(columns, rows), note(words))


def _gain(each: Standing, other: str) -> str | None:
    found = each.difference(other)
    if found is None:
        return None
    mean = found.comparison.mean_difference
    words, span = signed(mean.value), span_words(mean, difference=True)
    if span is not None:
        words += f" ({span})"
    p = found.corrected if isfinite(found.corrected) else found.comparison.p_value
    return words if isnan(p) else f"{words}, p {_p_words(p)}"


def _p_words(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def span_words(interval: Interval, difference: bool = False) -> str | None:
    """The ends of an interval; None where there is none."""
    if not isfinite(interval.low + interval.high):
        return None
    write = signed if difference else _plain
    return f"{write(interval.low)} to {write(interval.high)}"


def _plain(value: float) -> str:
    return number(value, 4)


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{value:+.2f}".replace("-", "−")

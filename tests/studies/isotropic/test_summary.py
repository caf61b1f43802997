# SPDX-License-Identifier: Apache-2.0
"""Means, paired differences and corrected p values equal those computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encephalon.studies.isotropic.evaluation.summary import (
    METRICS,
    MethodSummary,
    overall,
    summarise_methods,
    summarise_subgroups,
)


def row(name: str, method: str, psnr: float, **more: Any) -> dict[str, Any]:
    """A row of scores of a person of the same name, axial slices of 4 mm."""
    known = {
        "id": name,
        "group": name,
        "condition": "normal",
        "axis": "axial",
        "thickness": 4.0,
        "method": method,
        **dict.fromkeys(METRICS, float("nan")),
        "psnr_foreground": psnr,
        "ssim_foreground": psnr / 100,
    }
    return {**known, **more}


def find(found: list[MethodSummary], *key: str) -> MethodSummary:
    """The summary of a condition, axis, thickness and method."""
    return next(
        each for each in found if (each.condition, each.axis, each.thickness, each.method) == key
    )


def scored(persons: int = 8) -> list[dict[str, Any]]:
    """Persons of 30, 31 ... dB with cubic and 2 dB more with the network, in two thicknesses."""
    rows = []
    for place in range(persons):
        for thickness in (2.0, 4.0):
            for method, more in (("network", 2.0), ("cubic", 0.0)):
                value = 30 + place + more - thickness
                rows.append(row(f"s{place}", method, value, thickness=thickness))
    return rows


def test_means_and_differences_are_those_of_the_rows() -> None:
    """Two dB for everybody is two dB with no doubt, at the smallest p that eight persons allow."""
    found = summarise_methods(scored())
    network = find(found, "normal", "axial", "4", "network")
    metric = network.metrics["psnr_foreground"]
    assert (metric.n, metric.mean, metric.minimum, metric.maximum) == (8, 31.5, 28.0, 35.0)
    assert metric.mean_interval.low < 31.5 < metric.mean_interval.high
    difference = network.difference("cubic")
    assert difference is not None
    mean = difference.comparison.mean_difference
    assert (mean.value, mean.low, mean.high) == (2.0, 2.0, 2.0)
    assert difference.comparison.p_value == pytest.approx(2 * 0.5**8)
    assert difference.corrected == pytest.approx(2 * 2 * 0.5**8)


def test_totals_take_all_thicknesses_and_stay_uncorrected() -> None:
    """A single axis has no total over axes; that over thicknesses counts each person once."""
    found = summarise_methods(scored())
    assert {each.axis for each in found} == {"axial"}
    total = find(found, "normal", "axial", "all", "network")
    assert (total.n, total.units) == (16, 8)
    assert np.isnan(total.difference("cubic").corrected)
    assert [each.n for each in overall(found)] == [16, 16]


def test_one_person_is_no_sample() -> None:
    """The difference is told, and neither an interval nor a p value."""
    found = summarise_methods(scored(1))
    difference = find(found, "normal", "axial", "4", "network").difference("cubic")
    assert difference.comparison.mean_difference.value == 2.0
    assert np.isnan(difference.comparison.mean_difference.low)
    assert np.isnan(difference.comparison.p_value)


def test_under_stress_others_are_those_of_the_normal_case() -> None:
    """What does not look at the T1w is not run again, unless the T2w itself is another one."""
    rows = [
        row("a", "network", 32.0),
        row("a", "T2w only", 31.0),
        row("a", "cubic", 30.0),
        row("a", "guided", 33.0),
        row("a", "network", 30.5, condition="wrong T1w"),
        row("a", "guided", 29.0, condition="wrong T1w"),
        row("a", "network", 36.0, condition="lesion"),
        row("a", "cubic", 33.0, condition="lesion"),
    ]
    found = summarise_methods(rows)
    wrong = find(found, "wrong T1w", "axial", "4", "network")

    def gain(summary: MethodSummary, other: str) -> float | None:
        difference = summary.difference(other)
        return None if difference is None else difference.comparison.mean_difference.value

    assert gain(wrong, "itself, normal") == -1.5
    assert gain(wrong, "cubic") == 0.5
    assert gain(wrong, "T2w only") == -0.5
    assert gain(wrong, "guided") == 1.5
    lesion = find(found, "lesion", "axial", "4", "network")
    assert gain(lesion, "cubic") == 3.0
    assert gain(lesion, "T2w only") is None
    assert gain(lesion, "guided") is None


def test_failed_methods_and_undefined_figures_count_in_nothing() -> None:
    """A row with an error has no summary; a figure that is NaN has n = 0."""
    rows = [row("a", "cubic", 30.0), row("b", "cubic", 32.0)]
    rows.append({"id": "c", "group": "c", "method": "cubic", "condition": "normal", "error": "no"})
    found = summarise_methods(rows)
    assert len(found) == 1
    assert (found[0].n, found[0].metrics["psnr_foreground"].mean) == (2, 31.0)
    assert found[0].metrics["psnr_missing"].n == 0


def test_subgroups_are_of_normal_cases() -> None:
    """Each part has its own mean; cases under stress are left out."""
    rows = [
        row("a", "cubic", 30.0, age="young"),
        row("b", "cubic", 34.0, age="old"),
        row("b", "cubic", 10.0, age="old", condition="lesion"),
    ]
    parts = {each.of.value: each.of for each in summarise_subgroups(rows, ["age"])}
    assert parts["young"].metrics["psnr_foreground"].mean == 30.0
    assert parts["old"].metrics["psnr_foreground"].mean == 34.0
    assert summarise_subgroups([], ["age"]) == []

# SPDX-License-Identifier: Apache-2.0
"""The page of an evaluation: who is best where, by how much, how sure, and one case to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.reports import (
    Html,
    Page,
    Series,
    Tile,
    figure,
    grid,
    line_chart,
    note,
    tiles,
)
from encephalon.reports.markup import number
from encephalon.studies.isotropic.contenders import CUBIC
from encephalon.studies.isotropic.evaluation_options import NORMAL, EvaluationOptions
from encephalon.studies.isotropic.evaluation_pictures import FULL_ERROR
from encephalon.studies.isotropic.evaluation_tables import (
    grid_table,
    signed,
    span_words,
    standing_table,
    strata_table,
    stress_table,
    uncertainty_table,
)
from encephalon.studies.isotropic.scan_page import model_facts, model_name
from encephalon.studies.isotropic.standings import ALL, Standing, overall

if TYPE_CHECKING:
    from encephalon.studies.isotropic.evaluate import Evaluation

__all__ = ["write_page"]

_HOW = (
    "PSNR, SSIM and NRMSE are of the foreground, with the truth's percentiles 1 and 99 as 0 and 1. "
    "Acquired are the voxels that hold the middle of a slice, the two beside it where it lies "
    "between them, and missing the others; of two voxels a slice none is missing. As published: "
    "each volume by its own percentiles, clipped, padded with zeros, background included. A PSNR "
    "above 100 dB counts as 100. The T1w of simulated trials lie where their headers say."
)
# Persons below which Wilcoxon's test cannot reach 0.05.
_FEWEST = 6


def write_page(
    path: Path,
    result: Evaluation,
    about: Mapping[str, Any],
    options: EvaluationOptions,
    overwrite: bool = False,
) -> Path:
    """Write the page; raises OutputExistsError for an existing file unless `overwrite`."""
    return _page(result, about, options).write(path, overwrite)


def _page(result: Evaluation, about: Mapping[str, Any], options: EvaluationOptions) -> Page:
    scans = len({row["id"] for row in result.rows})
    persons = len({row["group"] for row in result.rows})
    page = Page(
        title="Isotropic scans against their truth",
        lead=f"{model_name(about)}. Scans: {scans}. Persons: {persons}.",
    )
    totals = overall(result.standings)
    page.add(tiles(_tiles(totals)))
    for failure in result.failures:
        page.add(note(f"{failure['id']}: {failure['message']}", "fail"))
    normal = [each for each in result.standings if each.condition == NORMAL]
    page.section(
        "Overall", standing_table(totals, whole=False), note(_how_sure(persons)), note(_HOW)
    )
    charts = _charts(normal)
    if charts:
        page.section("PSNR by thickness", *charts)
    page.section("Every axis and thickness", grid_table(normal), standing_table(normal))
    stressed = [each for each in result.standings if each.condition != NORMAL]
    if stressed:
        page.section("When something is wrong", stress_table(stressed))
    if result.parts:
        page.section("Strata", strata_table(result.parts))
    if any(each.metrics["coverage_95"].n for each in totals):
        page.section("Uncertainty", uncertainty_table(totals))
    if result.pictures:
        page.section("One case", *_pictures(result))
    return page.section("Model", model_facts(about), _settings(options))


def _tiles(totals: Sequence[Standing]) -> list[Tile]:
    shown = []
    for each in totals[:4]:
        metric = each.metrics["psnr_foreground"]
        shown.append(
            Tile(
                f"{number(metric.mean, 4)} dB",
                f"PSNR, {each.method}",
                span_words(metric.interval),
            )
        )
    gain = totals[0].difference(CUBIC) if totals else None
    if gain is not None:
        mean = gain.comparison.mean_difference
        label = f"dB, {totals[0].method} over cubic"
        shown.append(Tile(signed(mean.value), label, span_words(mean)))
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


def _charts(normal: Sequence[Standing]) -> list[Html]:
    found = []
    for axis in dict.fromkeys(each.axis for each in normal):
        here = [each for each in normal if each.axis == axis and each.thickness != ALL]
        series = [
            Series(
                method,
                [float(each.thickness) for each in here if each.method == method],
                [each.metrics["psnr_foreground"].mean for each in here if each.method == method],
            )
            for method in dict.fromkeys(each.method for each in here)
        ]
        if len({each.thickness for each in here}) > 1:
            chart = line_chart(series, "Thickness of the slices, mm", "PSNR, foreground, dB")
            found.append(figure(chart, _axis_words(axis)))
    return [grid(*found)] if found else []


def _pictures(result: Evaluation) -> list[Html]:
    first = overall(result.standings)[0].method
    words = (
        f"From the left: cubic, {first}, the truth, the error of {first}, and its deviation if it "
        f"has one. The last two are white at {FULL_ERROR:.0%} of the white of the others."
    )
    shown = [figure(picture, name) for name, picture in result.pictures.items()]
    return [note(words), *shown]


def _settings(options: EvaluationOptions) -> Html:
    words = (
        f"Simulated slices: profile {options.profile}, gap {options.gap:g} mm, noise "
        f"{options.noise:g} of the range, seed {options.seed}."
    )
    return note(words)


def _axis_words(axis: str) -> str:
    return "All slices" if axis == ALL else f"{axis.capitalize()} slices"

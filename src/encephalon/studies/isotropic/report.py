# SPDX-License-Identifier: Apache-2.0
"""The page of a batch of reconstructions, and beside it a page of every scan.

The page of a scan has what was before and after, what to doubt, and where it all came from; it
lies in the folder `report` beside that of the batch, so that it can be passed on by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encephalon.geometry.affine import Affine
from encephalon.reports.batch import (
    BatchReport,
    Column,
    Row,
    model_facts,
    model_name,
    status_of,
)
from encephalon.reports.blocks import StatCard, badge, facts, figure, note, stat_cards, table
from encephalon.reports.format import Html, format_decimals, format_sentence, tag
from encephalon.reports.images import AMBER
from encephalon.reports.own_pages import (
    file_links,
    rating,
    rating_bar,
    thumbnail,
    write_own_page,
)
from encephalon.reports.page import Legend, Page
from encephalon.reports.viewer import HINT
from encephalon.studies.isotropic.images import EDGES, Figure, ScanFigures
from encephalon.studies.isotropic.quality import LARGE_DEVIATION, QualityMetrics, quality_checks
from encephalon.studies.isotropic.reconstruction.problem import AXES, Problem, plane_across

__all__ = ["acquisition_facts", "batch_report", "plane_of", "scan_page"]

GUESS = (
    "Between the middles of the measured slices the image is an estimate and no measurement. It is "
    "made to agree with the slices; what they do not hold, a small lesion least of all, can be "
    "missing or invented. Look at the slices themselves before any finding is believed."
)
#: The pictures that the page of the batch shows; that of the scan has all.
_PICTURED = ("before", "after")
_OUTPUTS = {
    "t2w": "Image",
    "uncertainty": "Uncertainty",
    "t1w": "Aligned T1w",
    "transform": "Transform of the T1w",
}
_GUIDES = {"used": "used", "absent": "none", "untrusted": "left out"}


def batch_report(about: Mapping[str, Any]) -> BatchReport:
    """The page of a batch of reconstructions; `about` is `Predictor.describe()`."""

    def pictures(row: Row, shown: ScanFigures, folder: Path) -> list[Html]:
        write_own_page(scan_page(about, row, shown), str(row["id"]), folder)
        return [_framed(each) for each in shown if each.key in _PICTURED]

    def guided(rows: Sequence[Row]) -> list[StatCard]:
        count = sum(row.get("guide") == "used" for row in rows)
        return [StatCard(count, "with a T1w", f"of {len(rows)}")] if rows else []

    return BatchReport(
        about,
        title="Isotropic T2w scans",
        columns=_COLUMNS,
        pictures=pictures,
        thumbnail=lambda shown: thumbnail(shown.small()),
        rated=True,
        files={"t2w": "Image"},
        hint="Three planes through the middle of the head, the left side of the body on the left. "
        "The page of each scan has interpolation, uncertainty, residual, T1w and all facts.",
        notice=GUESS,
        stats=guided,
    )


_COLUMNS = (
    Column("T1w", lambda row: _GUIDES.get(str(row.get("guide")))),
    Column("Slices", "distance_mm", "mm", decimals=2),
    Column("Uncertain", "uncertain_share", "%", decimals=1, factor=100),
    Column("Time", "seconds", "s", decimals=1),
)


def scan_page(about: Mapping[str, Any], row: Row, scan: ScanFigures) -> Page:
    """The page of one scan, one HTML file by itself.

    `about` is the predictor's own description, and `row` the scan's row of predictions.csv.
    """
    shown = {each.key: each for each in scan}
    legend = [Legend(EDGES, "Edges of the T2w", AMBER)] if "guide" in shown else []
    operator, plane = scan.problem.stack.operator, plane_across(scan.problem.grid.affine, 2)
    page = Page(
        title=str(row.get("id") or "Scan"),
        kicker="Encephalon · isotropic T2w",
        lead=f"{plane.capitalize()} slices {operator.distance:.3g} mm apart, reconstructed at "
        f"{operator.voxel_size:.3g} mm by {model_name(about)}.",
        legend=legend,
        batch_of=str((about.get("model") or {}).get("name")),
    )
    page.add(stat_cards(_stat_cards(row, scan.metrics)), note(GUESS, "check"))
    if about.get("notice"):
        page.add(note(str(about["notice"]), "check"))
    findings = [
        {"status": badge(one.status), "finding": format_sentence(reason)}
        for one in quality_checks(scan.metrics)
        for reason in one.reasons
    ]
    none = note("Nothing was found that speaks against this reconstruction.")
    columns = {"status": "Grade", "finding": "Finding"}
    page.section("Findings", table(columns, findings) if findings else none)
    page.section("Slices", tag("p", f"{HINT} {_FLICKER}", class_="soft"), scan.viewer())
    name = str(row.get("id") or "Scan")
    page.section("Your rating", rating(name, ".."), rating_bar())
    page.section("Before and after", _HINT, *_figures(shown, "before", "cubic", "after"))
    page.section("How far to trust it", *_figures(shown, "uncertainty", "residual"))
    page.section("T1w", *_figures(shown, "guide"), facts(_guide_facts(scan)))
    page.section("Acquisition", facts(acquisition_facts(scan.problem) | dict(scan.acquisition)))
    files = {"source": "Made from", **_OUTPUTS}
    back = tag("a", "All scans", href="../report.html")
    origin = file_links(row, files, "../") | {"Batch": back}
    return page.section("Origin", facts(origin), model_facts(about))


_FLICKER = "Flicker, or the key f, shows by turns what was measured and what was made of it."
_HINT = tag(
    "p",
    "All planes run through the middle of the head, the one along the slices between two "
    "of them, and show the left side of the body on the left.",
    class_="soft",
)


def acquisition_facts(problem: Problem) -> dict[str, Any]:
    """What the slices of the first scan are, in words: plane, distances, voxels."""
    operator, native = problem.stack.operator, problem.native_grid
    between = operator.distance - operator.thickness
    gap = f"{between:.3g} mm" if between > 0 else f"none, slices overlap by {-between:.3g} mm"
    many = len(problem.stacks)
    return {
        "Slices": f"{len(operator.middles)} {plane_of(problem.grid.affine)}",
        "Distance between slices": f"{operator.distance:.3g} mm",
        "Thickness": f"{operator.thickness:.3g} mm",
        "Gap": gap if abs(between) >= 0.01 else "none",
        "Ratio": f"{operator.ratio:.3g} voxels a slice",
        "Voxels of the result": f"{' × '.join(f'{step:.3g}' for step in native.affine.spacing)} mm",
        "Size of the result": " × ".join(map(str, native.shape)),
        "Scans of thick slices": many if many > 1 else None,
    }


def plane_of(affine: Affine) -> str:
    """The anatomical plane of the slices across the last axis of `affine`, and how oblique."""
    name = plane_across(affine, 2)
    cosine = min(1.0, abs(float(affine.direction[AXES[name], 2])))
    tilt = float(np.degrees(np.arccos(cosine)))
    return f"{name}, {tilt:.0f}° oblique" if tilt >= 1 else name


def _framed(shown: Figure) -> Html:
    """A picture in a black frame, with its heading and what it shows."""
    caption = tag("span", tag("strong", f"{shown.title}. "), shown.caption)
    return figure(tag("div", shown.picture.html, class_="frame"), caption)


def _stat_cards(row: Row, metrics: QualityMetrics) -> list[StatCard]:
    status = status_of(row)
    shown = [
        StatCard(status or "–", "quality", status=status or None),
        StatCard(_GUIDES[metrics.guide], "T1w"),
        StatCard(f"{metrics.ratio:.3g}", "voxels a slice"),
        StatCard(f"{metrics.consistency:.2%}", "off the slices", "below 1% expected"),
    ]
    if metrics.uncertain is not None:
        detail = f"error above {LARGE_DEVIATION:.0%} of the range"
        shown.append(StatCard(f"{metrics.uncertain:.1%}", "of the head uncertain", detail))
    if row.get("seconds") not in (None, ""):
        shown.append(StatCard(f"{float(row['seconds']):.1f} s", "reading and computing"))
    return shown


def _figures(shown: Mapping[str, Figure], *keys: str) -> list[Html]:
    return [_framed(shown[key]) for key in keys if key in shown]


def _guide_facts(scan: ScanFigures) -> dict[str, Any]:
    metrics, found = scan.metrics, {"T1w": _GUIDES[scan.metrics.guide]}
    if metrics.reasons:
        found["Why"] = format_sentence(", ".join(metrics.reasons))
    found |= scan.registration
    if metrics.coverage is not None:
        found["Covers"] = f"{metrics.coverage:.0%} of the head"
    if metrics.correlation is not None:
        found["Correlation with the T2w"] = format_decimals(metrics.correlation, 2)
    return found

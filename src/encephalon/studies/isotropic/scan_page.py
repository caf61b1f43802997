# SPDX-License-Identifier: Apache-2.0
"""The page of one reconstruction: before, after, what to doubt, and where it all came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encephalon.geometry import Affine
from encephalon.reports.blocks import StatCard, badge, facts, figure, note, stat_cards, table
from encephalon.reports.format import format_sentence
from encephalon.reports.images import AMBER
from encephalon.reports.markup import Html, tag
from encephalon.reports.page import Legend, Page
from encephalon.studies.isotropic.images import EDGES, ScanPictures, Shown
from encephalon.studies.isotropic.quality import LARGE_DEVIATION, Evidence, findings
from encephalon.studies.isotropic.reconstruction.problem import AXES, Problem, plane_across

__all__ = [
    "acquisition_facts",
    "framed",
    "guide_words",
    "model_facts",
    "model_name",
    "scan_page",
]

Row = Mapping[str, Any]

GUESS = (
    "Between the middles of the measured slices the image is an estimate and no measurement. It is "
    "made to agree with the slices; what they do not hold, a small lesion least of all, can be "
    "missing or invented. Look at the slices themselves before any finding is believed."
)
_MODEL = {
    "name": "Model",
    "version": "Version",
    "mode": "Mode",
    "method": "Method",
    "runtime": "Runtime",
    "device": "Device",
    "spacing": "Asked spacing, mm",
    "profile": "Slice profile",
    "registration": "Registration",
    "licence": "Licence",
    "sha256": "SHA-256",
}
_OUTPUTS = {"t2w": "Image", "uncertainty": "Uncertainty", "t1w": "Aligned T1w"}
_GUIDES = {"used": "used", "absent": "none", "untrusted": "left out"}


def scan_page(
    about: Mapping[str, Any], row: Row, scan: ScanPictures, drawn: Sequence[Shown] | None = None
) -> Page:
    """The page of one scan, one HTML file by itself.

    `about` is the predictor's own description, `row` the scan's row of predictions.csv, and `drawn`
    its pictures where they have been drawn before.
    """
    shown = {each.key: each for each in (scan if drawn is None else drawn)}
    legend = [Legend(EDGES, "Edges of the T2w", AMBER)] if "guide" in shown else []
    page = Page(
        title=str(row.get("id") or "Scan"),
        kicker="Encephalon · isotropic T2w",
        lead=_lead(about, scan.problem),
        legend=legend,
        batch_of=str(_opened(about).get("name")),
    )
    page.add(stat_cards(_stat_cards(row, scan.evidence)), note(GUESS, "check"))
    if about.get("notice"):
        page.add(note(str(about["notice"]), "check"))
    page.section("Findings", _findings(scan.evidence))
    page.section("Before and after", _HINT, *_figures(shown, "before", "cubic", "after"))
    page.section("How far to trust it", *_figures(shown, "uncertainty", "residual"))
    page.section("T1w", *_figures(shown, "guide"), facts(_guide_facts(scan)))
    page.section("Acquisition", facts(acquisition_facts(scan.problem) | dict(scan.acquisition)))
    return page.section("Origin", facts(_origin(row)), model_facts(about))


_HINT = tag(
    "p",
    "All planes run through the middle of the head, the one along the slices between two "
    "of them, and show the left side of the body on the left.",
    class_="soft",
)


def acquisition_facts(problem: Problem) -> dict[str, Any]:
    """What the slices of the first scan are, in words: plane, distances, voxels."""
    operator, grid = problem.stack.operator, problem.grid
    gap = operator.distance - operator.thickness
    many = len(problem.stacks)
    return {
        "Slices": f"{len(operator.middles)} {plane_of(grid.affine)}",
        "Distance between slices": f"{operator.distance:.3g} mm",
        "Thickness": f"{operator.thickness:.3g} mm",
        "Gap": _gap(gap),
        "Ratio": f"{operator.ratio:.3g} voxels a slice",
        "Voxels of the result": _times(f"{step:.3g}" for step in problem.native_grid.affine.spacing)
        + " mm",
        "Size of the result": _times(str(size) for size in problem.native_grid.shape),
        "Scans of thick slices": many if many > 1 else None,
    }


def plane_of(affine: Affine) -> str:
    """The anatomical plane of the slices across the last axis of `affine`, and how oblique."""
    name = plane_across(affine, 2)
    cosine = min(1.0, abs(float(affine.direction[AXES[name], 2])))
    tilt = float(np.degrees(np.arccos(cosine)))
    return f"{name}, {tilt:.0f}° oblique" if tilt >= 1 else name


def guide_words(guide: Any) -> str:
    """What became of the T1w, for a cell."""
    return _GUIDES.get(str(guide or ""), "–")


def framed(shown: Shown) -> Html:
    """A picture in a black frame, with its heading and what it shows."""
    caption = tag("span", tag("strong", f"{shown.title}. "), shown.caption)
    return figure(tag("div", shown.picture.html, class_="frame"), caption)


def model_facts(about: Mapping[str, Any]) -> Html:
    """What is known of the model and how it was run."""
    known, cells = _opened(about), dict[str, Any]()
    for key, label in _MODEL.items():
        value = known.get(key)
        if value not in (None, ""):
            cells[label] = tag("code", value) if key == "sha256" else value
    return facts(cells)


def model_name(about: Mapping[str, Any]) -> str:
    """Name and version of the model."""
    known = _opened(about)
    name, version = str(known.get("name") or "unknown model"), known.get("version")
    return f"{name} {version}" if version else name


def _opened(about: Mapping[str, Any]) -> dict[str, Any]:
    model = about.get("model")
    inner = dict(model) if isinstance(model, Mapping) else {"name": model}
    return {**about, **inner}


def _lead(about: Mapping[str, Any], problem: Problem) -> str:
    operator = problem.stack.operator
    plane = plane_of(problem.grid.affine).split(",", maxsplit=1)[0]
    return (
        f"{plane.capitalize()} slices {operator.distance:.3g} mm apart, reconstructed at "
        f"{operator.voxel_size:.3g} mm by {model_name(about)}."
    )


def _stat_cards(row: Row, evidence: Evidence) -> list[StatCard]:
    status = str(row.get("quality") or "")
    shown = [StatCard(status or "–", "quality", status=status or None)]
    shown.append(StatCard(guide_words(evidence.guide), "T1w"))
    shown.append(StatCard(f"{evidence.ratio:.3g}", "voxels a slice"))
    shown.append(StatCard(f"{evidence.consistency:.2%}", "off the slices", "below 1% expected"))
    if evidence.uncertain is not None:
        detail = f"error above {LARGE_DEVIATION:.0%} of the range"
        shown.append(StatCard(f"{evidence.uncertain:.1%}", "of the head uncertain", detail))
    if row.get("seconds") not in (None, ""):
        shown.append(StatCard(f"{float(row['seconds']):.1f} s", "reading and computing"))
    return shown


def _findings(evidence: Evidence) -> Html:
    rows = [
        {"status": badge(one.status), "finding": format_sentence(reason)}
        for one in findings(evidence)
        for reason in one.reasons
    ]
    if not rows:
        return note("Nothing was found that speaks against this reconstruction.")
    return table({"status": "Grade", "finding": "Finding"}, rows)


def _figures(shown: Mapping[str, Shown], *keys: str) -> list[Html]:
    return [framed(shown[key]) for key in keys if key in shown]


def _guide_facts(scan: ScanPictures) -> dict[str, Any]:
    evidence = scan.evidence
    covered, alike = evidence.coverage, evidence.alike
    return {
        "T1w": guide_words(evidence.guide),
        "Why": format_sentence(", ".join(evidence.reasons)) if evidence.reasons else None,
        **scan.registration,
        "Covers": None if covered is None else f"{covered:.0%} of the head",
        "Correlation with the T2w": None if alike is None else f"{alike:.2f}".replace("-", "−"),
    }


def _origin(row: Row) -> dict[str, Any]:
    sources = [part for part in str(row.get("source") or "").split("; ") if part]
    files = [Path(part).name for part in sources]
    named = {label: row.get(key) for key, label in _OUTPUTS.items()}
    written = {label: tag("code", Path(str(path)).name) for label, path in named.items() if path}
    return {"Made from": tag("code", ", ".join(files)) if files else None, **written}


def _gap(gap: float) -> str:
    if abs(gap) < 0.01:
        return "none"
    return f"{gap:.3g} mm" if gap > 0 else f"none, slices overlap by {-gap:.3g} mm"


def _times(parts: Iterable[str]) -> str:
    return " × ".join(parts)

# SPDX-License-Identifier: Apache-2.0
"""The pages of brain extraction: of a batch of masks, and of masks against their references.

Both show the mask outlined in the scan, and its volume.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from encephalon.reports.agreement import agreement_chart, agreement_words
from encephalon.reports.batch import (
    BatchReport,
    Column,
    Row,
    model_facts,
    model_name,
    numbers_of,
    reasons_of,
    status_of,
)
from encephalon.reports.blocks import (
    StatCard,
    badge,
    card,
    details,
    facts,
    figure,
    grid,
    note,
    stat_cards,
    table,
)
from encephalon.reports.charts import DotGroup, dot_chart
from encephalon.reports.format import Html, format_interval, format_number, tag
from encephalon.reports.images import AMBER, SKY
from encephalon.reports.label_maps import label_legend
from encephalon.reports.own_pages import (
    file_links,
    rating,
    rating_bar,
    thumbnail,
    write_own_page,
)
from encephalon.reports.page import Legend, Page
from encephalon.reports.strips import StripPoint, strip_chart
from encephalon.reports.viewer import HINT
from encephalon.statistics.agreement import agreement_of
from encephalon.statistics.summary import Summary
from encephalon.studies.extraction.images import PREDICTION, REFERENCE, ShownScan
from encephalon.studies.extraction.settings import LABELS

if TYPE_CHECKING:
    from encephalon.evaluation.run import EvaluationResult
    from encephalon.statistics.summary import GroupedSummary, SubgroupSummary

__all__ = [
    "HEADINGS",
    "batch_report",
    "evaluation_page",
    "scan_page",
    "volumes_compared",
]

#: Metrics of a mask by their columns, as tables head them.
HEADINGS = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "sensitivity": "Sensitivity",
    "precision": "Precision",
    "hd95_mm": "HD95, mm",
    "assd_mm": "ASSD, mm",
    "volume_error_ml": "Volume error, mL",
    "volume_error_percent": "Volume error, %",
    "seconds": "Seconds",
}
_HOW = (
    "Dice and Jaccard count voxels; HD95 is the larger of the two directed 95th percentiles of "
    "surface distance, ASSD the mean over both surfaces. A scan without a mask counts as Dice 0. "
)


def batch_report(about: Mapping[str, Any]) -> BatchReport:
    """The page of a batch of masks; `about` is `Predictor.describe()`."""
    structure = _structure(about)

    def pictures(row: Row, shown: ShownScan, folder: Path) -> list[Html]:
        # They are drawn when they are wanted, the main one first.
        framed = _framed(picture.html for picture in shown())
        write_own_page(scan_page(about, row, shown, framed), str(row["id"]), folder)
        return framed

    return BatchReport(
        about,
        title=f"{structure.capitalize()} masks",
        missing="Failed, without a mask",
        columns=_COLUMNS,
        files=_FILES,
        pictures=pictures,
        thumbnail=lambda shown: thumbnail(shown.small()),
        charts=lambda rows, addresses: _volume_strip(rows, addresses, structure),
        rated=True,
        hint="Slices run through the middle of the mask, the left side of the body on the left.",
        stats=lambda rows: _volume_cards(rows, structure),
        legend=_legend(about, structure),
    )


_COLUMNS = (
    Column("Volume", "volume_ml", "mL", decimals=1),
    Column("Time", "seconds", "s", decimals=1),
)
_FILES = {"source": "Scan", "mask": "Mask"}


def _structure(about: Mapping[str, Any]) -> str:
    """What the masks are of: models of lesions alone have a notice."""
    return LABELS["lesion" if about.get("notice") else "brain"]


def _legend(about: Mapping[str, Any], structure: str) -> list[Legend]:
    return label_legend(about.get("classes", ())) or [
        Legend(PREDICTION, f"Outline of the {structure} mask", AMBER)
    ]


def scan_page(about: Mapping[str, Any], row: Row, shown: ShownScan, framed: Sequence[Html]) -> Page:
    """The page of one scan, one HTML file by itself, with a viewer of all its slices.

    about   the predictor's own description
    row     that of predictions.csv
    framed  its pictures
    """
    structure, status = _structure(about), status_of(row)
    name = str(row.get("id") or "Scan")
    page = Page(
        title=name,
        kicker=f"Encephalon · {structure} mask",
        lead=f"The mask that {model_name(about)} made.",
        legend=_legend(about, structure),
        batch_of=str((about.get("model") or {}).get("name")),
    )
    cards = [StatCard(status or "–", "quality", status=status or None)]
    cards += [StatCard(each.words(row) or "–", each.heading.lower()) for each in _COLUMNS]
    page.add(stat_cards(cards), *(note(reason, status) for reason in reasons_of(row)))
    if about.get("notice"):
        page.add(note(str(about["notice"]), "check"))
    page.section("Slices", tag("p", HINT, class_="soft"), shown.viewer(about.get("classes", ())))
    page.section("Your rating", rating(name, ".."), rating_bar())
    page.section("Pictures", *framed)
    back = tag("a", "All scans", href="../report.html")
    origin = facts(file_links(row, _FILES, "../") | {"Batch": back})
    return page.section("Origin", origin, model_facts(about))


def _volume_strip(
    rows: Sequence[Row], addresses: Sequence[str | None], structure: str
) -> list[Html]:
    """Every volume as a dot, by quality, so that those far from the others are seen."""
    points: dict[str, list[StripPoint]] = {}
    for row, address in zip(rows, addresses, strict=True):
        for volume in numbers_of([row], "volume_ml"):
            said = f"{row.get('id')}: {volume:.1f} mL"
            point = StripPoint(volume, said, address)
            points.setdefault(status_of(row) or "all", []).append(point)
    if not points:
        return []
    chart = strip_chart(points, f"{structure} volume, mL")
    return [figure(chart, "Every scan is a dot; point at one for its name, click for its page.")]


def _framed(pictures: Iterable[Html]) -> list[Html]:
    """The main picture of a scan, and the others folded away."""
    frames = [tag("div", picture, class_="frame") for picture in pictures]
    more = [details("Axial slices", *frames[1:])] if frames[1:] else []
    return [*map(figure, frames[:1]), *more]


def _volume_cards(rows: Sequence[Row], structure: str) -> list[StatCard]:
    volumes = numbers_of([row for row in rows if status_of(row) != "fail"], "volume_ml")
    if len(volumes) < 2:
        return [StatCard(f"{volume:.0f} mL", f"{structure} volume") for volume in volumes]
    spread = f"{min(volumes):.0f} to {max(volumes):.0f} mL"
    return [StatCard(f"{median(volumes):.0f} mL", f"median {structure}", spread)]


def evaluation_page(
    about: Mapping[str, Any],
    result: EvaluationResult[GroupedSummary],
    worst: Sequence[tuple[Row, Sequence[Html]]],
    failures: Sequence[Html],
) -> Page:
    """The page of an evaluation: `about` is the model, `worst` the rows with pictures to show."""
    summary = result.summary
    scored = sorted((row for row in result.rows if "dice" in row), key=lambda row: row["dice"])
    count = len({row["id"] for row in result.rows})
    page = Page(
        title="Masks against reference",
        lead=f"{model_name(about)} on {count} scan{'' if count == 1 else 's'}.",
        legend=label_legend(about.get("classes", ()))
        or [
            Legend(PREDICTION, "Predicted mask", AMBER),
            Legend(REFERENCE, "Reference mask", SKY),
        ],
    )
    page.add(
        stat_cards(_stat_cards(summary.overall, len({row["id"] for row in scored}))), *failures
    )
    page.section("Overall", _summary_table(summary.overall), note(_how(summary.overall["dice"])))
    if scored:
        page.section("Scores", _charts(summary, scored))
    if summary.subgroups:
        page.section("Subgroups", _subgroup_table(summary.subgroups))
    page.section("Scans", _scan_table(scored))
    if worst:
        cards = (_card(place, *entry) for place, entry in enumerate(worst))
        page.section("Pictures, the lowest Dice first", *cards)
    return page.section("Model", model_facts(about))


def _stat_cards(summary: Mapping[str, Summary], scored: int) -> list[StatCard]:
    dice, distance, volume = (summary[name] for name in ("dice", "hd95_mm", "volume_error_percent"))
    return [
        StatCard(
            format_number(dice.median, 3), "median Dice", format_interval(dice.median_interval)
        ),
        StatCard(format_number(dice.mean, 3), "mean Dice", format_interval(dice.mean_interval)),
        StatCard(format_number(dice.minimum, 3), "lowest Dice"),
        StatCard(f"{format_number(distance.median, 2)} mm", "median HD95"),
        StatCard(f"{format_number(volume.median, 2)} %", "median volume error"),
        StatCard(scored, "scans scored"),
    ]


def _summary_table(summary: Mapping[str, Summary]) -> Html:
    rows = [
        {
            "Metric": heading,
            "Median": summary[name].median,
            "95 % interval of the median": format_interval(summary[name].median_interval),
            "Mean": summary[name].mean,
            "SD": summary[name].sd,
            "Lowest": summary[name].minimum,
            "Highest": summary[name].maximum,
            "n": summary[name].n,
        }
        for name, heading in HEADINGS.items()
    ]
    return table([*rows[0]], rows)


def _how(dice: Summary) -> str:
    units = dice.median_interval.units
    if units < 2:
        return f"{_HOW} All scans are of one person, so there are no intervals."
    what = "scans" if units == dice.n else f"{units} groups of scans"
    return f"{_HOW} Intervals are 95 % percentile bootstrap intervals over {what}."


def _charts(summary: GroupedSummary, scored: Sequence[Row]) -> Html:
    groups = [_dice_group("all", scored, summary.overall)]
    for part in summary.subgroups:
        if part.column != "quality":
            rows = [row for row in scored if str(row.get(part.column)) == part.value]
            groups.append(_dice_group(part.value, rows, part.metrics))
    dice = figure(dot_chart(groups, "Dice"), "Every scan; the bar is the median and its interval.")
    # Volumes of different structures have nothing in common.
    classes = [part for part in summary.subgroups if part.column == "class"]
    if not classes:
        return grid(dice, volumes_compared(scored, summary.overall, ""))
    volumes = [
        volumes_compared(
            [row for row in scored if row["class"] == part.value], part.metrics, part.value
        )
        for part in classes
    ]
    return grid(dice, *volumes)


def _dice_group(name: str, rows: Sequence[Row], metrics: Mapping[str, Summary]) -> DotGroup:
    values, names = numbers_of(rows, "dice"), [str(row["id"]) for row in rows]
    return DotGroup(name, values, metrics["dice"].median_interval, names)


def volumes_compared(rows: Sequence[Row], metrics: Mapping[str, Summary], name: str) -> Html:
    """Volumes against those of the references; a scan without a mask has none to compare."""
    made = [row for row in rows if not row.get("error") and _compared(row)]
    found = agreement_of(numbers_of(made, "volume_ml"), numbers_of(made, "reference_ml"))
    # That of all rows is no interval of some of them.
    interval = metrics["volume_error_ml"].mean_interval if len(made) == len(rows) else None
    words = agreement_words(found, "mL", interval)
    if left := len(rows) - len(made):
        words += f" Without a mask and left out: {left}."
    chart = agreement_chart(
        found,
        [str(row["id"]) for row in made],
        "mean of predicted and reference, mL",
        "predicted − reference, mL",
    )
    return figure(chart, tag("span", tag("strong", f"{name}. "), words) if name else words)


def _compared(row: Row) -> bool:
    """Whether both volumes of a scan are known."""
    known = [*numbers_of([row], "volume_ml"), *numbers_of([row], "reference_ml")]
    return len(known) == 2 and all(map(math.isfinite, known))


def _subgroup_table(parts: Sequence[SubgroupSummary]) -> Html:
    rows = [
        {
            "By": part.column,
            "Subgroup": badge(part.value) if part.column == "quality" else part.value,
            "Scans": part.n,
            "Groups": part.units,
            "Median Dice": part.metrics["dice"].median,
            "95 % interval": format_interval(part.metrics["dice"].median_interval),
            "Lowest": part.metrics["dice"].minimum,
            "Median HD95, mm": part.metrics["hd95_mm"].median,
            "Median volume error, %": part.metrics["volume_error_percent"].median,
        }
        for part in parts
    ]
    columns = [*rows[0]]
    if all(row["Scans"] == row["Groups"] for row in rows):
        columns.remove("Groups")
    return table(columns, rows)


def _scan_table(rows: Sequence[Row]) -> Html:
    columns = {"id": "Scan", "class": "Class", "quality": "Quality", **HEADINGS}
    if not any("class" in row for row in rows):
        del columns["class"]
    for name in ("jaccard", "sensitivity", "precision", "volume_error_ml"):
        del columns[name]
    shown = [{**row, "quality": badge(status_of(row)) if status_of(row) else None} for row in rows]
    return table(columns, shown)


def _card(place: int, row: Row, pictures: Sequence[Html]) -> Html:
    values = {
        "Dice": format_number(row["dice"], 4),
        "HD95": f"{format_number(row['hd95_mm'], 3)} mm",
        "ASSD": f"{format_number(row['assd_mm'], 3)} mm",
        "Volume": f"{row['volume_ml']:.1f} mL, reference {row['reference_ml']:.1f} mL",
    }
    failed = note(str(row["error"]), "fail") if row.get("error") else None
    remarks = (note(reason, status_of(row)) for reason in reasons_of(row))
    return card(
        str(row["id"]),
        failed,
        *remarks,
        *_framed(pictures),
        facts(values),
        status=status_of(row) or None,
        anchor=f"scan-{place}",
    )

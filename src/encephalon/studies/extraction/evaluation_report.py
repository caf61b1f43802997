# SPDX-License-Identifier: Apache-2.0
"""The page of an evaluation: the figures, their strata, and every scan from the worst on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.reports.batch import (
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
    facts,
    figure,
    grid,
    note,
    stat_cards,
    table,
)
from encephalon.reports.charts import DotGroup, dot_chart, scatter_chart
from encephalon.reports.format import format_interval, format_number
from encephalon.reports.images import AMBER, SKY
from encephalon.reports.markup import Html
from encephalon.reports.page import Legend, Page
from encephalon.reports.pictures import Picture
from encephalon.statistics.summary import Summary
from encephalon.studies.extraction.report import PREDICTION, REFERENCE, framed

if TYPE_CHECKING:
    from encephalon.studies.extraction.evaluation import Evaluation, Part

__all__ = ["EvaluationPage"]

# Scans whose pictures are shown, the worst first.
_PICTURED = 60
_HEADINGS = {
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


class EvaluationPage:
    """Collects pictures while scans are scored, and writes the page at the end."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.about = dict(about)
        self._shown: list[tuple[Row, list[Html]]] = []

    def add(self, row: Row, pictures: Sequence[Picture]) -> None:
        """Keep one scored scan; only the pictures of the worst ones stay in memory."""
        self._shown.append((row, [picture.html for picture in pictures]))
        self._shown.sort(key=lambda entry: entry[0]["dice"])
        del self._shown[_PICTURED:]

    def write(self, path: Path, result: Evaluation, overwrite: bool = False) -> Path:
        """Write the page; raises OutputExistsError for an existing file unless `overwrite`."""
        return self._page(result).write(path, overwrite)

    def _page(self, result: Evaluation) -> Page:
        scored = sorted((r for r in result.rows if "dice" in r), key=lambda row: row["dice"])
        page = Page(
            title="Masks against reference",
            lead=f"{model_name(self.about)} on {_scans(len(result.rows))}.",
            legend=[
                Legend(PREDICTION, "Predicted mask", AMBER),
                Legend(REFERENCE, "Reference mask", SKY),
            ],
        )
        page.add(stat_cards(_stat_cards(result.summary, len(scored))))
        for failure in result.failures:
            page.add(note(f"{failure['id']}: {failure['message']}", "fail"))
        page.section("Overall", _summary_table(result.summary), note(_how(result)))
        if scored:
            page.section("Scores", _charts(result, scored))
        if result.strata:
            page.section("Strata", _strata_table(result.strata))
        page.section("Scans", _scan_table(scored))
        if self._shown:
            cards = (_card(place, *entry) for place, entry in enumerate(self._shown))
            page.section("Pictures, the lowest Dice first", *cards)
        return page.section("Model", model_facts(self.about))


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
            **vars(summary[name]),
            "metric": heading,
            "interval": format_interval(summary[name].median_interval),
        }
        for name, heading in _HEADINGS.items()
    ]
    columns = {
        "metric": "Metric",
        "median": "Median",
        "interval": "95 % interval of the median",
        "mean": "Mean",
        "sd": "SD",
        "minimum": "Lowest",
        "maximum": "Highest",
        "n": "n",
    }
    if not any(row["interval"] for row in rows):
        del columns["interval"]
    return table(columns, rows)


def _how(result: Evaluation) -> str:
    dice = result.summary["dice"]
    units = dice.median_interval.units
    if units < 2:
        return f"{_HOW} All scans are of one person, so there are no intervals."
    what = "scans" if units == dice.n else f"{units} groups of scans"
    return f"{_HOW} Intervals are 95 % percentile bootstrap intervals over {what}."


def _charts(result: Evaluation, scored: Sequence[Row]) -> Html:
    groups = [DotGroup("all", numbers_of(scored, "dice"), result.summary["dice"].median_interval)]
    for part in result.strata:
        if part.column != "quality":
            rows = [row for row in scored if str(row.get(part.column)) == part.value]
            interval = part.metrics["dice"].median_interval
            groups.append(DotGroup(part.value, numbers_of(rows, "dice"), interval))
    reference, predicted = (numbers_of(scored, key) for key in ("reference_ml", "volume_ml"))
    return grid(
        figure(dot_chart(groups, "Dice"), "Every scan; the bar is the median and its interval."),
        figure(
            scatter_chart(reference, predicted, "Reference, mL", "Predicted, mL"),
            "Volumes; the dashed line is equality.",
        ),
    )


def _strata_table(strata: Sequence[Part]) -> Html:
    rows = [
        {
            **vars(part),
            "value": badge(part.value) if part.column == "quality" else part.value,
            "dice": part.metrics["dice"].median,
            "interval": format_interval(part.metrics["dice"].median_interval),
            "lowest": part.metrics["dice"].minimum,
            "hd95": part.metrics["hd95_mm"].median,
            "volume": part.metrics["volume_error_percent"].median,
        }
        for part in strata
    ]
    columns = {
        "column": "By",
        "value": "Part",
        "n": "Scans",
        "units": "Groups",
        "dice": "Median Dice",
        "interval": "95 % interval",
        "lowest": "Lowest",
        "hd95": "Median HD95, mm",
        "volume": "Median volume error, %",
    }
    if all(row["n"] == row["units"] for row in rows):
        del columns["units"]
    if not any(row["interval"] for row in rows):
        del columns["interval"]
    return table(columns, rows)


def _scan_table(rows: Sequence[Row]) -> Html:
    columns = {"id": "Scan", "quality": "Quality", **_HEADINGS}
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
        *framed(pictures),
        facts(values),
        status=status_of(row) or None,
        anchor=f"scan-{place}",
    )


def _scans(count: int) -> str:
    return f"{count} scan" if count == 1 else f"{count} scans"

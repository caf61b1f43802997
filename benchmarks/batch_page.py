# SPDX-License-Identifier: Apache-2.0
"""The page of a large batch of brain masks: how large it is, and how soon it can be used.

    python benchmarks/batch_page.py SCANS [--count 1000] [--small]

The scans below SCANS are masked once, and their rows and pictures stand for as many people as the
batch has. The page is opened in Chromium without a cache, three times: until its head can be read,
until every script of it has run, and how long it then takes to filter the table.

`--small` is a batch of a few, opened once: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import encephalon
from dashboard import opening
from encephalon.reports.batch import BatchReport
from encephalon.reports.drawn import Drawn
from encephalon.studies.extraction.report import batch_report
from extraction_accuracy import scans_of
from figures import tell

#: What we want of each figure: our choice.
WISHES = {"page_mb": "<= 15", "read_seconds": "<= 2", "usable_seconds": "<= 2"}
FILTER = """(() => {
    const at = performance.now(), field = document.querySelector("input[type=search]");
    field.value = "person-00"; field.dispatchEvent(new Event("input"));
    document.body.offsetHeight;
    return performance.now() - at;
})()"""
TIMING = "performance.getEntriesByType('navigation')[0]"
MOMENTS = {
    "read": "performance.getEntriesByName('first-contentful-paint')[0].startTime",
    "usable": f"{TIMING}.domContentLoadedEventEnd",
    "filter": FILTER,
}


def batch_of(scans: Path, count: int, folder: Path) -> Path:
    """The page of `count` people, whose own pages are links to those of the scans."""
    model = encephalon.load_model("brain-extraction", device="cpu", fast=True)
    report, pages = batch_report(model.describe()), folder / "report"
    pages.mkdir()
    named = {f"scan-{number}": path for number, path in enumerate(scans_of(scans))}
    if not named:
        sys.exit(f"{scans}: no scan (*.nii.gz) below it: name a folder with some.")
    done = [drawn_of(model, report, name, path, pages) for name, path in named.items()]
    for number, (row, drawn) in enumerate(islice(cycle(done), count)):
        name = f"person-{number:04}"
        os.link(pages / f"{row['id']}.html", pages / f"{name}.html")
        report.add({**row, "id": name}, lambda drawn=drawn: drawn)
    return report.page([], pages).write(folder / "report.html", overwrite=True)


def drawn_of(
    model: encephalon.Model, report: BatchReport, name: str, path: Path, pages: Path
) -> tuple[dict[str, Any], Drawn]:
    """The row of a scan and its pictures; its own page is written into `pages`."""
    found = model.predict(path)
    row = {"id": name, "quality": found.quality.status, **found.values}
    row |= {"reasons": "; ".join(found.quality.reasons), "source": path.name}
    return row, report.draw(row, found.pictures, pages)


def main() -> None:
    """Print the figures, and beside them what we want."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scans", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--small", action="store_true", help="little of it")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = parser.parse_args()
    count = 20 if asked.small else asked.count
    with tempfile.TemporaryDirectory() as folder:
        page = batch_of(asked.scans, count, Path(folder))
        figures = {"people": count, "page_mb": page.stat().st_size / 1e6}
        figures |= opening(page, MOMENTS, 1 if asked.small else 3)
    tell(figures, WISHES, asked.json)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What a dashboard writes: values in the cells of a heatmap, and cells of its CSV files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from encephalon.experiments.analyses import analyse
from encephalon.experiments.dashboard import dashboard_data
from encephalon.experiments.results_table import ResultsTable
from encephalon.reports.dashboard import dashboard_page
from tests.reports.browser import Browser

pytestmark = pytest.mark.skipif(not find_spec("gravis"), reason="needs the extra grid")
PLOT = "document.querySelector('#heatmaps .plot')"
READABLE = 4.5  # WCAG 2.2, 1.4.3


def open_page(browser: Browser, folder: Path, target: str = "age") -> None:
    """A model for each R² from 0 to 1."""
    sets = [" + ".join(some) for count in (1, 2, 3, 4) for some in combinations("abcdef", count)]
    rows = [
        {"target": target, "kind": "regression", "inputs": inputs, "r2": n / 50, "minutes": 3}
        for n, inputs in enumerate(sets[:51])
    ]
    shown = dashboard_page(dashboard_data(analyse(ResultsTable.of(rows)), folder))
    browser.size(1000, 900)
    browser.open(shown.write(folder / "values.html").as_uri())
    browser.middle("#heatmaps .plot")
    browser.wait(f"{PLOT}.querySelector('.main-svg')")


def luminance(colour: Iterable[float | str]) -> float:
    """Of an sRGB colour (0 to 255), relative to white, as WCAG has it."""
    parts = [float(part) / 255 for part in colour]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_values_can_be_read_on_every_colour(browser: Browser, tmp_path: Path) -> None:
    """From the darkest cell to the lightest, those in the middle of the scale as well."""
    open_page(browser, tmp_path)
    heat = f"{PLOT}._fullData.find((trace) => trace.type === 'heatmap')"
    shares, scale = browser.run(f"[{heat}.z.flat(), {heat}.colorscale]")
    stops = [stop for stop, _ in scale]
    parts = np.array([re.findall(r"\d+", colour) for _, colour in scale], float)
    inks = browser.run(
        f"[...{PLOT}.querySelectorAll('.subplot.x2y .textpoint text')]"
        ".map((word) => [word.textContent, getComputedStyle(word).fill])"
    )
    seen = {}
    for share, (text, colour) in zip(sorted(shares), sorted(inks), strict=True):
        cell = [np.interp(share, stops, part) for part in parts.T]
        ink, under = luminance(re.findall(r"\d+", colour)), luminance(cell)
        seen[text] = (max(ink, under) + 0.05) / (min(ink, under) + 0.05)
    assert sorted(map(float, seen)) == [n / 50 for n in range(51)]
    assert min(seen.values()) > READABLE


def test_a_row_of_csv_is_one_row_whatever_its_words_hold(browser: Browser, tmp_path: Path) -> None:
    """A carriage return alone ends a line for some readers: it is quoted as a line feed is."""
    open_page(browser, tmp_path, 'a\rb\nc"d')
    browser.click("#heatmaps .tools button:nth-child(3)")
    saved = browser.downloaded("heatmap-all.csv").decode()
    found = list(csv.reader(io.StringIO(saved, newline="")))
    assert len(found) == 52
    assert {row[0] for row in found[1:]} == {'a\rb\nc"d'}

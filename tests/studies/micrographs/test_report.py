# SPDX-License-Identifier: Apache-2.0
"""The page of a batch: what to check first, the ends of certainty, and never too large."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import OutputExistsError
from encephalon.reports import batch
from encephalon.reports.batch import BatchReport
from encephalon.reports.blocks import ExamplesByConfidence
from encephalon.reports.format import Html
from encephalon.studies.micrographs.report import PICTURED, batch_report

ABOUT: dict[str, Any] = {
    "model": {"name": "vessels", "version": "1.0", "mode": "default", "sha256": "ab" * 32},
    "classes": ["Young", "Aged"],
    "calibration": {"temperature": 1.5, "bias": [0.0, 0.0]},
    "thresholds": [0.3, 0.7],
    "score": "softmax",
    "runtime": "onnxruntime",
}


def row(name: str, aged: float, quality: str = "ok", **more: Any) -> dict[str, Any]:
    """A row as a batch makes it."""
    light = "Green" if aged <= 0.3 else "Amber" if aged <= 0.7 else "Red"
    said = "Aged" if aged > 0.5 else "Young"
    known = {"id": name, "predicted": said, "light": light, "quality": quality, "seconds": 0.05}
    return {**known, "likelihood": aged, "p_Young": 1 - aged, "p_Aged": aged, **more}


def drawing() -> np.ndarray:
    """A thumbnail."""
    return np.full((8, 12), 100, np.uint8)


def add(report: BatchReport, one: dict[str, Any]) -> None:
    """Add a row to the page with its thumbnail, drawn when the page asks for it."""
    report.add(one, lambda: batch_report(ABOUT).draw(one, drawing, Path()))


@given(st.lists(st.floats(0, 1), max_size=40), st.integers(1, 5))
def test_extremes_are_the_ends_of_all_that_was_offered(values: list[float], count: int) -> None:
    """Kept are the highest and the lowest certainties, each in its order, none twice."""
    extremes = ExamplesByConfidence(count)
    for value in values:
        extremes.offer(value, lambda value=value: Html(repr(value)))
    most, least = (
        [float(each) for each in part] for part in (extremes.most_confident(), extremes.hardest())
    )
    if len(values) <= 2 * count:
        assert extremes.complete
        assert sorted([*most, *least]) == sorted(values)
        assert [float(each) for each in extremes.falling()] == sorted(values, reverse=True)
    else:
        assert most == sorted(values, reverse=True)[:count]
        assert least == sorted(values)[:count]
        assert [float(each) for each in extremes.falling()] == most


def test_thousand_images_make_a_small_page_and_few_drawings() -> None:
    """Only images at the ends are drawn to stay, and memory holds no more of them."""
    report = batch_report(ABOUT)
    rng = np.random.default_rng(0)
    for number in range(1000):
        add(report, row(f"S{number}", float(rng.random())))
    page = report.page().render()
    assert page.count("data:image/jpeg") == 2 * PICTURED
    assert len(page) < 2_000_000
    assert page.count('href="') == 0
    assert "S999" in page


def test_pictures_of_earlier_runs_are_shown_as_they_were_drawn(tmp_path: Path) -> None:
    """A row of the table has words for numbers and nothing for no light; so has its page."""
    first = batch_report(ABOUT)
    rows = [row("S0", 0.9), row("S1", 0.6, "check", light="", reasons="small")]
    kept = [first.draw(one, drawing, tmp_path) for one in rows]
    again = batch_report(ABOUT)
    for one, html in zip(rows, kept, strict=True):
        cells = {key: None if cell == "" else cell for key, cell in one.items()}
        again.add({**cells, "status": "skipped"}, lambda html=html: html)
    again.add(row("S2", 0.7))  # of which no picture was kept
    page = again.page().render()
    assert page.count("data:image/jpeg") == 2
    assert page.index("S1</strong>") < page.index("S0</strong>")
    assert '<div class="stat-card"' not in page or ">skipped<" in page
    for one in rows:
        assert str(one["id"]) in page
    assert "no light" in page


def test_a_drawing_that_would_not_stay_is_never_made() -> None:
    """Once the ends are taken, what lies between them is not drawn."""
    report, drawn = batch_report(ABOUT), []
    for number in range(2 * PICTURED):
        add(report, row(f"S{number}", 0.99 if number % 2 else 0.5))
    report.add(row("between", 0.75), lambda: drawn.append(1) or [])  # type: ignore[func-returns-value]
    assert not drawn


def test_images_to_check_come_first_and_the_least_certain_before_the_rest() -> None:
    """The reader sees the doubtful ones without scrolling."""
    report = batch_report(ABOUT)
    add(report, row("sure", 0.99))
    add(report, row("unsure", 0.52))
    add(report, row("odd", 0.9, "check", reasons="the contrast is 0.1"))
    page = report.page().render()
    pictures = page[page.index("Images by certainty") :]
    assert pictures.index(">odd<") < pictures.index(">unsure<") < pictures.index(">sure<")
    listed = page[page.index("Images, the least certain first") :]
    assert listed.index(">odd<") < listed.index(">unsure<") < listed.index(">sure<")
    assert "the contrast is 0.1" in page


def test_lights_have_a_shape_beside_their_colour() -> None:
    """Who sees no colours still tells green, amber and red apart, and reads what they stand for."""
    report = batch_report(ABOUT)
    for name, aged in (("a", 0.1), ("b", 0.5), ("c", 0.9)):
        report.add(row(name, aged))
    page = report.page().render()
    assert "green is surely Young, red surely Aged, amber undecided" in page
    for shape, word in (("●", "Green: Young"), ("▲", "Amber: undecided"), ("■", "Red: Aged")):
        assert f'<span aria-hidden="true">{shape}</span>{word}' in page


def test_failures_are_named_with_their_reason_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that could not be read is on the page; beyond a number they are only counted."""
    monkeypatch.setattr(batch, "LISTED", 2)
    failed = [(f"S{n}", f"S{n}.tif: <truncated>.") for n in range(5)]
    page = batch_report(ABOUT).page(failed).render()
    assert "S1.tif: &lt;truncated&gt;." in page
    assert "S2.tif" not in page
    assert "3 more" in page
    assert "5 images" in page


def test_the_page_says_when_probabilities_are_not_what_they_say() -> None:
    """Published mode and a model without calibration carry a remark; a calibrated one none."""
    published = {**ABOUT, "model": {**ABOUT["model"], "mode": "published"}, "calibration": None}
    assert "defects included" in batch_report(published).page().render()
    assert "not calibrated" in batch_report({**ABOUT, "calibration": None}).page().render()
    assert "note-check" not in batch_report(ABOUT).page().render().partition("<body>")[2]


def test_a_batch_of_three_classes_needs_no_light() -> None:
    """Without lights the columns of lights are left out."""
    about = {**ABOUT, "classes": ["a", "b", "c"], "thresholds": None}
    report = batch_report(about)
    report.add({"id": "x", "predicted": "b", "p_a": 0.1, "p_b": 0.7, "p_c": 0.2})
    page = report.page().render()
    assert "p(c)" in page
    assert "Light" not in page.partition("<body>")[2]


def test_a_page_replaces_nothing_unasked(tmp_path: Path) -> None:
    """Writing twice needs `overwrite`."""
    report = batch_report(ABOUT)
    path = report.page(folder=tmp_path / "report").write(tmp_path / "report.html")
    with pytest.raises(OutputExistsError):
        report.page(folder=tmp_path / "report").write(path)
    assert report.page(folder=tmp_path / "report").write(path, overwrite=True) == path

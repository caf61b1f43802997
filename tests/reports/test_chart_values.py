# SPDX-License-Identifier: Apache-2.0
"""Charts tell their values to a mouse, a finger and a keyboard in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from encephalon.reports.blocks import figure
from encephalon.reports.charts import (
    DotGroup,
    Point,
    Series,
    bar_chart,
    dot_chart,
    line_chart,
    place_chart,
    point_chart,
    scatter_chart,
    share_chart,
)
from encephalon.reports.page import Page
from encephalon.reports.strips import StripPoint, strip_chart
from encephalon.statistics.intervals import Interval
from tests.reports.accessibility import violations
from tests.reports.browser import Browser

DICE = Interval(0.9, 0.8, 0.95, 0.95, 10, "bootstrap")
SAID = "[...document.querySelectorAll('.chart-said:not([hidden])')].map((one) => one.textContent)"


def titles(chart: str) -> list[str]:
    """What the marks of a chart say."""
    return [title.text or "" for title in ElementTree.fromstring(chart).iter("title")]


def test_every_mark_says_its_value() -> None:
    """And what it is of, and its interval where it has one."""
    dots = dot_chart([DotGroup("T1w", [0.91, 0.87], DICE, ["sub-1", "sub-2"])], "Dice")
    assert titles(dots) == ["sub-1: 0.9100", "sub-2: 0.8700", "T1w: 0.900 (0.800\xa0to\xa00.950)"]
    assert titles(dot_chart([DotGroup("T1w", [0.91])], "Dice")) == ["T1w: 0.9100"]
    assert titles(bar_chart({"age": -0.5}, "adds")) == ["age: −0.5000"]
    assert titles(scatter_chart([1.0], [2.0], "true", "predicted")) == [
        "true 1.000, predicted 2.000"
    ]
    assert titles(point_chart([Point(0.5, DICE, 7)], "p", "seen")) == [
        "p 0.500, seen 0.900 (0.800\xa0to\xa00.950), n = 7"
    ]
    told = Interval(5.0, 2.0, 8.0, 0.9, 0, "conformal")
    assert titles(place_chart([1, 3], (0.0, 8.0), told, "age")) == [
        "0 to 4.00: 1",
        "4.00 to 8.00: 3",
        "age: 5.00 (2.00\xa0to\xa08.00,\xa0conformal)",
    ]
    assert titles(share_chart(["F"], [0.25], [0.5], "sex")) == ["F: 25 %, usual 50 %"]
    curve = ElementTree.fromstring(line_chart([Series("a", [1, 2], [0.5, 0.25])], "epoch", "loss"))
    (line,) = curve.iter("polyline")
    assert line.attrib["data-values"] == "1.000,0.5000 2.000,0.2500"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curve, dots, and dots that lead somewhere."""
    curves = [Series("training", [1, 2, 3], [0.5, 0.25, 0.125]), Series("validation", [1], [0.75])]
    points = [
        StripPoint(1200.0, "sub-1: 1200 mL", "#there"),
        StripPoint(1300.0, "sub-2: 1300 mL"),
    ]
    charts = (
        line_chart(curves, "epoch", "loss", whole=True),
        dot_chart([DotGroup("T1w", [0.91, 0.87], DICE)], "Dice"),
        strip_chart({"ok": points}, "volume, mL"),
    )
    path = tmp_path_factory.mktemp("charts") / "charts.html"
    return Page("Charts").section("Charts", *map(figure, charts)).write(path)


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Browser]:
    """The page; whatever is done with it, nothing is asked for and nothing goes wrong."""
    browser.requests.clear()
    browser.errors.clear()
    browser.size(1000, 900)
    browser.open(page.as_uri())
    yield browser
    assert browser.requests == [page.as_uri()]
    assert browser.errors == []


def test_what_is_pointed_at_is_told(opened: Browser) -> None:
    """The nearest mark; nothing where none is near."""
    opened.run("document.querySelectorAll('svg.chart')[1].scrollIntoView({ block: 'center' })")
    x, y = opened.middle("svg.chart circle.mark")
    opened.mouse("mouseMoved", x + 2, y - 2)
    assert opened.run(SAID) == ["T1w: 0.9100"]
    assert opened.run("document.querySelector('.pointed').tagName") == "circle"
    opened.mouse("mouseMoved", 5, 5)
    assert opened.run(SAID) == []


def test_the_points_of_a_curve_are_told(opened: Browser) -> None:
    end = opened.run(
        """(() => { const curve = document.querySelector('polyline');
        const point = curve.points[1].matrixTransform(curve.getScreenCTM());
        return [point.x, point.y]; })()"""
    )
    opened.mouse("mouseMoved", end[0] + 3, end[1] + 3)
    assert opened.run(SAID) == ["training: epoch 2.000, loss 0.2500"]


def test_arrow_keys_go_through_all_values(opened: Browser) -> None:
    """Forwards, backwards, to both ends; Escape hides what is told."""
    opened.run("document.querySelector('svg.chart').focus()")
    opened.press("ArrowRight")
    assert opened.run(SAID) == ["training: epoch 1.000, loss 0.5000"]
    opened.press("ArrowRight", 3)
    assert opened.run(SAID) == ["validation: epoch 1.000, loss 0.7500"]
    opened.press("ArrowRight")
    assert opened.run(SAID) == ["validation: epoch 1.000, loss 0.7500"]
    opened.press("ArrowLeft")
    assert opened.run(SAID) == ["training: epoch 3.000, loss 0.1250"]
    opened.press("Escape")
    assert opened.run(SAID) == []


def test_enter_goes_where_a_dot_leads(opened: Browser) -> None:
    opened.run("document.querySelectorAll('svg.chart')[2].focus()")
    opened.press("ArrowRight")
    assert opened.run(SAID) == ["sub-1: 1200 mL"]
    opened.press("Enter")
    assert opened.wait("location.hash") == "#there"


def test_what_is_told_is_announced_and_stays_within_its_chart(opened: Browser) -> None:
    """By a live region, wherever the mark is, in a narrow window too."""
    for width in (1000, 390):
        opened.size(width)
        opened.run("document.querySelectorAll('svg.chart')[1].focus()")
        for _ in range(3):
            opened.press("ArrowRight")
            inside = opened.run(
                """(() => { const tip = document.querySelector('.chart-said:not([hidden])');
                const box = tip.getBoundingClientRect();
                return tip.tagName === 'OUTPUT' && box.left >= 0 && box.right <= innerWidth; })()"""
            )
            assert inside


def test_words_in_charts_can_be_read_on_a_phone(opened: Browser) -> None:
    """A chart that is wider than the window is scrolled, not made smaller without end."""
    opened.size(390)
    sizes = opened.run(
        """[...document.querySelectorAll('svg.chart')].map((chart) =>
        12 * chart.getBoundingClientRect().width / chart.viewBox.baseVal.width)"""
    )
    assert sizes
    assert min(sizes) >= 9
    assert opened.run("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(opened: Browser, scheme: str) -> None:
    opened.size(1000, 900, scheme)
    opened.run("document.querySelector('svg.chart').focus()")
    opened.press("ArrowRight")
    assert violations(opened) == []

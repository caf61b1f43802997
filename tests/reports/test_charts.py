# SPDX-License-Identifier: Apache-2.0
"""Charts put every value where it belongs, and survive values that are not there."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.reports.charts import (
    DotGroup,
    Point,
    Series,
    axis_of,
    bar_chart,
    dot_chart,
    line_chart,
    place_chart,
    point_chart,
    round_step,
    scatter_chart,
    share_chart,
)
from encephalon.reports.page import training_page
from encephalon.statistics.intervals import Interval

NAN = float("nan")
FINITE = st.floats(-1e6, 1e6)


def marks(chart: str) -> list[tuple[float, float]]:
    """The centres of the dots."""
    found = ElementTree.fromstring(chart).iter("circle")
    return [(float(mark.attrib["cx"]), float(mark.attrib["cy"])) for mark in found]


@given(st.lists(FINITE, min_size=1, max_size=30))
def test_an_axis_holds_every_value(values: list[float]) -> None:
    """Every value lies between the ends, and the ends are ticks."""
    axis = axis_of(values, 0.0, 100.0)
    assert all(-1e-6 <= axis.at(value) <= 100.000001 for value in values)
    assert axis.ticks[0] == axis.low
    assert axis.ticks[-1] == axis.high
    assert 2 <= len(axis.ticks) <= 9


@pytest.mark.parametrize(
    ("step", "rounded"), [(0.03, 0.05), (1.0, 1.0), (2.1, 2.5), (7.0, 10.0), (0.0011, 0.002)]
)
def test_steps_are_round(step: float, rounded: float) -> None:
    """Ticks are 1, 2, 2.5 or 5 times a power of ten apart."""
    assert round_step(step) == pytest.approx(rounded)


def test_no_name_is_cut() -> None:
    """A chart is as wide as its longest name needs."""
    name = "connectivity + constitutional + serology + psychology + disease"
    chart = ElementTree.fromstring(dot_chart([DotGroup(name, [0.5], None)], "R²"))
    (text,) = [one for one in chart.iter("text") if one.text == name]
    assert float(text.attrib["x"]) > 7 * len(name)
    assert float(chart.attrib["viewBox"].split()[2]) > float(text.attrib["x"]) + 200


def test_ticks_have_the_decimals_that_tell_them_apart() -> None:
    """0.90, 0.92 ... and 1300, 1400 ..., with a true minus sign."""
    axis = axis_of([0.9, 0.98], 0, 1)
    assert [axis.label(tick) for tick in axis.ticks[:2]] == ["0.90", "0.92"]
    assert axis_of([1300, 1700], 0, 1).label(1300.0) == "1300"
    assert axis_of([-2, 2], 0, 1).label(-2.0) == "−2"


def test_an_axis_without_values_is_drawn_all_the_same() -> None:
    """Nothing to show, one value, or only NaN: the axis still has two ends."""
    for values in ([], [NAN], [3.0], [0.0, 0.0]):
        axis = axis_of(values, 0, 1)
        assert axis.high > axis.low


def test_each_value_of_a_group_is_one_dot() -> None:
    """Dots stand in the row of their group; NaN has none."""
    groups = [DotGroup("T1w", [0.9, 0.95]), DotGroup("T2w", [0.8, NAN])]
    dots = marks(dot_chart(groups, "Dice"))
    assert len(dots) == 3
    assert dots[0][1] == dots[1][1] < dots[2][1]
    assert dots[2][0] < dots[0][0] < dots[1][0]


def test_an_interval_is_a_bar_only_where_it_is_known() -> None:
    """Without ends the median alone is marked."""
    known = Interval(0.9, 0.8, 0.95, 0.95, 10, "bootstrap")
    unknown = Interval(0.9, NAN, NAN, 0.95, 1, "bootstrap")
    assert 'class="span"' in dot_chart([DotGroup("a", [0.9], known)], "Dice")
    chart = dot_chart([DotGroup("a", [0.9], unknown)], "Dice")
    assert 'class="span"' not in chart
    assert 'class="middle"' in chart


def test_an_interval_without_dots_stands_beside_its_name() -> None:
    """The bar lies in the middle of its row; below the dots where there are any."""
    known = Interval(0.9, 0.8, 0.95, 0.95, 10, "bootstrap")
    heights = []
    for values in ([], [0.9]):
        chart = ElementTree.fromstring(dot_chart([DotGroup("a", values, known)], "Dice"))
        bar = next(line for line in chart.iter("line") if line.attrib.get("class") == "span")
        heights.append(float(bar.attrib["y1"]))
    assert heights[0] == 17.0  # half a row
    assert heights[1] > heights[0]


def test_points_lie_at_their_shares_with_their_intervals() -> None:
    """Half is in the middle of the plot; more samples make a larger dot; NaN has none."""
    half = Interval(0.5, 0.25, 0.75, 0.95, 10, "wilson")
    alone = Interval(1.0, NAN, NAN, 0.95, 1, "wilson")
    unknown = Interval(NAN, NAN, NAN, 0.95, 0, "wilson")
    drawn = point_chart(
        [Point(0.5, half, 10), Point(1.0, alone, 1), Point(0.2, unknown, 0)], "p", "y"
    )
    chart = ElementTree.fromstring(drawn)
    circles = list(chart.iter("circle"))
    assert [float(circle.attrib["cx"]) for circle in circles] == [190.0, 320.0]
    assert float(circles[0].attrib["cy"]) == 154.0
    assert float(circles[0].attrib["r"]) > float(circles[1].attrib["r"])
    (bar,) = [line for line in chart.iter("line") if line.attrib.get("class") == "span"]
    assert bar.attrib["x1"] == bar.attrib["x2"] == "190.0"
    assert float(bar.attrib["y1"]) - float(bar.attrib["y2"]) == 130.0


def test_a_value_lies_among_the_bars_of_others() -> None:
    """Between its ends; ends that are not finite are not drawn, and the value still is."""
    told = Interval(5.0, 2.0, 8.0, 0.9, 0, "conformal")
    chart = ElementTree.fromstring(place_chart([1, 3, 0, 2], (0.0, 8.0), told, "age"))
    bars = list(chart.iter("rect"))
    assert [float(bar.attrib["height"]) > 0 for bar in bars] == [True, True, False, True]
    lines = {line.attrib["class"]: line.attrib for line in chart.iter("line")}
    left, right = float(lines["span"]["x1"]), float(lines["span"]["x2"])
    assert float(lines["middle"]["x1"]) == pytest.approx((left + right) / 2, abs=0.1)
    alone = Interval(5.0, -float("inf"), float("inf"), 0.9, 0, "conformal")
    assert "span" not in place_chart([1], (0.0, 8.0), alone, "age")


def test_shares_are_bars_with_what_is_usual_over_them() -> None:
    """Both on one axis from 0 to 1."""
    chart = ElementTree.fromstring(share_chart(["F", "M"], [0.25, 0.75], [0.5, 0.75], "sex"))
    widths = [float(bar.attrib["width"]) for bar in chart.iter("rect")]
    assert widths[1] == pytest.approx(3 * widths[0], abs=0.2)
    marks = [line.attrib for line in chart.iter("line") if line.attrib["class"] == "middle"]
    assert float(marks[1]["x1"]) > float(marks[0]["x1"])


def test_a_number_that_is_not_known_has_no_bar_and_says_so() -> None:
    """The others are drawn as without it, on an axis of their own."""
    nan = float("nan")
    for chart, alone in (
        (bar_chart({"age": 0.5, "sex": nan}, "adds"), bar_chart({"age": 0.5}, "adds")),
        (
            share_chart(["F", "M"], [0.25, nan], [0.5, nan], "sex"),
            share_chart(["F"], [0.25], [0.5], "sex"),
        ),
    ):
        assert "nan" not in chart.lower()
        bars = [
            [part.attrib for part in ElementTree.fromstring(each).iter("rect")]
            for each in (chart, alone)
        ]
        assert len(bars[0]) == 1
        assert bars[0] == bars[1]
        assert chart.count("not known") == 1
        assert "not known" not in alone
    assert ">∞<" in bar_chart({"age": float("inf")}, "adds")
    unusual = ElementTree.fromstring(share_chart(["F"], [0.25], [nan], "sex"))
    assert [line.get("class") for line in unusual.iter("line")].count("middle") == 0


def test_equal_pairs_lie_on_the_line() -> None:
    """Where prediction is truth, the dots lie on the diagonal; above it they are larger."""
    dots = marks(scatter_chart([1.0, 2.0, 2.0], [1.0, 2.0, 3.0], "true", "predicted"))
    assert dots[1][1] > dots[2][1]
    chart = ElementTree.fromstring(scatter_chart([1.0, 3.0], [1.0, 3.0], "true", "predicted"))
    line = next(part for part in chart.iter("line") if part.attrib.get("class") == "guide")
    ends = {(line.attrib["x1"], line.attrib["y1"]), (line.attrib["x2"], line.attrib["y2"])}
    assert {(mark.attrib["cx"], mark.attrib["cy"]) for mark in chart.iter("circle")} == ends


def test_curves_skip_what_is_missing() -> None:
    """A NaN epoch leaves a point out; names are escaped."""
    chart = line_chart([Series("a < b", [1, 2, 3], [0.5, NAN, 0.25])], "epoch", "loss")
    points = ElementTree.fromstring(chart).find("polyline").attrib["points"].split()
    assert len(points) == 2
    assert "a &lt; b" in chart


def test_what_is_never_below_zero_is_drawn_on_an_axis_that_is_not() -> None:
    """A risk of 0 everywhere has the axis from 0 to 1."""
    for values in ([0.0, 0.0], [1e-9]):
        axis = axis_of(values, 0, 1)
        assert (axis.low, axis.high) == (0.0, 1.0)
    assert axis_of([0.25], 0, 1).low > 0


def test_one_epoch_is_a_dot_between_whole_ticks() -> None:
    """A line of one point cannot be seen, and there is no epoch 0.94."""
    axis = axis_of([1], 0, 1, whole=True)
    assert [axis.label(tick) for tick in axis.ticks] == ["0", "1", "2"]
    chart = ElementTree.fromstring(
        line_chart([Series("loss", [1], [0.5])], "epoch", "loss", whole=True)
    )
    line = chart.find("polyline")
    assert line is not None
    first, second = line.attrib["points"].split()
    assert (first, line.attrib["class"]) == (second, "dot series-0")
    assert [axis_of([1, n], 0, 1, whole=True).ticks[1] % 1 for n in (2, 3, 12, 40)] == [0.0] * 4


@pytest.mark.parametrize("values", [[0.000175, 0.0002], [1e-9, 3e-9], [123456.5, 123457.0]])
def test_labels_of_an_axis_are_not_cut_off(values: list[float]) -> None:
    """Long ones make room for themselves, and very small numbers are written with a power."""
    chart = ElementTree.fromstring(line_chart([Series("rate", [1, 2], values)], "epoch", "rate"))
    ends = [text for text in chart.iter("text") if text.attrib.get("text-anchor") == "end"]
    assert len(ends) >= 2
    for text in ends:
        assert float(text.attrib["x"]) >= 6.5 * len(text.text or "")


def test_a_training_page_shows_the_best_epoch() -> None:
    """Training and validation share a chart, and the best epoch is the one that was kept."""
    history = [
        {"epoch": float(n), "train_loss": 1.0 / n, "val_loss": 1.1 / n, "val_dice": dice}
        for n, dice in enumerate((0.8, 0.95, 0.9), start=1)
    ]
    rendered = training_page(history, "run", best=history[1], about={"Seed": 0}).render()
    assert "3 epochs, the best of them 2." in rendered
    assert len(re.findall(r"<svg", rendered)) == 2
    assert "0.95" in rendered


def test_a_run_that_has_not_begun_has_a_page() -> None:
    """No epoch, or none that was better than another, is no error."""
    assert "0 epochs." in training_page([], "run", best={}).render()
    assert "1 epoch." in training_page([{"train_loss": 1.0}], "run", best={}).render()


def test_a_legend_takes_as_many_lines_as_it_needs() -> None:
    """No name is cut off, and the plot begins below the last one."""
    names = [f"method number {n}" for n in range(9)]
    chart = ElementTree.fromstring(
        line_chart([Series(name, [1, 2], [0.0, 1.0]) for name in names], "epoch", "loss")
    )
    texts = [text for text in chart.iter("text") if text.text in names]
    assert [text.text for text in texts] == names
    heights = [float(text.attrib["y"]) for text in texts]
    assert len(set(heights)) > 1
    assert all(float(t.attrib["x"]) + 6.5 * len(t.text or "") <= 520 for t in texts)
    highest = min(
        float(tick.attrib["y1"]) for tick in chart.iter("line") if "axis" in str(tick.attrib)
    )
    assert highest > max(heights)


def test_curves_of_one_name_share_a_colour_and_one_entry_of_the_legend() -> None:
    """Three seeds of two methods have two colours; the seventh name is dashed."""
    curves = [Series(name, [1, 2], [0.0, 1.0]) for name in ("a", "a", "b", "a")]
    chart = line_chart(curves, "epoch", "loss")
    kinds = [line.attrib["class"] for line in ElementTree.fromstring(chart).iter("polyline")]
    assert kinds == [f"curve series-{n}" for n in (0, 0, 1, 0)]
    assert chart.count(">a</text>") == 1
    seven = line_chart([Series(str(n), [1, 2], [0, 1]) for n in range(7)], "epoch", "loss")
    assert seven.count('polyline class="curve series-0 dashed"') == 1


def test_what_is_drawn_is_named_once() -> None:
    """By its axis; a legend with that name alone would say it twice."""
    rate = [Series("learning rate", [1, 2], [0.1, 0.2])]
    assert line_chart(rate, "epoch", "learning rate").count(">learning rate</text>") == 1
    chart = line_chart([Series("training", [1, 2], [0.1, 0.2])], "epoch", "loss")
    assert chart.count(">training</text>") == chart.count(">loss</text>") == 1
    page = training_page([{"learning_rate": 0.1}], "run").render()
    assert "learning_rate" not in page

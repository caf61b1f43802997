# SPDX-License-Identifier: Apache-2.0
"""A plot of agreement puts every pair and every line where its value belongs, and says it."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from encephalon.reports.agreement import agreement_chart, agreement_words
from encephalon.statistics.agreement import agreement_of
from encephalon.statistics.intervals import Interval

PAIRS = agreement_of([1010, 990, 1030, 1000], [1000, 1000, 1010, 1005])
NAMES = ["a", "b", "c", "d"]


def drawn(agreement: object = PAIRS, names: list[str] = NAMES) -> ElementTree.Element:
    chart = agreement_chart(agreement, names, "mean, mL", "difference, mL")  # type: ignore[arg-type]
    return ElementTree.fromstring(chart)


def test_dots_lie_at_mean_and_difference() -> None:
    """The ends of both axes are known: 995 to 1020 mL across, and -40 to 40 mL up."""
    chart = drawn()
    dots = {circle[0].text: circle.attrib for circle in chart.iter("circle")}
    words = "b: mean 995.0, difference −10.0"
    assert set(dots) >= {words, "c: mean 1020.0, difference 20.0"}
    assert float(dots[words]["cx"]) == 60.0
    rise = {
        float(each["cy"]): float(name.split()[-1].replace("−", "-")) for name, each in dots.items()
    }
    (low, at_low), (high, at_high) = min(rise.items()), max(rise.items())
    pixels = (high - low) / (at_low - at_high)  # pixels of an mL
    assert all(
        y == pytest.approx(low + pixels * (at_low - value), abs=0.2) for y, value in rise.items()
    )


def test_lines_are_drawn_and_told_at_bias_and_limits() -> None:
    chart = drawn()
    told = [line[0].text for line in chart.iter("line") if len(line)]
    assert told == ["bias 3.8", "+1.96 SD 30.7", "−1.96 SD −23.2"]
    texts = [text.text for text in chart.iter("text")]
    assert texts[-3:] == told


def test_words_of_lines_that_lie_close_do_not_lie_over_each_other() -> None:
    close = agreement_of([1.0, 2.0, 100.0], [1.001, 2.001, 0.0])
    tight = agreement_of([5.0, 6.0], [5.0, 6.0])
    for agreement in (close, tight):
        chart = drawn(agreement, ["x"] * len(agreement.means))
        lines = [text for text in chart.iter("text") if re.match("bias|.1.96", text.text or "")]
        heights = sorted(float(text.attrib["y"]) for text in lines)
        assert all(b - a > 12 for a, b in itertools.pairwise(heights))


def test_the_words_have_bias_limits_and_interval() -> None:
    interval = Interval(3.75, -5.0, 12.0, 0.95, 4, "bootstrap")
    assert agreement_words(PAIRS, "mL", interval) == (
        "Bland–Altman plot, n = 4: bias 3.8 mL (95 % interval −5.00 to 12.0), 95 % limits of "
        "agreement −23.2 to 30.7 mL."
    )
    alone = agreement_of([2.0], [1.0])
    assert agreement_words(alone, "mL").endswith("bias 1.0 mL; limits of agreement need two pairs.")
    assert "no pairs" in agreement_words(agreement_of([], []), "mL")
    drawn(alone, ["a"])
    drawn(agreement_of([], []), [])

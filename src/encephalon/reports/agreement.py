# SPDX-License-Identifier: Apache-2.0
"""Plots of agreement: the difference of each pair over its mean (Bland and Altman 1986)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import isfinite

from encephalon.reports.charts import axis_of, mark, plot_frame, svg_chart
from encephalon.reports.format import Html, format_decimals, format_interval, join, tag
from encephalon.statistics.agreement import Agreement
from encephalon.statistics.intervals import Interval

__all__ = ["agreement_chart", "agreement_words"]

# Pixels: left and right end, top and bottom of the plot; below it; room for the words of a line.
_LEFT, _RIGHT, _TOP, _BOTTOM, _BELOW = 60.0, 400.0, 24.0, 284.0, 40.0
_BESIDE, _WIDTH = 6.0, 520.0
# Between the words of two lines, pixels.
_APART = 13.0


def agreement_chart(
    agreement: Agreement, names: Sequence[str], x_title: str, y_title: str, decimals: int = 1
) -> Html:
    """Show each pair as a dot, and as lines no difference, the bias and the limits of agreement.

    names     of the pairs, in their order
    decimals  of the values that are told
    """
    lines = {"bias": agreement.bias, "+1.96 SD": agreement.high, "−1.96 SD": agreement.low}
    lines = {name: value for name, value in lines.items() if isfinite(value)}
    across = axis_of(agreement.means, _LEFT, _RIGHT)
    up = axis_of([0.0, *agreement.differences, *lines.values()], _BOTTOM, _TOP)
    drawn = [plot_frame(across, up, x_title), tag("text", y_title, x=0, y=12)]
    ends = {"x1": _LEFT, "x2": _RIGHT}
    zero = f"{up.at(0.0):.1f}"
    drawn.append(tag("line", class_="axis zero", y1=zero, y2=zero, **ends))
    heights = _spread([up.at(value) for value in lines.values()])
    for (name, level), height in zip(lines.items(), heights, strict=True):
        told, at = f"{name} {format_decimals(level, decimals)}", f"{up.at(level):.1f}"
        kind = "curve series-0" if name == "bias" else "guide"
        line = tag("line", tag("title", told), class_=kind, y1=at, y2=at, **ends)
        drawn += [line, tag("text", told, x=_RIGHT + _BESIDE, y=f"{height + 4:.1f}")]
    for each, x, y in zip(names, agreement.means, agreement.differences, strict=True):
        told = f"{each}: mean {format_decimals(x, decimals)}, difference "
        drawn.append(mark(across.at(x), up.at(y), f"{told}{format_decimals(y, decimals)}"))
    return svg_chart(join(*drawn), _BOTTOM + _BELOW, y_title, _WIDTH)


def agreement_words(
    agreement: Agreement, unit: str, interval: Interval | None = None, decimals: int = 1
) -> str:
    """Bias, with its `interval` if there is one, and limits of agreement, as a sentence."""
    count = len(agreement.differences)
    if not isfinite(agreement.bias):
        return "There are no pairs to compare."
    words = f"Bland–Altman plot, n = {count}: bias {format_decimals(agreement.bias, decimals)}"
    span = None if interval is None else format_interval(interval)
    words += f" {unit}" + (f" (95 % interval {span})" if span else "")
    if not isfinite(agreement.sd):
        return f"{words}; limits of agreement need two pairs."
    low, high = (format_decimals(end, decimals) for end in (agreement.low, agreement.high))
    return f"{words}, 95 % limits of agreement {low} to {high} {unit}."


def _spread(heights: Sequence[float]) -> list[float]:
    """The same heights with room for a line of words between any two, in their order."""
    order = sorted(range(len(heights)), key=lambda place: heights[place])
    found = [*heights]
    for before, after in itertools.pairwise(order):
        found[after] = max(found[after], found[before] + _APART)
    return found

# SPDX-License-Identifier: Apache-2.0
"""Strips of dots, one a sample, that say what they are and lead to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from encephalon.reports.charts import Axis, axis_of, plot_below, svg_chart
from encephalon.reports.format import Html, join, tag

__all__ = ["StripPoint", "strip_chart"]

# Pixels: the whole width, left of the strips, below them; radius of a dot, and half a strip.
_WIDTH, _LEFT, _BOTTOM = 760.0, 74.0, 40.0
_RADIUS, _HALF = 3.0, 30.0
_LETTER = 7.0  # about
# Strips that have the colour of a quality.
_QUALITIES = frozenset({"ok", "check", "fail"})


@dataclass(frozen=True)
class StripPoint:
    """One dot: its value, what is said of it, and where it leads."""

    value: float
    said: str
    address: str | None = None


def strip_chart(strips: Mapping[str, Sequence[StripPoint]], title: str) -> Html:
    """Show each point of each strip as a dot, those of like value above and below each other.

    Dots are links for a mouse; with the keyboard the same are reached in a table.
    """
    values = [each.value for points in strips.values() for each in points]
    left = max(_LEFT, 24.0 + _LETTER * max(map(len, strips), default=0))
    axis = axis_of(values, left, _WIDTH - 20.0)
    drawn = list[Html]()
    top = 0.0
    for name, points in strips.items():
        half, dots = _swarm(points, axis)
        middle = top + half
        drawn.append(tag("text", name, x=left - 14, y=f"{middle + 4:.1f}", text_anchor="end"))
        drawn += [_dot(point, x, middle + y, name) for point, x, y in dots]
        top += 2 * half
    below = plot_below(axis, top, title, grid=True)
    # A group, and no image: what leads somewhere must be found within.
    kind = {"class_": "chart wide", "role": "group"}
    return svg_chart(join(below, *drawn), top + _BOTTOM, title, _WIDTH, **kind)


def _swarm(
    points: Sequence[StripPoint], axis: Axis
) -> tuple[float, list[tuple[StripPoint, float, float]]]:
    """Half the height of a strip, and where its dots are, none over another while there is room."""
    columns = dict[int, int]()
    placed = []
    for each in sorted(points, key=lambda one: one.value):
        if not isfinite(each.value):
            continue
        x = axis.at(each.value)
        column = round(x / (2 * _RADIUS))
        count = columns[column] = columns.get(column, -1) + 1
        placed.append((each, x, (count + 1) // 2 * (-1) ** count))
    most = max(columns.values(), default=0) // 2 + 1
    step = min(2 * _RADIUS, _HALF * 1.6 / most)
    half = max(16.0, step * most + 8.0)
    return half, [(each, x, place * step) for each, x, place in placed]


def _dot(point: StripPoint, x: float, y: float, kind: str) -> Html:
    at = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": _RADIUS}
    dot = tag(
        "circle",
        tag("title", point.said),
        class_=f"mark strip-{kind}" if kind in _QUALITIES else "mark",
        **at,
    )
    if point.address is None:
        return dot
    return tag("a", dot, href=point.address, tabindex="-1", aria_label=point.said)

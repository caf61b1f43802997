# SPDX-License-Identifier: Apache-2.0
"""Clouds of points, such as embeddings: each point says what it is when pointed at.

What colours the points is the reader's choice, among all that is known of them: classes have
colours of their own, numbers a scale that grows in lightness, so that it can be read without colour
vision and on paper. It needs no script: the browser's style sheet chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from encephalon.reports.blocks import choice, colour_key, figure, grid
from encephalon.reports.charts import COLOURS, axis_of, plot_frame, svg_chart
from encephalon.reports.format import Html, format_number, join, tag

__all__ = ["Cloud", "cloud_charts"]

# Pixels: left and right end, top and bottom of the plot.
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 504.0, 34.0, 374.0
_BELOW = 40.0


@dataclass(frozen=True)
class Cloud:
    """Points of a plane, what is known of each by name, what the axes are, and a caption."""

    x: Sequence[float]
    y: Sequence[float]
    rows: Sequence[Mapping[str, Any]]
    x_title: str
    y_title: str
    caption: str


def cloud_charts(clouds: Sequence[Cloud], columns: Mapping[str, str], name: str) -> Html:
    """Show clouds side by side with one choice of what colours their points.

    clouds   whose rows have an "id"
    columns  what may colour them and is said of each, key to heading; the first does at first.
             Columns of nothing are left out, those of numbers alone are a scale over all clouds
    name     of this choice, as no other on the page has it: letters, digits and hyphens
    """
    rows = [row for cloud in clouds for row in cloud.rows]
    known = {key: [row[key] for row in rows if _is_known(row.get(key))] for key in columns}
    scales = {key: _Scale.of(values) for key, values in known.items() if values}
    rules, choices, keys = [], [], []
    for place, (key, scale) in enumerate(scales.items()):
        chosen = f"#{name}:has(#{name}-{place}:checked)"
        rules.append(f"{chosen} circle {{ fill: {scale.fill(place)}; }}")
        rules.append(f"{chosen} .key-{place} {{ display: block; }}")
        choices.append(columns[key])
        keys.append(tag("div", scale.key(), class_=f"key-{place}"))
    drawn = [figure(_drawn(cloud, columns, scales), cloud.caption) for cloud in clouds]
    style = tag("style", Html("\n".join(rules)))
    return tag(
        "div",
        style,
        choice("Colour by", choices, name),
        *keys,
        grid(*drawn),
        class_="clouds",
        id=name,
    )


@dataclass(frozen=True)
class _Scale:
    """How the values of one column become colours: classes in order, or numbers between ends."""

    classes: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def of(cls, values: Sequence[Any]) -> _Scale:
        if all(isinstance(value, int | float) for value in values):
            return cls((), float(min(values)), float(max(values)))
        return cls(tuple(sorted({str(value) for value in values})))

    def fill(self, place: int) -> str:
        """The colour of a point, of what it has as the variable of this column."""
        if self.classes:
            return f"var(--c{place})"
        return f"color-mix(in oklab, var(--high) var(--c{place}), var(--low))"

    def variable(self, value: Any) -> str:
        """What a point has as that variable."""
        if self.classes:
            return _colour(self.classes.index(str(value)))
        return f"{100 * (value - self.low) / ((self.high - self.low) or 1.0):.0f}%"

    def key(self) -> Html:
        """What the colours mean."""
        if self.classes:
            return colour_key([(each, _colour(n)) for n, each in enumerate(self.classes)])
        low, high = (format_number(end, 3) for end in (self.low, self.high))
        return tag("div", low, tag("span", class_="scale"), high, class_="key")


def _is_known(value: Any) -> bool:
    return value not in (None, "") and not (isinstance(value, float) and not isfinite(value))


def _colour(number: int) -> str:
    """The colour of a class; from the seventh on they are the same, paler."""
    pure = f"var(--series-{number % COLOURS})"
    return f"color-mix(in oklab, {pure} 55%, var(--sheet))" if number >= COLOURS else pure


def _drawn(cloud: Cloud, columns: Mapping[str, str], scales: Mapping[str, _Scale]) -> Html:
    across, up = axis_of(cloud.x, _LEFT, _RIGHT), axis_of(cloud.y, _BOTTOM, _TOP)
    drawn = [plot_frame(across, up, cloud.x_title), tag("text", cloud.y_title, x=0, y=16)]
    for x, y, row in zip(cloud.x, cloud.y, cloud.rows, strict=True):
        if not (isfinite(x) and isfinite(y)):
            continue
        said, style = [str(row["id"])], []
        for place, (key, scale) in enumerate(scales.items()):
            value: Any = row.get(key)
            if _is_known(value):
                words = value if scale.classes else format_number(float(value), 3)
                said.append(f"{columns[key]}: {words}")
                style.append(f"--c{place}:{scale.variable(value)}")
        at = {"cx": f"{across.at(x):.1f}", "cy": f"{up.at(y):.1f}", "r": 3}
        drawn.append(tag("circle", tag("title", "\n".join(said)), **at, style=";".join(style)))
    return svg_chart(join(*drawn), _BOTTOM + _BELOW, cloud.caption)

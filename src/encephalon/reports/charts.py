# SPDX-License-Identifier: Apache-2.0
"""Small charts as SVG: dots, bars, curves, and predicted against true values, with their axes.

Colours come from the page's style, so charts follow its dark and printed forms. Every mark has its
value as its title, which a page tells whoever points at it or comes to it with the arrow keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, isnan, log10

from encephalon.reports.format import (
    Html,
    format_estimate,
    format_number,
    format_share,
    join,
    tag,
)
from encephalon.statistics.intervals import Interval

__all__ = [
    "COLOURS",
    "Axis",
    "DotGroup",
    "Point",
    "Series",
    "axis_of",
    "bar_chart",
    "dot_chart",
    "line_chart",
    "mark",
    "place_chart",
    "plot_below",
    "plot_frame",
    "point_chart",
    "round_step",
    "scatter_chart",
    "share_chart",
    "svg_chart",
]

# Pixels: of a chart, a row of dots, a plot, what stands below it, and, about, a letter.
_WIDTH, _ROW, _PLOT_HEIGHT, _BOTTOM, _LETTER = 520.0, 34.0, 260.0, 40.0, 7.0
_BAR = 26.0  # a row of bars
_LEAST = 240.0  # beside names that are long
COLOURS = 6
"""Colours that curves and classes have in turn: those of the style of a page."""
# Decimals from which on a label is written with a power of ten.
_MOST_PLACES = 6


@dataclass(frozen=True)
class DotGroup:
    """One row of a dot chart: its name, its values and the interval to draw over them.

    `names` say what each value is of; by default it is the row's.
    """

    label: str
    values: Sequence[float]
    interval: Interval | None = None
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Point:
    """What is expected, what was observed with its interval, and of how many samples."""

    x: float
    y: Interval
    n: int


@dataclass(frozen=True)
class Series:
    """One curve: a name and its points; points that are not finite break nothing."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


def dot_chart(groups: Sequence[DotGroup], title: str) -> Html:
    """Show every value of every group as a dot, with the interval's value and ends as bars."""
    left, width = _beside([group.label for group in groups])
    values = [value for group in groups for value in group.values]
    values += [end for group in groups for end in _ends(group.interval)]
    axis = axis_of(values, left, width - 28.0)
    bottom = _ROW * len(groups)
    drawn = [plot_below(axis, bottom, title, grid=True)]
    for place, group in enumerate(groups):
        y = _ROW * (place + 0.5)
        name = {"x": _px(left - 12.0), "y": _px(y + 4.0), "text_anchor": "end"}
        drawn.append(tag("text", group.label, **name))
        names = group.names or [group.label] * len(group.values)
        drawn += [
            mark(axis.at(value), y, f"{each}: {format_number(value)}")
            for value, each in zip(group.values, names, strict=True)
            if isfinite(value)
        ]
        level = y + 9 if any(map(isfinite, group.values)) else y  # below the dots, if there are any
        drawn += _span(axis, group.interval, level, group.label)
    return svg_chart(join(*drawn), bottom + _BOTTOM, title, width)


def _span(axis: Axis, interval: Interval | None, y: float, name: str) -> list[Html]:
    """A value as a line across the axis, and its interval as one along it; nothing for none."""
    if interval is None or not (ends := [_px(axis.at(end)) for end in _ends(interval)]):
        return []
    lines = [tag("title", f"{name}: {format_estimate(interval)}")]
    if len(ends) == 3:
        along = {"x1": ends[1], "x2": ends[2], "y1": _px(y), "y2": _px(y)}
        lines.append(tag("line", class_="span", **along))
    across = {"x1": ends[0], "x2": ends[0], "y1": _px(y - 5), "y2": _px(y + 5)}
    return [tag("g", *lines, tag("line", class_="middle", **across))]


def bar_chart(values: Mapping[str, float], title: str) -> Html:
    """Show each value as a bar from 0, to the right above it and to the left below it.

    A value that is not known, NaN, has no bar: it says so where the bar would begin.
    """
    left, width = _beside(list(values))
    axis = axis_of([0.0, *values.values()], left, width - 28.0)
    bottom = _BAR * len(values)
    drawn = [plot_below(axis, bottom, title, grid=True)]
    for place, (label, value) in enumerate(values.items()):
        y = _BAR * place
        name = {"x": _px(left - 12.0), "y": _px(y + _BAR / 2 + 4.0), "text_anchor": "end"}
        drawn.append(tag("text", label, **name))
        if not isfinite(value):
            drawn.append(_without_bar(value, axis.at(0.0), y + _BAR / 2))
            continue
        ends = sorted((axis.at(0.0), axis.at(value)))
        size = {"x": _px(ends[0]), "width": _px(ends[1] - ends[0]), "height": _px(_BAR - 8.0)}
        kind = "rise" if value >= 0 else "fall"
        said = tag("title", f"{label}: {format_number(value)}")
        drawn.append(tag("rect", said, class_=kind, y=_px(y + 4.0), **size))
    return svg_chart(join(*drawn), bottom + _BOTTOM, title, width)


def line_chart(
    series: Sequence[Series], x_title: str, y_title: str, *, whole: bool = False
) -> Html:
    """Show curves, such as losses over epochs, each named beside its colour above the plot.

    Curves of one name, such as those of several seeds, share its colour; a single one that is named
    as the axis is has no other name. A curve of one point is a dot; `whole` gives the axis across
    whole ticks.
    """
    labels = list(dict.fromkeys(each.label for each in series))
    names, top = ([], 30.0) if labels == [y_title] else _legend(labels)
    up = axis_of([value for each in series for value in each.y], top + _PLOT_HEIGHT - 50.0, top)
    left = max(52.0, 18.0 + _LETTER * max(len(up.label(tick)) for tick in up.ticks))
    places = [value for each in series for value in each.x]
    across = axis_of(places, left, _WIDTH - 16.0, whole=whole)
    curves = []
    for each in series:
        known = [(x, y) for x, y in zip(each.x, each.y, strict=True) if isfinite(x) and isfinite(y)]
        # Two equal points are drawn, one is not.
        kind, known = ("dot", known * 2) if len(known) == 1 else ("curve", known)
        colour = f"{kind} {_colour(labels.index(each.label))}"
        at = " ".join(f"{_px(across.at(x))},{_px(up.at(y))}" for x, y in known)
        # What the points are is no title of each, which would make a long curve a large page.
        told = " ".join(f"{format_number(x)},{format_number(y)}" for x, y in known)
        title = tag("title", each.label)
        curves.append(tag("polyline", title, class_=colour, points=at, data_values=told))
    name = tag("text", y_title, x=0, y=12)
    drawn = join(name, plot_frame(across, up, x_title), *names, *curves)
    return svg_chart(drawn, up.start + _BOTTOM, y_title, data_across=x_title)


def _legend(labels: Sequence[str]) -> tuple[list[Html], float]:
    """Names beside their colours in as many lines as they take, and where the plot begins."""
    drawn, x, y = [], 52.0, 32.0
    for place, label in enumerate(labels):
        width = 42.0 + _LETTER * len(label)
        if x + width > _WIDTH and x > 52.0:
            x, y = 52.0, y + 18.0
        ends = {"x1": _px(x), "x2": _px(x + 16.0), "y1": _px(y - 4.0), "y2": _px(y - 4.0)}
        drawn.append(tag("line", class_=f"curve {_colour(place)}", **ends))
        drawn.append(tag("text", label, x=_px(x + 22.0), y=_px(y)))
        x += width
    return drawn, y + 18.0


def _colour(place: int) -> str:
    """The classes of a curve: from the seventh on, the same colours are dashed."""
    return f"series-{place % COLOURS}" + (" dashed" if place // COLOURS % 2 else "")


def scatter_chart(x: Sequence[float], y: Sequence[float], x_title: str, y_title: str) -> Html:
    """Show pairs as dots with the line of equality, both axes having one scale."""
    across, up, plot = _square([*x, *y], x_title, y_title)
    marks = [
        mark(across.at(a), up.at(b), f"{x_title} {format_number(a)}, {y_title} {format_number(b)}")
        for a, b in zip(x, y, strict=True)
        if isfinite(a) and isfinite(b)
    ]
    return svg_chart(join(plot, *marks), up.start + _BOTTOM, y_title)


def point_chart(points: Sequence[Point], x_title: str, y_title: str) -> Html:
    """Show shares from 0 to 1 with intervals and the line of equality, such as a calibration.

    The area of a dot grows with the number of its samples.
    """
    across, up, plot = _square([0, 1], x_title, y_title)
    most = max((point.n for point in points), default=1)
    marks = []
    for point in points:
        if not isfinite(point.y.value):
            continue
        x, ends = across.at(point.x), [_px(up.at(end)) for end in _ends(point.y)]
        if len(ends) == 3:
            marks.append(tag("line", class_="span", x1=_px(x), x2=_px(x), y1=ends[1], y2=ends[2]))
        said = f"{x_title} {format_number(point.x, 3)}, {y_title} {format_estimate(point.y)}"
        radius = 2.5 + 4.5 * (point.n / most) ** 0.5
        marks.append(mark(x, up.at(point.y.value), f"{said}, n = {point.n}", radius))
    return svg_chart(join(plot, *marks), up.start + _BOTTOM, y_title)


def place_chart(
    counts: Sequence[int], ends: tuple[float, float], told: Interval, title: str
) -> Html:
    """Show where a value and its interval lie among others, `counts` of these evenly over `ends`.

    An interval without finite ends is left out.
    """
    axis, high = axis_of([*ends, *_ends(told)], 20.0, _WIDTH - 20.0), _PLOT_HEIGHT / 3
    width, most, drawn = (ends[1] - ends[0]) / max(1, len(counts)), max([*counts, 1]), list[Html]()
    for place, count in enumerate(counts):
        sides = [ends[0] + width * (place + side) for side in (0, 1)]
        x, end = map(axis.at, sides)
        said = f"{format_number(sides[0], 3)} to {format_number(sides[1], 3)}: {count}"
        size = {"width": _px(max(1.0, end - x - 1)), "height": _px(high * count / most)}
        size |= {"x": _px(x), "y": _px(high * (1 - count / most))}
        drawn.append(tag("rect", tag("title", said), class_="bar", **size))
    value, *span = (_px(axis.at(each)) for each in _ends(told))
    lines = [tag("title", f"{title}: {format_estimate(told)}")]
    if span:
        across = {"x1": span[0], "x2": span[1], "y1": _px(high + 12), "y2": _px(high + 12)}
        lines.append(tag("line", class_="span", **across))
    lines.append(tag("line", class_="middle", x1=value, x2=value, y1=0, y2=_px(high + 18)))
    drawn.append(tag("g", *lines))
    below = plot_below(axis, high + 20, title)
    return svg_chart(join(*drawn, below), high + 20 + _BOTTOM, title)


def share_chart(
    labels: Sequence[str], shares: Sequence[float], usual: Sequence[float], title: str
) -> Html:
    """Show a share of each label as a bar, from 0 to 1, and what is `usual` as a mark over it.

    A share that is not known, NaN, has no bar and says so; a `usual` one has no mark.
    """
    left, width = _beside(labels)
    axis, bottom = axis_of([0, 1], left, width - 28.0), _ROW * len(labels)
    drawn = [plot_below(axis, bottom, title, grid=True)]
    for place, (label, share, other) in enumerate(zip(labels, shares, usual, strict=True)):
        y = _ROW * (place + 0.5)
        name = {"x": _px(left - 12.0), "y": _px(y + 4.0), "text_anchor": "end"}
        drawn.append(tag("text", label, **name))
        if isfinite(share):
            size = {"width": _px(axis.at(share) - left), "height": _px(_ROW / 2), "x": _px(left)}
            said = tag("title", f"{label}: {format_share(share)}, usual {format_share(other)}")
            drawn.append(tag("rect", said, class_="bar told", y=_px(y - _ROW / 4), **size))
        else:
            drawn.append(_without_bar(share, left, y))
        if isfinite(other):
            x = _px(axis.at(other))
            drawn.append(tag("line", class_="middle", x1=x, x2=x, y1=_px(y - 12), y2=_px(y + 12)))
    return svg_chart(join(*drawn), bottom + _BOTTOM, title, width)


def _without_bar(value: float, x: float, y: float) -> Html:
    """What stands in the row of a value that no bar can show."""
    words = "not known" if isnan(value) else format_number(value)
    return tag("text", words, x=_px(x + 6.0), y=_px(y + 4.0))


def _square(values: Sequence[float], x_title: str, y_title: str) -> tuple[Axis, Axis, Html]:
    """Two axes of one scale, and what they look like with the line of equality between them."""
    across = axis_of(values, 60.0, 60.0 + _PLOT_HEIGHT)
    up = axis_of(values, _PLOT_HEIGHT + 24.0, 24.0)
    ends = {"x1": _px(across.start), "y1": _px(up.start), "x2": _px(across.end), "y2": _px(up.end)}
    name, line = tag("text", y_title, x=0, y=12), tag("line", class_="guide", **ends)
    return across, up, join(plot_frame(across, up, x_title), name, line)


def plot_frame(across: Axis, up: Axis, x_title: str) -> Html:
    """The axes of a plot, each tick with its value, and what is across."""
    lines = []
    for value in up.ticks:
        y = up.at(value)
        ends = {"x1": _px(across.start), "x2": _px(across.end)}
        lines.append(tag("line", class_="axis", y1=_px(y), y2=_px(y), **ends))
        place = {"x": _px(across.start - 8), "y": _px(y + 4)}
        lines.append(tag("text", up.label(value), text_anchor="end", **place))
    return join(*lines, plot_below(across, up.start, x_title))


def plot_below(axis: Axis, bottom: float, title: str, *, grid: bool = False) -> Html:
    """What stands below the `bottom` of a plot; of a `grid` also a line at each tick."""
    drawn = []
    for value in axis.ticks:
        x = _px(axis.at(value))
        if grid:
            drawn.append(tag("line", class_="axis", x1=x, x2=x, y1=0, y2=_px(bottom + 4)))
        drawn.append(tag("text", axis.label(value), x=x, y=_px(bottom + 18), text_anchor="middle"))
    middle = _px((axis.start + axis.end) / 2)
    return join(*drawn, tag("text", title, x=middle, y=_px(bottom + 35), text_anchor="middle"))


def mark(x: float, y: float, said: str, radius: float = 3.5) -> Html:
    """A dot at a pixel, and what it says."""
    return tag("circle", tag("title", said), class_="mark", cx=_px(x), cy=_px(y), r=f"{radius:.1f}")


def _ends(interval: Interval | None) -> list[float]:
    if interval is None:
        return []
    if not isfinite(interval.low + interval.high):
        return [interval.value] if isfinite(interval.value) else []
    return [interval.value, interval.low, interval.high]


def _beside(labels: Sequence[str]) -> tuple[float, float]:
    """Where a plot begins whose rows have these names to its left, and how wide it all is.

    Names that are long make a chart wide, which a page then shows smaller: none is cut.
    """
    left = 20.0 + _LETTER * max(map(len, labels), default=0)
    return left, max(_WIDTH, left + _LEAST)


def svg_chart(content: Html, height: float, title: str, width: float = _WIDTH, **more: str) -> Html:
    """The drawing as an image of that size, pixels, which its title describes.

    `more` are further attributes of the element, or others than those of an image.
    """
    box = f"0 0 {width:g} {height:g}"
    attributes = {"class_": "chart", "viewBox": box, "role": "img", "aria_label": title}
    return tag("svg", content, **attributes | more)


def _px(value: float) -> str:
    return f"{value:.1f}"


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` drawn from pixel `start` to pixel `end`."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def label(self, tick: float) -> str:
        """A tick's value with the decimals that tell ticks apart, and no more."""
        step = self.ticks[1] - self.ticks[0]
        places = next((n for n in range(9) if abs(step * 10**n - round(step * 10**n)) < 1e-6), 9)
        written = f"{tick:.{places}f}" if places < _MOST_PLACES or not tick else f"{tick:g}"
        return written.replace("-", "−")

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def axis_of(values: Iterable[float], start: float, end: float, *, whole: bool = False) -> Axis:
    """Make an axis with about five round values that holds every finite value.

    Without any it runs from 0 to 1. With a single one it has some room around it, but none beyond
    0, which most figures cannot cross. `whole` values, such as epochs, have whole ticks.
    """
    finite = [float(value) for value in values if isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if high - low < 1e-9 * max(1.0, abs(low)):
        pad = 0.05 * abs(low)
        low, high = (low - pad, high + pad) if abs(low) > 1e-6 else (min(0.0, low), 1.0)
    step = round_step((high - low) / 5)
    step = max(1.0, float(ceil(step))) if whole else step
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    values_at = tuple(round(place * step, 12) for place in range(first, last + 1))
    return Axis(values_at[0], values_at[-1], start, end, values_at)


def round_step(step: float) -> float:
    """The next of 1, 2, 2.5 or 5 times a power of ten that is not below `step`."""
    power = 10.0 ** floor(log10(step))
    enough = step / power * (1 - 1e-9)
    return power * next(factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor >= enough)

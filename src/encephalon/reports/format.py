# SPDX-License-Identifier: Apache-2.0
"""How pages write things: elements as markup, numbers, intervals, p values and sentences.

Every text is escaped unless it is already markup.
"""

from __future__ import annotations

from dataclasses import replace
from html import escape
from math import floor, isfinite, isinf, isnan, log10
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encephalon.statistics.intervals import Interval

__all__ = [
    "TOGETHER",
    "Html",
    "capitalised",
    "format_decimals",
    "format_difference",
    "format_estimate",
    "format_interval",
    "format_number",
    "format_p_value",
    "format_sentence",
    "format_share",
    "interval_method",
    "join",
    "tag",
    "text",
]

TOGETHER = "\N{NO-BREAK SPACE}"
"""A space that no line ends with."""
_EMPTY = frozenset({"br", "hr", "img", "input", "meta"})


class Html(str):
    """Text that is markup already and must not be escaped again."""

    __slots__ = ()


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """Return one element; None children and None or False attributes are left out.

    Attribute names lose a trailing underscore (`class_`) and turn inner ones into hyphens.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        parts.append(label if value is True else f'{label}="{escape(str(value))}"')
    opening = " ".join(parts)
    if name in _EMPTY:
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{join(*children)}</{name}>")


def join(*children: Any) -> Html:
    """Join markup and text, escaping the text and leaving out None."""
    return Html("".join(text(child) for child in children if child is not None))


def text(value: Any) -> Html:
    """Return a value as markup: markup as it is, text escaped, numbers made readable."""
    if isinstance(value, Html):
        return value
    if isinstance(value, float):
        return Html(format_number(value))
    return Html(escape(str(value), quote=False))


def capitalised(name: str) -> str:
    """A name with a capital, its other letters as they are written: MMSE, ADAS-Cog."""
    return name[:1].upper() + name[1:]


def format_number(value: float, digits: int = 4) -> str:
    """Write a number with `digits` significant digits and a true minus sign; NaN is a dash."""
    if isnan(value):
        return "–"
    if isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    order = floor(log10(abs(value)))
    if order < -3 or order > 8:
        written = f"{value:.{digits - 1}e}"
    else:
        written = f"{value:.{min(digits, max(0, digits - 1 - order))}f}"
    return written.replace("-", "−")


def format_decimals(value: float, decimals: int) -> str:
    """Write a number with so many decimals and a true minus sign; NaN is a dash."""
    return f"{value:.{decimals}f}".replace("-", "−") if isfinite(value) else format_number(value)


def format_difference(value: float, decimals: int = 2) -> str:
    """A difference with its sign."""
    return f"{value:+.{decimals}f}".replace("-", "−")


def format_share(share: float) -> str:
    """A share as whole percent; NaN is a dash."""
    return f"{100 * share:.0f} %" if isfinite(share) else "–"


def format_p_value(p: float) -> str:
    """A p value; small ones by their bound alone, NaN as a dash."""
    return "< 0.001" if p < 0.001 else format_decimals(p, 3)


def format_interval(
    interval: Interval, digits: int = 3, *, signed: bool = False, named: bool = True
) -> str | None:
    """The ends of an interval, `named` if it is no bootstrap; None where there is none.

    `signed` writes them as differences.
    """
    if not isfinite(interval.low + interval.high):
        return None
    low, high = (
        format_difference(end) if signed else format_number(end, digits)
        for end in (interval.low, interval.high)
    )
    name = f", {interval_method(interval)}" if named and interval.method != "bootstrap" else ""
    return f"{low} to {high}{name}"


def interval_method(interval: Interval) -> str:
    """The name of an interval: bootstrap, Wilson, exact, or none."""
    return {"wilson": "Wilson"}.get(interval.method, interval.method)


def format_estimate(interval: Interval, *, percent: bool = False) -> str:
    """A value with the ends of its interval behind it, which stay together in a narrow cell."""
    if percent:
        shares = tuple(100 * each for each in (interval.value, interval.low, interval.high))
        interval = replace(interval, value=shares[0], low=shares[1], high=shares[2])
    unit, ends = " %" if percent else "", format_interval(interval)
    value = f"{format_number(interval.value, 3)}{unit}"
    return f"{value} ({ends.replace(' ', TOGETHER)})" if ends else value


def format_sentence(words: str) -> str:
    """The words with a full stop, and with a capital unless they begin with the name of a file."""
    end = "" if words[-1:] in ".!?" else "."
    named = not words.partition(" ")[0].replace("-", "").isalpha()
    return words + end if named else words[0].upper() + words[1:] + end

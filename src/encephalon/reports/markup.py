# SPDX-License-Identifier: Apache-2.0
"""HTML and SVG elements as functions: every text is escaped unless it is already markup."""

from __future__ import annotations

from html import escape
from math import floor, isinf, isnan, log10
from typing import Any

__all__ = ["Html", "join", "number", "sentence", "tag", "text"]

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
        return Html(number(value))
    return Html(escape(str(value), quote=False))


def sentence(words: str) -> str:
    """The words with a full stop, and with a capital unless they begin with the name of a file."""
    end = "" if words[-1:] in ".!?" else "."
    named = not words.partition(" ")[0].replace("-", "").isalpha()
    return words + end if named else words[0].upper() + words[1:] + end


def number(value: float, digits: int = 4) -> str:
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

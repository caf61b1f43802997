# SPDX-License-Identifier: Apache-2.0
"""HTML and SVG elements as functions: every text is escaped unless it is already markup."""

from __future__ import annotations

from html import escape
from typing import Any

from encephalon.reports.format import format_number

__all__ = ["Html", "join", "tag", "text"]

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

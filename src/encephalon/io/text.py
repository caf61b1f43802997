# SPDX-License-Identifier: Apache-2.0
"""Text, JSON and TOML of unknown origin: size, nesting and digits are bounded before they cost."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from encephalon.errors import UnreadableFileError
from encephalon.io.files import opened

__all__ = ["parse_json", "parse_toml", "read_json", "read_text"]

LARGEST_TEXT = 16 * 1024**2
"""Bytes of a text that is read whole: a description of a model or dataset has some kilobytes."""

# Deeper than any description that people or programs write, and far from Python's recursion limit.
_DEEPEST = 64
# tomllib takes time and memory that grow with the square of the parts of a dotted key.
_LONG_KEY = re.compile(rf"(?:[\w-]+[ \t]*\.[ \t]*){{{_DEEPEST}}}")
_QUOTED = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")
# More digits than a float keeps and any identifier needs; Python refuses to read above 4,300.
_MOST_DIGITS = 300


def read_text(path: str | Path, largest: int = LARGEST_TEXT, expected: str = "a text") -> str:
    """The text of a file as UTF-8, with or without a byte order mark.

    Raises the errors of `opened`, and UnreadableFileError for other bytes than UTF-8.
    """
    with opened(path, largest, expected) as stream:
        content = stream.read(largest + 1)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(
            f"{path}: expected {expected} in UTF-8, but byte {error.start:,} is none; save it "
            "again as UTF-8."
        ) from error


def read_json(path: str | Path, largest: int = LARGEST_TEXT) -> Any:
    """What the JSON file `path` holds; raises the errors of `read_text` and of `parse_json`."""
    return parse_json(read_text(path, largest, "JSON"), path)


def parse_json(text: str, source: object) -> Any:
    """What the JSON `text` says; `source` names it in an error.

    Raises UnreadableFileError for what is no JSON, nested more than 64 deep or with a number of
    more than 300 digits.
    """
    return _parsed(json.loads, text, source, "JSON")


def parse_toml(text: str, source: object) -> dict[str, Any]:
    """What the TOML `text` says; `source` names it in an error.

    Raises UnreadableFileError for what is no TOML, nested more than 64 deep (dotted keys count
    too) or with a number of more than 300 digits.
    """
    if _LONG_KEY.search(_QUOTED.sub("q", text)):
        raise UnreadableFileError(
            f"{source}: a key has more than {_DEEPEST} parts; correct the TOML."
        )
    content: dict[str, Any] = _parsed(tomllib.loads, text, source, "TOML")
    return content


def _parsed(parse: Callable[[str], Any], text: str, source: object, kind: str) -> Any:
    try:
        content = parse(text)
    except ValueError as error:  # of both modules, and of too many digits
        reason = " ".join(str(error).split())
        raise UnreadableFileError(f"{source}: not valid {kind}: {reason}.") from error
    except RecursionError:
        raise _too_deep(source, kind) from None
    _refuse_extremes(content, source, kind)
    return content


def _refuse_extremes(content: Any, source: object, kind: str) -> None:
    """Refuse what would break whoever walks through it, or makes a float of it, later."""
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise _too_deep(source, kind)
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, int) and item.bit_length() > _MOST_DIGITS * 3.33:
                raise UnreadableFileError(
                    f"{source}: a number has more than {_MOST_DIGITS} digits; correct the {kind}."
                )
        level = below


def _too_deep(source: object, kind: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"{source}: the {kind} is nested more than {_DEEPEST} deep; correct it."
    )

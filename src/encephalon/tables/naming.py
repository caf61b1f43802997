# SPDX-License-Identifier: Apache-2.0
"""How the name of a file becomes the id of a sample, and how a table writes the file's path."""

from __future__ import annotations

import os
import re
from pathlib import Path

from encephalon.errors import TableError
from encephalon.tables.expressions import search

ID_RULES = ("stem", "before-underscore")
"""The rules that have a name; any other is a regular expression with one group."""


def file_stem(path: str | os.PathLike[str]) -> str:
    """The name of a file without folder and image suffix: `a/b.c.nii.gz` is `b.c`."""
    from encephalon.io.image import image_stem, image_suffix
    from encephalon.io.micrograph import picture_stem

    path = Path(path)
    return image_stem(path) if image_suffix(path) else picture_stem(path)


def file_id(path: str | os.PathLike[str], rule: str = "stem") -> str:
    """The id that a file's name means by `rule`; its folders may be parted by / or \\.

    "stem" is the name without its suffix. "before-underscore" cuts the name at its first "_", then
    at its first "." (`S3V1_x.tif` and `S3V1.tif` are `S3V1`: 3BTRON spec, section 1). Anything else
    is a regular expression, looked for in the name, whose only group is the id. Raises TableError
    for a rule that is none, and for a name in which the expression finds nothing.
    """
    name = re.split(r"[\\/]", os.fspath(path))[-1]
    if rule == "stem":
        return file_stem(name)
    if rule == "before-underscore":
        return name.partition("_")[0].partition(".")[0]
    check_id_rule(rule)
    found = search(rule, name)
    if not found:
        raise TableError(
            f"The id rule {rule!r} finds no id in the file name {name!r}: mend the rule."
        )
    return found


def written_path(path: Path, base: Path | None) -> str:
    """The path as a table in the folder `base` writes it; absolute without one.

    Folders are resolved, and the file itself is not: a link keeps its name.
    """
    full = path.parent.resolve() / path.name
    return full.as_posix() if base is None else Path(os.path.relpath(full, base)).as_posix()


def letters(column: int) -> str:
    """What Excel calls the column of that number, from 0: A ... Z, AA ..."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def check_id_rule(rule: str) -> None:
    """Raise TableError unless `rule` is one of ID_RULES or an expression with one group."""
    if rule in ID_RULES:
        return
    try:
        groups = re.compile(rule).groups
    except (re.error, RecursionError, OverflowError):
        groups = 0
    if groups != 1:
        raise TableError(
            f"{rule!r} is no id rule: give {', '.join(ID_RULES)} or a regular expression with one "
            "group, such as '(S[^_]+)_'."
        )

# SPDX-License-Identifier: Apache-2.0
"""Paths as users write them: each question has an answer for every text, and none is an error."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["exists", "expanded", "is_file", "is_folder", "place"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with a ~ at its beginning replaced, or as it is where nobody has that name."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  Path.expanduser raises there


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether something is there, which it is not for a name too long or with a NUL byte."""
    return os.path.exists(path)  # noqa: PTH110  Path.exists raises there


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file is there."""
    return os.path.isfile(path)  # noqa: PTH113  as above


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is there."""
    return os.path.isdir(path)  # noqa: PTH112  as above


def place(path: Path) -> Path:
    """Where a file lies: its folders without links or .., its own name as it is.

    A link is a place of its own: git-annex keeps equal content once, and every file of it is a
    link (git-annex.branchable.com, "How it works").
    """
    try:
        return path.parent.resolve() / path.name
    except (OSError, RuntimeError, ValueError):  # a circle of links, a name that cannot be
        return path.absolute()

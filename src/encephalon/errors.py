# SPDX-License-Identifier: Apache-2.0
"""Every error that Encephalon raises on purpose.

EncephalonError                     exit code 1
├── InputError                      a file, folder or array that cannot be used
│   ├── MissingFileError            it is not there
│   ├── UnreadableFileError         it is there but cannot be decoded
│   ├── GeometryError               its affine or shape makes no sense
│   └── ContentError                its voxels make no sense
├── TableError                      a table, its rows or its splits
├── RecipeError                     a recipe, its keys or its values
├── ModelError                      weights, a model folder, a graph
├── OutputError                     a result that cannot be written
│   └── OutputExistsError           a result that would replace another
├── RunError                        a training run that cannot start or go on
├── MissingExtraError               an optional dependency that is not installed
└── UsageError                      wrong arguments, exit code 2

Each message is one sentence: which file or row, what was expected, what came, what to do.
Each class is also the builtin that a caller would think of first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class EncephalonError(Exception):
    """Anything that Encephalon reports in one sentence instead of a traceback."""

    exit_code: int = 1


class InputError(EncephalonError, ValueError):
    """An input that cannot be used."""


class MissingFileError(InputError, FileNotFoundError):
    """An input file or folder that does not exist."""


class UnreadableFileError(InputError, OSError):
    """An input that exists but cannot be decoded."""


class GeometryError(InputError):
    """An affine, a voxel spacing or a shape that makes no sense."""


class ContentError(InputError):
    """Voxel values that make no sense: constant, not finite, of the wrong kind."""


class TableError(EncephalonError, ValueError):
    """A table, its rows or its splits."""


class RecipeError(EncephalonError, ValueError):
    """A recipe, its keys or its values."""


class ModelError(EncephalonError, ValueError):
    """Weights, a graph or a model folder that cannot be used."""


class OutputError(EncephalonError, OSError):
    """A result that cannot be written."""


class OutputExistsError(OutputError, FileExistsError):
    """A result that would replace an existing file."""


class RunError(EncephalonError, RuntimeError):
    """A training run that cannot start or go on."""


class MissingExtraError(EncephalonError, ImportError):
    """An optional dependency that is not installed."""


class UsageError(EncephalonError, ValueError):
    """Wrong arguments."""

    exit_code = 2


def require_extra(module: str, extra: str, purpose: str) -> None:
    """Raise MissingExtraError unless `module` can be imported.

    The message names the purpose, the extra and the exact command that installs it.
    """
    from importlib.util import find_spec

    if find_spec(module.partition(".")[0]) is None:
        raise MissingExtraError(
            f"{purpose} needs the package {module!r}, which is not installed: "
            f"run  pip install 'encephalon[{extra}]'."
        )


def listed(items: Iterable[object], most: int = 5, between: str = ", ") -> str:
    """What a message says of many things: the first `most` of them, and how many more there are."""
    words = [str(item) for item in items]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return between.join(words[:most]) + more


def quoted(names: Iterable[str]) -> str:
    """The first ten names, quoted, and how many more there are."""
    return listed(map(repr, names), 10)


def either(words: Iterable[str]) -> str:
    """The words as a choice: "a, b or c"."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """What a message says after an unknown `word`: the nearest of `known`, or all of them.

    `otherwise` comes before the list, as "known models:" does in "known models: a, b."
    """
    from difflib import get_close_matches

    names = list(known)
    near = get_close_matches(word, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"{otherwise} {', '.join(names)}."

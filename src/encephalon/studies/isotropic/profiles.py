# SPDX-License-Identifier: Apache-2.0
"""The sensitivity across a slice that a user names: box, gaussian, or measured and in a file."""

from __future__ import annotations

from pathlib import Path

from encephalon.errors import GeometryError, InputError, MissingFileError
from encephalon.io.files import expanded
from encephalon.io.text import read_text
from encephalon.transforms.slices import SliceProfile

__all__ = ["PROFILES", "make_profile", "read_profile"]

PROFILES: dict[str, SliceProfile] = {
    "box": SliceProfile("box"),
    "gaussian": SliceProfile("gaussian"),
}

#: More rows than any measurement has; a volume that is given by mistake is longer.
_MOST_ROWS = 100_000


def make_profile(name: str, thickness: float) -> SliceProfile:
    """The profile of that name, or the measured one in the text file of that name.

    `thickness` of the slices, mm, is the unit of a measured profile. Raises MissingFileError for
    what is neither, and what `read_profile` raises.
    """
    if name in PROFILES:
        return PROFILES[name]
    if not expanded(name).is_file():
        known = ", ".join(PROFILES)
        raise MissingFileError(
            f"There is no slice profile {name!r}: give {known}, or a text file of two columns, "
            "offset in mm and sensitivity."
        )
    return read_profile(expanded(name), thickness)


def read_profile(path: Path, thickness: float) -> SliceProfile:
    """The measured profile in a text file, of slices `thickness` mm thick.

    A row holds an offset from the middle of the slice, mm, and the sensitivity there, in any unit,
    parted by blanks, a comma, a semicolon or a tab; offsets rise. Rows that begin with # and one
    row of headings are passed over. Raises UnreadableFileError for what is no text, InputError,
    naming the row, for what is no pair of numbers, and for a profile that measures nothing.
    """
    lines = read_text(path, expected="a slice profile").splitlines()
    pairs: list[tuple[float, float]] = []
    for number, line in enumerate(lines[:_MOST_ROWS], start=1):
        words = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        pair = _pair(words)
        if pair is not None:
            pairs.append(pair)
        elif words and (pairs or number > 1):
            raise InputError(
                f"{path}, row {number}: expected two numbers, offset in mm and sensitivity, but "
                f"got {line.strip()!r}; correct it."
            )
    offsets = tuple(offset / thickness for offset, _ in pairs)
    try:
        return SliceProfile("measured", offsets, tuple(value for _, value in pairs))
    except GeometryError as error:
        raise InputError(f"{path}: {error}") from error


def _pair(words: list[str]) -> tuple[float, float] | None:
    from math import isfinite

    try:
        offset, value = map(float, words)
    except ValueError:
        return None
    return (offset, value) if isfinite(offset) and isfinite(value) else None

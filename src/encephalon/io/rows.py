# SPDX-License-Identifier: Apache-2.0
"""Rows of numbers, by id where there are ids: NumPy files, CSV and TSV."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, UnreadableFileError, did_you_mean
from encephalon.io.files import need_file
from encephalon.io.text import read_lines

__all__ = ["read_rows"]


def read_rows(path: Path, part: str = "", id_column: str = "") -> tuple[NDArray[Any], list[str]]:
    """The numbers of a file, such as (N, R, R) or (N, F), and the ids of its N rows if it has them.

    A .npy file is mapped, so that it need not fit into the memory; of .npz `part` is the name of
    the array where there are several; all else is CSV or TSV, with or without a header, whose
    column `id_column` holds the ids. Raises an InputError for a file that holds anything else.
    """
    array: Any
    ids: list[str] = []
    if path.suffix.lower() in {".npy", ".npz"}:
        array = _numpy(path, part)
    else:
        array, ids = _text(path, id_column)
    if array.dtype.kind not in "iuf" or array.ndim not in {1, 2, 3} or not array.size:
        raise ContentError(
            f"{path}: expected numbers, (N, R, R) or a row each, but it holds {array.dtype} of the "
            f"shape {array.shape}."
        )
    return array, ids


def _numpy(path: Path, part: str) -> Any:
    need_file(path)
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.ndarray):  # whatever the suffix says
            return found
        with found:
            names = list(found)
            part = names[0] if not part and len(names) == 1 else part
            if part in names:
                return found[part]
    except Exception as error:  # damage makes numpy and zipfile raise a dozen classes
        reason = " ".join(str(error).split()).rstrip(".")
        raise UnreadableFileError(
            f"{path}: the NumPy file could not be read ({reason}); write it again."
        ) from error
    meant = did_you_mean(part, names, "it has") if part else f"it has {', '.join(names)}."
    raise ContentError(f"{path} has no array {part!r}, named as in {path.name}:NAME; {meant}")


def _text(path: Path, id_column: str) -> tuple[NDArray[Any], list[str]]:
    """The numbers of CSV or TSV, with or without a header, and the cells of its ids."""
    lines = [line for line in read_lines(path) if any(line)]
    header = [cell.strip() for cell in lines[0]] if lines else []
    ids: list[str] = []
    if not all(_is_number(cell) for cell in header):
        lines = lines[1:]
        if id_column in header:
            at = header.index(id_column)
            ids = [line[at].strip() if at < len(line) else "" for line in lines]
            lines = [line[:at] + line[at + 1 :] for line in lines]
    for number, line in enumerate(lines):
        if len(line) != len(lines[0]) or not all(map(_is_number, line)):
            raise ContentError(
                f"{path}, row {number + 1} of its numbers: expected {len(lines[0])} numbers, as in "
                "the first, or NaN."
            )
    return np.array(
        [[float(cell) if _said(cell) else math.nan for cell in line] for line in lines]
    ), ids


def _said(cell: str) -> bool:
    return cell.strip().lower() not in {"", "na", "n/a"}


def _is_number(cell: str) -> bool:
    try:
        return not _said(cell) or not math.isinf(float(cell))
    except ValueError:
        return False

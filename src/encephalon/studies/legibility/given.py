# SPDX-License-Identifier: Apache-2.0
"""What a new person has, before any network sees it: scans as they are prepared, and numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import InputError
from encephalon.inference.workers import Workers
from encephalon.io.files import expanded
from encephalon.studies.legibility.data import load_image
from encephalon.studies.legibility.settings import Block, Cohort
from encephalon.tables.encoding import encode_known_row
from encephalon.tables.samples import Sample

__all__ = ["Scan", "Scans", "block_numbers", "place_of", "scans_of"]

#: A scan as networks see it (side, side, side), and the doubts on it.
Scan = tuple[NDArray[np.float32], Sequence[str]]
#: What was made of a person's scans, by their side and how they all are read: one is brought to the
#: template by another, so that each depends on which others there are.
Scans = dict[tuple[int, str], dict[str, Scan]]


def scans_of(
    cohort: Cohort, sample: Sample, names: Sequence[str], side: int, known: Scans
) -> dict[str, Scan]:
    """Each scan among the inputs `names` that there is, taken from `known`, or prepared into it."""
    sources = cohort.sources
    images = [n for n in names if n in sample.inputs and sources[n].kind == "image"]
    key = (side, repr({name: sources[name] for name in images}))
    if key not in known:
        files = {name: [place_of(sample, name)] for name in images}
        known[key] = _prepared(cohort, files, side)
    return known[key]


def block_numbers(block: Block, sample: Sample, mode: Any) -> NDArray[np.float64] | None:
    """The numbers (1, W) of a block; None where a person has none, or, if published, not all."""
    numbers = np.array([encode_known_row(sample.row, block.columns, sample.id)])
    known = np.isfinite(numbers)
    return numbers if (known.all() if mode == "published" else known.any()) else None


def place_of(sample: Sample, name: str) -> Path:
    """The file of an input; raises InputError for what is none, such as an array in memory."""
    place: Any = sample.inputs[name]
    if not isinstance(place, str | os.PathLike):
        raise InputError(
            f"{sample.id}: {name!r} must be the path of a file, and got {type(place).__name__}: "
            "save it first."
        )
    return expanded(place)


def _prepared(cohort: Cohort, files: Mapping[str, Sequence[Path]], side: int) -> dict[str, Scan]:
    if not files:
        return {}
    from encephalon.studies.legibility.preprocessing import prepare_scans

    found: dict[str, Scan] = {}
    with TemporaryDirectory() as folder:
        prepared = prepare_scans(cohort, files, Path(folder), side, workers=Workers())
        for name, (scan,) in prepared.items():
            if isinstance(scan, InputError):
                raise scan
            if scan is not None:
                found[name] = load_image(scan.path, side), scan.notes.get("reasons", ())
    return found

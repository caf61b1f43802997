# SPDX-License-Identifier: Apache-2.0
"""One thing to work on, and ids that no other has."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from encephalon.io.files import place

if TYPE_CHECKING:
    from encephalon.io.bids import BidsFile

from typing import TYPE_CHECKING, Any

from encephalon.errors import InputError

if TYPE_CHECKING:
    from encephalon.io.bids import BidsFile


@dataclass(frozen=True)
class Sample:
    """One thing to work on.

    id      names the sample and every output made from it
    inputs  role ("image" where there is only one) and file or DICOM folder
    row     the cells of its row, for a sample from a table
    bids    its entities, for a sample from a BIDS dataset
    fault   why it cannot be worked on, while the others of its table can; "" for no reason
    absent  why a role has no file although one was looked for: role and one sentence
    """

    id: str
    inputs: dict[str, Path]
    row: dict[str, Any] = field(default_factory=dict)
    bids: BidsFile | None = None
    fault: str = ""
    absent: dict[str, str] = field(default_factory=dict)

    def require_faultless(self) -> None:
        """Raise InputError with the fault, if there is one."""
        if self.fault:
            raise InputError(self.fault)

    def file(self, role: str) -> Path:
        """The file of that role; raises InputError for a fault, or where none is named."""
        self.require_faultless()
        if role not in self.inputs:
            message = f"{self.id}: its row names no file for {role!r}; fill it in or drop the row."
            if not self.row:
                message = f"{self.id}: there is no file for {role!r}; give it, or use a table."
            raise InputError(self.absent.get(role, message))
        return self.inputs[role]


def with_unique_ids(samples: list[Sample]) -> list[Sample]:
    """The same samples without repeated files, and with ids that no other sample has."""
    kept = _distinct(samples)
    # The ids of a table are checked already, and join its rows to the results.
    names = [sample.id if sample.row else _safe(sample.id) for sample in kept]
    depth, deepest = 1, max((len(_file(sample).parts) for sample in kept), default=0)
    while (clashes := _clashes(names, kept)) and depth < deepest:
        for index in clashes:
            names[index] = _long_name(kept[index], depth)
        depth += 1
    final = list(_numbered(names))
    return [replace(sample, id=name) for sample, name in zip(kept, final, strict=True)]


def _distinct(samples: list[Sample]) -> list[Sample]:
    seen: set[tuple[tuple[str, Path], ...]] = set()
    kept = []
    for sample in samples:
        key = tuple((role, place(path)) for role, path in sorted(sample.inputs.items()))
        if key not in seen or sample.row:
            kept.append(sample)
        seen.add(key)
    return kept


def _clashes(names: Sequence[str], samples: Sequence[Sample]) -> list[int]:
    """The samples of one name that lie in several folders, whose names can tell them apart."""
    # Some file systems take Scan and scan for the same name.
    folded = [name.casefold() for name in names]
    places = {(name, _file(one).parent) for name, one in zip(folded, samples, strict=True)}
    counts = Counter(name for name, _ in places)
    return [index for index, name in enumerate(folded) if counts[name] > 1]


def _file(sample: Sample) -> Path:
    return place(next(iter(sample.inputs.values()), Path()))


def _long_name(sample: Sample, depth: int) -> str:
    """The id with the names of the `depth` folders above the file before it."""
    folders = _file(sample).parent.parts[1:][-depth:]
    return _safe("_".join([*folders, sample.id]))


def _numbered(names: Sequence[str]) -> Iterator[str]:
    """The names, with -2, -3 ... after the second, third ... of a kind."""
    used: set[str] = set()
    for name in names:
        unique, number = name, 1
        while unique.casefold() in used:
            number += 1
            unique = f"{name}-{number}"
        used.add(unique.casefold())
        yield unique


def _safe(name: str) -> str:
    """The name with everything that is not safe in a file name replaced; accents stay."""
    composed = unicodedata.normalize("NFC", name)  # macOS keeps ü as u and an accent of its own
    return re.sub(r"[^\w.+-]+", "-", composed).lstrip(".-").rstrip("-") or "image"

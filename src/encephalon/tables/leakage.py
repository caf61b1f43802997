# SPDX-License-Identifier: Apache-2.0
"""The leakage audit: does any part of a split know something of another?"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path

from encephalon.errors import TableError, listed
from encephalon.io.files import is_file
from encephalon.tables.schema import SPLITS, Table

FEW = 5
"""Rows of either kind, before an absence is held to tell anything. Our choice."""


@dataclass(frozen=True)
class Straddle:
    """A group, or a file's content, that lies in more than one part of the split."""

    name: str
    parts: tuple[str, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True)
class LeakageReport:
    """What the audit found.

    column     the column whose values were the groups ("" where none was looked at)
    groups     the groups that straddle parts
    contents   identical files in rows of different parts
    ids        ids that stand in more than one row
    exposed    part -> (rows that share a group with "train", rows of the part)
    """

    column: str = ""
    groups: tuple[Straddle, ...] = ()
    contents: tuple[Straddle, ...] = ()
    ids: tuple[str, ...] = ()
    exposed: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing leaks."""
        return not (self.groups or self.contents or self.ids)

    def sentences(self) -> list[str]:
        """The findings, one sentence each; a single sentence where nothing leaks."""
        if self.clean:
            return ["No group, file or id is shared between the parts of the split."]
        found = [
            f"{count} of {total} {part} rows share their {self.column!r} with train rows."
            for part, (count, total) in self.exposed.items()
            if count
        ]
        for straddles, what in (
            (self.groups, f"values of {self.column!r} lie in more than one part"),
            (self.contents, "files are identical in rows of different parts"),
        ):
            if straddles:
                names = listed(straddle.name for straddle in straddles)
                found.append(f"{len(straddles)} {what}: {names}.")
        if self.ids:
            found.append(f"{len(self.ids)} ids are not unique: {listed(self.ids)}.")
        return found


def audit(table: Table, *, group: str | None = None, contents: bool = True) -> LeakageReport:
    """Look for groups, identical files and ids that the parts of the table's split share.

    `group` is the column to look at, the table's group column by default. `contents` compares
    the files of the inputs by SHA-256; a `.gz` file by what it holds, so that two compressions
    of one image are the same. Raises TableError if the table has no split column.
    """
    split = table.columns.split
    if split is None or not table.has(split):
        raise TableError(
            f"{table.source} has no split to audit: run  encephalon table split  first."
        )
    parts = table.texts(split)
    column = group or table.columns.group or ""
    labels = table.texts(column) if column else [""] * len(table)
    pairs = list(zip(labels, parts, strict=True))
    learnt = {label for label, part in pairs if part == "train"} - {""}
    exposed: dict[str, tuple[int, int]] = {}
    for name in SPLITS[1:]:
        if own := [label for label, part in pairs if part == name]:
            exposed[name] = (sum(label in learnt for label in own), len(own))
    return LeakageReport(
        column=column,
        groups=tuple(_straddling(labels, parts, table.ids)),
        contents=tuple(_same_contents(table, parts)) if contents else (),
        ids=tuple(name for name, count in Counter(table.ids).items() if count > 1),
        exposed=exposed,
    )


def require_clean(table: Table, report: LeakageReport) -> None:
    """Raise TableError with the findings unless the report is clean."""
    if not report.clean:
        findings = " ".join(report.sentences())
        raise TableError(f"The split of {table.source} leaks. {findings}")


def told_by_absence(answers: Sequence[str], known: Sequence[bool], numbers: bool) -> str:
    """Whose answers are told by what is known of none of them: a class, or "above 12.5"; else "".

    answers  a class, or a number where they are `numbers`, of each row; "" where there is none
    known    whether the row says something of an input

    Such an input gives the answer away by its absence. Fewer than FEW rows on a side tell nothing.
    """
    there, gone = (
        [cell for cell, has in zip(answers, known, strict=True) if cell and bool(has) is wanted]
        for wanted in (True, False)
    )
    if min(len(there), len(gone)) < FEW:
        return ""
    if not numbers:
        counts = Counter(gone)
        return next((repr(one) for one, n in counts.items() if n >= FEW and one not in there), "")
    inside, outside = list(map(float, there)), list(map(float, gone))
    if max(inside) < min(outside):
        return f"above {max(inside):g}"
    return f"below {min(inside):g}" if min(inside) > max(outside) else ""


def content_hash(path: Path) -> str:
    """SHA-256 of a file's content, decompressed if it is a gzip file."""
    with path.open("rb") as raw:
        if path.suffix.lower() == ".gz":
            try:
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    return file_digest(unpacked, "sha256").hexdigest()
            except (OSError, EOFError, zlib.error):  # damaged, which is for its reader to say
                raw.seek(0)
        return file_digest(raw, "sha256").hexdigest()


def _straddling(
    labels: Sequence[str], parts: Sequence[str], ids: Sequence[str]
) -> Iterator[Straddle]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, (label, part) in enumerate(zip(labels, parts, strict=True)):
        if label and part:
            rows[label].append(row)
    for label, places in rows.items():
        found = {parts[row] for row in places}
        if len(found) > 1:
            order = [part for part in SPLITS if part in found] + sorted(found - {*SPLITS})
            yield Straddle(label, tuple(order), tuple(ids[row] for row in places))


def _same_contents(table: Table, parts: Sequence[str]) -> Iterator[Straddle]:
    """Identical files in different parts; only files that could be identical are hashed."""
    files: dict[Path, list[int]] = defaultdict(list)
    for column in table.columns.inputs.values():
        if table.has(column):
            for row, cell in enumerate(table.texts(column)):
                path = table.path(cell) if cell else None
                if path is not None and is_file(path):
                    files[path].append(row)
    alike: dict[tuple[str, bytes], list[Path]] = defaultdict(list)
    for path in files:
        alike[_fingerprint(path)].append(path)
    ids = table.ids
    for paths in alike.values():
        # The same path in two rows needs no hash.
        hashes = {path: content_hash(path) if len(paths) > 1 else str(path) for path in paths}
        names = {hashes[path]: path.name for path in reversed(paths)}
        rows = [(hashes[path], row) for path in paths for row in files[path]]
        found = _straddling(
            [code for code, _ in rows],
            [parts[row] for _, row in rows],
            [ids[row] for _, row in rows],
        )
        for straddle in found:
            yield Straddle(names[straddle.name], straddle.parts, straddle.ids)


def _fingerprint(path: Path) -> tuple[str, bytes]:
    """A cheap key that identical contents share: gzip's own checksum and length, or the size."""
    size = path.stat().st_size
    if path.suffix.lower() != ".gz" or size < 8:
        return ("size", str(size).encode())
    with path.open("rb") as stream:
        stream.seek(-8, 2)  # RFC 1952: CRC-32 and length of what is compressed
        return ("gzip", stream.read(8))

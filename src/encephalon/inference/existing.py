# SPDX-License-Identifier: Apache-2.0
"""What an earlier run left in the places of a sample's outputs, and whether it stays.

The sidecar of an image is the record: it says what the result depends on (its fingerprint) and what
the bytes of the image were. It is put in its place before the image and taken for no more than it
is: a sample is finished when each of its images is there beside a sidecar that fits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from encephalon.errors import EncephalonError, OutputExistsError
from encephalon.inference.fingerprint import Fingerprint
from encephalon.inference.sidecar import BYTES, FINGERPRINT, MAKER
from encephalon.io.atomic import sha256
from encephalon.io.text import read_json

if TYPE_CHECKING:
    from encephalon.inference.outputs import PlannedOutput

__all__ = ["ExistingOutputs", "exists_already", "find_existing", "other_source"]

Record = Mapping[str, Any]


@dataclass(frozen=True)
class ExistingOutputs:
    """What stands where the files of one sample go.

    records     of the sidecars that are ours, by the key of their image
    images      the images that are there, by their key
    unrecorded  those of them without a sidecar: by their bytes alone can they be known for ours
    whole       whether every image and every sidecar is there, and ours
    foreign     a file that is not ours; None where there is none
    """

    records: Mapping[str, Record]
    images: Mapping[str, Path]
    unrecorded: Mapping[str, Path]
    whole: bool
    foreign: Path | None

    def fingerprints(self) -> set[Fingerprint | None]:
        """What the files that are there depend on: one, unless something was killed in between."""
        return {Fingerprint.parse(record[FINGERPRINT]) for record in self.records.values()}

    def edited(self) -> Path | None:
        """An image that is no longer what was written, as after a correction by hand."""
        for key, record in self.records.items():
            if key in self.images and sha256(self.images[key]) != record[BYTES]:
                return self.images[key]
        return None

    @property
    def record(self) -> Record:
        """What the sidecar of the main image says."""
        return next(iter(self.records.values()))


def find_existing(planned: PlannedOutput) -> ExistingOutputs:
    """What stands in the places of the files of a sample."""
    records: dict[str, Record] = {}
    images: dict[str, Path] = {}
    foreign: list[Path] = []
    for key, path in planned.images.items():
        beside = planned.sidecars[key]
        if os.path.lexists(beside):
            record = _record(beside)
            if record is None:
                foreign.append(path if os.path.lexists(path) else beside)
            else:
                records[key] = record
        if os.path.lexists(path):
            images[key] = path
            foreign += [] if path.is_file() else [path]
    unrecorded = {key: path for key, path in images.items() if key not in records}
    whole = len(records) == len(images) == len(planned.images)
    return ExistingOutputs(records, images, unrecorded, whole, foreign[0] if foreign else None)


def exists_already(path: Path, why: str = "exists already") -> OutputExistsError:
    """The sentence for what must stay."""
    return OutputExistsError(
        f"{path} {why}: choose another folder, or replace it with --overwrite."
    )


def other_source(made_from: str, sources: str) -> bool:
    """Whether the files that a result was made from lie elsewhere than those of today.

    Paths are kept as they were given, so that one may be the end of the other. Both are texts of
    names with "; " between.
    """
    old, new = made_from.split("; "), sources.split("; ")
    return len(old) != len(new) or not all(map(_same_end, old, new))


def _same_end(one: str, other: str) -> bool:
    parts = [
        [part for part in PurePosixPath(path).parts if part not in {"..", "."}]
        for path in (one, other)
    ]
    shared = min(map(len, parts))
    return parts[0][-shared:] == parts[1][-shared:]


def _record(path: Path) -> Record | None:
    """What a sidecar says, if it is ours and complete."""
    try:
        record = read_json(path)
    except EncephalonError:
        return None
    return record if isinstance(record, dict) and _is_ours(record) else None


def _is_ours(record: Record) -> bool:
    makers, quality = record.get("GeneratedBy"), record.get("Quality")
    maker = makers[0] if isinstance(makers, list) and makers else None
    return (
        isinstance(maker, dict)
        and maker.get("Name") == MAKER
        and FINGERPRINT in record
        and isinstance(record.get(BYTES), str)
        and isinstance(record.get("Values"), dict)
        and isinstance(quality, dict)
        and isinstance(quality.get("Status"), str)
        and isinstance(quality.get("Reasons"), list)
    )

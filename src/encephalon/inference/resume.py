# SPDX-License-Identifier: Apache-2.0
"""Whether a sample was finished by an earlier run, what of it stays, and what is to be done if not.

Finished means: every file that is asked for is there and ours, made from the same bytes, by the
same model, with the same options. The sidecar of an image is the record: it says what the result
depends on (its fingerprint) and what the bytes of the image were. It is put in its place before the
image and taken for no more than it is. A row that is missing is made again from the sidecars; where
no images are written the row itself is the record.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from encephalon.errors import EncephalonError, OutputExistsError
from encephalon.inference.fingerprint import Fingerprint, Fingerprints
from encephalon.inference.outputs import ZARR
from encephalon.inference.predictions_table import MARK, RESERVED, STATUS, PredictionsTable, typed
from encephalon.inference.writing import BYTES, FINGERPRINT, sources
from encephalon.io.atomic import content_of
from encephalon.io.bids import MAKER
from encephalon.io.text import read_json

if TYPE_CHECKING:
    from encephalon.inference.outputs import PlannedOutput, Work
    from encephalon.inference.predictor import Predictor


Row = dict[str, Any]
logger = logging.getLogger(__name__)
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Skipped:
    """A finished sample: its row, and whether the table has it."""

    row: Row
    in_table: bool


@dataclass(frozen=True)
class Todo:
    """A sample to be done: what its result will depend on, and what changed since it was done."""

    fingerprint: Fingerprint | None
    again: str = ""
    replace: bool = False
    """Whether files of ours stand in its places."""


class EarlierResults:
    """What earlier runs left of the samples of a batch, and the `table` that has their rows.

    Raises OutputExistsError when the table there is of another kind, unless what is there is to be
    replaced: then all samples are done again.
    """

    def __init__(self, predictor: Predictor, work: Work) -> None:
        self._fingerprints = Fingerprints(predictor)
        self._model = predictor.name
        self._layout, self._overwrite = work.layout, work.overwrite
        self.table: PredictionsTable | None = None
        if path := work.layout.table:
            kinds, order = predictor.outputs, [sample.id for sample in work.samples]
            self.table = PredictionsTable(path, overwrite=work.overwrite, images=kinds, order=order)

    def preview(self, planned: PlannedOutput) -> str:
        """What would become of a sample, in words: "skipped", "to do", or why it cannot be done."""
        try:
            if planned.problem is not None:
                raise planned.problem
            planned.sample.require_faultless()
            found = self.examine(planned)
        except (EncephalonError, OSError) as error:
            return str(error)
        if isinstance(found, Skipped):
            return "skipped"
        return f"to do again, since {found.again} changed" if found.again else "to do"

    def examine(self, planned: PlannedOutput) -> Skipped | Todo:
        """What is to be done with a sample; reads all of its input.

        Raises OutputExistsError where something stands in its places that must stay.
        """
        return self.decide(planned, self._fingerprints.of(planned.sample))

    def decide(
        self,
        planned: PlannedOutput,
        fingerprint: Fingerprint | None,
        made: Mapping[str, str] | None = None,
    ) -> Skipped | Todo:
        """The same with the fingerprint known: another process may have been at work since.

        `made` has the sha256 of the images that were made by now, by their key.
        """
        if self._overwrite:
            return Todo(fingerprint, replace=True)
        if planned.images:
            return self._by_files(planned, fingerprint, made)
        return self._by_row(planned, fingerprint)

    def _by_files(
        self, planned: PlannedOutput, now: Fingerprint | None, made: Mapping[str, str] | None
    ) -> Skipped | Todo:
        found = find_existing(planned)
        if found.foreign is not None:
            raise exists_already(found.foreign)
        self._refuse_unrecorded(planned, found, made)
        edited = found.edited()
        if found.whole and now is not None and found.fingerprints() == {now}:
            if edited is not None:
                logger.warning(
                    "%s: changed after it was written, by hand perhaps, and kept so.", edited
                )
            if edited is not None or found.record["Quality"]["Status"] != "fail":
                return self._skipped(planned, found)
        elif edited is not None:
            raise exists_already(edited, "was changed after it was written")
        again = self._changes(planned, found, now) if now is not None else ""
        return Todo(now, again, replace=bool(found.records or found.images))

    def _refuse_unrecorded(
        self, planned: PlannedOutput, found: ExistingOutputs, made: Mapping[str, str] | None
    ) -> None:
        """Raise OutputExistsError for an image without its sidecar, unless it is surely ours.

        Where a row or another sidecar says that this sample was done, its sidecar was lost, and
        the image is known by its bytes once they are made again.
        """
        row = self._earlier_row(planned)
        known = bool(found.records) or (row is not None and bool(row.get(MARK)))
        for key, path in found.unrecorded.items():
            if not known or (made is not None and content_of(path) != made.get(key)):
                raise exists_already(path)

    def _changes(self, planned: PlannedOutput, found: ExistingOutputs, now: Fingerprint) -> str:
        """What changed since the files of ours were written, in words."""
        made_from = "; ".join(sources(planned.sample))
        changes = ""
        for key, record in found.records.items():
            then = Fingerprint.parse(record[FINGERPRINT])
            earlier = "; ".join(map(str, record.get("Sources") or ()))
            if (then is None or then.inputs != now.inputs) and other_source(earlier, made_from):
                raise exists_already(planned.images[key], f"was made from {earlier}")
            if then is not None and now.lay_elsewhere(then):
                why = f"was made from another {earlier}, of another folder, series or page"
                raise exists_already(planned.images[key], why)
            changes = changes or (now.changed_since(then) if then else "")
        return changes

    def _skipped(self, planned: PlannedOutput, found: ExistingOutputs) -> Skipped:
        """The row as it was, whether the table has it or not."""
        record = found.record
        quality: Mapping[str, Any] = record["Quality"]
        images = {key: self._layout.relative(path) for key, path in found.images.items()}
        known = self._earlier_row(planned)
        row = {
            "id": planned.sample.id,
            "model": self._model,
            "source": "; ".join(sources(planned.sample)),
            **{k: value for k, value in record["Values"].items() if k not in RESERVED},
            **images,
            MARK: record[FINGERPRINT],
            "seconds": record.get("Seconds"),
        }
        if quality["Status"] != "unknown":
            row |= {"quality": quality["Status"], "reasons": "; ".join(quality["Reasons"])}
        in_table = known is not None and known.get(MARK) == row[MARK]
        return Skipped(row | {STATUS: "skipped"}, in_table)

    def _by_row(self, planned: PlannedOutput, now: Fingerprint | None) -> Skipped | Todo:
        row = self._earlier_row(planned)
        if row is None:
            return Todo(now)
        then, name = Fingerprint.parse(row.get(MARK)), planned.sample.id
        if then is not None and then == now:
            return Skipped({**typed(row), STATUS: "skipped"}, in_table=True)
        came_from = "; ".join(sources(planned.sample))
        if then is None or (
            now is not None
            and then.inputs != now.inputs
            and (now.lay_elsewhere(then) or other_source(row["source"], came_from))
        ):
            raise OutputExistsError(
                f"{self._layout.table} has a row of {name!r} already, made from {row['source']}: "
                "choose another folder, or replace it with --overwrite."
            )
        return Todo(now, now.changed_since(then) if now else "")

    def _earlier_row(self, planned: PlannedOutput) -> Mapping[str, Any] | None:
        return self.table.earlier(planned.sample.id, self._model) if self.table else None


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
            if key in self.images and content_of(self.images[key]) != record[BYTES]:
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
            foreign += [] if path.is_file() or path.suffix == ZARR else [path]
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
    if not isinstance(record, dict):
        return None
    makers, quality = record.get("GeneratedBy"), record.get("Quality")
    maker = makers[0] if isinstance(makers, list) and makers else None
    is_ours = (
        isinstance(maker, dict)
        and maker.get("Name") == MAKER
        and FINGERPRINT in record
        and isinstance(record.get(BYTES), str)
        and isinstance(record.get("Values"), dict)
        and isinstance(quality, dict)
        and isinstance(quality.get("Status"), str)
        and isinstance(quality.get("Reasons"), list)
    )
    return record if is_ours else None

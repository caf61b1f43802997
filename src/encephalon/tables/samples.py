# SPDX-License-Identifier: Apache-2.0
"""Collect what to work on: files, folders, DICOM series, tables and BIDS datasets, as samples.

A model works on volumes (NIfTI, DICOM ...) or on pictures (TIFF, PNG ...), and only files of its
kind are taken out of a folder.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import EncephalonError, InputError, MissingFileError, TableError
from encephalon.io.files import (
    composed,
    exists,
    expanded,
    is_file,
    is_folder,
    need_file,
    place,
)
from encephalon.tables.image_files import (
    Kind,
    bids_query,
    find_images,
    inside,
    is_dicom_folder,
    is_kind,
    made_from,
    no_images,
    say_series,
    say_unread,
    series_as_folders,
    without_masks,
)
from encephalon.tables.naming import file_id
from encephalon.tables.pairing import (
    ImagePair,
    NamedImage,
    is_grouped,
    missing_fault,
    name_bids,
    name_file,
    pair_images,
)
from encephalon.tables.schema import Columns

if TYPE_CHECKING:
    from encephalon.io.bids import BidsFile
    from encephalon.io.bids_filters import Filters
    from encephalon.tables.schema import Table

_log = logging.getLogger(__name__)


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


def collect_samples(
    inputs: Sequence[str | os.PathLike[str]],
    columns: Columns | None = None,
    *,
    role: str = "image",
    suffixes: Sequence[str] | None = None,
    participants: Sequence[str] | None = None,
    sessions: Sequence[str] | None = None,
    keep_absent: bool = False,
    kind: Kind = "volume",
    pattern: str | None = None,
    filters: Filters | None = None,
) -> list[Sample]:
    """Every sample that `inputs` mean, in order, ids unique.

    An input is an image file, a folder of images, a DICOM series (a folder, a folder of such
    folders, or all its files), a table, whose columns `columns` explains, or a BIDS dataset,
    whose images are chosen by `suffixes` such as "T1w", `participants`, `sessions` and `filters`
    (see `io.bids_filters`), all by default. With `kind` "picture" the images are TIFF,
    PNG and JPEG, of BIDS those in micr/; with "microscopy" also volumes as Zarr (a folder), HDF5
    and NumPy. Of a folder `pattern` chooses, such as "*T1w.nii.gz"; "**/*" means all below it.
    The names of files become ids by `columns.id_rule`. A file named twice is one sample; two files
    of one name get the names of their folders too. With several roles and `columns.suffixes`, files
    are put together as `tables.companions` says, and `suffixes` choose those of the first role.

    Raises MissingFileError for an input that is not there, InputError for one without images. With
    `keep_absent` what is not there, or has no images, is a sample as long as something is: it fails
    when it is read.
    """
    columns = columns or Columns()
    query = bids_query(suffixes, participants, sessions, filters)
    paths = list(series_as_folders([expanded(item) for item in inputs]))
    absent = [path for path in paths if not exists(path)]
    kept = absent if keep_absent and len(absent) < len(paths) else []
    search = _Search(columns, role, kind, query, pattern)
    known = [path for path in paths if path in kept or path not in absent]
    together = search.named(known) if is_grouped(columns) else {}
    found: list[Sample] = []
    errors: list[EncephalonError] = []
    for path in paths:
        if path in together:
            found += together[path]
        elif path in kept:
            found.append(search.one(path))
        else:
            try:
                found += search.collect(path)
            except (InputError, TableError) as error:
                errors.append(error)
                found.append(Sample(path.name, {role: path}, fault=str(error)))
    if errors and not (keep_absent and len(errors) + len(kept) < len(paths)):
        raise errors[0]
    return with_unique_ids(found)


def table_samples(table: Table) -> list[Sample]:
    """One sample a row of a table; a role that the row leaves empty is left out."""
    columns = table.columns
    rows = table.frame.to_dict(orient="records")
    samples = []
    for name, row in zip(table.ids, rows, strict=True):
        cells = {role: row.get(column) for role, column in columns.inputs.items()}
        named = {role: str(cell) for role, cell in cells.items() if cell is not None}
        paths = {role: table.path(cell) for role, cell in named.items() if "\0" not in cell}
        wrong = next((cell for cell in named.values() if "\0" in cell), "")
        fault = f"{name}: {wrong!r} holds a NUL byte, which no file name does." if wrong else ""
        record = {str(key): value for key, value in row.items()}
        samples.append(Sample(name, paths, record, fault=fault))
    return samples


@dataclass(frozen=True)
class _Search:
    """What is looked for: what tables mean, the role of an image, its kind, and which ones."""

    columns: Columns
    role: str
    kind: Kind
    query: dict[str, Any]
    pattern: str | None = None

    def one(self, path: Path) -> Sample:
        """That file alone."""
        return Sample(file_id(path, self.columns.id_rule), {self.role: path})

    def collect(self, path: Path) -> list[Sample]:
        """Every sample that a path means."""
        from encephalon.io.bids import is_bids
        from encephalon.tables.reading import is_table, read_table

        if not exists(path):
            if os.path.islink(path):  # noqa: PTH114  for a name too long there is no error
                need_file(path)  # which says where it leads, and how its content is fetched
            raise MissingFileError(f"There is no file or folder {path}: check the path.")
        if is_file(path):
            if is_table(path):
                return _from_table(read_table(path, self.columns))
            return [self.one(path)]
        if not is_folder(path):
            need_file(path)  # which says that it is a pipe or a device
        if self.kind == "microscopy" and is_kind(path, self.kind):
            return [self.one(path)]
        if is_bids(path) and self.pattern is None:
            if self.columns.any_part or is_grouped(self.columns):
                return self.sessions(path)
            datatype: Any = "anat" if self.kind == "volume" else "micr"
            files = find_images(path, self.query, datatype=datatype)
            return [Sample(file.id, {self.role: file.path}, bids=file) for file in files]
        return self.folder(path)

    def folder(self, path: Path) -> list[Sample]:
        """The images of a folder, or the DICOM series in it."""
        visible = inside(path, self.pattern or "*")
        images = [item for item in visible if is_kind(item, self.kind)]
        places = [path, *visible] if self.kind == "volume" else []
        folders = [item for item in places if is_folder(item) and is_dicom_folder(item)]
        say_unread(path, visible, self.kind)
        if images:
            say_series(path, folders)
            names = {item.name for item in images}
            kept = [item for item in images if not names & made_from(item)]
            kept = without_masks(path, kept)
            return self.by_name(path, kept) or [self.one(item) for item in kept]
        if not folders:
            if self.pattern and not visible:
                raise InputError(
                    f"Nothing in the folder {path} fits the pattern {self.pattern!r}: mend it; "
                    "'*T1w.nii.gz' means the folder alone, '**/*T1w.nii.gz' its sub-folders too."
                )
            raise InputError(no_images(path, self.kind, visible))
        folders = [path] if path in folders else folders
        found = self.by_name(path, folders) if path not in folders else []
        return found or [Sample(_series_id(item), {self.role: item}) for item in folders]

    def sessions(self, path: Path) -> list[Sample]:
        """The sessions of a BIDS dataset; `query` chooses the images of the first role alone."""
        from encephalon.io.bids import index_bids
        from encephalon.tables.participants import bids_people

        if self.columns.any_part:
            people = bids_people(path, self.columns, self.query)
            return [
                Sample(one.id, one.inputs, one.row, one.file, absent=one.absent) for one in people
            ]
        first, *others = self.columns.inputs
        kinds = self.columns.suffixes
        mains = find_images(path, self.query, kinds[first])
        images = [replace(name_bids(file, self.columns), role=first) for file in mains]
        wanted = [kind for role in others for kind in kinds.get(role, ())]
        with suppress(MissingFileError):  # a dataset without any is one in which each is absent
            images += [
                name_bids(file, self.columns)
                for file in index_bids(path, suffixes=wanted, filters=self.query["filters"])
                if wanted and file not in mains
            ]
        found, _ = pair_images(images, self.columns)
        return [self.sample(one) for one in found]

    def named(self, paths: Sequence[Path]) -> dict[Path, list[Sample]]:
        """Of several image files named one by one, the samples that each of them makes."""
        from encephalon.tables.reading import is_table

        files = [one for one in paths if not (is_folder(one) or is_table(one))]
        places = {one.absolute(): one for one in reversed(files)}
        if len(places) < 2:
            return {}
        ordered = dict.fromkeys(places[one.absolute()] for one in files)
        images = [name_file(one, self.columns) for one in ordered]
        found, alone = pair_images(images, self.columns, all_meant=True)
        samples = {one.main.path: [self.sample(one)] for one in found}
        samples |= {one.path: [_stray(one, self.columns)] for one in alone}
        return {one: samples.get(places[one.absolute()], []) for one in files}

    def by_name(self, folder: Path, images: Sequence[Path]) -> list[Sample]:
        """The samples that images of one folder make together; none where each is its own."""
        if not is_grouped(self.columns):
            return []
        found, alone = pair_images([name_file(one, self.columns) for one in images], self.columns)
        if not found:
            kinds = " or ".join(self.columns.suffixes[self.role])
            raise InputError(
                f"The folder {folder} holds no image whose name says {kinds}, only such as "
                f"{images[0].name}: rename its files, or name them in a table."
            )
        if alone:
            names = ", ".join(one.path.name for one in alone)
            _log.warning("%s: left out, as they belong to none of the others: %s.", folder, names)
        return [self.sample(one) for one in found]

    def sample(self, one: ImagePair) -> Sample:
        """What belongs together as a sample, at fault where it lacks what it must have."""
        path, bids = one.main.path, one.main.bids
        name = _series_id(path) if is_folder(path) else file_id(path, self.columns.id_rule)
        fault = missing_fault(one.absent, self.columns)
        return Sample(bids.id if bids else name, one.inputs, {}, bids, fault, one.absent)


def _series_id(folder: Path) -> str:
    return folder.resolve().name or "dicom"


def _stray(one: NamedImage, columns: Columns) -> Sample:
    """An image that was named, but belongs to no other."""
    first = next(iter(columns.inputs))
    fault = (
        f"{one.path}: its name says that it is the {one.role} of a sample whose {first} is not "
        "among the inputs; add that file, or name both in a table."
    )
    return Sample(file_id(one.path, columns.id_rule), {str(one.role): one.path}, fault=fault)


def _from_table(table: Table) -> list[Sample]:
    from encephalon.tables.checks import check_table, fault_message

    for name in table.columns.covariates:
        if name not in table.columns.optional:
            table.require(name)
    # The target of a table is not needed to predict from it, and an id, a covariate or a file that
    # cannot be used spoils its own row alone, when that is read; unless there is no file at all.
    columns = replace(table.columns, target=None, split=None, group=None, covariates={})
    samples = table_samples(replace(table, columns=columns))
    is_any_there = any(exists(path) for one in samples for path in one.inputs.values())
    looked_at = replace(columns, inputs={}) if is_any_there else columns
    faults = check_table(replace(table, columns=looked_at))
    of_ids = {fault.row: fault for fault in faults if fault.row and fault.column == columns.id}
    if len(faults) > len(of_ids) or len(of_ids) == len(table):
        raise TableError(fault_message(table, faults))
    if columns.inputs and not table.columns.any_part and not any(one.inputs for one in samples):
        named = " or ".join(map(repr, columns.inputs.values()))
        raise TableError(f"{table.source} names no file in {named}: fill it in.")
    return [
        replace(sample, id=f"row-{row}", fault=f"{table.source}, {of_ids[row]}")
        if (row := table.row(place)) in of_ids
        else sample
        for place, sample in enumerate(samples)
    ]


def with_unique_ids(samples: list[Sample]) -> list[Sample]:
    """The same samples without repeated files, and with ids that no other sample has."""
    seen: set[tuple[tuple[str, Path], ...]] = set()
    kept = []
    for sample in samples:
        key = tuple((role, place(path)) for role, path in sorted(sample.inputs.items()))
        if key not in seen or sample.row:
            kept.append(sample)
        seen.add(key)
    # The ids of a table are checked already, and join its rows to the results.
    names = [sample.id if sample.row else _safe(sample.id) for sample in kept]
    depth, deepest = 1, max((len(_file(sample).parts) for sample in kept), default=0)
    while (clashes := _clashes(names, kept)) and depth < deepest:
        for index in clashes:
            # With the names of the `depth` folders above the file before it.
            folders = _file(kept[index]).parent.parts[1:][-depth:]
            names[index] = _safe("_".join([*folders, kept[index].id]))
        depth += 1
    final: list[str] = []
    used: set[str] = set()
    for name in names:
        # With -2, -3 ... after the second, third ... of a kind.
        unique, number = name, 1
        while unique.casefold() in used:
            number += 1
            unique = f"{name}-{number}"
        used.add(unique.casefold())
        final.append(unique)
    return [replace(sample, id=name) for sample, name in zip(kept, final, strict=True)]


def _clashes(names: Sequence[str], samples: Sequence[Sample]) -> list[int]:
    """The samples of one name that lie in several folders, whose names can tell them apart."""
    # Some file systems take Scan and scan for the same name.
    folded = [name.casefold() for name in names]
    places = {(name, _file(one).parent) for name, one in zip(folded, samples, strict=True)}
    counts = Counter(name for name, _ in places)
    return [index for index, name in enumerate(folded) if counts[name] > 1]


def _file(sample: Sample) -> Path:
    return place(next(iter(sample.inputs.values()), Path()))


def _safe(name: str) -> str:
    """The name with everything that is not safe in a file name replaced; accents stay."""
    return re.sub(r"[^\w.+-]+", "-", composed(name)).lstrip(".-").rstrip("-") or "image"

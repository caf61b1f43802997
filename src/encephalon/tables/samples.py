# SPDX-License-Identifier: Apache-2.0
"""Collect what to work on: files, folders, DICOM series, tables and BIDS datasets, as samples.

A model works on volumes (NIfTI, DICOM ...) or on pictures (TIFF, PNG, JPEG), and only files of its
kind are taken out of a folder.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from encephalon.errors import InputError, MissingFileError, TableError
from encephalon.tables.naming import file_id, file_stem
from encephalon.tables.schema import Columns

if TYPE_CHECKING:
    from encephalon.io.bids import BidsFile
    from encephalon.tables.schema import Table

Kind = Literal["volume", "picture"]

_KINDS: dict[Kind, str] = {
    "volume": "volumes: NIfTI, MGZ or DICOM",
    "picture": "pictures: TIFF, PNG or JPEG",
}
_PEEKED = 16  # files of a folder that are opened to see whether it holds a DICOM series


@dataclass(frozen=True)
class Sample:
    """One thing to work on.

    id      names the sample and every output made from it
    inputs  role ("image" where there is only one) and file or DICOM folder
    row     the cells of its row, for a sample from a table
    bids    its entities, for a sample from a BIDS dataset
    fault   why it cannot be worked on, while the others of its table can; "" for no reason
    """

    id: str
    inputs: dict[str, Path]
    row: dict[str, Any] = field(default_factory=dict)
    bids: BidsFile | None = None
    fault: str = ""

    def require_faultless(self) -> None:
        """Raise InputError with the fault, if there is one."""
        if self.fault:
            raise InputError(self.fault)

    def file(self, role: str) -> Path:
        """The file of that role; raises InputError for a fault, or a row that names none."""
        self.require_faultless()
        if role not in self.inputs:
            message = f"{self.id}: its row names no file for {role!r}; fill it in or drop the row."
            raise InputError(message)
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
) -> list[Sample]:
    """Every sample that `inputs` mean, in order, ids unique.

    An input is an image file, a folder of images, a DICOM series (a folder, a folder of such
    folders, or all its files), a table, whose columns `columns` explains, or a BIDS dataset,
    whose images are chosen by `suffixes` such as "T1w", `participants` and `sessions`, all by
    default. With `kind` "picture" the images are TIFF, PNG and JPEG, of BIDS those in micr/.
    The names of files become ids by `columns.id_rule`. A file named twice is one sample; two files
    of one name get the names of their folders too.

    Raises MissingFileError for an input that is not there, InputError for one without images. With
    `keep_absent` what is not there is a sample as long as something is: it fails when it is read.
    """
    query = bids_query(suffixes, participants, sessions)
    paths = list(_series_as_folders([Path(item).expanduser() for item in inputs]))
    # Not Path.exists, which raises where a folder may not be looked into.
    absent = [path for path in paths if not os.path.exists(path)]  # noqa: PTH110
    kept = absent if keep_absent and len(absent) < len(paths) else []
    search = _Search(columns or Columns(), role, kind, query)
    found: list[Sample] = []
    for path in paths:
        found += [search.one(path)] if path in kept else search.collect(path)
    return _unique(found)


def bids_query(
    suffixes: Sequence[str] | None,
    participants: Sequence[str] | None,
    sessions: Sequence[str] | None,
) -> dict[str, Any]:
    """The arguments of `index_bids` for these wishes; the kinds of image it takes by default."""
    query: dict[str, Any] = {"subjects": participants, "sessions": sessions}
    return query if suffixes is None else {**query, "suffixes": tuple(suffixes)}


def table_samples(table: Table) -> list[Sample]:
    """One sample a row of a table; a role that the row leaves empty is left out."""
    columns = table.columns
    rows = table.frame.to_dict(orient="records")
    samples = []
    for name, row in zip(table.ids, rows, strict=True):
        cells = {role: row.get(column) for role, column in columns.inputs.items()}
        paths = {role: table.path(str(cell)) for role, cell in cells.items() if cell is not None}
        samples.append(Sample(name, paths, {str(key): value for key, value in row.items()}))
    return samples


def _series_as_folders(paths: Sequence[Path]) -> Iterator[Path]:
    """The paths, with several DICOM files of one folder (`series/*.dcm`) as that folder."""
    counts = Counter(path.parent for path in paths if _is_slice(path))
    for path in paths:
        yield path.parent if _is_slice(path) and counts[path.parent] > 1 else path


def _is_slice(path: Path) -> bool:
    from encephalon.io.image import SLICE_SUFFIXES

    return path.suffix.lower() in SLICE_SUFFIXES


@dataclass(frozen=True)
class _Search:
    """What is looked for: what tables mean, the role of an image, its kind, which of BIDS."""

    columns: Columns
    role: str
    kind: Kind
    query: dict[str, Any]

    def one(self, path: Path) -> Sample:
        """That file alone."""
        return Sample(file_id(path, self.columns.id_rule), {self.role: path})

    def collect(self, path: Path) -> list[Sample]:
        """Every sample that a path means."""
        from encephalon.io.bids import index_bids, is_bids
        from encephalon.tables.reading import is_table, read_table

        if not path.exists():
            message = f"There is no file or folder {path}: check the path."
            raise MissingFileError(message)
        if path.is_file():
            if is_table(path):
                return _from_table(read_table(path, self.columns))
            return [self.one(path)]
        if is_bids(path):
            datatype: Any = "micr" if self.kind == "picture" else "anat"
            files = index_bids(path, datatype=datatype, **self.query)
            return [Sample(file.id, {self.role: file.path}, bids=file) for file in files]
        return self.folder(path)

    def folder(self, path: Path) -> list[Sample]:
        """The images of a folder, or the DICOM series in it."""
        visible = sorted(item for item in path.iterdir() if not item.name.startswith("."))
        images = [item for item in visible if _is_kind(item, self.kind)]
        if images:
            names = {item.name for item in images}
            return [self.one(item) for item in images if not names & _made_from(item)]
        folders = [item for item in [path, *visible] if item.is_dir() and is_dicom_folder(item)]
        if self.kind == "picture" or not folders:
            raise InputError(_no_images(path, self.kind, visible))
        folders = [path] if path in folders else folders
        return [Sample(item.resolve().name or "dicom", {self.role: item}) for item in folders]


def _from_table(table: Table) -> list[Sample]:
    from encephalon.tables.checks import FIRST_ROW, check_table, fault_message

    for name in table.columns.covariates:
        if name not in table.columns.optional:
            table.require(name)
    # The target of a table is not needed to predict from it, and an id, a covariate or a file that
    # cannot be used spoils its own row alone, when that is read; unless there is no file at all.
    columns = replace(table.columns, target=None, split=None, group=None, covariates={})
    samples = table_samples(replace(table, columns=columns))
    is_any_there = any(path.exists() for one in samples for path in one.inputs.values())
    looked_at = replace(columns, inputs={}) if is_any_there else columns
    faults = check_table(replace(table, columns=looked_at))
    of_ids = {fault.row: fault for fault in faults if fault.row and fault.column == columns.id}
    if len(faults) > len(of_ids) or len(of_ids) == len(table):
        raise TableError(fault_message(table, faults))
    if columns.inputs and not any(one.inputs for one in samples):
        named = " or ".join(map(repr, columns.inputs.values()))
        raise TableError(f"{table.source} names no file in {named}: fill it in.")
    return [
        replace(sample, id=f"row-{row}", fault=f"{table.source}, {of_ids[row]}")
        if row in of_ids
        else sample
        for row, sample in enumerate(samples, FIRST_ROW)
    ]


def _no_images(path: Path, kind: Kind, visible: Sequence[Path]) -> str:
    """Why a folder has nothing for a model of that kind."""
    wanted, other = _KINDS[kind], next(name for name in _KINDS if name != kind)
    strange = next((item.name for item in visible if _is_kind(item, other)), None)
    if strange is not None:
        return (
            f"The folder {path} holds {other}s such as {strange}, but this model takes {wanted}: "
            "choose another model or folder."
        )
    if kind == "picture":
        return (
            f"The folder {path} holds no pictures ({wanted}): give the folder that holds them "
            "directly, or make a table of all below it with  encephalon table images."
        )
    return (
        f"The folder {path} holds no images, no DICOM series and no BIDS dataset: give the folder "
        "that holds them directly."
    )


def _made_from(image: Path) -> set[str]:
    """The names of the files that a result of this program was made from, by its sidecar.

    Masks that were written beside their scans are no scans when the folder is given again.
    """
    try:
        record = json.loads(image.with_name(f"{file_stem(image)}.json").read_text("utf-8"))
        makers = {maker["Name"] for maker in record["GeneratedBy"]}
        return {Path(path).name for path in record["Sources"]} if "Encephalon" in makers else set()
    except (OSError, ValueError, LookupError, TypeError):
        return set()


def is_image(path: Path) -> bool:
    """Whether the name of that file is that of a picture or of a whole volume."""
    return any(_is_kind(path, kind) for kind in _KINDS)


def _is_kind(path: Path, kind: Kind) -> bool:
    from encephalon.io.image import SLICE_SUFFIXES, image_suffix
    from encephalon.io.micrograph import is_picture

    # Not is_file: a link to nothing, as in a dataset not fetched yet, must fail aloud.
    if path.is_dir():
        return False
    if kind == "picture":
        return is_picture(path)
    return image_suffix(path) not in (None, *SLICE_SUFFIXES)


def is_dicom_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a DICOM file is among the first files of a folder."""
    from encephalon.io.dicom import is_dicom

    files = (item for item in sorted(Path(path).iterdir()) if item.is_file())
    return any(is_dicom(item) for item, _ in zip(files, range(_PEEKED), strict=False))


def _unique(samples: list[Sample]) -> list[Sample]:
    """The same samples without repeated files, and with ids that no other sample has."""
    kept = _distinct(samples)
    # The ids of a table are checked already, and join its rows to the results.
    names = [sample.id if sample.row else _safe(sample.id) for sample in kept]
    depth = 1
    while (clashes := _clashes(names, kept)) and depth < _deepest(kept):
        for index in clashes:
            names[index] = _long_name(kept[index], depth)
        depth += 1
    final = list(_numbered(names))
    return [replace(sample, id=name) for sample, name in zip(kept, final, strict=True)]


def _distinct(samples: list[Sample]) -> list[Sample]:
    seen: set[tuple[tuple[str, Path], ...]] = set()
    kept = []
    for sample in samples:
        key = tuple((role, path.resolve()) for role, path in sorted(sample.inputs.items()))
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


def _deepest(samples: Sequence[Sample]) -> int:
    return max((len(_file(sample).parts) for sample in samples), default=0)


def _file(sample: Sample) -> Path:
    return next(iter(sample.inputs.values()), Path()).resolve()


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
    """The name with everything that is not safe in a file name replaced."""
    return re.sub(r"[^\w.+-]+", "-", name).lstrip(".-").rstrip("-") or "image"

# SPDX-License-Identifier: Apache-2.0
"""Collect what to work on: files, folders, DICOM series, tables and BIDS datasets, as samples."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import InputError, MissingFileError, TableError

if TYPE_CHECKING:
    from encephalon.io.bids import BidsFile
    from encephalon.tables.schema import Columns, Table

_PEEKED = 16  # files of a folder that are opened to see whether it holds a DICOM series


@dataclass(frozen=True)
class Sample:
    """One thing to work on.

    id      names the sample and every output made from it
    inputs  role ("image" where there is only one) and file or DICOM folder
    row     the cells of its row, for a sample from a table
    bids    its entities, for a sample from a BIDS dataset
    """

    id: str
    inputs: dict[str, Path]
    row: dict[str, Any] = field(default_factory=dict)
    bids: BidsFile | None = None


def collect_samples(
    inputs: Sequence[str | os.PathLike[str]],
    columns: Columns | None = None,
    *,
    role: str = "image",
    suffixes: Sequence[str] | None = None,
    participants: Sequence[str] | None = None,
    sessions: Sequence[str] | None = None,
    keep_absent: bool = False,
) -> list[Sample]:
    """Every sample that `inputs` mean, in order, ids unique.

    An input is an image file, a folder of images, a DICOM series (a folder, a folder of such
    folders, or all its files), a table, whose columns `columns` explains, or a BIDS dataset,
    whose images are chosen by `suffixes` such as "T1w", `participants` and `sessions`, all by
    default. A file named twice is one sample; two files of one name get the names of their
    folders too.

    Raises MissingFileError for an input that is not there, InputError for one without images. With
    `keep_absent` what is not there is a sample as long as something is: it fails when it is read.
    """
    query = bids_query(suffixes, participants, sessions)
    paths = list(_series_as_folders([Path(item).expanduser() for item in inputs]))
    # Not Path.exists, which raises where a folder may not be looked into.
    absent = [path for path in paths if not os.path.exists(path)]  # noqa: PTH110
    kept = absent if keep_absent and len(absent) < len(paths) else []
    found: list[Sample] = []
    for path in paths:
        alone = [Sample(file_stem(path), {role: path})] if path in kept else None
        found += alone or _collect(path, columns, role, query)
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


def file_stem(path: str | os.PathLike[str]) -> str:
    """The name of a file without its folder and its image suffix: `a/b.c.nii.gz` is `b.c`."""
    from encephalon.io.image import image_stem

    return image_stem(Path(path))


def _series_as_folders(paths: Sequence[Path]) -> Iterator[Path]:
    """The paths, with several DICOM files of one folder (`series/*.dcm`) as that folder."""
    counts = Counter(path.parent for path in paths if _is_slice(path))
    for path in paths:
        yield path.parent if _is_slice(path) and counts[path.parent] > 1 else path


def _is_slice(path: Path) -> bool:
    from encephalon.io.image import SLICE_SUFFIXES

    return path.suffix.lower() in SLICE_SUFFIXES


def _collect(path: Path, columns: Columns | None, role: str, query: dict[str, Any]) -> list[Sample]:
    from encephalon.tables.reading import is_table, read_table

    if not path.exists():
        message = f"There is no file or folder {path}: check the path."
        raise MissingFileError(message)
    if path.is_file():
        if is_table(path):
            return _from_table(read_table(path, columns))
        return [Sample(file_stem(path), {role: path})]
    from encephalon.io.bids import is_bids

    if is_bids(path):
        return _from_bids(path, role, query)
    return _from_folder(path, role)


def _from_table(table: Table) -> list[Sample]:
    from encephalon.tables.checks import FIRST_ROW, checked

    # The target of a table is not needed to predict from it.
    columns = replace(table.columns, target=None, split=None, group=None)
    samples = table_samples(checked(replace(table, columns=columns)))
    empty = next((row for row, one in enumerate(samples, FIRST_ROW) if not one.inputs), None)
    if empty is not None:
        named = " or ".join(map(repr, columns.inputs.values()))
        message = f"{table.source}, row {empty}: names no file in {named}; drop it."
        raise TableError(message)
    return samples


def _from_bids(path: Path, role: str, query: dict[str, Any]) -> list[Sample]:
    from encephalon.io.bids import index_bids

    return [Sample(file.id, {role: file.path}, bids=file) for file in index_bids(path, **query)]


def _from_folder(path: Path, role: str) -> list[Sample]:
    visible = sorted(item for item in path.iterdir() if not item.name.startswith("."))
    # Not is_file: a link to nothing, as in a dataset not fetched yet, must fail aloud.
    images = [item for item in visible if _is_volume(item) and not item.is_dir()]
    if images:
        names = {item.name for item in images}
        scans = [item for item in images if not names & _made_from(item)]
        return [Sample(file_stem(item), {role: item}) for item in scans]
    folders = (
        [path]
        if is_dicom_folder(path)
        else [item for item in visible if item.is_dir() and is_dicom_folder(item)]
    )
    if not folders:
        message = (
            f"The folder {path} holds no images, no DICOM series and no BIDS dataset: give the "
            "folder that holds them directly."
        )
        raise InputError(message)
    return [Sample(item.resolve().name or "dicom", {role: item}) for item in folders]


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


def _is_volume(path: Path) -> bool:
    from encephalon.io.image import SLICE_SUFFIXES, image_suffix

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

# SPDX-License-Identifier: Apache-2.0
"""Which images belong together where no table says so: by subject and session, never by order.

A model with several images a sample names, in `Columns.suffixes`, the kinds of BIDS image that fill
each role. The file of the first role makes the sample; of every other role the one file of the same
subject and session joins it. Where there is none, or no telling which, the sample says so.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from encephalon.errors import MissingFileError, UsageError, did_you_mean
from encephalon.io.files import exists, expanded, is_folder
from encephalon.tables.naming import file_stem

if TYPE_CHECKING:
    from encephalon.io.bids import BidsFile
    from encephalon.tables.samples import Sample
    from encephalon.tables.schema import Columns

Given = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A file, or a list with one file in it."""

_log = logging.getLogger(__name__)
_ENTITY = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9+]+)\Z")
_WORDS = re.compile(r"[\s_.-]+")
# Entities that say which of several scans of one kind it is, the most telling ones first.
_SCAN_ENTITIES = (("acq", "run"), ("run",), ("acq",))


@dataclass(frozen=True)
class NamedImage:
    """One image, and what its name says.

    path      the file, or the folder of a DICOM series
    owner     whose it is: folder, subject and session, or what the name says beside the kind
    role      the role that its kind fills; "" for a kind of no role, None where none is said
    entities  its BIDS entities other than subject and session
    bids      where it comes from a BIDS dataset
    """

    path: Path
    owner: tuple[str, ...]
    role: str | None
    entities: Mapping[str, str] = field(default_factory=dict)
    bids: BidsFile | None = None


@dataclass(frozen=True)
class ImagePair:
    """The images of one sample: its main one, all by role, and why a role has none."""

    main: NamedImage
    inputs: dict[str, Path]
    absent: dict[str, str]


def is_grouped(columns: Columns) -> bool:
    """Whether images without a table are paired by their names."""
    return len(columns.inputs) > 1 and next(iter(columns.inputs)) in columns.suffixes


def name_file(path: Path, columns: Columns) -> NamedImage:
    """What the name of a plain file, or of a DICOM folder, says.

    The kind is the one word of the name that is a suffix of BIDS, in any case and with or without
    its last w ("T1w", "t1"). Subject and session are read from BIDS entities if there are such;
    without, the name but for that word is the owner's. Files of two folders never share an owner.
    """
    stem = path.name if is_folder(path) else file_stem(path)
    folder = str(path.absolute().parent)
    matches = [_ENTITY.match(part) for part in stem.split("_")]
    entities = {match[1]: match[2] for match in matches if match}
    subject, session = entities.pop("sub", None), entities.pop("ses", "")
    owner: tuple[str, ...] = (folder, subject or "", session)
    kinds = _kinds(columns)
    words = [word for word in _WORDS.split(stem) if word]
    if subject is not None:
        # The values of entities are no kinds: acq-T1w_T2w is a T2w.
        words = [word for word in words if word not in entities.values()]
    else:
        owner = (folder, *(word for word in words if word.lower() not in kinds))
        entities = {}
    said = {kinds[word.lower()] for word in words if word.lower() in kinds}
    # Of another kind, or of more than one, it fills no role.
    role = "" if len(said) > 1 else next(iter(said), None)
    return NamedImage(path, owner, role, entities)


def name_bids(file: BidsFile, columns: Columns) -> NamedImage:
    """What the name of an image of a BIDS dataset says."""
    entities = dict(file.entities)
    owner = (entities.pop("sub"), entities.pop("ses", ""))
    roles = [role for role, kinds in columns.suffixes.items() if file.suffix in kinds]
    return NamedImage(file.path, owner, roles[0] if roles else "", entities, file)


def pair_images(
    images: Sequence[NamedImage], columns: Columns, *, all_meant: bool = False
) -> tuple[list[ImagePair], list[NamedImage]]:
    """The samples that these images make, in order, and the images that belong to none.

    Every image of the first role makes one. Where no name says that role, the images whose names
    say no kind do; with `all_meant` (files named one by one) every image does that fills no other
    role.
    """
    first = next(iter(columns.inputs))
    others = [role for role in columns.inputs if role != first]
    mains = [one for one in images if one.role == first]
    if all_meant:
        mains = [one for one in images if one.role not in others]
    elif not mains:
        mains = [one for one in images if one.role is None]
    found = [_paired(main, images, columns, others) for main in mains]
    taken = {path for one in found for path in one.inputs.values()}
    return found, [one for one in images if one.path not in taken]


def add_companions(
    samples: Sequence[Sample],
    companions: Mapping[str, Given],
    columns: Columns,
    values: Mapping[str, str] = MappingProxyType({}),
) -> list[Sample]:
    """The only one of `samples`, with a file in each role that `companions` names, and `values`.

    What a model that takes any part of a sample does not know is left out, and that is logged.
    Raises UsageError for a role or a column that `columns` lacks, for several files in one role,
    and for several samples or one from a table or a dataset, which pair their files by themselves;
    MissingFileError for a file that is not there.
    """
    if columns.any_part:
        companions = _known(companions, columns.inputs)
        values = _known(values, columns.covariates)
    if strange := [column for column in values if column not in columns.covariates]:
        meant = did_you_mean(strange[0], list(columns.covariates), "it has")
        raise UsageError(f"The model takes no value {strange[0]!r}; {meant}")
    places = {role: _only(role, given, columns, samples) for role, given in companions.items()}
    named = ", ".join([*map(str, places.values()), *values])
    if len(samples) != 1 or samples[0].row or samples[0].bids:
        raise UsageError(
            f"{named} can join a single image alone, and not "
            f"{len(samples)} samples, a table or a dataset: give a folder, a table or a BIDS "
            "dataset, in which files are paired by subject and session."
        )
    (sample,) = samples
    absent = {role: why for role, why in sample.absent.items() if role not in places}
    fault = sample.fault if sample.fault not in sample.absent.values() else ""
    fault = fault or missing_fault(absent, columns)
    inputs = {**sample.inputs, **places}
    return [replace(sample, inputs=inputs, row=dict(values), absent=absent, fault=fault)]


def _known(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those that a model knows; says so of the others."""
    known = list(names)
    for name in given:
        if name not in known:
            meant = did_you_mean(name, known, "it knows")
            _log.warning("%r is not used, as the model has not learnt from any; %s", name, meant)
    return {name: one for name, one in given.items() if name in known}


def missing_fault(absent: Mapping[str, str], columns: Columns) -> str:
    """Why a sample cannot be worked on: the first role it lacks that no row may leave empty."""
    return next((why for role, why in absent.items() if role not in columns.optional), "")


def _only(role: str, given: Given, columns: Columns, samples: Sequence[Sample]) -> Path:
    paths = [given] if isinstance(given, str | os.PathLike) else list(given)
    first = next(iter(columns.inputs), None)
    others = [
        one for one in columns.inputs if one != first or not any(each.inputs for each in samples)
    ]
    if role not in others:
        takes = f"beside its image only {', '.join(others)}" if others else "one image a sample"
        raise UsageError(
            f"{', '.join(map(str, paths))} cannot be the {role!r}: the model takes {takes}."
        )
    if len(paths) != 1:
        raise UsageError(f"The {role!r} of a sample is one file, and got {len(paths)}: give one.")
    path = expanded(paths[0])
    if not exists(path):
        raise MissingFileError(f"There is no file or folder {path}: check the path.")
    return path


def _paired(
    main: NamedImage, images: Sequence[NamedImage], columns: Columns, others: Sequence[str]
) -> ImagePair:
    inputs, absent = {next(iter(columns.inputs)): main.path}, {}
    same = [one for one in images if one.owner == main.owner and one.path != main.path]
    for role in others:
        wanted = [one for one in same if one.role == role]
        # None that was moved to where the other is not.
        here = [one for one in wanted if one.entities.get("space") == main.entities.get("space")]
        chosen = _same_scan(main, here)
        if len(chosen) == 1:
            inputs[role] = chosen[0].path
        # Not worth saying where the role may be empty and none of its kind is anywhere.
        elif role not in columns.optional or (
            role in columns.suffixes and any(one.role == role for one in images)
        ):
            absent[role] = _why_not(main, role, chosen or wanted, columns)
    return ImagePair(main, inputs, absent)


def scan_of(role: str, candidates: Sequence[NamedImage]) -> tuple[NamedImage | None, str]:
    """The one of one person's images that is the `role`, or none, and why where there are some.

    Of several the one without entities of its own (acq, run, space ...) is meant.
    """
    plain = [one for one in candidates if not one.entities]
    chosen = candidates if len(candidates) == 1 else plain
    if len(chosen) == 1:
        return chosen[0], ""
    names = ", ".join(one.path.name for one in candidates)
    why = f"No telling which of {names} is the {role}, so none was taken; name it in a table."
    return None, why if candidates else ""


def _same_scan(main: NamedImage, candidates: list[NamedImage]) -> list[NamedImage]:
    """Of several candidates the one of the same scan, if there is one; otherwise all of them."""
    if len(candidates) < 2:
        return candidates
    equal = [one for one in candidates if one.entities == main.entities]
    if len(equal) == 1:
        return equal
    for keys in _SCAN_ENTITIES:
        wanted = [main.entities.get(key) for key in keys]
        close = [one for one in candidates if [one.entities.get(key) for key in keys] == wanted]
        if any(wanted) and len(close) == 1:
            return close
    return candidates


def _why_not(
    main: NamedImage, role: str, candidates: Sequence[NamedImage], columns: Columns
) -> str:
    if not candidates:
        kinds = " or ".join(columns.suffixes.get(role, (role,)))
        return f"{main.path}: no {kinds} of the same subject and session was found beside it."
    names = ", ".join(one.path.name for one in candidates)
    return (
        f"{main.path}: no telling which of {names} is its {role}, so none was taken; name the one "
        "that is in a table."
    )


def _kinds(columns: Columns) -> dict[str, str]:
    """Words of names, in lower case, and the role that they mean; "" for kinds of no role."""
    from encephalon.io.bids import ANATOMICAL

    pairs = [("", kind) for kind in ANATOMICAL]
    pairs += [(role, kind) for role, kinds in columns.suffixes.items() for kind in kinds]
    words: dict[str, str] = {}
    for role, kind in pairs:
        words |= {kind.lower(): role, kind.lower().removesuffix("w"): role}
    return words

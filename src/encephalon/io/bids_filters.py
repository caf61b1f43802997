# SPDX-License-Identifier: Apache-2.0
"""`--bids-filter-file`: which images of each kind are taken, as fMRIPrep and MRIQC read it.

    {"t1w": {"session": "01", "acquisition": null}, "t2w": {"run": [1, 2]}}

A kind is the suffix that its query names, or its key without capitals; images of a kind without a
query are all taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import UnreadableFileError, did_you_mean
from encephalon.io.text import read_json

if TYPE_CHECKING:
    from encephalon.io.bids import BidsFile

__all__ = ["Filters", "fits", "read_filters"]

Filters = Mapping[str, Mapping[str, Any]]

# The entities of anat/ and micr/ by the names that pybids has for them, and their keys in file
# names (pybids, `layout/config/bids.json`); datatype and extension are taken as they are here.
_KEYS = {
    **{"subject": "sub", "session": "ses", "sample": "sample", "task": "task", "run": "run"},
    **{"acquisition": "acq", "ceagent": "ce", "staining": "stain", "reconstruction": "rec"},
    **{"direction": "dir", "modality": "mod", "echo": "echo", "flip": "flip", "inv": "inv"},
    **{"mt": "mt", "part": "part", "proc": "proc", "space": "space", "chunk": "chunk"},
    **{"nucleus": "nuc", "label": "label", "desc": "desc", "tracer": "trc"},
}
_PLAIN = ("suffix", "datatype", "extension")
_NONE, _ANY = "Query.NONE", ("Query.ANY", "Query.REQUIRED", "*")


def read_filters(path: str | Path) -> Filters:
    """The queries of such a file; raises UnreadableFileError for one that says anything else."""
    content = read_json(path)
    queries: list[Any] = list(content.values()) if isinstance(content, dict) else [None]
    if not all(isinstance(query, dict) for query in queries):
        raise UnreadableFileError(
            f'{path}: expected a query for each kind of image, such as {{"t1w": {{"session": '
            '"01"}}, in JSON; mend it.'
        )
    for query in queries:
        for name in query:
            if name not in (*_KEYS, *_PLAIN):
                meant = did_you_mean(name, (*_KEYS, *_PLAIN), "they are")
                raise UnreadableFileError(f"{path}: {name!r} is no entity of BIDS; {meant}")
    found: Filters = content
    return found


def fits(file: BidsFile, filters: Filters) -> bool:
    """Whether an image is among those that the queries of its kind ask for."""
    told = [
        query
        for key, query in filters.items()
        if file.suffix in _values(query.get("suffix"))
        or ("suffix" not in query and key.lower() == file.suffix.lower())
    ]
    return not told or any(_fits(file, query) for query in told)


def _fits(file: BidsFile, query: Mapping[str, Any]) -> bool:
    plain = {"suffix": file.suffix, "datatype": file.path.parent.name}
    for name, asked in query.items():
        if name == "extension":
            continue
        has = plain.get(name) or file.entities.get(_KEYS.get(name, ""))
        values = _values(asked)
        if _NONE in values and has is None:
            continue
        if has is None or not (set(_ANY) & set(values) or any(_same(has, one) for one in values)):
            return False
    return True


def _values(asked: Any) -> list[str]:
    """What a query names; null is that there is none of it."""
    several = asked if isinstance(asked, list) else [asked]
    return [_NONE if one is None else str(one) for one in several]


def _same(label: str, asked: str) -> bool:
    if label.isdigit() and asked.isdigit():  # run 1 is run-01
        return int(label) == int(asked)
    return label == asked.split("-", 1)[-1]

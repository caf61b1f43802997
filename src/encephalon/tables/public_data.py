# SPDX-License-Identifier: Apache-2.0
"""Public images that can be had by name: fetched by hash, with a table of them for every verb.

Masks of a yardstick are made of published labels, so that everybody scores against the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from encephalon.errors import TableError, UsageError, did_you_mean
from encephalon.io.atomic import locked, refuse_existing, sha256, write_text
from encephalon.io.fetch import Remote, fetch, recorded
from encephalon.io.files import expanded, is_file
from encephalon.io.reading import read_labels, write_image
from encephalon.io.text import csv_text, parse_toml, read_text

TABLE = "table.csv"
_Word = Annotated[str, Field(pattern=r"^[\w-]+$")]
# Nothing hidden, and nothing above the folder that it is fetched to.
_Path = Annotated[str, Field(pattern=r"^[\w+-][\w+.-]*(/[\w+-][\w+.-]*)*$")]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublicFile(_Closed):
    """One file of a set, and where it stands in the table.

    size     bytes; 0 where nobody has said
    sha256   as published; "" where it was not
    version  the version id of a bucket that keeps several
    """

    row: _Word
    column: _Word
    path: _Path
    size: int = Field(0, ge=0)
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    version: str = ""


class PublicSet(_Closed):
    """A named list of public files; `address` is that of the folder that all of them lie in."""

    name: _Word
    title: str
    licence: str
    source: str
    address: str
    files: tuple[PublicFile, ...] = Field(min_length=1)

    def remote(self, file: PublicFile) -> Remote:
        """Where a file of the set lies, and what is known of it."""
        version = f"?versionId={quote(file.version)}" if file.version else ""
        return Remote(
            f"the file {file.path} of {self.name}",
            f"{self.address.rstrip('/')}/{quote(file.path)}{version}",
            f"{self.name}/{file.path}",
            file.size,
            file.sha256,
            f"It is of {self.source}.",
            f"name the folder that has it as {self.name}/{file.path} with --mirror",
        )


_SETS = TypeAdapter(tuple[PublicSet, ...])


def public_sets(path: Path | None = None) -> Mapping[str, PublicSet]:
    """The sets that ship with the package, or those of a file like theirs, by name.

    Raises TableError for what such a file should not hold.
    """
    path = path or Path(__file__).with_suffix(".toml")
    try:
        found = _SETS.validate_python(parse_toml(read_text(path), path).get("set"))
    except ValidationError as error:
        first = error.errors()[0]
        raise TableError(
            f"{path}: expected sets of public files, but at "
            f"{'.'.join(map(str, first['loc'])) or 'set'}: {first['msg']}; correct it."
        ) from error
    return {one.name: one for one in found}


def get_public_set(
    name: str,
    folder: str | Path,
    *,
    offline: bool = False,
    mirror: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> Path:
    """Fetch the files of a set to `folder`, write table.csv beside them, and return its path.

    `name` is that of a set that ships, or a TOML file of one set like them. What is there already
    is compared, not fetched again; `offline` and `mirror` are those of `fetch`, a mirror having the
    files in a folder of the set's name. Raises UsageError for an unknown name, the errors of
    `fetch`, and OutputExistsError for other files in the place of these, unless `overwrite`.
    """
    chosen, home = _chosen(name), expanded(folder)
    columns = list(dict.fromkeys(file.column for file in chosen.files))
    rows = {file.row: {"id": file.row, **dict.fromkeys(columns, "")} for file in chosen.files}
    for file in chosen.files:
        rows[file.row][file.column] = _mask(file) if file.column == "mask" else file.path
    table, text = home / TABLE, csv_text(list(rows.values()))
    if not (is_file(table) and read_text(table) == text):
        refuse_existing(table, overwrite)
    with locked(home / ".data"):
        for number, file in enumerate(chosen.files):
            progress(number, len(chosen.files), file.path)
            remote, final = chosen.remote(file), home / file.path
            if not _is_there(remote, final):
                refuse_existing(final, overwrite)
                fetch(remote, final, offline=offline, mirror=mirror)
            mask = home / _mask(file)
            if file.column == "mask" and (overwrite or not is_file(mask)):
                labels = read_labels(final)
                write_image(labels.data > 0, mask, labels, overwrite=True)
        return write_text(table, text)


def _chosen(name: str) -> PublicSet:
    if name.endswith(".toml"):
        alone = list(public_sets(expanded(name)).values())
        if len(alone) != 1:
            raise TableError(
                f"{name}: expected one set of public files, but there are {len(alone)}; give each "
                "a file of its own."
            )
        return alone[0]
    known = public_sets()
    if name not in known:
        raise UsageError(f"Unknown data {name!r}; {did_you_mean(name, known, 'there are:')}")
    return known[name]


def _is_there(remote: Remote, final: Path) -> bool:
    if not is_file(final):
        return False
    record = recorded(remote.address)
    return sha256(final) == (remote.sha256 or (record.sha256 if record else ""))


def _mask(file: PublicFile) -> str:
    return f"{file.row}_mask.nii.gz"

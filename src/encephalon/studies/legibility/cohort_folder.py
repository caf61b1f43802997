# SPDX-License-Identifier: Apache-2.0
"""The folder of a cohort: people.csv, cohort.toml, images and connectivity, ready to learn from."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encephalon.errors import OutputError, TableError, listed
from encephalon.io.atomic import (
    explained,
    make_folder,
    prove_writable,
    refuse_existing,
    swap,
    temporary_beside,
    write_text,
)
from encephalon.io.files import expanded, place
from encephalon.studies.legibility.cohort import COHORT, PEOPLE, cohort_text, load_cohort, resolve
from encephalon.studies.legibility.connectivity import triangles
from encephalon.studies.legibility.layouts import Given, gather
from encephalon.studies.legibility.settings import Cohort, Target
from encephalon.tables.checks import checked
from encephalon.tables.naming import written_path
from encephalon.tables.reading import write_table
from encephalon.tables.schema import Table

if TYPE_CHECKING:
    from pandas import DataFrame

    from encephalon.inference.batch import Progress

__all__ = ["counts", "find_people", "write_cohort"]

#: People on either side, at the least, before an absence is held to tell anything (ours).
FEW = 5

_log = logging.getLogger(__name__)


def find_people(path: Path) -> Given:
    """The people of a cohort file who have something, and the cohort with what their table tells.

    Images are not opened and nothing is written. Raises what `gather`, `resolve` and `checked`
    raise, and TableError where nobody has anything.
    """
    given = gather(load_cohort(path), path.parent)
    given = replace(given, cohort=resolve(given.cohort, given.table))
    checked(replace(given.table, columns=replace(given.cohort.columns(), inputs={})))
    having = [any(row) for row in zip(*_having(given).values(), strict=True)]
    nothing = [person for person, some in zip(given.table.ids, having, strict=True) if not some]
    if len(nothing) == len(having):
        raise TableError(f"{given.table.source}: nobody has any of {listed(given.cohort.inputs)}.")
    if nothing:
        _log.warning("left out %d people who have nothing: %s.", len(nothing), listed(nothing))
        given = given.select([row for row, some in enumerate(having) if some])
        resolve(given.cohort, given.table)  # who is left may lack a class
    for sentence in _told_by_absence(given):
        _log.warning("%s", sentence)
    return given


def counts(given: Given) -> dict[str, dict[str, int]]:
    """How many people have each of the sources and blocks, and are known of each of the targets."""
    having, cohort = _having(given), given.cohort
    told = {name: given.table.texts(one.column or name) for name, one in cohort.targets.items()}
    return {
        "sources": {name: sum(having[name]) for name in cohort.sources},
        "blocks": {name: sum(having[name]) for name in cohort.blocks},
        "targets": {name: sum(map(bool, cells)) for name, cells in told.items()},
    }


def write_cohort(
    path: Path, folder: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> Given:
    """Write the cohort that the file `path` declares into `folder`; returns what was found.

    What is there stays until all is made, and people.csv and cohort.toml come last. Raises what
    `find_people` raises, ContentError for connectivity that is none, OutputExistsError for a cohort
    that is there unless `overwrite`, and OutputError, also where an input would be replaced.
    """
    given = find_people(path)
    sources = given.cohort.sources
    flat = [name for name, source in sources.items() if source.kind == "connectivity"]
    _refuse_own_input(given, path, [folder / name for name in (COHORT, PEOPLE, *flat)])
    for name in (COHORT, PEOPLE, *flat):
        refuse_existing(folder / name, overwrite)
    prove_writable(folder)
    cells: dict[str, Sequence[str]] = {}
    with explained(folder), temporary_beside(folder / "connectivity", folder=True) as work:
        for done, (name, source) in enumerate(sources.items(), start=1):
            made = _connectivity(given, name, work) if name in flat else _paths(given, name, folder)
            cells[source.column or name] = made
            if progress is not None:
                progress(done, len(sources), name)
        for name in flat:
            swap(work / name, folder / name)
    cohort = _written(given.cohort, path)
    write_table(_table(given.table, cells, cohort), folder / PEOPLE, overwrite=True)
    write_text(folder / COHORT, cohort_text(cohort))
    return given


def _refuse_own_input(given: Given, path: Path, made: Sequence[Path]) -> None:
    """Raise OutputError where what is made would take the place of what it is made of."""
    items = (one for some in given.items.values() for one in some if isinstance(one, Path))
    arrays = (path.parent / expanded(one.array) for one in given.cohort.sources.values())
    files: set[Path] = set()
    for file in map(place, (path, *given.tables, *items, *arrays)):
        files |= {file, *file.parents}
    for each in made:
        if place(each) in files:
            raise OutputError(f"{each} is an input and would be replaced: choose another folder.")


def _having(given: Given) -> dict[str, list[bool]]:
    """Whether each person has an input, by its name."""
    found = {name: [item is not None for item in some] for name, some in given.items.items()}
    for name, block in given.cohort.blocks.items():
        columns = map(given.table.texts, block.columns)
        found[name] = [any(row) for row in zip(*columns, strict=True)]
    return found


def _told_by_absence(given: Given) -> Iterator[str]:
    """What tells a target by being there or not, and is not of its domain, in a sentence each."""
    cohort, table = given.cohort, given.table
    for name, target in cohort.targets.items():
        cells = table.texts(target.column or name)
        hidden = cohort.hidden_from(name)
        having = {n: some for n, some in _having(given).items() if n in given.items}
        for block in set(cohort.blocks) - set(hidden):
            columns = cohort.blocks[block].columns
            having |= {column: list(map(bool, table.texts(column))) for column in columns}
        for what, some in having.items():
            there, gone = (
                [cell for cell, has in zip(cells, some, strict=True) if cell and has is wanted]
                for wanted in (True, False)
            )
            if min(len(there), len(gone)) >= FEW and (who := _apart(target, there, gone)):
                yield (
                    f"{what!r} is known of nobody whose {name!r} is {who}, so that its absence "
                    f"tells {name!r}: leave it out, or give it the domain of that target."
                )


def _apart(target: Target, there: Sequence[str], gone: Sequence[str]) -> str:
    """Of which people all lack something: those of a class, or beyond a number; "" for none."""
    if target.kind != "continuous":
        counts = Counter(gone)
        return next((repr(one) for one, n in counts.items() if n >= FEW and one not in there), "")
    known, unknown = [list(map(float, cells)) for cells in (there, gone)]
    if max(known) < min(unknown):
        return f"above {max(known):g}"
    return f"below {min(known):g}" if min(known) > max(unknown) else ""


def _connectivity(given: Given, name: str, folder: Path) -> list[str]:
    """Write the triangle of each person to NAME/ID.npy; the cells of the table."""
    cells, ids = [""] * len(given.table), given.table.ids
    make_folder(folder / name)
    for row, triangle in triangles(given.cohort.sources[name], given.items[name], ids):
        cells[row] = f"{name}/{ids[row]}.npy"
        np.save(folder / cells[row], triangle, allow_pickle=False)
    return cells


def _paths(given: Given, name: str, folder: Path) -> list[str]:
    """The path of each person's image from the folder; the cells of the table."""
    base = folder.resolve()
    return [
        written_path(item, base) if isinstance(item, Path) else "" for item in given.items[name]
    ]


def _table(table: Table, cells: Mapping[str, Sequence[str]], cohort: Cohort) -> DataFrame:
    """The rows as they are written: the id, the sources, and all else that there was."""
    for column, some in cells.items():
        table = table.with_column(column, [cell or None for cell in some])
    others = [name for name in map(str, table.frame.columns) if name not in {cohort.id, *cells}]
    return table.frame[[cohort.id, *cells, *others]]


def _written(cohort: Cohort, path: Path) -> Cohort:
    """The cohort of people.csv: what said where its data came from is settled."""
    settled = {"files": "", "array": "", "ids": "", "triangle": "upper"}
    sources = {name: one.model_copy(update=settled) for name, one in cohort.sources.items()}
    update = {"layout": "table", "table": PEOPLE, "sources": sources}
    return cohort.model_copy(update=update | {"name": cohort.name or path.absolute().parent.name})

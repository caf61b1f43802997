# SPDX-License-Identifier: Apache-2.0
"""The folder of a cohort: people.csv, cohort.toml, images and connectivity, ready to learn from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encephalon.errors import InputError, TableError, listed
from encephalon.inference.workers import Workers
from encephalon.io.atomic import (
    explained,
    make_folder,
    prove_writable,
    refuse_existing,
    swap,
    temporary_beside,
    write_text,
)
from encephalon.io.files import Inputs, expanded
from encephalon.studies.legibility.cohort import (
    COHORT,
    FACTS,
    PEOPLE,
    cohort_text,
    facts_of,
    load_cohort,
    resolve,
)
from encephalon.studies.legibility.layouts import Given, gather
from encephalon.studies.legibility.preprocessing import is_prepared, prepare_scans
from encephalon.studies.legibility.settings import Cohort
from encephalon.tables.checks import checked, far_off
from encephalon.tables.leakage import told_by_absence
from encephalon.tables.naming import written_path
from encephalon.tables.reading import write_table
from encephalon.tables.schema import Table
from encephalon.transforms.connectivity_files import read_triangles

if TYPE_CHECKING:
    from pandas import DataFrame

    from encephalon.inference.batch import Progress

__all__ = ["Preparing", "Written", "counts", "find_people", "write_cohort"]

#: The folder of prepared scans.
IMAGES = "images"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparing:
    """How a cohort is made.

    images    whether its scans are prepared; otherwise training does
    side      voxels along each side of them, of 224 mm
    workers   who prepares them: this process, if they are not given
    progress  whom it tells
    """

    images: bool = True
    side: int = 64
    workers: Workers | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class Written:
    """The people of a cohort that was written, and a sentence for each scan that was not."""

    given: Given
    failures: tuple[str, ...]


def find_people(path: Path, images: bool = True) -> Given:
    """The people of a cohort file who have something, and the cohort with what their table tells.

    Scans are not opened and nothing is written; with `images`, the cohort may name what preparing
    them will tell, such as the column "t1_brain_ml". Raises what `gather`, `resolve` and `checked`
    raise, and TableError where nobody has anything.
    """
    given = gather(load_cohort(path), path.parent)
    if images:
        given = _foreseen(given)
    given = replace(given, cohort=resolve(given.cohort, given.table))
    checked(replace(given.table, columns=replace(given.cohort.columns(), inputs={})))
    given = _with_something(given)
    for name, source in given.cohort.sources.items():
        if source.kind == "connectivity":  # of the first people, before hours of scans
            next(read_triangles(given.items[name], given.table.ids, source.triangle), None)
    blocks, targets = given.cohort.blocks.values(), given.cohort.targets.items()
    numbers = [name for block in blocks for name, kind in block.columns.items() if kind == "number"]
    numbers += [one.column or name for name, one in targets if one.kind == "continuous"]
    for sentence in (*_told_by_absence(given), *far_off(given.table, numbers)):
        _log.warning("%s", sentence)
    return given


def _foreseen(given: Given) -> Given:
    """With a number for each fact that the cohort names and preparing its scans will tell.

    Raises TableError for a column of the user's own that these would replace.
    """
    cohort, table = given.cohort, given.table
    named = {*cohort.confounds, *cohort.subgroups}
    named |= {column for block in cohort.blocks.values() for column in block.columns}
    for name in _scans(cohort):
        raw = any(isinstance(one, Path) and not is_prepared(one) for one in given.items[name])
        for column in facts_of(name):
            if raw and table.has(column):
                raise TableError(
                    f"{table.source} has a column {column!r}, which preparing the scans of "
                    f"{name!r} writes: rename it, or leave scans as they are (--no-images)."
                )
            if column in named and not table.has(column):
                table = table.with_column(column, ["1"] * len(table))
    return replace(given, table=table)


def _with_something(given: Given) -> Given:
    """Without people who have nothing, which is said; raises TableError where nobody is left."""
    having = [any(row) for row in zip(*_having(given).values(), strict=True)]
    nothing = [person for person, some in zip(given.table.ids, having, strict=True) if not some]
    if len(nothing) == len(having):
        raise TableError(f"{given.table.source}: nobody has any of {listed(given.cohort.inputs)}.")
    if nothing:
        _log.warning("left out %d people who have nothing: %s.", len(nothing), listed(nothing))
        given = given.select([row for row, some in enumerate(having) if some])
        resolve(given.cohort, given.table)  # who is left may lack a class
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
    path: Path, folder: Path, how: Preparing | None = None, *, overwrite: bool = False
) -> Written:
    """Write the cohort that the file `path` declares into `folder`.

    What is there stays until all is made, and people.csv and cohort.toml come last; a scan that was
    prepared before is not prepared again. Raises what `find_people` raises, ContentError for
    connectivity that is none, OutputExistsError for a cohort that is there unless `overwrite`, and
    OutputError, also where an input would be replaced.
    """
    how = how or Preparing()
    given, failures = find_people(path, how.images), list[str]()
    sources = given.cohort.sources
    flat = [name for name, source in sources.items() if source.kind == "connectivity"]
    _refuse_own_input(given, path, [folder / name for name in (COHORT, PEOPLE, *flat)])
    for name in (COHORT, PEOPLE, *flat):
        refuse_existing(folder / name, overwrite)
    prove_writable(folder)
    if how.images and len(flat) < len(sources):
        given, failures = _prepared(given, folder / IMAGES, how)
        given = _with_something(given)
    cells: dict[str, Sequence[str]] = {}
    with explained(folder), temporary_beside(folder / "connectivity", folder=True) as work:
        for name, source in sources.items():
            made = _connectivity(given, name, work) if name in flat else _paths(given, name, folder)
            cells[source.column or name] = made
        for name in flat:
            swap(work / name, folder / name)
    cohort = _written(given.cohort, path)
    write_table(_table(given.table, cells, cohort), folder / PEOPLE, overwrite=True)
    write_text(folder / COHORT, cohort_text(cohort))
    return Written(given, tuple(failures))


def _prepared(given: Given, cache: Path, how: Preparing) -> tuple[Given, list[str]]:
    """The people with their scans prepared in `cache`, columns of facts, and what failed."""
    names, table = _scans(given.cohort), given.table
    files = {
        name: [one if isinstance(one, Path) else None for one in given.items[name]]
        for name in names
    }
    found = prepare_scans(
        given.cohort,
        files,
        cache,
        how.side,
        workers=how.workers or Workers(),
        progress=lambda done, total: how.progress and how.progress(done, total, "scans"),
    )
    failures = [str(one) for some in found.values() for one in some if isinstance(one, InputError)]
    items = {
        name: [None if one is None or isinstance(one, InputError) else one.path for one in some]
        for name, some in found.items()
    }
    for name, some in found.items():
        notes = [getattr(one, "notes", {}) for one in some]
        for fact, column in zip(FACTS, facts_of(name), strict=True):
            kept = table.texts(column) if table.has(column) and not any(notes) else [""] * len(some)
            cells = [
                str(note.get(fact, cell)) or None for note, cell in zip(notes, kept, strict=True)
            ]
            table = table.with_column(column, cells)
    return replace(given, table=table, items={**given.items, **items}), failures


def _scans(cohort: Cohort) -> list[str]:
    return [name for name, source in cohort.sources.items() if source.kind == "image"]


def _refuse_own_input(given: Given, path: Path, made: Sequence[Path]) -> None:
    """Raise OutputError where what is made would take the place of what it is made of."""
    items = (one for some in given.items.values() for one in some if isinstance(one, Path))
    arrays = (path.parent / expanded(one.array) for one in given.cohort.sources.values())
    Inputs((path, *given.tables, *items, *arrays)).refuse(made)


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
    having = {name: some for name, some in _having(given).items() if name in cohort.sources}
    for name, target in cohort.targets.items():
        cells = table.texts(target.column or name)
        columns = [c for n in cohort.blocks for c in cohort.blocks[n].columns]
        hidden = [c for n in cohort.hidden_from(name) for c in cohort.blocks[n].columns]
        seen = {c: list(map(bool, table.texts(c))) for c in columns if c not in hidden}
        for what, some in (having | seen).items():
            if who := told_by_absence(cells, some, target.kind == "continuous"):
                yield (
                    f"{what!r} is known of nobody whose {name!r} is {who}, so that its absence "
                    f"tells {name!r}: leave it out, or give it the domain of that target."
                )


def _connectivity(given: Given, name: str, folder: Path) -> list[str]:
    """Write the triangle of each person to NAME/ID.npy; the cells of the table."""
    cells, ids = [""] * len(given.table), given.table.ids
    make_folder(folder / name)
    kind = given.cohort.sources[name].triangle
    for row, triangle in read_triangles(given.items[name], ids, kind):
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

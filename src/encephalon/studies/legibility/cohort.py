# SPDX-License-Identifier: Apache-2.0
"""A cohort beside its table: what a cohort file says, and what its table tells of the rest.

Columns for patterns of names, what a column without a kind holds, and the classes of a target are
looked up once, in all people, so that a part of them that lacks a category means the same.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from encephalon.errors import RecipeError, TableError, did_you_mean, listed
from encephalon.io.files import exists, expanded
from encephalon.recipes.loading import read_named
from encephalon.recipes.schema import Recipe, Study
from encephalon.recipes.validation import make_settings
from encephalon.studies.legibility.modes import legibility_settings
from encephalon.studies.legibility.settings import Block, Cohort, Target
from encephalon.tables.encoding import as_number
from encephalon.tables.kinds import column_kind, known_cells, size_of, sorted_words
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Columns, Table

__all__ = [
    "COHORT",
    "FACTS",
    "PEOPLE",
    "Completing",
    "cohort_text",
    "facts_of",
    "load_cohort",
    "resolve",
]

#: The files of a cohort's folder.
COHORT, PEOPLE = "cohort.toml", "people.csv"
#: What is known of a scan once it is prepared: millilitres of brain, size relative to the template,
#: and "ok" or "check"; see `preprocessing.prepare_image`.
FACTS = ("brain_ml", "scale", "quality")
#: People of a class, at the least: one to learn from, and one to be told.
FEWEST = 2


def load_cohort(path: str | os.PathLike[str]) -> Cohort:
    """The cohort that a file declares, checked; raises RecipeError with all that is wrong."""
    file = expanded(path)
    return make_settings(Cohort, read_named(file, "cohort")[1], str(file), section="")


def facts_of(source: str) -> tuple[str, ...]:
    """The columns of FACTS of a source of images."""
    return tuple(f"{source}_{fact}" for fact in FACTS)


def cohort_text(cohort: Cohort) -> str:
    """The cohort as TOML text, every default written out; `load_cohort` gives an equal one."""
    import tomlkit

    return tomlkit.dumps(cohort.model_dump(mode="json"))


class Completing:
    """Gives recipes the cohort that they are for: see `studies.base.Trainable.completing`.

    That is `[study.cohort]` of the recipe, or `cohort.toml` beside the table; of it the inputs and
    targets of `[study]`, with all that the table at `path` tells of them. The columns of the table
    follow from it. Raises RecipeError where there is neither, or no site to hold out, and what
    `resolve` raises.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._beside = path, path.parent / COHORT
        self._tables: dict[str, Table] = {}
        self._resolved: dict[str, Cohort] = {}

    def __call__(self, recipe: Recipe) -> Recipe:
        settings = legibility_settings(recipe)
        if settings.cohort is None and not exists(self._beside):
            raise RecipeError(
                f"{recipe.name}: there is no {self._beside} that says what is in "
                f"{self._path.name}: make a table with  encephalon table cohort, or declare "
                "[study.cohort] in the recipe."
            )
        cohort = settings.cohort or self._declared
        if settings.hold_out_sites and not cohort.site:
            raise RecipeError(
                f"{recipe.name}: study.hold_out_sites needs to know the sites, but the cohort has "
                "no `site`: name its column there, or leave hold_out_sites out."
            )
        settings = settings.using(cohort, self._resolve)
        said: dict[str, Any] = settings.model_dump(
            mode="json", exclude_unset=True, exclude_none=True
        )
        study = Study(name=recipe.study.name, **said)
        columns = settings.cohort.columns() if settings.cohort else recipe.table
        return recipe.model_copy(update={"study": study, "table": columns})

    @cached_property
    def _declared(self) -> Cohort:
        return load_cohort(self._beside)

    def _resolve(self, cohort: Cohort) -> Cohort:
        """`resolve`, once for each cohort: of 700 recipes many have the same."""
        said = cohort.model_dump_json()
        if said not in self._resolved:
            if cohort.id not in self._tables:
                columns = Columns(id=cohort.id, inputs={})
                self._tables[cohort.id] = read_table(self._path, columns)
            self._resolved[said] = resolve(cohort, self._tables[cohort.id])
        return self._resolved[said]


def resolve(cohort: Cohort, table: Table) -> Cohort:
    """The cohort with what its table tells: columns for patterns, kinds of columns, and classes.

    Of two classes in any order the later in the alphabet is the positive one. Raises TableError for
    a column that there is not, one of text or without a value, a target that is the same for
    everybody, and a class of fewer than two people; all that is said already is kept.
    """
    for word in ("id", "group", "site", "split", "person", "confounds", "subgroups"):
        said = getattr(cohort, word)
        columns = [said] * bool(said) if isinstance(said, str) else said
        _need(table, columns, f"`{word}`")
    targets = {name: _target(name, target, table) for name, target in cohort.targets.items()}
    found = cohort.model_copy(update={"blocks": _blocks(cohort, table), "targets": targets})
    # Once more, for columns that came with a pattern.
    return make_settings(Cohort, found.model_dump(), f"The cohort of {table.source}", section="")


def _need(table: Table, columns: Iterable[str], named_by: str) -> None:
    have = list(map(str, table.frame.columns))
    for column in columns:
        if column not in have:
            meant = did_you_mean(column, have, "it has")
            raise TableError(
                f"{table.source} has no column {column!r}, which {named_by} of the cohort names; "
                f"{meant}"
            )


def _blocks(cohort: Cohort, table: Table) -> dict[str, Block]:
    taken = {cohort.id, cohort.group, cohort.site, cohort.split}
    taken |= {target.column or name for name, target in cohort.targets.items()}
    taken |= {source.column or name for name, source in cohort.sources.items()}
    taken |= {column for block in cohort.blocks.values() for column in block.columns}
    found = {}
    for name, block in cohort.blocks.items():
        free = [column for column in map(str, table.frame.columns) if column not in taken]
        columns = Columns(id=cohort.id, inputs={}, covariates=dict(block.columns)).expand(free)
        taken |= set(columns.covariates)
        _need(table, columns.covariates, f"the block {name!r}")
        kinds = {
            column: kind or column_kind(table, column, f"the block {name!r}")
            for column, kind in columns.covariates.items()
        }
        found[name] = block.model_copy(update={"columns": kinds})
    return found


def _target(name: str, target: Target, table: Table) -> Target:
    """The target with its classes; raises TableError where the table does not suit it."""
    column = target.column or name
    _need(table, [column], f"the target {name!r}")
    place = f"{table.source}: {column!r}, of the target {name!r},"
    cells = dict(known_cells(table, column))
    if not cells:
        raise TableError(f"{place} is empty in every row: leave the target out.")
    if len({size_of(word) for word in cells.values()}) == 1:
        word = next(iter(cells.values()))
        raise TableError(f"{place} is {word!r} for everybody: nothing can be learnt of it.")
    if target.kind == "continuous":
        for row, cell in cells.items():
            if math.isnan(as_number(cell)):
                raise TableError(
                    f"{table.source}, row {row}: {column!r}, of the continuous target {name!r}, is "
                    f"{cell!r} and no number: mend it, or name another kind."
                )
        return target
    classes = target.classes or _classes(place, target, sorted_words(cells.values()))
    for row, cell in cells.items():
        if cell not in classes:
            meant = did_you_mean(cell, classes, "they are").rstrip(".")
            raise TableError(
                f"{table.source}, row {row}: {column!r} is {cell!r}, which is none of the classes "
                f"of the target {name!r}: {meant}; empty the cell, or name the class."
            )
    counts = Counter(cells.values())
    for word in classes:
        if counts[word] < FEWEST:
            raise TableError(
                f"{place} is {word!r} in {counts[word]} of {len(cells)} rows, and a class needs "
                f"{FEWEST}, one to learn from and one to be told: leave it out of the classes, or "
                "join it with another."
            )
    return target.model_copy(update={"classes": classes})


def _classes(place: str, target: Target, words: tuple[str, ...]) -> tuple[str, ...]:
    for one, other in pairwise(words):
        if size_of(one) == size_of(other):
            raise TableError(
                f"{place} is {one!r} in some rows and {other!r} in others, which is one number: "
                "write it alike."
            )
    if target.kind == "binary" and len(words) != 2:
        raise TableError(
            f"{place} has {len(words)} different words, {listed(words)}, and a binary target two: "
            "make it multiclass, or name two classes and empty the other cells."
        )
    if target.kind == "ordinal" and any(math.isnan(as_number(word)) for word in words):
        raise TableError(f"{place} is ordinal: name its classes in their order, from the lowest.")
    return words

# SPDX-License-Identifier: Apache-2.0
"""A cohort beside its table: what a cohort file says, and what its table tells of the rest.

Columns for patterns of names, what a column without a kind holds, and the classes of a target are
looked up once, in all people, so that a part of them that lacks a category means the same.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from encephalon.errors import RecipeError
from encephalon.io.files import exists, expanded
from encephalon.recipes.loading import read_named
from encephalon.recipes.schema import Recipe, Study
from encephalon.recipes.validation import make_settings
from encephalon.studies.legibility.modes import legibility_settings
from encephalon.studies.legibility.settings import Block, Cohort
from encephalon.tables.kinds import column_classes, column_kind
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
    a column that there is not, and what `column_kind` and `column_classes` raise; all that is said
    already is kept.
    """
    for word in ("id", "group", "site", "split", "person", "confounds", "subgroups"):
        said = getattr(cohort, word)
        for column in [said] * bool(said) if isinstance(said, str) else said:
            table.require(column, f"`{word}` of the cohort")
    targets = {}
    for name, one in cohort.targets.items():
        about = one.column or name, one.kind, f"the target {name!r}", one.classes
        targets[name] = one.model_copy(update={"classes": column_classes(table, *about)})
    found = cohort.model_copy(update={"blocks": _blocks(cohort, table), "targets": targets})
    # Once more, for columns that came with a pattern.
    return make_settings(Cohort, found.model_dump(), f"The cohort of {table.source}", section="")


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
        kinds = {}
        for column, kind in columns.covariates.items():
            table.require(column, f"the block {name!r}")
            kinds[column] = kind or column_kind(table, column, f"the block {name!r}")
        found[name] = block.model_copy(update={"columns": kinds})
    return found

# SPDX-License-Identifier: Apache-2.0
"""A grid: recipes by seeds by any settings, as plain data in TOML, and the cells that it means.

    name, title, description
    [axes]       recipe = ["pca", "byol"], and settings with the values that each of them takes:
                 "training.seed" = [0, 1, 2]; or every set of what goes together:
                 "study.inputs" = { always = ["metadata"], subsets = [["t1", "flair"], ["dwi"]] }
    [settings]   settings of every cell: "training.epochs" = 2
    [[rules]]    when = { recipe = ["pca"] } with
                 set = { "study.components" = 64 }     settings of those cells, or
                 only = { "training.seed" = [0] }      fewer values there; none leaves the axis out
                 without = { "study.inputs" = ["dwi"] }  what is taken out of the sets there

A cell is one recipe with all its settings, on one table: its key is the hash of both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from encephalon.errors import EncephalonError, RecipeError, did_you_mean
from encephalon.io.files import exists
from encephalon.recipes.loading import (
    changed,
    find_recipe,
    make_recipe,
    read_named,
    recipe_data,
)
from encephalon.recipes.schema import Recipe, Section
from encephalon.recipes.validation import make_settings

__all__ = [
    "RECIPE",
    "SEED",
    "Cell",
    "Grid",
    "Rule",
    "axis_words",
    "cells_of",
    "flat_settings",
    "load_grid",
    "traits_of",
]

RECIPE, SEED = "recipe", "training.seed"
Axes = dict[str, tuple[Any, ...]]
#: Digits of a key that name its folder: of a million cells, two share one once in 500 grids.
DIGITS = 12
#: Characters of a cell's name: several folders and files follow it in a path.
LONGEST = 60


def flat_settings(values: Any) -> Any:
    """Settings by their dotted keys, however a file nests them."""
    if not isinstance(values, Mapping):
        return values
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = flat_settings(value) if isinstance(value, Mapping) and value else None
        found |= {f"{key}.{name}": each for name, each in inner.items()} if inner else {key: value}
    return found


def _axes(values: Any) -> Any:
    """Axes by their dotted keys, with every set of those that say `subsets` written out."""
    found = flat_settings(values)
    if not isinstance(found, Mapping):
        return found
    axes: dict[str, Any] = {}
    for key, value in found.items():
        axis, _, last = key.rpartition(".")
        if last == "subsets":
            axes[axis] = _subsets(found.get(f"{axis}.always", []), value)
        elif not (last == "always" and f"{axis}.subsets" in found):
            axes[key] = value
    return axes


def _subsets(always: Any, units: Any) -> list[list[Any]]:
    """What is in every set, with each choice of units, the smaller first; none that is empty."""
    if not isinstance(always, list) or not isinstance(units, list):
        raise ValueError("takes lists as `subsets` and `always`: what goes together, and what each")
    whole = [unit if isinstance(unit, list) else [unit] for unit in units]
    chosen = (some for size in range(len(whole) + 1) for some in combinations(whole, size))
    return [made for some in chosen if (made := [*always, *chain.from_iterable(some)])]


class Rule(Section):
    """What holds for the cells whose axes have some of the values of `when`.

    set      settings there, beside those of every cell
    only     the values that axes have there; none leaves an axis out
    without  what is taken out of the values there that are lists; a cell that has none left is left
             out, and those that are the same then are one
    """

    when: Axes = Field(min_length=1)
    set: dict[str, Any] = Field(default_factory=dict)
    only: Axes = Field(default_factory=dict)
    without: Axes = Field(default_factory=dict)

    _flattened = field_validator("when", "set", "only", "without", mode="before")(flat_settings)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.set or self.only or self.without):
            raise ValueError("needs set, only or without: what holds there")
        return self

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether these values of axes are among those that it is for."""
        return all(axis in values and values[axis] in some for axis, some in self.when.items())


class Grid(Section):
    """A whole grid; read it with `load_grid`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str
    description: str = ""
    axes: Axes
    settings: dict[str, Any] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    _flattened = field_validator("settings", mode="before")(flat_settings)
    _expanded = field_validator("axes", mode="before")(_axes)

    @field_validator("axes")
    @classmethod
    def _valued(cls, axes: Axes) -> Axes:
        if RECIPE not in axes:
            raise ValueError("needs recipe: a list of built-in recipes, or of recipe files")
        for axis, values in axes.items():
            if not values:
                raise ValueError(f"has no value for {axis!r}: give it some, or leave it out")
            if repeated := [value for n, value in enumerate(values) if value in values[:n]]:
                raise ValueError(f"has {repeated[0]!r} twice in {axis!r}: leave one out")
        return axes

    @model_validator(mode="after")
    def _of_the_axes(self) -> Self:
        items = {
            axis: tuple(chain.from_iterable(each for each in values if isinstance(each, list)))
            for axis, values in self.axes.items()
        }
        for number, rule in enumerate(self.rules):
            for kind, axes, there in (
                ("when", rule.when, self.axes),
                ("only", rule.only, self.axes),
                ("without", rule.without, items),
            ):
                for axis, values in axes.items():
                    if axis not in self.axes:
                        meant = did_you_mean(axis, self.axes, "the axes are")
                        raise ValueError(
                            f"has no axis {axis!r}, which rule {number} names in {kind}; {meant}"
                        )
                    if (axis, kind, values) == (RECIPE, "only", ()):
                        raise ValueError(f"has a rule {number} that leaves out every recipe")
                    for value in values:
                        if value not in there[axis]:
                            known = dict.fromkeys(map(str, there[axis]))
                            meant = did_you_mean(str(value), known, "it has")
                            raise ValueError(
                                f"has no {value!r} on the axis {axis!r}, which rule {number} names "
                                f"in {kind}; {meant}"
                            )
        return self

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """The same with these settings of every cell, above all that it says."""
        if not settings:
            return self
        every = Rule(when={RECIPE: self.axes[RECIPE]}, set=dict(settings))
        return self.model_copy(update={"rules": (*self.rules, every)})

    def combinations(self) -> list[dict[str, Any]]:
        """The values of the axes of every cell, in the order of the axes."""
        found: dict[str, dict[str, Any]] = {}
        for drawn in product(*self.axes.values()):
            values = dict(zip(self.axes, drawn, strict=True))
            rules = [rule for rule in self.rules if rule.holds(values)]
            only = [pair for rule in rules for pair in rule.only.items()]
            left_out = {axis for axis, some in only if not some}
            kept = {axis: value for axis, value in values.items() if axis not in left_out}
            if not all(kept[axis] in some for axis, some in only if axis in kept):
                continue
            taken = [pair for rule in rules for pair in rule.without.items() if pair[0] in kept]
            for axis, some in taken:
                if isinstance(kept[axis], list):
                    kept[axis] = [item for item in kept[axis] if item not in some]
            if all(kept[axis] for axis, _ in taken):
                # Those that differ in nothing but what is left out are one.
                found.setdefault(repr(kept), kept)
        return list(found.values())

    def settings_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All settings of a cell by their dotted keys, the later rule before the earlier."""
        found = dict(self.settings)
        for rule in self.rules:
            if rule.holds(values):
                found |= rule.set
        return found | {axis: value for axis, value in values.items() if axis != RECIPE}


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation: all that is needed to do it anywhere.

    values  of the axes
    recipe  with all settings
    table   the samples
    digest  SHA-256 of the table
    """

    values: Mapping[str, Any]
    recipe: Recipe
    table: Path
    digest: str = field(repr=False)

    @cached_property
    def key(self) -> str:
        """What tells it from every other recipe and table."""
        content = json.dumps([recipe_data(self.recipe), self.digest], sort_keys=True)
        return sha256(content.encode()).hexdigest()

    @property
    def name(self) -> str:
        """The recipe and the other axes in words, for a person."""
        return " ".join(axis_words({**self.values, RECIPE: self.recipe.name}))

    @property
    def folder(self) -> str:
        """The name of its folder."""
        plain = re.sub(r"[^a-z0-9._+]+", "-", self.name.lower()).strip("-.")
        return f"{self.key[:DIGITS]}-{plain[:LONGEST]}"


def axis_words(values: Mapping[str, Any]) -> list[str]:
    """Values of axes in few words: the recipe, and "epochs=5" of a setting."""
    return [
        (f"{axis.rpartition('.')[2]}=" if axis != RECIPE else "") + _word(value)
        for axis, value in values.items()
    ]


def traits_of(values: Mapping[str, Any]) -> dict[str, str]:
    """What the time of a training depends on, of the values of the axes of its cell.

    Of a list each member counts, whatever the axis is called, so that "t1" among "study.inputs" is
    the input t1 of other results; of any other value the value itself.
    """
    found: dict[str, str] = {}
    for axis, value in values.items():
        if isinstance(value, list | tuple) and value:
            found |= dict.fromkeys(map(str, value), "used")
        elif axis != SEED:
            found[axis] = str(value)
    return found


def load_grid(path: Path) -> Grid:
    """The checked grid of a file; raises RecipeError with all that is wrong."""
    return make_settings(Grid, read_named(path, "grid")[1], str(path), section="")


def cells_of(
    grid: Grid, beside: Path, table: Path, digest: str, check: Callable[[Recipe], Recipe]
) -> list[Cell]:
    """Every cell of `grid` on a table, in order, its recipe as `check` returns it.

    Recipe files are looked for in the folder `beside`, of the grid, and then from here. Raises
    RecipeError, with the cell, for a recipe that is not in order, for two cells that are the same,
    for recipes of several studies, and where the rules leave no cell.
    """
    read = {}
    for name in map(str, grid.axes[RECIPE]):
        near = beside / name
        path = near if near.suffix == ".toml" and exists(near) else find_recipe(name)
        read[name] = read_named(path, "recipe")[1]
    cells: dict[str, Cell] = {}
    for values in grid.combinations():
        cell = _cell(grid, values, read[str(values[RECIPE])], table, digest, check)
        twin = cells.setdefault(cell.key, cell)
        if twin is not cell:
            raise RecipeError(
                f"The grid {grid.name!r}: {twin.name!r} and {cell.name!r} are the same recipe with "
                "the same settings: leave one of them out."
            )
    if not cells:
        raise RecipeError(f"The grid {grid.name!r}: its rules leave no cell: drop one of them.")
    studies = sorted({cell.recipe.study.name for cell in cells.values()})
    if len(studies) > 1:
        raise RecipeError(
            f"The grid {grid.name!r} has recipes of the studies {', '.join(studies)}, which share "
            "no table and no scores: make a grid of each."
        )
    return list(cells.values())


def _cell(
    grid: Grid,
    values: Mapping[str, Any],
    data: Mapping[str, Any],
    table: Path,
    digest: str,
    check: Callable[[Recipe], Recipe],
) -> Cell:
    said = ", ".join(f"{axis} = {_word(value)}" for axis, value in values.items())
    source = f"The grid {grid.name!r}, {said}"
    try:
        recipe = check(make_recipe(changed(data, grid.settings_of(values)), source))
    except EncephalonError as error:
        said = str(error)
        raise RecipeError(said if said.startswith(source) else f"{source}: {said}") from error
    return Cell(values, recipe, table, digest)


def _word(value: Any) -> str:
    """A value as TOML spells it, but for the quotes of text."""
    return value if isinstance(value, str) else json.dumps(value)

# SPDX-License-Identifier: Apache-2.0
"""Find, list, show, load and write recipes. Listing reads TOML only, so it is quick."""

from __future__ import annotations

import copy
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import InputError, RecipeError, did_you_mean
from encephalon.io.files import composed, exists, expanded
from encephalon.io.text import parse_toml, read_text

if TYPE_CHECKING:
    from encephalon.recipes.schema import Recipe

_LARGEST = 1 << 20
"""Bytes; a recipe has some kilobytes."""
_SHOWN = 40  # characters of a value that an error repeats
BUILT_IN = Path(__file__).parent
_STUDIES = ("brain-extraction", "isotropic", "meningioma", "micrographs")
#: What earlier versions wrote into recipes, runs and models, and the word of today, by its key.
EARLIER: Mapping[str, Mapping[str, str]] = {
    "mode": {"sound": "default", "legacy": "published"},
    "name": {f"{name}-legacy": f"{name}-published" for name in _STUDIES},
}


@dataclass(frozen=True)
class RecipeSummary:
    """One line of `encephalon recipes list`."""

    name: str
    title: str
    study: str
    task: str
    mode: str
    description: str


def list_recipes() -> list[RecipeSummary]:
    """The built-in recipes, by name."""
    summaries = []
    for path in _built_in():
        _, data = read_named(path, "recipe")
        study = data.get("study", {}).get("name", "")
        words = {key: str(data.get(key, "")) for key in ("title", "task", "description")}
        mode = data.get("mode", "default")
        summaries.append(RecipeSummary(name=path.stem, study=study, mode=mode, **words))
    return summaries


def show_recipe(name: str) -> str:
    """The TOML text of a built-in recipe or of a recipe file, comments included."""
    return read_named(find_recipe(name), "recipe")[0]  # a recipe, not whatever file was named


def find_recipe(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a built-in recipe (by name) or of the user's own (by path).

    Raises RecipeError, with the nearest name or the names there are, if there is neither.
    """
    text = os.fspath(name_or_path)
    return find_named(EARLIER["name"].get(text, text), _built_in(), "recipe")


def find_named(text: str, built_in: Iterable[Path], what: str) -> Path:
    """The file of `built_in` that has that name, or else the user's own at that path.

    `what` is "recipe", "grid" or the like. Raises RecipeError, with the nearest name or the names
    there are, if there is neither.
    """
    known = {path.stem: path for path in built_in}
    path = known.get(text, expanded(text))
    if exists(path):
        return path
    meant = did_you_mean(text, known, "the built-in ones are")
    raise RecipeError(f"There is no {what} and no file called {text!r}; {meant}")


def read_named(path: Path, what: str) -> tuple[str, dict[str, Any]]:
    """The text of a recipe or another such file, and what it says; raises RecipeError."""
    try:
        # Its words are compared with those of tables.
        text = composed(read_text(path, _LARGEST, f"a {what}"))
        return text, parse_toml(text, path)
    except InputError as error:
        raise RecipeError(str(error)) from error


def load_recipe(
    recipe: str | os.PathLike[str] | Recipe, overrides: Mapping[str, Any] | None = None
) -> Recipe:
    """The checked, frozen recipe of that name or file, or one that is loaded, with changes.

    `overrides` maps dotted keys to values, or to text in TOML spelling ("training.epochs": 5,
    "training.losses.0.weight": "0.5"); text that is no TOML is taken as it stands. Nothing is
    evaluated. Raises RecipeError for a missing or malformed file, an unknown key (with the
    nearest known one) or a value out of range.
    """
    if isinstance(recipe, str | os.PathLike):
        path = find_recipe(recipe)
        (_, data), source = read_named(path, "recipe"), str(path)
    else:
        data, source = recipe_data(recipe), recipe.name
    if overrides:
        read = {
            key: parse_value(value) if isinstance(value, str) else value
            for key, value in overrides.items()
        }
        data = changed(data, read)
        source += " with its overrides"
    return make_recipe(data, source)


def changed(data: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the data of a recipe with `values` at their dotted keys; raises RecipeError."""
    copied = copy.deepcopy(dict(data))
    for key, value in values.items():
        _override(copied, key, value)
    return copied


def make_recipe(data: Mapping[str, Any], source: str) -> Recipe:
    """A recipe from plain data; `source` says in an error where the data came from."""
    from encephalon.recipes.schema import Recipe
    from encephalon.recipes.validation import make_settings

    return make_settings(Recipe, in_todays_words(data), source, section="")


def recipe_data(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data (what a TOML or JSON file can hold), keys without value left out.

    `make_recipe(recipe_data(recipe), ...)` gives an equal recipe.
    """
    return recipe.model_dump(mode="json", exclude_none=True)


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as TOML text, every default written out."""
    import tomlkit

    return tomlkit.dumps(recipe_data(recipe))


def parse_value(text: str) -> Any:
    """The TOML value that `text` spells, or `text` itself where it spells none."""
    try:
        parsed = parse_toml(f"value = {text}", f"The value {text[:_SHOWN]}")
    except InputError as error:
        if isinstance(error.__cause__, tomllib.TOMLDecodeError):
            return text
        raise RecipeError(str(error)) from error
    return parsed["value"] if set(parsed) == {"value"} else text


def in_todays_words(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a recipe with today's words for those of EARLIER."""
    found = dict(recipe)
    for key, words in EARLIER.items():
        if isinstance(found.get(key), str):
            found[key] = words.get(found[key], found[key])
    return found


def in_earlier_words(text: str) -> str:
    """The text of `dump_recipe` as an earlier version wrote it of the same recipe."""
    top, section, rest = text.partition("\n[")
    for key, words in EARLIER.items():
        for old, new in words.items():
            top = top.replace(f'{key} = "{new}"', f'{key} = "{old}"')
    return top + section + rest


def _built_in() -> list[Path]:
    return sorted(BUILT_IN.glob("*.toml"), key=lambda path: path.stem)


def _override(data: dict[str, Any], key: str, value: Any) -> None:
    """Put `value` at the dotted `key` of `data`, making tables on the way."""
    *parents, last = key.split(".")
    place: Any = data
    for part in parents:
        if isinstance(place, list):
            place = place[_index(place, part, key)]
        else:
            place = place.setdefault(part, {}) if isinstance(place, dict) and part else None
    if isinstance(place, list):
        place[_index(place, last, key)] = value
    elif isinstance(place, dict) and last:
        place[last] = value
    else:
        raise RecipeError(f"The override {key!r} leads into a value that holds no keys.")


def _index(items: list[Any], part: str, key: str) -> int:
    if part.isdigit() and int(part) < len(items):
        return int(part)
    raise RecipeError(
        f"The override {key!r} needs a number below {len(items)} where it says {part!r}."
    )

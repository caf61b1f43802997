# SPDX-License-Identifier: Apache-2.0
"""`encephalon recipes list | show | check`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console, table


def list_(as_json: flags.AsJson = False) -> None:
    """List the built-in recipes.

    \b
    Example:
        encephalon recipes list
    """
    from encephalon.recipes.loading import list_recipes

    found = [asdict(recipe) for recipe in list_recipes()]
    columns = ["name", "study", "mode", "title"]
    Console(as_json=as_json).result(found, lambda: table(found, columns))


def show(recipe: flags.Recipe) -> None:
    """Print a recipe as TOML, to start your own with.

    \b
    Example:
        encephalon recipes show brain-extraction > mine.toml
    """
    from encephalon.recipes.loading import show_recipe

    Console().result(None, show_recipe(recipe).rstrip("\n"))


def check(
    console: Console,
    recipe: flags.Recipe,
    changes: flags.Set = None,
    dump: Annotated[
        bool, typer.Option("--dump", help="Print it with every default written out.")
    ] = False,
) -> None:
    """Check a recipe: keys, values, the settings of its study and, where torch is, the network.

    \b
    Example:
        encephalon recipes check mine.toml --set training.epochs=5
    """
    from encephalon.api import check_network, load_recipe
    from encephalon.recipes.loading import dump_recipe, recipe_data

    loaded = load_recipe(recipe, flags.settings(changes))
    check_network(loaded)
    if dump:
        console.result(recipe_data(loaded), dump_recipe(loaded).rstrip("\n"))
        return
    source = recipe if not Path(recipe).is_file() else Path(recipe).name
    console.result(
        {"recipe": loaded.name, "valid": True},
        f"{source}: a valid recipe for the study {loaded.study.name!r}",
    )


recipes = (list_, show, check)

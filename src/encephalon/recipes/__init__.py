# SPDX-License-Identifier: Apache-2.0
"""Recipes: what is trained, on what, and how, as plain TOML; the built-in ones lie here."""

from __future__ import annotations

from encephalon.recipes.loading import (
    RecipeSummary,
    dump_recipe,
    find_recipe,
    list_recipes,
    load_recipe,
    make_recipe,
    make_settings,
    recipe_data,
    show_recipe,
)

__all__ = [
    "RecipeSummary",
    "dump_recipe",
    "find_recipe",
    "list_recipes",
    "load_recipe",
    "make_recipe",
    "make_settings",
    "recipe_data",
    "show_recipe",
]

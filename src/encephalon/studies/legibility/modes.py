# SPDX-License-Identifier: Apache-2.0
"""What the settings of a recipe are, by its mode."""

from __future__ import annotations

from collections.abc import Mapping

from encephalon.recipes.schema import Mode, Recipe
from encephalon.recipes.validation import make_settings
from encephalon.studies.legibility.published.settings import PublishedSettings
from encephalon.studies.legibility.settings import LegibilitySettings

__all__ = ["NETWORKS", "SETTINGS", "legibility_settings"]

SETTINGS: Mapping[Mode, type[LegibilitySettings]] = {
    "default": LegibilitySettings,
    "published": PublishedSettings,
}
#: The network of each.
NETWORKS: Mapping[Mode, str] = {"default": "masked-fusion", "published": "published-legibility"}


def legibility_settings(recipe: Recipe) -> LegibilitySettings:
    """The settings of a recipe of this study; raises RecipeError."""
    return make_settings(SETTINGS[recipe.mode], recipe.study.settings, recipe.name)

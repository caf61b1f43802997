# SPDX-License-Identifier: Apache-2.0
"""What a recipe says to this study: its settings, its classes, and the network that follows."""

from __future__ import annotations

from typing import Any

from encephalon.errors import RecipeError
from encephalon.recipes import make_settings
from encephalon.recipes.schema import Recipe
from encephalon.studies.micrographs.settings import MicrographSettings

__all__ = ["check_recipe", "class_names", "micrograph_settings", "network_options"]


def micrograph_settings(recipe: Recipe) -> MicrographSettings:
    """The checked settings in `recipe.study`; raises RecipeError for one that is not right."""
    return make_settings(MicrographSettings, recipe.study.settings, recipe.name)


def class_names(recipe: Recipe) -> tuple[str, ...]:
    """The classes in the order of the logits; raises RecipeError where the table names none."""
    kind = recipe.table.target_kind
    if recipe.table.target is None or isinstance(kind, str) or len(kind) < 2:
        raise RecipeError(
            f"{recipe.name}: a classifier needs the column of the classes in table.target, and two "
            "or more classes in table.target_kind, in their order."
        )
    if len(set(kind)) < len(kind):
        raise RecipeError(f"{recipe.name}: table.target_kind names a class twice: {list(kind)}.")
    return tuple(kind)


def network_options(recipe: Recipe) -> dict[str, Any]:
    """The options that the network is built with: the recipe's, and what the table determines.

    Those are `classes`, `covariates` (encoded columns) and `inputs`. Raises RecipeError where the
    recipe says otherwise in [network.options].
    """
    from encephalon.tables.encoding import covariate_width

    determined = {
        "classes": len(class_names(recipe)),
        "covariates": covariate_width(recipe.table),
        "inputs": micrograph_settings(recipe).inputs,
    }
    for name, value in determined.items():
        said = recipe.network.options.get(name, value)
        if said != value:
            raise RecipeError(
                f"{recipe.name}: network.options.{name} is {said!r}, but table and study make it "
                f"{value!r}: leave it out."
            )
    return {**recipe.network.options, **determined}


def check_recipe(recipe: Recipe) -> None:
    """Raise RecipeError unless this study can train what `recipe` describes."""
    settings, classes = micrograph_settings(recipe), class_names(recipe)
    fault = None
    if len(recipe.table.inputs) != 1:
        fault = "a sample has one image: name one column in table.inputs"
    elif recipe.table.target in recipe.table.covariates:
        fault = (
            f"table.covariates names {recipe.table.target!r}, which is table.target: leave it out, "
            "or the network is given the answer"
        )
    elif settings.inputs == "covariates" and not recipe.table.covariates:
        fault = "study.inputs is 'covariates', but table.covariates names none"
    elif recipe.training.batch_size < 2:
        fault = "batches of one image cannot be normalised: set training.batch_size to 2 or more"
    elif settings.score == "sigmoid_logit1" and len(classes) != 2:
        fault = f"study.score 'sigmoid_logit1' is for two classes, not {len(classes)}"
    if fault:
        raise RecipeError(f"{recipe.name}: {fault}.")
    network_options(recipe)

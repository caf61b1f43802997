# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from encephalon.errors import RecipeError
from encephalon.recipes.loading import make_recipe
from encephalon.recipes.validation import make_settings

PLAIN: dict[str, Any] = {
    "name": "mine",
    "title": "Mine",
    "task": "segmentation",
    "study": {"name": "extraction", "border": 2.5},
    "network": {"name": "distance-unet"},
}


def changed(**sections: Any) -> dict[str, Any]:
    return {**PLAIN, **sections}


def test_a_recipe_needs_only_a_name_a_task_a_study_and_a_network() -> None:
    """Everything else has a default."""
    recipe = make_recipe(PLAIN, "mine.toml")
    assert recipe.mode == "default"
    assert recipe.training.optimiser == "adam"
    assert recipe.table.inputs == {"image": "image"}


def test_the_free_keys_of_the_study_are_kept_as_written() -> None:
    """What only a study understands is not judged here."""
    assert make_recipe(PLAIN, "mine.toml").study.settings == {"border": 2.5}


@pytest.mark.parametrize(
    ("section", "key", "meant"),
    [
        ("training", "epohcs", "epochs"),
        ("training", "learning_rat", "learning_rate"),
        ("network", "nam", "name"),
        ("table", "covariate", "covariates"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    section: str, key: str, meant: str
) -> None:
    """The sentence says which key, in which section, and what was probably meant."""
    data = changed(**{section: {**PLAIN.get(section, {}), key: 1}})
    with pytest.raises(RecipeError) as caught:
        make_recipe(data, "mine.toml")
    wanted = f"mine.toml: unknown key '{key}' in [{section}]; did you mean '{meant}'?"
    assert str(caught.value) == wanted


def test_an_unknown_section_is_refused() -> None:
    """A misspelt section does not leave its defaults in place silently."""
    with pytest.raises(RecipeError, match="unknown key 'trainig'; did you mean 'training'"):
        make_recipe(changed(trainig={"epochs": 3}), "mine.toml")


def test_a_key_unlike_any_other_is_refused_without_a_guess() -> None:
    """The keys there are say more than a wild guess."""
    with pytest.raises(
        RecipeError, match=r"unknown key 'zzz' in \[training\]; the keys are .*ema\.$"
    ):
        make_recipe(changed(training={"zzz": 1}), "mine.toml")


def test_an_unknown_key_of_a_loss_names_its_place_in_the_list() -> None:
    """Losses are a list; the number of the item is part of the place."""
    training = {"losses": [{"name": "dice"}, {"name": "focal", "wieght": 2}]}
    with pytest.raises(RecipeError, match=r"'wieght' in \[training.losses.1\].*'weight'"):
        make_recipe(changed(training=training), "mine.toml")


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"epochs": 0}, "'epochs' in [training] should be greater than 0, but is 0"),
        ({"epochs": 2.5}, "'epochs' in [training]"),
        ({"learning_rate": -1.0}, "greater than 0, but is -1.0"),
        ({"learning_rate": float("nan")}, "'learning_rate' in [training]"),
        ({"optimiser": "lion"}, "should be 'adam', 'adamw', 'lars' or 'sgd', but is 'lion'"),
        ({"precision": "8"}, "should be '32', 'bf16-mixed' or '16-mixed', but is '8'"),
        ({"losses": []}, "at least 1 item"),
        ({"batch_size": 10**8}, "less than or equal to 65536, but is 100000000"),
        ({"monitor": "epoch"}, "'monitor' in [training] should begin with 'val_'"),
        ({"start_from": " "}, "names no model"),
        ({"ema": 1.0}, "less than 1"),
        ({"optimiser": "lars", "momentum": 1.0}, "less than 1"),
        ({"momentum": 0.5}, "momentum means nothing to the optimiser 'adam'"),
        ({"optimiser": "lars", "nesterov": True}, "nesterov means nothing to the optimiser 'lars'"),
        ({"cosine_end": 0.0}, "cosine_end means nothing to the optimiser 'adam' and the schedule"),
        ({"optimiser": "sgd", "momentum": 0, "nesterov": True}, "nesterov needs a momentum"),
        ({"min_delta": -0.1}, "'min_delta' in [training]"),
        ({"unfreeze": "encoder.layer4"}, "'unfreeze' in [training]"),
        ({"fresh": ["head"]}, "start_from names no model"),
        ({"learning_rate_factors": {"head": 0}}, "greater than 0, but is 0"),
    ],
)
def test_a_value_out_of_range_is_refused_and_repeated(training: dict[str, Any], words: str) -> None:
    """The sentence says the rule and the value received."""
    with pytest.raises(RecipeError) as caught:
        make_recipe(changed(training=training), "mine.toml")
    assert words in str(caught.value)


def test_a_missing_key_is_named() -> None:
    """A loss without a name, and a recipe without a network."""
    with pytest.raises(RecipeError, match=r"the key 'name' is missing in \[training.losses.0\]"):
        make_recipe(changed(training={"losses": [{"weight": 1}]}), "mine.toml")
    bare = {key: value for key, value in PLAIN.items() if key != "network"}
    with pytest.raises(RecipeError, match="the key 'network' is missing"):
        make_recipe(bare, "mine.toml")


def test_every_fault_is_told_at_once() -> None:
    """Nobody mends a recipe one error at a time."""
    with pytest.raises(RecipeError) as caught:
        make_recipe(changed(training={"epohcs": 1, "seed": -1}), "mine.toml")
    assert "epohcs" in str(caught.value)
    assert "seed" in str(caught.value)


def test_covariates_are_numbers_or_lists_of_categories() -> None:
    """Categories keep the order they are written in."""
    table = {"covariates": {"age": "number", "sex": ["F", "M"]}}
    recipe = make_recipe(changed(table=table), "mine.toml")
    assert recipe.table.covariates == {"age": "number", "sex": ("F", "M")}


def test_a_recipe_cannot_be_changed() -> None:
    """What was checked is what is run."""
    recipe = make_recipe(PLAIN, "mine.toml")
    with pytest.raises(ValidationError):
        recipe.training.epochs = 3


def test_text_in_a_recipe_is_never_evaluated() -> None:
    """Code in a value stays the text that it is."""
    text = "__import__('os').getcwd()"
    recipe = make_recipe(changed(network={"name": "x", "options": {"a": text}}), "mine.toml")
    assert recipe.network.options == {"a": text}


def test_a_study_checks_its_settings_as_strictly() -> None:
    """The study's own model refuses unknown keys in the same words."""

    class Settings(BaseModel, extra="forbid"):
        border: float = 0.0

    study = make_recipe(PLAIN, "mine.toml").study
    assert make_settings(Settings, study.settings, "mine.toml").border == 2.5
    with pytest.raises(RecipeError, match=r"unknown key 'bordr' in \[study\].*'border'"):
        make_settings(Settings, {"bordr": 1}, "mine.toml")

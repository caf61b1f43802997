# SPDX-License-Identifier: Apache-2.0
"""The search for hyper-parameters: seeded, restartable, and unharmed by trials that fail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from encephalon.errors import RecipeError, RunError
from encephalon.experiments.search import Attempt, best_overrides
from encephalon.recipes.loading import load_recipe
from encephalon.recipes.schema import Recipe
from encephalon.studies.micrographs.settings import micrograph_settings

SPACE = (
    '{ "training.learning_rate" = { low = 1e-5, high = 1e-1, log = true },'
    ' "network.options.dropout" = [0.1, 0.5] }'
)


def _recipe(trials: int) -> Recipe:
    changes = {"study.search.trials": str(trials), "study.search.space": SPACE}
    return load_recipe("micrographs", changes)


def _search(recipe: Recipe, attempt: Attempt, folder: Path) -> dict[str, str]:
    return best_overrides(micrograph_settings(recipe).search, recipe.training, attempt, folder)


def _loss(overrides: Mapping[str, str]) -> float:
    """A made-up validation loss whose best learning rate is 1e-3, without much dropout."""
    rate = float(overrides["training.learning_rate"])
    return abs(rate - 1e-3) + float(overrides["network.options.dropout"])


def test_the_best_of_the_tried_sets_is_taken(tmp_path: Path) -> None:
    """What comes out is the set of the smallest loss, in words that a recipe takes."""
    tried: list[dict[str, str]] = []

    def attempt(number: int, overrides: Mapping[str, str]) -> float:
        assert number == len(tried)
        tried.append(dict(overrides))
        return _loss(overrides)

    found = _search(_recipe(12), attempt, tmp_path)
    assert len(tried) == 12
    assert found == min(tried, key=_loss)
    changed = load_recipe("micrographs", found)
    assert changed.network.options["dropout"] == 0.1


def test_a_search_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """After an interruption only the trials that are not known run, with the same draws."""
    whole: list[dict[str, str]] = []
    rest: list[dict[str, str]] = []

    def record(number: int, overrides: Mapping[str, str]) -> float:
        whole.append(dict(overrides))
        return _loss(overrides)

    def broken(number: int, overrides: Mapping[str, str]) -> float:
        if number == 5:
            raise KeyboardInterrupt
        return _loss(overrides)

    def resumed(number: int, overrides: Mapping[str, str]) -> float:
        rest.append(dict(overrides))
        return _loss(overrides)

    best = _search(_recipe(8), record, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        _search(_recipe(8), broken, tmp_path / "killed")
    assert _search(_recipe(8), resumed, tmp_path / "killed") == best
    assert rest == whole[5:]


def test_failed_trials_are_passed_over(tmp_path: Path) -> None:
    """A set with which training fails, or ends at NaN, cannot win."""

    def attempt(number: int, overrides: Mapping[str, str]) -> float:
        if number == 0:
            raise RunError("the loss became nan")
        return float("nan") if number == 1 else float(number)

    drawn: list[Mapping[str, str]] = []

    def spy(number: int, overrides: Mapping[str, str]) -> float:
        drawn.append(overrides)
        return attempt(number, overrides)

    assert _search(_recipe(4), spy, tmp_path) == drawn[2]


def test_a_search_in_which_all_fails_says_so(tmp_path: Path) -> None:
    """When no set can be trained there is one sentence, and no choice at random."""

    def attempt(number: int, overrides: Mapping[str, str]) -> float:
        raise RunError("the loss became nan")

    with pytest.raises(RunError, match="failed with every one of the 3 sets"):
        _search(_recipe(3), attempt, tmp_path)


def test_whole_ends_draw_whole_numbers(tmp_path: Path) -> None:
    """A batch size is drawn as a number that a recipe takes."""
    space = '{ "training.batch_size" = { low = 2, high = 900 } }'
    changes = {"study.search.trials": "4", "study.search.space": space}
    sizes: list[str] = []

    def attempt(number: int, overrides: Mapping[str, str]) -> float:
        sizes.append(overrides["training.batch_size"])
        return float(number)

    _search(load_recipe("micrographs", changes), attempt, tmp_path)
    assert len({int(size) for size in sizes}) > 1


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("{}", "need a space"),
        ('{ "study.size" = [64, 128] }', "must begin with one of training"),
        ('{ "training.ema" = [] }', "needs a list of choices"),
        ('{ "training.ema" = { low = 0.5 } }', "needs a list of choices"),
        ('{ "training.ema" = { low = 0.9, high = 0.5 } }', "higher high"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space: str, words: str) -> None:
    """Nothing is trained with a space that is empty, upside down or of the pictures' making."""
    changes = {"study.search.trials": "2", "study.search.space": space}
    with pytest.raises(RecipeError, match=words):
        micrograph_settings(load_recipe("micrographs", changes))

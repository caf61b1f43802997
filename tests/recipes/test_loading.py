# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from encephalon.errors import RecipeError
from encephalon.recipes.loading import (
    dump_recipe,
    in_earlier_words,
    list_recipes,
    load_recipe,
    make_recipe,
    parse_value,
    recipe_data,
    show_recipe,
)

NAMES = [summary.name for summary in list_recipes()]


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_written_recipe_reads_back_equal(name: str, tmp_path: Path) -> None:
    """Writing a recipe with every default loses and adds nothing."""
    recipe = load_recipe(name)
    assert load_recipe(write(tmp_path, dump_recipe(recipe))) == recipe
    assert make_recipe(recipe_data(recipe), "data") == recipe


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_built_in_recipe_is_its_file_name(name: str) -> None:
    """What is listed is what is loaded."""
    assert load_recipe(name).name == name


def test_listing_says_study_task_and_mode() -> None:
    """A line of the list is enough to choose by."""
    lines = {summary.name: summary for summary in list_recipes()}
    assert lines["brain-extraction"].mode == "default"
    assert lines["brain-extraction-published"].mode == "published"
    assert {line.study for line in lines.values()} >= {"extraction"}
    assert all(line.title and line.description for line in lines.values())


def test_recipes_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """Their words for modes and built-in recipes stand for those of today."""
    text = dump_recipe(load_recipe("isotropic-published"))
    assert load_recipe("isotropic-legacy") == load_recipe("isotropic-published")
    old = in_earlier_words(text)
    assert 'name = "isotropic-legacy"' in old
    assert 'mode = "legacy"' in old
    assert load_recipe(write(tmp_path, old)) == load_recipe(write(tmp_path, text))
    mine = text.replace("isotropic-published", "mine")
    assert load_recipe(write(tmp_path, mine), {"mode": "sound"}).mode == "default"


def test_listing_imports_neither_pydantic_nor_torch() -> None:
    """The list must be quick, so it reads TOML and nothing else."""
    code = (
        "import sys; from encephalon.recipes.loading import list_recipes; list_recipes();"
        "sys.exit(any(name in sys.modules for name in ('pydantic', 'torch', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_showing_a_recipe_gives_its_text_with_comments() -> None:
    """What is shown can be saved, changed and trained."""
    text = show_recipe("brain-extraction")
    assert text.startswith("#")
    assert '[study]\nname = "extraction"' in text


def test_the_shown_text_is_a_recipe_of_ones_own(tmp_path: Path) -> None:
    """The way to start a recipe: show, redirect, edit."""
    path = write(tmp_path, show_recipe("meningioma"))
    assert load_recipe(path) == load_recipe("meningioma")


def test_a_misspelt_name_gets_the_nearest_one() -> None:
    """One letter wrong is the usual mistake."""
    with pytest.raises(RecipeError, match="did you mean 'brain-extraction'"):
        load_recipe("brain-extractoin")


def test_an_unknown_name_gets_the_list() -> None:
    """A name like no other is answered with those there are."""
    with pytest.raises(RecipeError, match=r"the built-in ones are .*meningioma"):
        load_recipe("zzzzzz")


def test_a_name_with_a_folder_in_it_is_only_ever_a_path() -> None:
    """No path climbs out of the folder of built-in recipes."""
    with pytest.raises(RecipeError, match="no file called"):
        load_recipe("../recipes/brain-extraction")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"name = ", "not valid TOML"), (b"\xff\xfe\x00", "UTF-8")],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """The sentence names the file."""
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=words) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


def test_overrides_reach_into_sections_and_lists() -> None:
    """Dotted keys, with numbers for the items of a list."""
    recipe = load_recipe(
        "brain-extraction-published",
        {
            "training.epochs": "7",
            "training.losses.0.weight": "0.5",
            "training.losses.0.options.smooth": "1e-3",
            "training.precision": "32",
            "table.covariates.sex": "['F', 'M']",
            "study.threshold": "0.4",
            "title": "A title without quotes",
        },
    )
    assert recipe.training.epochs == 7
    assert recipe.training.losses[0].weight == 0.5
    assert recipe.training.losses[0].options == {"smooth": 1e-3}
    assert recipe.table.covariates == {"sex": ("F", "M")}
    assert recipe.study.settings["threshold"] == 0.4
    assert recipe.title == "A title without quotes"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("training.epohcs", "did you mean 'epochs'"),
        ("training.losses.7.weight", "needs a number below 1"),
        ("training.losses.first.weight", "needs a number below 1"),
        ("training.epochs.deep", "holds no keys"),
        ("", "holds no keys"),
        ("training..epochs", "holds no keys"),
    ],
)
def test_an_override_that_leads_nowhere_is_refused(key: str, words: str) -> None:
    """A misspelt --set does not vanish."""
    with pytest.raises(RecipeError, match=words):
        load_recipe("brain-extraction-published", {key: "1"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("1e-4", 1e-4),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ("'5'", "5"),
        ("adamw", "adamw"),
        ("16-mixed", "16-mixed"),
        ("1\nother = 2", "1\nother = 2"),
        ("__import__('os')", "__import__('os')"),
    ],
)
def test_a_value_is_toml_or_else_text(text: str, value: object) -> None:
    """Nothing is evaluated and one value cannot smuggle in a second key."""
    assert parse_value(text) == value

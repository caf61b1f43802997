# SPDX-License-Identifier: Apache-2.0
"""A recipe whose network does not suit its study is refused before anything is begun."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from encephalon.api import check_network, load_recipe
from encephalon.errors import RecipeError, UsageError
from encephalon.networks import registry
from encephalon.recipes.loading import dump_recipe, list_recipes, recipe_data
from tests.cli.conftest import Run, run  # noqa: F401  a fixture

OPTIONS = "network.options."


@pytest.mark.parametrize("name", [one.name for one in list_recipes()])
def test_every_built_in_recipe_has_a_network_that_suits_it(name: str) -> None:
    """At its full size, which takes no memory here."""
    check_network(load_recipe(name))


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("brain-extraction", {OPTIONS + "borders": "1"}, "set network.options.borders to 2"),
        ("brain-extraction", {OPTIONS + "borders": "-1"}, "negative dimension"),
        ("brain-extraction", {OPTIONS + "channels": "[]"}, "cannot be built"),
        ("brain-extraction", {OPTIONS + "channels": '["a"]'}, "cannot be built"),
        ("brain-extraction", {"study.grids.fine": "[128, 128, 120]"}, "multiples of 16 voxels"),
        (
            "brain-extraction",
            {"mode": "published", "study": "{ name = 'extraction' }"},
            "trains the network 'keras-unet'",
        ),
        (
            "brain-extraction",
            {"network": "{ name = 'keras-unet', options = { n_classes = 1 } }"},
            r"but gives \[1, ",
        ),
        ("brain-extraction-published", {OPTIONS + "filters": "-4"}, "cannot be built"),
        ("meningioma", {OPTIONS + "borders": "2"}, "set network.options.borders to 1"),
        ("isotropic", {OPTIONS + "channels": "[4, 4, 4, 4, 4]"}, "multiples of 16 voxels"),
        ("isotropic", {OPTIONS + "channels": "[4, -4]"}, "negative dimension"),
        (
            "isotropic",
            {"network": "{ name = 'published-reconstruction' }"},
            "Unknown option 'inputs'",
        ),
        ("micrographs", {OPTIONS + "hidden": "-1"}, "negative dimension"),
        ("micrographs", {OPTIONS + "hidden": "1e300"}, "cannot be built"),
        ("micrographs", {OPTIONS + "widths": "-inf"}, "cannot be built"),
        ("micrographs", {OPTIONS + "widths": "[1000000000, 1, 1, 1]"}, "cannot be built"),
        ("micrographs", {OPTIONS + "layers": "[]"}, "four positive numbers"),
        ("micrographs", {OPTIONS + "channels": "3"}, "does not take"),
    ],
)
def test_a_network_that_does_not_suit_is_refused(
    name: str, changes: dict[str, str], reason: str
) -> None:
    """One sentence, from whatever torch made of it."""
    recipe = load_recipe(name, changes)
    with pytest.raises(RecipeError, match=reason) as caught:
        check_network(recipe)
    assert "\n" not in str(caught.value)


def test_a_layer_to_explain_that_is_not_there_is_refused() -> None:
    """With those that are."""
    with pytest.raises(UsageError, match="no layer 'nope'"):
        check_network(load_recipe("micrographs", {"study.explain_layer": "nope"}))


def test_the_command_line_refuses_it_too(run: Run, tmp_path: Path) -> None:  # noqa: F811
    """`recipes check`, `train --dry-run` and `train`, which leaves no folder behind."""
    (tmp_path / "t.csv").write_text("id,image,labels\n")
    wrong = ("--set", "network.options.borders=1")
    train = ("train", "brain-extraction", "-t", tmp_path / "t.csv", "-o", tmp_path / "run")
    for words in (("recipes", "check", "brain-extraction"), (*train, "--dry-run"), train):
        result = run(*words, *wrong)
        assert result.code == 1
        assert "set network.options.borders to 2" in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["-inf", "inf", "nan", "[inf]", "{ a = -inf }"])
def test_what_is_no_finite_number_is_dumped_as_it_is(value: str) -> None:
    """Where a recipe leaves options free, TOML can say them all."""
    recipe = load_recipe("micrographs", {"network.options.widths": value})
    assert "widths" in recipe_data(recipe)["network"]["options"]
    assert value.strip("[]{ a=}") in dump_recipe(recipe)


class Elsewhere(nn.Module):
    """A network that looks at numbers while it is built and while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv3d(1, 2, 1)
        if float(self.head.weight.detach().abs().sum()) < 0:
            raise ValueError

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(x)
        return answer * float(answer.detach().mean())


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of that network."""
    monkeypatch.setitem(registry._registered, "elsewhere", Elsewhere)
    return "elsewhere"


def test_a_network_that_needs_numbers_is_not_refused(elsewhere: str) -> None:
    """What cannot be found out without them is left to the training."""
    with torch.device("meta"), pytest.raises((RuntimeError, NotImplementedError)):
        Elsewhere()
    recipe = load_recipe("brain-extraction", {"network": f"{{ name = '{elsewhere}' }}"})
    check_network(recipe)

# SPDX-License-Identifier: Apache-2.0
"""Encoders: the built-in ones by the suite that others inherit, and what is said of wrong ones."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest
import torch
from torch import nn

from encephalon.errors import ModelError, RecipeError
from encephalon.networks import build_network
from encephalon.networks import encoders as module
from encephalon.networks.encoders import (
    AdaptedEncoder,
    build_encoder,
    feature_maps,
    list_encoders,
    representation,
    user_code,
)
from encephalon.networks.published_encoder import build_published_encoder, from_published_encoder
from encephalon.recipes.loading import make_recipe
from encephalon.recipes.schema import Section
from encephalon.testing import EncoderConformance
from encephalon.training.run import Expected, Learner, check_network
from tests.networks import encoders_of_users as users

USERS = "tests.networks.encoders_of_users"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class TestResNet18(EncoderConformance):
    def encoder(self) -> nn.Module:
        return build_encoder("resnet18", width=4)


class TestResNet50OfVolumes(EncoderConformance):
    in_channels = 2
    sizes = ((8, 9, 11), (3, 16, 8))

    def encoder(self) -> nn.Module:
        return build_encoder("resnet50", width=2, in_channels=2, spatial_dims=3)


class TestPlainEncoder(EncoderConformance):
    def encoder(self) -> nn.Module:
        return users.PlainEncoder()


class TestAdaptedEncoder(EncoderConformance):
    def encoder(self) -> nn.Module:
        encoder = users.adapted()
        # It is not part of what the patches say.
        encoder.network.token.requires_grad_(False)  # type: ignore[union-attr]
        return encoder


@pytest.mark.parametrize(
    ("name", "dims", "count", "features"),
    [
        ("resnet18", 2, 11_167_680, 512),
        ("resnet18", 3, 33_139_776, 512),
        ("resnet50", 2, 23_499_200, 2048),
        ("resnet50", 3, 46_134_848, 2048),
    ],
)
def test_residual_encoders_have_the_published_size(
    name: str, dims: int, count: int, features: int
) -> None:
    """torchvision's, but for a first kernel of 3 x 3 pixels, and no classes."""
    with torch.device("meta"):
        encoder: Any = build_encoder(name, spatial_dims=dims)
    assert sum(p.numel() for p in encoder.parameters()) == count
    assert (encoder.channels[-1], encoder.strides) == (features, (1, 2, 4, 8))
    assert encoder.conv1.kernel_size == (3,) * dims


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("Tuple", r"Tuple must return a list of feature maps, not tuple\."),
        ("OneMap", r"OneMap returned 1 feature maps where its channels tell of 2\."),
        ("WrongStride", r"WrongStride .*\(3, 6, 16, 16\).*\(3, 1, 32, 32\).*\(3, 6, 8, 8\)\."),
        ("WrongOrder", r"strides \(2, 1\): .* from fine to coarse\."),
        ("NoStrides", r"needs a tuple 'strides' .* but has None\."),
        ("Forgetful", r"No map depends on idle\.weight, idle\.bias\."),
        ("Random", r"Map 0 differs by .* when it is run a second time\."),
        ("Sociable", r"Map 0 differs by .* when another image is in the batch\."),
        ("Changeable", r"Evaluation changed norm\.running_mean"),
    ],
)
def test_a_wrong_encoder_is_told_what_is_wrong(wrong: str, words: str) -> None:
    """Somewhere in the suite, in one sentence."""

    class Suite(EncoderConformance):
        def encoder(self) -> nn.Module:
            torch.manual_seed(0)
            made: nn.Module = getattr(users, wrong)()
            return made

    said = []
    for name in dir(EncoderConformance):
        if name.startswith("test_"):
            try:
                getattr(Suite(), name)()
            except (AssertionError, RecipeError) as error:
                said.append(str(error))
    assert any(re.search(words, one) for one in said), said


@pytest.mark.parametrize("name", ["PlainEncoder", "adapted"])
def test_the_encoder_of_a_user_trains(name: str) -> None:
    """Named in a recipe of the user's own, it serves a classifier that learns two classes."""
    torch.manual_seed(0)
    with user_code():
        options = {"classes": 2, "encoder": f"{USERS}:{name}"}
        network: Any = build_network("tile-classifier", options)
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    image = torch.rand(8, 1, 9, 11) + torch.arange(8).view(8, 1, 1, 1) % 2
    target = torch.arange(8) % 2
    for _ in range(40):
        loss = nn.functional.cross_entropy(network(image), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1
    assert network.features(image).shape == (8, 6 if name == "PlainEncoder" else 8)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet81", r"Unknown encoder 'resnet81'; did you mean 'resnet18'\?"),
        ("zzz", "write module:Class, or one of resnet10, resnet18, resnet50, sfcn"),
        ("nowhere.at_all:Encoder", r"cannot be imported \(No module named 'nowhere'\)"),
        (f"{USERS}:Nobody", "cannot be imported .*Nobody.*: install its package"),
        (f"{USERS}:NUMBER", "is int, and no class"),
        (f"{USERS}:nothing", "gives NoneType where a torch module is needed"),
        (f"{USERS}:failing", "cannot be built with the options .*: no weights at hand"),
        (f"{USERS}:NoStrides", "needs a tuple 'strides'"),
    ],
)
def test_an_encoder_that_cannot_be_had_is_refused_in_a_sentence(name: str, words: str) -> None:
    """Whatever is wrong with it."""
    with user_code(), pytest.raises(RecipeError, match=words):
        build_encoder(name, in_channels=1)


def test_code_is_imported_only_for_a_recipe_of_ones_own() -> None:
    """A model from elsewhere that names code is refused before anything is imported."""
    with pytest.raises(RecipeError, match="is code, which only a recipe of your own may name"):
        build_network("tile-classifier", {"encoder": "antigravity:Encoder"})
    assert "antigravity" not in sys.modules


def test_a_recipe_that_is_trained_may_name_code() -> None:
    """It is checked as shapes, and then built; nothing is allowed after that."""

    class Plain(Learner[Section]):
        schema = Section

    data = {
        "name": "mine",
        "title": "Mine",
        "task": "classification",
        "study": {"name": "toy"},
        "network": {
            "name": "tile-classifier",
            "options": {"encoder": f"{USERS}:PlainEncoder"},
        },
    }
    recipe = make_recipe(data, "mine.toml")
    inputs, output = ((2, 1, 9, 9),), (2, 4)
    check_network(recipe, recipe.network, [Expected(inputs, output, "tell 4 classes")])
    assert isinstance(Plain(recipe).build().encoder, users.PlainEncoder)
    with pytest.raises(RecipeError, match="only a recipe of your own"):
        build_encoder(f"{USERS}:PlainEncoder")


def test_encoders_of_installed_packages_are_known_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An entry point is trusted as its package is."""
    point = metadata.EntryPoint("plain", f"{USERS}:PlainEncoder", module.ENTRY_POINTS)
    monkeypatch.setattr(module, "entry_points", lambda **_: [point])
    assert list_encoders() == ("plain", "resnet10", "resnet18", "resnet50", "sfcn")
    assert isinstance(build_encoder("plain"), users.PlainEncoder)


def test_the_suite_imports_no_torch() -> None:
    """It can stand at the top of a file of tests."""
    code = "import sys, encephalon.testing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Kinds(nn.Module):
    """Gives whatever it was made with."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, image: torch.Tensor) -> Any:
        assert image.shape[1:] == (3, 8, 8)
        return self.answer


TOKENS = torch.arange(5.0).view(1, 5, 1)
MAP = torch.arange(1.0, 5).view(1, 1, 2, 2)


@pytest.mark.parametrize(
    "answer",
    [TOKENS, MAP, [MAP], {"x_norm_patchtokens": TOKENS[:, 1:]}, {"last_hidden_state": TOKENS}],
)
def test_tokens_and_maps_of_any_kind_become_maps(answer: Any) -> None:
    """Row by row, without the token that comes first, on the grid of the image's size."""
    encoder = AdaptedEncoder(Kinds(answer), (1,), (4,), multiple=8)
    (found,) = feature_maps(encoder, torch.rand(1, 1, 7, 6))
    torch.testing.assert_close(found, MAP)
    assert representation([found]).item() == 2.5


def test_an_adapted_encoder_sees_colours_as_it_was_trained() -> None:
    """Grey levels are three equal colours, each normalised by its own mean and deviation."""

    class Look(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image

    encoder = AdaptedEncoder(Look(), (3,), (1,), mean=(0.5, 0.25, 0), std=(0.5, 0.25, 1))
    (found,) = feature_maps(encoder, torch.full((1, 1, 2, 2), 0.75))
    assert found[0, :, 0, 0].tolist() == [0.5, 2.0, 0.75]
    with pytest.raises(RecipeError, match="tiles of one slice"):
        encoder(torch.rand(1, 1, 2, 2, 2))


def published(kind: str, names: str) -> dict[str, Any]:
    """A state dictionary as MTNeuro saved it, of a small network."""
    torch.manual_seed(0)
    network: Any = build_network("tile-classifier", {"encoder_options": {"width": 2}})
    places = {"conv1": 0, "bn1": 1, "layer1": 3, "layer2": 4, "layer3": 5, "layer4": 6}
    found = {}
    for name, value in network.state_dict().items():
        part, _, rest = name.partition(".")
        if part == "head":
            found |= {f"classifier.{rest}": value} if kind == "encoder" else {}
            continue
        layer, _, rest = rest.partition(".")
        layer = f"f.{places[layer]}" if names == "sequence" else layer
        found[f"{kind}.{layer}.{rest}"] = value
    if kind == "online_encoder":
        others = ("target_encoder.f.0.weight", "online_projector.net.0.weight", "predictor.x")
        found |= dict.fromkeys(others, torch.zeros(1))
    return {name: value.numpy() for name, value in found.items()}


@pytest.mark.parametrize("names", ["sequence", "torchvision"])
@pytest.mark.parametrize("kind", ["encoder", "online_encoder"])
def test_published_weights_become_a_classifier_or_an_encoder(kind: str, names: str) -> None:
    """Supervised and self-supervised files, by either naming of the encoder's layers."""
    tensors = published(kind, names)
    network: Any = build_published_encoder(tensors, "own.pt")
    expected: Any = published("encoder", "torchvision")
    for name in from_published_encoder(tensors):
        theirs = name.replace("head.", "classifier.")
        assert torch.equal(network.state_dict()[name], torch.from_numpy(expected[theirs]))
    found = network(torch.rand(2, 1, 8, 8)).shape
    assert found == ((2, 4) if kind == "encoder" else (2, 16))


def test_published_weights_of_another_kind_are_refused() -> None:
    """With what is missing, unexpected or of another shape."""
    tensors = published("encoder", "sequence")
    del tensors["encoder.f.1.weight"]
    with pytest.raises(ModelError, match=r"own\.pt: .*missing 'encoder\.bn1\.weight'"):
        build_published_encoder(tensors, "own.pt")
    with pytest.raises(ModelError, match=r"the first is 'x'\): this is another architecture"):
        build_published_encoder({"x": TOKENS.numpy()}, "own.pt")


@pytest.mark.parametrize("width", [4, 8, 16])
def test_a_narrow_encoder_is_trained_to_its_end(width: int) -> None:
    """Of channels last in memory, kernels of few channels corrupt the memory of the process."""
    network = build_encoder("resnet18", width=width)
    for _ in range(6):
        network(torch.rand(8, 1, 64, 64))[-1].mean().backward()
    assert all(bool(torch.isfinite(w.grad).all()) for w in network.parameters())

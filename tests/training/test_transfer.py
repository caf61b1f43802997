# SPDX-License-Identifier: Apache-2.0
"""Starting from a trained model: every weight, or every weight but a head of another shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from encephalon.errors import MissingFileError, ModelError, RecipeError
from encephalon.io.home import HOME_VARIABLE
from encephalon.models import files
from encephalon.models.description import ModelDescription
from encephalon.models.folder import save_model
from encephalon.networks import build_network
from encephalon.networks.image_classifier import to_published_names
from encephalon.networks.keras_unet import keras_unet_shapes
from encephalon.training.transfer import load_encoder, start_from

SMALL = {"channels": [2, 3, 4]}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing installed but what a test installs."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setattr(files, "packaged_folder", lambda: tmp_path / "packaged")
    return tmp_path / "home" / "models"


def saved(folder: Path, network: nn.Module, **changes: Any) -> Path:
    """A model folder with the network's weights, some replaced or (None) left out."""
    about = ModelDescription(name=folder.name, version="1", study="extraction", task="segmentation")
    state = {k: v.numpy() for k, v in network.state_dict().items()} | changes
    save_model(folder, about, {k: v for k, v in state.items() if v is not None}, None)
    return folder


def differing(network: nn.Module, other: nn.Module) -> set[str]:
    mine, theirs = network.state_dict(), other.state_dict()
    return {
        k for k in mine if mine[k].shape != theirs[k].shape or not torch.equal(mine[k], theirs[k])
    }


def test_a_network_starts_from_a_model_by_name(home: Path) -> None:
    """Every weight is the model's."""
    trained = build_network("distance-unet", SMALL)
    saved(home / "mine", trained)
    network = build_network("distance-unet", SMALL)
    assert start_from(network, "mine") == []
    assert differing(network, trained) == set()


def test_another_number_of_borders_gets_a_new_head(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The head stays as it was drawn, whole, all else is the model's, and the log says so."""
    trained = build_network("distance-unet", SMALL | {"borders": 2})
    network = build_network("distance-unet", SMALL | {"borders": 1})
    drawn = network.head.weight.detach().clone()  # type: ignore[union-attr, operator]
    with caplog.at_level(logging.INFO):
        fresh = start_from(network, str(saved(tmp_path / "mine", trained)))
    assert fresh == ["head.weight", "head.bias"]
    assert differing(network, trained) == set(fresh)
    assert torch.equal(network.get_parameter("head.weight"), drawn)
    assert "new head: head.weight, head.bias" in caplog.text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stem.0.0.weight": np.zeros((5, 1, 3, 3, 3), np.float32)}, "stem.0.0.weight"),
        ({"stem.0.0.weight": None}, "missing 'stem.0.0.weight'"),
        ({"extra": np.zeros(2, np.float32)}, "unexpected 'extra'"),
        ({"head.bias": None}, "missing 'head.bias'"),
    ],
)
def test_any_other_difference_is_refused(
    tmp_path: Path, changes: Mapping[str, Any], reason: str
) -> None:
    """Nothing but the head's shape may differ; a refusal leaves the network as it was."""
    borders = 2 if "head.bias" in changes else 1
    network = build_network("distance-unet", SMALL | {"borders": borders})
    before = {k: v.clone() for k, v in network.state_dict().items()}
    folder = saved(tmp_path / "mine", build_network("distance-unet", SMALL), **changes)
    with pytest.raises(ModelError, match=reason):
        start_from(network, str(folder))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_half_precision_weights_start_a_network_in_single(tmp_path: Path) -> None:
    """Model folders keep half precision; training goes on in the network's own."""
    trained = build_network("distance-unet", SMALL).half()
    network = build_network("distance-unet", SMALL)
    start_from(network, str(saved(tmp_path / "mine", trained)))
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert torch.equal(network.get_parameter("head.bias"), trained.get_parameter("head.bias"))


def test_a_model_that_is_not_here_is_named(tmp_path: Path) -> None:
    """With what to do about it."""
    with pytest.raises(ModelError, match="encephalon models get brainy"):
        start_from(build_network("keras-unet"), "brainy")
    with pytest.raises(ModelError, match="Unknown model"):
        start_from(build_network("keras-unet"), "nothing-like-it")


def keras_file(path: Path) -> list[np.ndarray]:
    """Published weights of the right shapes; returns the kernels."""
    rng, kernels = np.random.default_rng(0), []
    with h5py.File(path, "w") as file:
        names = [f"conv3d_{n}" for n in range(18)]
        file.attrs["layer_names"] = [name.encode() for name in names]
        for name, shapes in zip(names, keras_unet_shapes(), strict=True):
            group = file.create_group(name)
            weights = [f"{name}/{kind}:0" for kind in shapes]
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, shape in zip(weights, shapes.values(), strict=True):
                group[weight] = rng.normal(size=shape).astype(np.float32)
            kernels.append(group[weights[0]][...])
    return kernels


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    path = tmp_path_factory.mktemp("published") / "own.h5"
    return path, keras_file(path)


def test_published_weights_start_the_published_network(
    published: tuple[Path, list[np.ndarray]],
) -> None:
    """All of them, the head included."""
    network = build_network("keras-unet")
    assert start_from(network, str(published[0])) == []
    first = network.get_parameter("encoder.0.0.weight").detach().numpy()
    head = network.get_parameter("head.weight").detach().numpy()
    assert np.array_equal(first, published[1][0].transpose(4, 3, 0, 1, 2))
    assert np.array_equal(head, published[1][-1].transpose(4, 3, 0, 1, 2))


def test_published_weights_start_a_network_of_more_classes(
    published: tuple[Path, list[np.ndarray]],
) -> None:
    """A new head for n classes; the rest is the published network."""
    network = build_network("keras-unet", {"n_classes": 3})
    assert start_from(network, str(published[0])) == ["head.weight", "head.bias"]
    last = network.get_parameter("decoder.2.2.weight").detach().numpy()
    assert np.array_equal(last, published[1][-2].transpose(4, 3, 0, 1, 2))
    assert network.get_parameter("head.weight").shape == (3, 32, 1, 1, 1)


def test_published_weights_are_no_start_for_another_network(
    published: tuple[Path, list[np.ndarray]],
) -> None:
    """The error names both."""
    with pytest.raises(ModelError, match=r"'keras-unet'.*DistanceUNet"):
        start_from(build_network("distance-unet", SMALL), str(published[0]))


def classifier(**options: Any) -> nn.Module:
    """An image classifier of a few thousand weights, others every time."""
    small = {"layers": (1, 1, 1, 1), "widths": (4, 8, 8, 16), "hidden": 6, "covariates": 5}
    return build_network("image-classifier", {**small, **options})


def backbone(network: nn.Module) -> dict[str, np.ndarray]:
    """The weights of the network's encoder as torchvision would name them."""
    return {k: v.numpy() for k, v in network.get_submodule("encoder").state_dict().items()}


def published_classifier(folder: Path, network: nn.Module) -> Path:
    torch.save(to_published_names(network.state_dict()), folder / "own.pt")
    return folder / "own.pt"


def test_published_weights_start_a_classifier(tmp_path: Path) -> None:
    """Every one of them, under the names of the published file."""
    trained, network = classifier(channels=3), classifier(channels=3)
    assert start_from(network, str(published_classifier(tmp_path, trained))) == []
    assert differing(network, trained) == set()


@pytest.mark.parametrize("change", [{"classes": 4}, {"covariates": 2}, {"inputs": "image"}])
def test_other_classes_and_covariates_get_a_new_head(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """The whole head is drawn anew, the encoder is the published one."""
    trained, network = classifier(), classifier(**change)
    fresh = start_from(network, str(published_classifier(tmp_path, trained)))
    assert fresh == ["head.0.weight", "head.0.bias", "head.3.weight", "head.3.bias"]
    assert {name for name in differing(network, trained) if name.startswith("encoder")} == set()


def test_published_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    """By another network, and by other stages of the same network."""
    path = str(published_classifier(tmp_path, classifier()))
    with pytest.raises(ModelError, match=r"'image-classifier'.*DistanceUNet"):
        start_from(build_network("distance-unet", SMALL), path)
    with pytest.raises(ModelError, match=r"own\.pt.*missing 'encoder\.layer1\.1"):
        start_from(classifier(layers=(2, 1, 1, 1)), path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_an_encoder_starts_from_a_backbone_that_told_other_classes(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its `fc` is passed over, older files lack counters, and the head stays as it was drawn."""
    trained, network = classifier(), classifier()
    head = network.get_parameter("head.0.weight").detach().clone()
    arrays = backbone(trained) | {"fc.weight": np.ones((9, 16), np.float32)}
    arrays = {k: v for k, v in arrays.items() if not k.endswith("num_batches_tracked")}
    path = tmp_path / f"resnet{suffix}"
    if suffix == ".safetensors":
        save_file(arrays, path)
    else:
        torch.save({k: torch.from_numpy(v) for k, v in arrays.items()}, path)
    with caplog.at_level(logging.INFO):
        load_encoder(network, path)
    assert differing(network.get_submodule("encoder"), trained.get_submodule("encoder")) == set()
    assert torch.equal(network.get_parameter("head.0.weight"), head)
    assert f"started the encoder from {path}" in caplog.text


def test_an_encoder_starts_from_a_model_of_this_kind(tmp_path: Path) -> None:
    """From the weights of a model folder, and from a published file; their heads are left."""
    trained = classifier()
    folder = saved(tmp_path / "mine", trained)
    for path in (folder / "weights.safetensors", published_classifier(tmp_path, trained)):
        network = classifier(classes=3)
        load_encoder(network, path)
        assert (
            differing(network.get_submodule("encoder"), trained.get_submodule("encoder")) == set()
        )


def test_a_backbone_of_colour_says_of_grey_what_it_said_of_equal_channels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernels are summed over the colours, which the log says."""
    colour, grey = classifier(channels=3).eval(), classifier(channels=1).eval()
    save_file(backbone(colour), tmp_path / "resnet.safetensors")
    with caplog.at_level(logging.INFO):
        load_encoder(grey, tmp_path / "resnet.safetensors")
    image = torch.rand(2, 1, 64, 64)
    expected = colour.get_submodule("encoder")(image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(grey.get_submodule("encoder")(image), expected)
    assert "first kernels were summed over the colours" in caplog.text


def test_a_backbone_of_grey_is_shared_among_the_colours(tmp_path: Path) -> None:
    """Three equal channels say what the one said."""
    colour, grey = classifier(channels=3).eval(), classifier(channels=1).eval()
    save_file(backbone(grey), tmp_path / "resnet.safetensors")
    load_encoder(colour, tmp_path / "resnet.safetensors")
    image = torch.rand(2, 1, 64, 64)
    found = colour.get_submodule("encoder")(image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(found, grey.get_submodule("encoder")(image))


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        ({"layers": (2, 1, 1, 1)}, {}, r"resnet\.safetensors.*missing 'layer1\.1"),
        ({"channels": 2}, {}, r"'conv1\.weight' is \(4, 1, 7, 7\) instead of \(4, 2, 7, 7\)"),
        ({"norm": "group"}, {}, "unexpected 'bn1.num_batches_tracked'"),
        ({}, {"conv1.weight": np.zeros(3, np.float32)}, r"'conv1\.weight' is \(3,\)"),
        ({}, {"bn1.bias": np.full(4, np.nan, np.float32)}, "'bn1.bias' are not finite"),
    ],
)
def test_a_backbone_that_does_not_fit_is_refused(
    tmp_path: Path, options: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    """With the names of what differs, and the network as it was."""
    network = classifier(**options)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    save_file(backbone(classifier()) | changes, tmp_path / "resnet.safetensors")
    with pytest.raises(ModelError, match=words):
        load_encoder(network, tmp_path / "resnet.safetensors")
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_weights_for_an_encoder_that_is_not_there_are_a_fault(tmp_path: Path) -> None:
    """No encoder, no file, and a file that is no tensors: one sentence each."""
    with pytest.raises(RecipeError, match="the ImageClassifier of these options has none"):
        load_encoder(classifier(inputs="covariates"), tmp_path / "resnet.pt")
    for suffix in (".safetensors", ".pt"):
        with pytest.raises(MissingFileError, match="there is no such file"):
            load_encoder(classifier(), tmp_path / f"resnet{suffix}")
        (tmp_path / f"broken{suffix}").write_bytes(b"nothing of the kind")
        with pytest.raises(ModelError, match=r"broken\.(pt|safetensors).*cannot be read"):
            load_encoder(classifier(), tmp_path / f"broken{suffix}")


FUSION = {
    "sources": {"blood": {"kind": "table", "features": 3}},
    "targets": {"age": {"kind": "continuous"}},
    "width": 4,
    "hidden": 4,
}
SEX = {"targets": {"sex": {"kind": "binary"}}}
BOTH = {"targets": FUSION["targets"] | SEX["targets"]}  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "options", "change", "head"),
    [
        ("distance-unet", SMALL, {"borders": 1}, {"head"}),
        ("keras-unet", {"filters": 2}, {"n_classes": 3}, {"head"}),
        ("slice-unet", {"channels": [4, 8]}, {}, {"head"}),
        ("published-reconstruction", {"channels": [2, 3], "units": 1}, {}, {"model.2"}),
        ("image-classifier", {"inputs": "covariates", "covariates": 3}, {"classes": 4}, {"head"}),
        ("tile-classifier", {"encoder_options": {"width": 2}}, {"classes": 7}, {"head"}),
        ("tile-segmenter", {"encoder_options": {"width": 2}}, {"classes": 7}, {"head"}),
        ("published-unet", {"width": 2}, {"classes": 3}, {"conv_final"}),
        ("highresnet", {"widths": [2, 2, 2, 2, 2]}, {"classes": 3}, {"head"}),
        ("vnet-light", {}, {"classes": 3}, {"head"}),
        ("masked-fusion", FUSION, SEX, {"queries", "heads"}),
        ("masked-fusion", FUSION, BOTH, {"queries", "heads"}),
        ("published-legibility", {"connections": 30, "width": 2}, {"outputs": 1}, {"head"}),
    ],
)
def test_every_network_has_a_head_that_is_drawn_anew(
    name: str, options: dict[str, Any], change: dict[str, Any], head: set[str], tmp_path: Path
) -> None:
    """By itself where it tells something else, and as soon as it is asked for."""
    trained = build_network(name, options)
    start = str(saved(tmp_path / "known", trained))
    asked = [(build_network(name, options), ["head"])]
    asked += [(build_network(name, options | change), [])] if change else []
    for network, fresh in asked:
        drawn = {k: v.clone() for k, v in network.state_dict().items()}
        found = start_from(network, start, fresh)
        parts = {part for part in head for one in found if f"{one}.".startswith(f"{part}.")}
        assert parts == head
        mine, theirs = network.state_dict(), trained.state_dict()
        assert set(found) == {k for k in mine if f"{k}.".startswith(tuple(f"{h}." for h in head))}
        assert all(torch.equal(mine[one], drawn[one]) for one in found)
        assert all(torch.equal(mine[one], theirs[one]) for one in mine.keys() - set(found))


def test_what_is_fresh_need_not_fit(tmp_path: Path) -> None:
    """A deeper level that the model does not have, and one that only it has."""
    deep, flat = {"channels": [2, 3, 4]}, {"channels": [2, 3]}
    three = saved(tmp_path / "three", build_network("distance-unet", deep))
    two = saved(tmp_path / "two", build_network("distance-unet", flat))
    deeper = build_network("distance-unet", deep)
    with pytest.raises(ModelError, match=r"missing 'down\.1.*draw the parts .* anew.*--fresh"):
        start_from(deeper, str(two))
    fresh = start_from(deeper, str(two), ["down.1", "up.1"])
    assert all(name.startswith(("down.1.", "up.1.")) for name in fresh)
    start_from(build_network("distance-unet", flat), str(three), ["down.1", "up.1"])


def test_a_fresh_part_that_nobody_has_is_an_error(tmp_path: Path) -> None:
    """With the parts that there are, and nothing replaced."""
    known = str(saved(tmp_path / "known", build_network("distance-unet", SMALL)))
    with pytest.raises(
        RecipeError, match=r"'decoder' anew, but neither .* has down, head, stem, up"
    ):
        start_from(build_network("distance-unet", SMALL), known, ["decoder"])


def test_what_was_solved_beside_a_network_is_left(tmp_path: Path) -> None:
    """Linear models of legibility are of others."""
    known, network = (build_network("masked-fusion", FUSION) for _ in range(2))
    folder = saved(tmp_path / "known", known, **{"linear.any": np.zeros(2, np.float32)})
    assert start_from(network, str(folder)) == []
    assert differing(network, known) == set()


@pytest.mark.parametrize("name", ["tile-classifier", "tile-segmenter", "self-supervised"])
@pytest.mark.parametrize("trained", ["tile-segmenter", "self-supervised", "tile-encoder"])
def test_an_encoder_goes_from_task_to_task(
    trained: str, name: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whole where the networks are of one kind; else the encoder alone, and that is logged."""
    options: dict[str, Any] = {"encoder_options": {"width": 2}}
    small: dict[str, Any] = {"self-supervised": {"projection": 3, "hidden": 4}}
    known = build_network(trained, options | small.get(trained, {}))
    saved(home / "known", known)
    network = build_network(name, options | small.get(name, {}))
    drawn = {k: v.clone() for k, v in network.state_dict().items()}
    with caplog.at_level(logging.INFO):
        fresh = start_from(network, "known")
    theirs, mine = known.state_dict(), network.state_dict()
    assert fresh == ([] if name == trained else [k for k in mine if not k.startswith("encoder.")])
    assert all(torch.equal(mine[k], drawn[k] if k in fresh else theirs[k]) for k in mine)
    alone = (trained, name) == ("tile-encoder", "tile-classifier")
    said = "with a new head" if alone else "the encoder" if fresh else "every weight"
    assert said in caplog.text

# SPDX-License-Identifier: Apache-2.0
"""Files of torch weights of the published systems, read, and computed with as their papers say.

The published files cannot travel with the project, so files of their layout are written with
known weights, and what the imported network says is compared with the same network written out in
NumPy (`reference`), which knows the published names alone. The Keras files have their own test
(`test_keras_unet`).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encephalon import api
from encephalon.errors import ModelError
from encephalon.models.published import open_published
from encephalon.networks.registry import build_network
from encephalon.networks.torch_runtime import load_network
from encephalon.training.transfer import start_from
from tests.networks.reference import (
    Array,
    State,
    convolved,
    gelu,
    largest,
    linear,
    lively,
    normalised,
    prelu,
    relu,
    transposed,
)
from tests.studies.microtomography import mtneuro_files

#: Largest difference from a reference, by the deviation of what it says.
CLOSE = 1e-4


def imported(folder: Path, state: State) -> Any:
    """The network of a file with these weights."""
    path = folder / "own.pt"
    torch.save({name: torch.from_numpy(np.asarray(value)) for name, value in state.items()}, path)
    return load_network(open_published(path))


def assert_close(found: Any, expected: Array) -> None:
    """As one sample of a batch, and with something to tell apart."""
    difference = np.abs(found[0].detach().numpy() - expected).max()
    assert expected.std() > 0.01, "a reference without contrast would prove nothing"
    assert difference < CLOSE * max(1.0, expected.std())


def image(*shape: int) -> tuple[Array, torch.Tensor]:
    """One image, as the reference takes it and as a network does."""
    array = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    return array.astype(np.float64), torch.from_numpy(array)[None]


def residual_block(
    state: State, name: str, x: Array, stride: int, kernels: tuple[int, ...]
) -> Array:
    """A block of torchvision's, whose first convolution of 3 x 3 pixels has the stride."""
    out = x
    for number, kernel in enumerate(kernels, start=1):
        here = stride if number - 1 == kernels.index(3) else 1
        out = convolved(state, f"{name}.conv{number}", out, here, kernel // 2)
        out = normalised(state, f"{name}.bn{number}", out)
        out = relu(out) if number < len(kernels) else out
    if f"{name}.downsample.0.weight" in state:
        x = convolved(state, f"{name}.downsample.0", x, stride)
        x = normalised(state, f"{name}.downsample.1", x)
    return relu(out + x)


def residual(state: State, stages: list[str], x: Array, kernels: tuple[int, ...]) -> Array:
    """The mean (features,) of the last map of four stages."""
    for stage, name in enumerate(stages):
        blocks = {key[len(name) + 1 :].partition(".")[0] for key in state if key.startswith(name)}
        for block in range(len(blocks)):
            stride = 2 if stage and not block else 1
            x = residual_block(state, f"{name}.{block}", x, stride, kernels)
    return x.reshape(len(x), -1).mean(axis=1)


def resnet50_shapes(prefix: str) -> dict[str, tuple[int, ...]]:
    """torchvision's ResNet-50 without its classes."""

    def normed(name: str, width: int) -> dict[str, tuple[int, ...]]:
        parts = ("weight", "bias", "running_mean", "running_var")
        return {f"{name}.{part}": (width,) for part in parts} | {f"{name}.num_batches_tracked": ()}

    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), **normed("bn1", 64)}
    before = 64
    for stage, (blocks, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), 1):
        for block in range(blocks):
            name, wide = f"layer{stage}.{block}", 4 * width
            sizes = ((width, before, 1, 1), (width, width, 3, 3), (wide, width, 1, 1))
            for number, size in enumerate(sizes, start=1):
                shapes[f"{name}.conv{number}.weight"] = size
                shapes |= normed(f"{name}.bn{number}", size[0])
            if not block:
                shapes[f"{name}.downsample.0.weight"] = (wide, before, 1, 1)
                shapes |= normed(f"{name}.downsample.1", wide)
            before = wide
    return {prefix + name: shape for name, shape in shapes.items()}


def test_3btron_is_computed_as_published(tmp_path: Path) -> None:
    """ResNet-50, its mean beside five covariates, and two layers: 322 tensors."""
    shapes = resnet50_shapes("image_features_.")
    shapes |= {"combined_features_.0.weight": (512, 2053), "combined_features_.0.bias": (512,)}
    shapes |= {"combined_features_.3.weight": (2, 512), "combined_features_.3.bias": (2,)}
    assert len(shapes) == 322
    state = lively(shapes)
    network = imported(tmp_path, state)
    x, given = image(3, 32, 32)
    covariates = np.array([0, 1, 0, 0, 1], np.float32)
    inner = {name.removeprefix("image_features_."): value for name, value in state.items()}
    first = relu(normalised(inner, "bn1", convolved(inner, "conv1", x, 2, 3)))
    stages = [f"layer{n}" for n in (1, 2, 3, 4)]
    features = residual(inner, stages, largest(first, 3, 2, 1), (1, 3, 1))
    hidden = relu(linear(state, "combined_features_.0", np.r_[features, covariates]))
    expected = linear(state, "combined_features_.3", hidden)
    assert_close(network(given, torch.from_numpy(covariates)[None]), expected)


def mtneuro_features(state: State, prefix: str, x: Array) -> Array:
    """A ResNet-18 in a sequence `f`, whose first convolution keeps the grid."""
    inner = {n.removeprefix(prefix): value for n, value in state.items() if n.startswith(prefix)}
    first = relu(normalised(inner, "f.1", convolved(inner, "f.0", x, 1, 1)))
    return residual(inner, [f"f.{n}" for n in (3, 4, 5, 6)], first, (3, 3))


def test_mtneuro_regions_are_computed_as_published(tmp_path: Path) -> None:
    """A supervised encoder and its linear layer."""
    state = lively(dict(mtneuro_files.classifier(width=4)))
    x, given = image(1, 24, 32)
    expected = linear(state, "classifier", mtneuro_features(state, "encoder.", x))
    assert_close(imported(tmp_path, state)(given), expected)


def test_mtneuro_representations_are_computed_as_published(tmp_path: Path) -> None:
    """Of all that learns without labels the online encoder alone."""
    state = lively(dict(mtneuro_files.self_supervised(width=4)))
    x, given = image(1, 24, 32)
    assert_close(imported(tmp_path, state)(given), mtneuro_features(state, "online_encoder.", x))


@pytest.mark.parametrize(("dims", "sides"), [(2, (16, 24)), (3, (8, 16, 16))])
def test_mtneuro_structures_are_computed_as_published(
    dims: int, sides: tuple[int, ...], tmp_path: Path
) -> None:
    """A U-Net that activates before it normalises, and joins the raised grid before the skip."""
    state = lively(dict(mtneuro_files.u_net(dims, width=2)))
    x, given = image(1, *sides)

    def double(name: str, x: Array) -> Array:
        for number in (1, 2):
            x = relu(convolved(state, f"{name}.conv{number}", x, 1, 1))
            x = normalised(state, f"{name}.norm{number}", x)
        return x

    out, skips = x, []
    for level in range(4):
        out = double(f"down_blocks.{level}", largest(out) if level else out)
        skips.append(out)
    for place, skip in enumerate(reversed(skips[:-1])):
        name = f"up_blocks.{place}"
        raised = normalised(state, f"{name}.norm0", relu(transposed(state, f"{name}.up", out)))
        out = double(name, np.concatenate([raised, skip]))
    assert_close(imported(tmp_path, state)(given), convolved(state, "conv_final", out))


def baby_ai(state: State, x: Array, prefix: str = "model") -> Array:
    """A level of BABY-AI's residual U-Net, with all that is coarser."""
    deepest = f"{prefix}.residual.weight" in state
    here, stride = (prefix, 1) if deepest else (f"{prefix}.0", 2)
    down, unit = x, 0
    while f"{here}.conv.unit{unit}.conv.weight" in state:
        name = f"{here}.conv.unit{unit}"
        down = convolved(state, f"{name}.conv", down, 1 if unit else stride, 1)
        down = prelu(state, f"{name}.adn.A", down)
        unit += 1
    down = down + convolved(state, f"{here}.residual", x, stride, 0 if deepest else 1)
    if deepest:
        return down
    joined = np.concatenate([down, baby_ai(state, down, f"{prefix}.1.submodule")])
    raised = transposed(state, f"{prefix}.2.0.conv", joined, 2, padding=1, beyond=1)
    raised = prelu(state, f"{prefix}.2.0.adn.A", raised)
    last = f"{prefix}.2.1.conv.unit0"
    out = convolved(state, f"{last}.conv", raised, 1, 1)
    if f"{last}.adn.A.weight" in state:
        out = prelu(state, f"{last}.adn.A", out)
    return out + raised


def test_baby_ai_is_computed_as_published(tmp_path: Path) -> None:
    """Three levels of its six, and two units of its ten, by the names that it has of them."""
    from encephalon.networks.published_reconstruction import weight_shapes

    state = lively(weight_shapes((2, 3, 4), 2))
    x, given = image(2, 8, 12, 16)
    assert_close(imported(tmp_path, state)(given), baby_ai(state, x))


def legibility_shapes(side: int = 64, outputs: int = 2) -> dict[str, tuple[int, ...]]:
    """The four blocks of a checkpoint, narrow (2 channels), as the released script lays them."""
    shapes: dict[str, tuple[int, ...]] = {}

    def normed(name: str, width: int) -> None:
        parts = ("weight", "bias", "running_mean", "running_var")
        shapes.update({f"{name}.{part}": (width,) for part in parts})
        shapes[f"{name}.num_batches_tracked"] = ()

    def layer(name: str, *shape: int) -> None:
        shapes.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})

    widths = [3, 2, 4, 8, 16, *[16] * (2 if side == 128 else 1)]
    for level, (before, after) in enumerate(pairwise(widths)):
        layer(f"cnn.skip_conv_layers.{level}", after, before, 1, 1, 1)
        layer(f"cnn.conv_layers.{2 * level}", after, before, 3, 3, 3)
        layer(f"cnn.conv_layers.{2 * level + 1}", after, after, 3, 3, 3)
        normed(f"cnn.bn_layers.{level}", after)
    features = 256 if side == 128 else 128
    layer("cnn.dense_layer", features, 8 * widths[-1])
    normed("cnn.final_batch_norm", features)
    joined = features + 128 + 32
    for block, sizes in {
        "mlp_connectivity": (30, 128, 128),
        "mlp_metadata": (4, 128, 64, 32),
        "mlp_logits": (joined, 256, 256, outputs),
    }.items():
        for number, (before, after) in enumerate(pairwise(sizes)):
            layer(f"{block}.dense_layers.{number}", after, before)
            if block != "mlp_logits" or number < 2:
                normed(f"{block}.bn_layers.{number}", after)
    return shapes


def legibility_file(folder: Path, state: State, module: str = "module.") -> Path:
    """A checkpoint as the released script writes it, from one GPU or ("module.") from several."""
    blocks: dict[str, Any] = {}
    for name, value in state.items():
        block, _, inner = name.partition(".")
        part = blocks.setdefault(f"{block}_state_dict", {})
        part[module + inner] = torch.from_numpy(np.asarray(value))
    beside = {"optimizer_state_dict": {"state": {0: {"step": 3}}, "param_groups": []}}
    beside |= {"scaler_state_dict": {}, "list_of_training_losses_per_epoch": [0.7, 0.6]}
    torch.save({"epoch": 1, **blocks, **beside}, folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


def perceptron(state: State, block: str, x: Array) -> Array:
    """Layers that are normalised and activated, if they have a normalisation."""
    number = 0
    while f"{block}.dense_layers.{number}.weight" in state:
        x = linear(state, f"{block}.dense_layers.{number}", x)
        if f"{block}.bn_layers.{number}.weight" in state:
            x = gelu(normalised(state, f"{block}.bn_layers.{number}", x))
        number += 1
    return x


def legibility(state: State, images: Array, connectivity: Array, metadata: Array) -> Array:
    """One CNN of three images, two perceptrons, and a head over what they say."""
    x, level = images, 0
    while f"cnn.skip_conv_layers.{level}.weight" in state:
        inner = gelu(convolved(state, f"cnn.conv_layers.{2 * level}", x, 1, 1))
        summed = convolved(state, f"cnn.conv_layers.{2 * level + 1}", inner, 1, 1)
        summed = summed + convolved(state, f"cnn.skip_conv_layers.{level}", x)
        x = largest(gelu(normalised(state, f"cnn.bn_layers.{level}", summed)))
        level += 1
    seen = linear(state, "cnn.dense_layer", x.ravel())
    seen = gelu(normalised(state, "cnn.final_batch_norm", seen))
    said = [perceptron(state, "mlp_connectivity", connectivity)]
    said.append(perceptron(state, "mlp_metadata", metadata))
    return perceptron(state, "mlp_logits", np.concatenate([*said, seen]))


@pytest.mark.parametrize("module", ["", "module."])
def test_legibility_is_computed_as_published(module: str, tmp_path: Path) -> None:
    """A checkpoint of four blocks, from one GPU and from several; the optimiser is left."""
    state = lively(legibility_shapes())
    found = open_published(legibility_file(tmp_path, state, module))
    about = (found.study, found.network, found.recipe)
    assert about == ("legibility", "published-legibility", "legibility-published")
    network = load_network(found)
    images, given = image(3, 64, 64, 64)
    connectivity, pairs = image(30)
    metadata, columns = image(4)
    expected = legibility(state, images, connectivity, metadata)
    assert_close(network(*given.split(1, dim=1), pairs, columns), expected)


def test_legibility_of_128_voxels_and_of_values_is_known_by_its_weights(tmp_path: Path) -> None:
    """Six blocks and one output; every weight has its place."""
    state = lively(legibility_shapes(128, outputs=1))
    network = load_network(open_published(legibility_file(tmp_path, state)))
    assert len(network.state_dict()) == len(state)
    first = network.get_parameter("images.5.second.weight").detach().numpy()
    np.testing.assert_array_equal(first, state["cnn.conv_layers.11.weight"])
    assert network.get_parameter("head.8.weight").shape == (1, 256)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cnn.final_batch_norm.bias": None}, r"missing 'images\.7\.bias'"),
        ({"cnn.extra": np.zeros(2)}, r"unexpected 'images\.extra'"),
        ({"mlp_metadata.bn_layers.0.bias": np.zeros(3)}, r"is \(3,\) instead of \(128,\)"),
        ({"mlp_logits.dense_layers.2.weight": None}, "another architecture"),
    ],
)
def test_legibility_that_does_not_fit_is_refused(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """Missing, unexpected, mis-shaped, and another architecture: one sentence each."""
    state = {k: v for k, v in (lively(legibility_shapes()) | change).items() if v is not None}
    with pytest.raises(ModelError, match=rf"checkpoint\.pt: .*{words}"):
        load_network(open_published(legibility_file(tmp_path, state)))


def test_legibility_starts_a_training_and_predicts_nothing(tmp_path: Path) -> None:
    """Weights say neither what people have nor what is told; another target gets a new head."""
    state = lively(legibility_shapes())
    path = legibility_file(tmp_path, state)
    options = {"connections": 30, "columns": 4, "width": 2, "outputs": 1}
    network = build_network("published-legibility", options)
    fresh = start_from(network, str(path))
    assert {name.partition(".")[0] for name in fresh} == {"head"}
    first = network.get_parameter("connectivity.4.weight").detach().numpy()
    np.testing.assert_array_equal(first, state["mlp_connectivity.dense_layers.1.weight"])
    with pytest.raises(ModelError, match=r"weights alone .* legibility-published --from"):
        api.load_model(path, device="cpu")

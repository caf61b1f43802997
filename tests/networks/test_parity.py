# SPDX-License-Identifier: Apache-2.0
"""Files of torch weights of the published systems, read, and computed with as their papers say.

The published files cannot travel with the project, so files of their layout are written with
known weights, and what the imported network says is compared with the same network written out in
NumPy (`reference`), which knows the published names alone. The Keras files have their own test
(`test_keras_unet`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encephalon.models.published import open_published
from encephalon.networks.torch_runtime import load_network
from tests.networks.reference import (
    Array,
    State,
    convolved,
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
    """torchvision's ResNet-50 without its classes (spec 3btron, section 2)."""

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

# SPDX-License-Identifier: Apache-2.0
"""The published U-Net in torch against a plain NumPy computation with Keras's own conventions.

The published files cannot travel with the project, so a file of their exact layout is written here
with known random weights.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from encephalon.errors import GeometryError, ModelError
from encephalon.models.keras import read_keras_h5
from encephalon.models.published import open_published
from encephalon.networks.keras_unet import (
    LAYERS,
    KerasUNet,
    keras_unet_shapes,
    state_of_layers,
)
from encephalon.networks.registry import fill_network
from encephalon.networks.torch_runtime import load_network

TRANSPOSED = (8, 11, 14)
"""Places of the transposed convolutions among the 18 layers with weights, in the file's order."""

Layers = list[tuple[np.ndarray, np.ndarray]]


def _random_layers(seed: int, n_classes: int = 1) -> Layers:
    """Kernels (kd, kh, kw, in, out), transposed ones (kd, kh, kw, out, in); lively."""
    generator = np.random.default_rng(seed)
    layers = []
    for shapes in keras_unet_shapes(n_classes):
        kernel = shapes["kernel"]
        scale = np.sqrt(2 / np.prod(kernel[:4])) if kernel[0] != 2 else np.sqrt(1 / kernel[3])
        layers.append(
            (
                generator.normal(0, scale, kernel).astype(np.float32),
                generator.normal(0, 0.1, shapes["bias"]).astype(np.float32),
            )
        )
    return layers


def _layer_names(first: int) -> list[str]:
    """Names as a Keras session gives them that had made `first` convolutions before."""
    names, plain, transposed = [], first, first // 5
    for number in range(18):
        if number in TRANSPOSED:
            names.append(f"conv3d_transpose_{transposed}" if transposed else "conv3d_transpose")
            transposed += 1
        else:
            names.append(f"conv3d_{plain}" if plain else "conv3d")
            plain += 1
    return names


def _write_published(path: Path, layers: Layers, first: int, text: type) -> Path:
    """Write what `model.save` of Keras 2 writes, optimizer included; `text` is bytes or str."""

    def spelt(names: list[str]) -> np.ndarray:
        if text is bytes:
            return np.array([name.encode() for name in names], dtype="S64")
        return np.array(names, dtype=h5py.string_dtype())

    weighted = _layer_names(first)
    with h5py.File(path, "w") as file:
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = "2.2.4-tf"
        file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": {}})
        root = file.create_group("model_weights")
        order = ["input_1"]
        for name in weighted:
            order += [name, name.replace("conv3d", "activation")]
        root.attrs["layer_names"] = spelt(order)
        for name in order:
            root.create_group(name).attrs["weight_names"] = np.array([], dtype="S1")
        for name, (kernel, bias) in zip(weighted, layers, strict=True):
            group = root[name]
            group.attrs["weight_names"] = spelt([f"{name}/kernel:0", f"{name}/bias:0"])
            group[f"{name}/kernel:0"] = kernel
            group[f"{name}/bias:0"] = bias
        # Adam's slots bear the same shapes; reading them by mistake would not fail, only be wrong.
        optimizer = file.create_group("optimizer_weights")
        for name, (kernel, _) in zip(weighted, layers, strict=True):
            optimizer[f"training/Adam/{name}/kernel/m:0"] = np.zeros_like(kernel)
    return path


def _convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Keras Conv3D, stride 1, "same", channels last: x (I, J, K, in) to (I, J, K, out)."""
    size = kernel.shape[0]
    padded = np.pad(x, [(size // 2, size // 2)] * 3 + [(0, 0)])
    i, j, k = x.shape[:3]
    out = np.zeros((i, j, k, kernel.shape[-1])) + bias
    for a, b, c in np.ndindex(size, size, size):
        out += padded[a : a + i, b : b + j, c : c + k] @ kernel[a, b, c].astype(float)
    return out


def _transpose_convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Keras Conv3DTranspose, size 2, stride 2: each voxel becomes its own block of eight."""
    i, j, k = x.shape[:3]
    out = np.empty((2 * i, 2 * j, 2 * k, kernel.shape[3]))
    for a, b, c in np.ndindex(2, 2, 2):
        out[a::2, b::2, c::2] = x @ kernel[a, b, c].astype(float).T + bias
    return out


def _pool(x: np.ndarray) -> np.ndarray:
    i, j, k, channels = x.shape
    return x.reshape(i // 2, 2, j // 2, 2, k // 2, 2, channels).max(axis=(1, 3, 5))


def _reference(x: np.ndarray, layers: Layers) -> np.ndarray:
    """The published network in float64: x (I, J, K, 1) to probabilities (I, J, K, classes)."""
    left = iter(layers)

    def convolved(x: np.ndarray) -> np.ndarray:
        return np.maximum(_convolve(x, *next(left)), 0)

    skips = []
    for _ in range(3):
        skips.append(convolved(convolved(x)))
        x = _pool(skips[-1])
    x = convolved(convolved(x))
    for skip in reversed(skips):
        x = np.concatenate([skip, _transpose_convolve(x, *next(left))], axis=-1)
        x = convolved(convolved(x))
    logits = _convolve(x, *next(left))
    if logits.shape[-1] == 1:
        return 1 / (1 + np.exp(-logits))
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def layers() -> Layers:
    return _random_layers(seed=5)


@pytest.mark.parametrize(("first", "text"), [(0, bytes), (15, str)])
def test_a_published_file_computes_what_keras_would(
    tmp_path: Path, layers: Layers, first: int, text: type
) -> None:
    """From file to probability, torch and the written-out computation differ by less than 1e-4."""
    path = _write_published(tmp_path / "model.h5", layers, first, text)
    network = filled(KerasUNet(), read_keras_h5(path, keras_unet_shapes()))
    x = np.random.default_rng(1).normal(size=(16, 16, 24)).astype(np.float32)

    with torch.inference_mode():
        found = network(torch.from_numpy(x)[None, None])[0, 0].numpy()

    expected = _reference(x[..., None].astype(float), layers)[..., 0]
    assert expected.std() > 0.05, "a reference without contrast would prove nothing"
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("n_classes", [2, 50])
def test_a_file_of_several_classes_computes_what_keras_would(
    tmp_path: Path, n_classes: int
) -> None:
    """How many is told by the file; they share one softmax, and 50 are those of FreeSurfer."""
    layers = _random_layers(7, n_classes)
    path = _write_published(tmp_path / "model.h5", layers, 0, bytes)
    network = load_network(open_published(path))
    x = np.random.default_rng(1).normal(size=(8, 16, 16)).astype(np.float32)

    with torch.inference_mode():
        found = network(torch.from_numpy(x)[None, None])[0].numpy()

    expected = np.moveaxis(_reference(x[..., None].astype(float), layers), -1, 0)
    assert found.shape == (n_classes, *x.shape)
    assert expected.std() > 0.01, "a reference without contrast would prove nothing"
    assert np.abs(found - expected).max() < 1e-4
    assert len(np.unique(found.argmax(axis=0))) > 1


@pytest.mark.parametrize(
    ("kernel", "bias", "words"),
    [
        (
            (1, 1, 1, 16, 3),
            (3,),
            r"layer 17 .* instead of kernel \(1, 1, 1, 32, any\)",
        ),
        ((1, 1, 1, 32, 0), (0,), "layer 17"),
        ((1, 1, 1, 32, 3), (2,), "do not fit the network"),
    ],
)
def test_a_head_of_another_shape_is_refused(
    tmp_path: Path, kernel: tuple[int, ...], bias: tuple[int, ...], words: str
) -> None:
    """The number of classes is free, and nothing else is; kernel and bias have the same."""
    layers = [*_random_layers(3)[:-1], (np.ones(kernel, "f4"), np.ones(bias, "f4"))]
    path = _write_published(tmp_path / "model.h5", layers, 0, bytes)
    with pytest.raises(ModelError, match=rf"model\.h5: .*{words}"):
        load_network(open_published(path))


def test_names_follow_the_session_that_saved_them() -> None:
    """The file of a second session counts on from conv3d_15, as the tests rely on."""
    names = _layer_names(15)
    assert names[0] == "conv3d_15"
    assert names[8] == "conv3d_transpose_3"
    assert len(set(names)) == 18


def test_the_network_has_4768289_parameters() -> None:
    """Torch and the table of shapes both count what was published."""
    network = KerasUNet()
    assert sum(weight.numel() for weight in network.parameters()) == 4_768_289
    shapes = [shape for layer in keras_unet_shapes() for shape in layer.values()]
    assert sum(map(prod, shapes)) == 4_768_289


def test_the_shapes_are_those_of_the_keras_graph() -> None:
    """Kernels end in (in, out), those of transposed layers in as many of both; any width."""
    shapes = [layer["kernel"] for layer in keras_unet_shapes(3, filters=4, in_channels=2)]
    channels = [(2, 4), (4, 8), (8, 8), (8, 16), (16, 16), (16, 32), (32, 32), (32, 64)]
    channels += [(64, 64), (96, 32), (32, 32), (32, 32), (48, 16), (16, 16)]
    channels += [(16, 16), (24, 8), (8, 8), (8, 3)]
    sizes = [2 if place in TRANSPOSED else 3 for place in range(17)]
    assert shapes == [(n, n, n, *pair) for n, pair in zip([*sizes, 1], channels, strict=True)]


@pytest.mark.parametrize("size", [(8, 8, 8), (16, 8, 24)])
def test_output_is_a_probability_on_the_input_grid(size: tuple[int, int, int]) -> None:
    """Any sides that are multiples of eight are kept, and every value lies in [0, 1]."""
    out = KerasUNet(filters=2)(torch.randn(2, 1, *size)).detach()
    assert out.shape == (2, 1, *size)
    assert bool(((out >= 0) & (out <= 1)).all())


def test_several_classes_share_one_probability() -> None:
    """With three classes the probabilities of a voxel add up to one."""
    out = KerasUNet(n_classes=3, filters=2)(torch.randn(1, 1, 8, 8, 8))
    torch.testing.assert_close(out.sum(dim=1), torch.ones(1, 8, 8, 8))


@pytest.mark.parametrize(
    "shape", [(1, 1, 8, 8, 12), (1, 2, 8, 8, 8), (1, 8, 8, 8), (1, 1, 8, 8, 0)]
)
def test_a_shape_that_cannot_be_pooled_is_refused(shape: tuple[int, ...]) -> None:
    """The error names the shape that came and says to pad."""
    with pytest.raises(GeometryError, match="multiples of 8"):
        KerasUNet(filters=2)(torch.zeros(shape))


def filled(network: KerasUNet, layers: Any) -> KerasUNet:
    """The network with the weights of Keras layers."""
    return fill_network(network, state_of_layers(layers), "test")


def _tiny(n_classes: int = 1) -> list[tuple[str, dict[str, np.ndarray]]]:
    return [
        (
            f"layer_{number}",
            {kind: np.full(shape, 0.5, np.float32) for kind, shape in kinds.items()},
        )
        for number, kinds in enumerate(keras_unet_shapes(n_classes, filters=2))
    ]


@pytest.mark.parametrize("fault", ["count", "shape", "kinds"])
def test_a_wrong_layer_leaves_the_network_untouched(fault: str) -> None:
    """A layer too few, of another shape or of another kind is refused before anything is copied."""
    network, layers = KerasUNet(filters=2), _tiny()
    if fault == "count":
        layers.pop()
    elif fault == "shape":
        layers[-1][1]["bias"] = np.zeros(2, np.float32)
    else:
        layers[-1][1]["gamma"] = np.zeros(1, np.float32)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    with pytest.raises(ModelError, match=r"18 layers|do not fit|kernel and bias"):
        filled(network, layers)

    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_fresh_weights_are_drawn_as_keras_draws_them() -> None:
    """Kernels fill the Glorot interval, sqrt(6 / (fan in + fan out)), and biases are zero."""
    network = KerasUNet()
    for name, shapes in zip(LAYERS, keras_unet_shapes(), strict=True):
        kernel = shapes["kernel"]
        bound = np.sqrt(6 / (np.prod(kernel[:3]) * (kernel[3] + kernel[4])))
        largest = float(network.get_parameter(f"{name}.weight").detach().abs().max())
        assert 0.7 * bound < largest <= bound * 1.000001
        assert not bool(network.get_parameter(f"{name}.bias").any())


def test_no_size_below_one_is_built() -> None:
    """A network without filters is refused as a value, not as a crash later on."""
    with pytest.raises(ValueError, match="at least 1"):
        KerasUNet(filters=0)

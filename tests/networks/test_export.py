# SPDX-License-Identifier: Apache-2.0
"""An exported graph says what its network says, at any size, from weights of half the bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from encephalon.errors import ModelError
from encephalon.inference.runtimes import open_runtime
from encephalon.networks import build_network
from encephalon.networks.export import export_graph, half_precision

SHAPE = (1, 1, 16, 16, 16)


@pytest.fixture
def network() -> nn.Module:
    """A small distance U-Net whose weights half precision holds exactly."""
    torch.manual_seed(0)
    made = build_network("distance-unet", {"channels": [4, 8, 8], "borders": 2})
    rounded = half_precision(made.state_dict())
    made.load_state_dict({name: torch.from_numpy(value) for name, value in rounded.items()})
    return made.eval()


def test_the_graph_says_what_the_network_says_at_any_size(
    network: nn.Module, tmp_path: Path
) -> None:
    """Batch and sides are free; only the example's were seen at export."""
    graph = tmp_path / "graph.onnx"
    export_graph(network, graph, SHAPE)
    image = np.random.default_rng(0).random((2, 1, 16, 24, 32), dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(image)).numpy()
    (found,) = open_runtime(graph, "cpu", threads=1).run(image)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_a_graph_that_pads_takes_sizes_that_it_was_not_traced_with(tmp_path: Path) -> None:
    """Nothing had to be padded of the example."""
    torch.manual_seed(0)
    made = build_network("published-unet", {"spatial_dims": 3, "width": 2, "blocks": 3})
    rounded = half_precision(made.state_dict())
    made.load_state_dict({name: torch.from_numpy(value) for name, value in rounded.items()})
    graph = tmp_path / "graph.onnx"
    export_graph(made.eval(), graph, (1, 1, 4, 8, 8))
    image = np.random.default_rng(0).random((1, 1, 5, 10, 7), dtype=np.float32)
    with torch.no_grad():
        expected = made(torch.from_numpy(image)).numpy()
    (found,) = open_runtime(graph, "cpu", threads=1).run(image)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


CLASSIFIER = {"layers": (1, 1, 1, 1), "widths": (4, 8, 8, 16), "hidden": 80, "covariates": 3}


def classifier(**options: Any) -> nn.Module:
    """A small image classifier with statistics of its own, which half precision holds exactly."""
    torch.manual_seed(0)
    made = build_network("image-classifier", {**CLASSIFIER, **options})
    made(3 * torch.rand(4, 1, 64, 64) - 1, torch.rand(4, 3))
    rounded = half_precision(made.state_dict())
    made.load_state_dict({name: torch.from_numpy(value) for name, value in rounded.items()})
    return made.eval()


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        ({}, ["image", "covariates"]),
        ({"strides": (1, 2, 2, 1), "stem": "small", "norm": "group"}, ["image", "covariates"]),
        ({"inputs": "image"}, ["image"]),
        ({"inputs": "covariates"}, ["covariates"]),
    ],
)
def test_a_graph_has_the_inputs_that_its_network_uses(
    options: dict[str, Any], inputs: list[str], runtime: str, tmp_path: Path
) -> None:
    """By name, for any number of samples; what it does not use may be given all the same."""
    pytest.importorskip(runtime)
    network, path = classifier(**options), tmp_path / "graph.onnx"
    example = (torch.rand(1, 1, 64, 64), torch.rand(1, 3))
    export_graph(network, path, example, ("image", "covariates"))
    assert [given.name for given in onnx.load(str(path)).graph.input] == inputs
    image, covariates = torch.rand(3, 1, 64, 64), torch.rand(3, 3)
    with torch.no_grad():
        expected = network(image, covariates).numpy()
    opened = open_runtime(path, "cpu", threads=1, prefer=[runtime])
    (found,) = opened.run({"covariates": covariates.numpy(), "image": image.numpy()})
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_one_example_input_is_enough(tmp_path: Path) -> None:
    """A tensor in the place of a shape."""
    network = classifier(inputs="image", covariates=0)
    export_graph(network, tmp_path / "graph.onnx", torch.rand(1, 1, 64, 64))
    image = np.random.default_rng(0).random((2, 1, 64, 64), dtype=np.float32)
    (found,) = open_runtime(tmp_path / "graph.onnx", "cpu", threads=1).run(image)
    assert found.shape == (2, 2)


def test_kernels_are_stored_in_half_precision(network: nn.Module, tmp_path: Path) -> None:
    """No large tensor of the graph takes four bytes a number."""
    graph = tmp_path / "graph.onnx"
    export_graph(network, graph, SHAPE)
    stored = onnx.load(str(graph)).graph.initializer
    large = [weight for weight in stored if np.prod(weight.dims) >= 64]
    assert large
    assert {weight.data_type for weight in large} == {onnx.TensorProto.FLOAT16}


def test_a_graph_that_differs_from_its_network_is_refused(
    network: nn.Module, tmp_path: Path
) -> None:
    """Weights that half precision cannot hold would make two models of one."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1.0003)
    with pytest.raises(ModelError, match=r"graph\.onnx: the exported graph differs"):
        export_graph(network, tmp_path / "graph.onnx", SHAPE)

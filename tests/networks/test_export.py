# SPDX-License-Identifier: Apache-2.0
"""An exported graph says what its network says, at any size, from weights of half the bytes."""

from __future__ import annotations

from pathlib import Path

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

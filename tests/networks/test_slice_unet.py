# SPDX-License-Identifier: Apache-2.0
"""The network that adds what thick slices lost: small, full resolution, harmless untrained."""

from __future__ import annotations

from pathlib import Path

import torch

from encephalon.networks import build_network
from encephalon.networks.export import export_graph
from encephalon.networks.slice_unet import LOG_ERROR
from encephalon.recipes.loading import load_recipe


def test_the_shipped_layout_has_fewer_than_five_million_weights() -> None:
    """The issue allows 5 million; the published network has 379 million."""
    network = build_network("slice-unet", load_recipe("isotropic").network.options)
    assert sum(weight.numel() for weight in network.parameters()) < 5_000_000


def test_an_untrained_network_returns_the_guided_estimate() -> None:
    """The skip around the network is the sum of its first two channels."""
    network = build_network("slice-unet", {"channels": [4, 8]})
    features = torch.rand(2, 9, 8, 6, 10)
    answer = network(features)
    assert answer.shape == (2, 2, 8, 6, 10)
    torch.testing.assert_close(answer[:, 0], features[:, 0] + features[:, 1])


def test_the_error_stays_in_its_range_whatever_the_weights_say() -> None:
    """The logarithm of the error is cut at both ends, so that no likelihood explodes."""
    network = build_network("slice-unet", {"channels": [4, 8]})
    for bias, limit in ((-50.0, LOG_ERROR[0]), (50.0, LOG_ERROR[1])):
        with torch.no_grad():
            network.head.bias[1] = bias
        assert torch.all(network(torch.rand(1, 9, 4, 4, 4))[:, 1] == limit)


def test_the_exported_graph_says_the_same_at_other_sizes(tmp_path: Path) -> None:
    """The graph that predicts without torch takes tiles of any multiple of the stride."""
    import onnxruntime

    network = build_network("slice-unet", {"channels": [4, 8, 8]}).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(weight.half().float() + 0.01)
            weight.copy_(weight.half().float())
    export_graph(network, tmp_path / "graph.onnx", (1, 9, 16, 16, 16), ("features",))
    features = torch.rand(1, 9, 12, 20, 8)
    session = onnxruntime.InferenceSession(str(tmp_path / "graph.onnx"))
    (answer,) = session.run(None, {"features": features.numpy()})
    torch.testing.assert_close(
        torch.from_numpy(answer), network(features).detach(), atol=1e-3, rtol=1e-3
    )

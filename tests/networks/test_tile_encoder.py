# SPDX-License-Identifier: Apache-2.0
"""Representations that no gradient makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")


def factors_of(count: int, side: int) -> np.ndarray:
    """Factors (count, side * side) of length 1, none negative, half of their pixels 0."""
    rng = np.random.default_rng(0)
    drawn = rng.random((count, side * side)) * (rng.random((count, side * side)) < 0.5)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def network_of(factors: np.ndarray, side: int) -> torch.nn.Module:
    """NMF with these factors, as a model folder holds them: in half precision."""
    from encephalon.networks.tile_encoder import TileFactors

    network = TileFactors("nmf", len(factors), (side, side))
    network.factors.copy_(torch.from_numpy(factors.astype(np.float16)))
    return network.eval()


def test_nmf_finds_the_weights_of_a_mixture() -> None:
    """Those of three tiles that are made of six factors, some with none of some."""
    factors = factors_of(6, 16)
    weights = np.array([[1, 0, 2, 0, 0.5, 3], [0.2, 4, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    tiles = torch.from_numpy((weights @ factors).reshape(3, 1, 16, 16)).float()
    found = network_of(factors, 16)(tiles).numpy()
    assert np.allclose(found, weights, atol=0.03)


def test_the_graph_of_nmf_keeps_its_weights_however_many_factors(tmp_path: Path) -> None:
    """Export compares both; of 64 factors a product of them would have been rounded, too."""
    from encephalon.networks.export import export_graph

    export_graph(network_of(factors_of(64, 32), 32), tmp_path / "graph.onnx", (1, 1, 32, 32))
    assert (tmp_path / "graph.onnx").is_file()

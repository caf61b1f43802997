# SPDX-License-Identifier: Apache-2.0
"""The two checks of maps that can fail: the planted patch is found, and learning is needed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from encephalon.explanation.gradcam import grad_cam, randomised_weights, rank_similarity
from encephalon.explanation.location import box_cover, centre_prior, points_inside, share_inside
from tests.explanation.tiny import PATCH, SIZE, Patches, planted, trained

LAYER = "body.7"


@pytest.fixture(scope="module")
def network() -> Patches:
    """A network that has learnt to see the patch."""
    return trained(np.random.default_rng(0))


def each(images: NDArray[np.float32]) -> list[tuple[torch.Tensor]]:
    """What a network takes of each of these images (N, 1, rows, columns)."""
    return [(torch.tensor(image[None]),) for image in images]


def test_the_map_lies_where_the_patch_was_planted(network: Patches) -> None:
    """On new pictures the patch (6 % of the area) holds most of the map, and its highest point."""
    images, _, corners = planted(np.random.default_rng(1), 40)
    maps = grad_cam(network, (torch.tensor(images[1::2]),), LAYER, 1)
    shares, priors, hits = [], [], []
    for values, (row, column) in zip(maps, corners[1::2], strict=True):
        x, y = (column + PATCH / 2) / SIZE, (row + PATCH / 2) / SIZE
        cover = box_cover((SIZE // 2, SIZE // 2), (x, y, PATCH / SIZE, PATCH / SIZE))
        shares.append(share_inside(values, cover))
        priors.append(share_inside(centre_prior(values.shape), cover))
        hits.append(points_inside(values, cover))
    assert np.mean(shares) > 0.5 > 4 * np.mean(priors)
    assert np.mean(hits) > 0.9


def test_randomised_weights_destroy_the_map(network: Patches) -> None:
    """From the last stage to the first the map loses its likeness; the network keeps its own."""
    images, _, _ = planted(np.random.default_rng(2), 16)
    samples = each(images[1::2])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = randomised_weights(network, samples, LAYER, [1] * 8)
    assert list(found) == ["head", "body.6", "body.4", "body.3", "body.1", "body.0"]
    assert abs(found["body.0"]) < 0.4 < found["head"]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_map_that_ignores_the_weights_is_caught() -> None:
    """What any weights show is the picture, not the network: the likeness stays."""

    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.channels = nn.Identity()
            self.scale = nn.Linear(1, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            means = self.channels(image).mean(dim=(2, 3))
            return torch.cat([means, means + 0 * self.scale(means)], dim=1)

    images, _, _ = planted(np.random.default_rng(3), 4)
    found = randomised_weights(Stubborn(), each(images), "channels", [1] * 4)
    assert found == {"scale": pytest.approx(1.0)}


def test_the_same_seed_shuffles_alike(network: Patches) -> None:
    """The figure in a report can be made again."""
    images, _, _ = planted(np.random.default_rng(4), 4)
    runs = (randomised_weights(network, each(images), LAYER, [1] * 4, seed=3) for _ in range(2))
    first, again = runs
    assert first == again


def test_rank_similarity_sees_order_alone() -> None:
    """A monotone change is 1, a reversal -1, and a constant map is like nothing."""
    values = np.random.default_rng(0).random((5, 6))
    assert rank_similarity(values, values**3) == pytest.approx(1)
    assert rank_similarity(values, -values) == pytest.approx(-1)
    assert rank_similarity(values, np.zeros_like(values)) == 0

# SPDX-License-Identifier: Apache-2.0
"""Maps are what the formula says, whatever is frozen and however many inputs there are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from encephalon.errors import UsageError
from encephalon.explanation.gradcam import deepest_layer, grad_cam, scale_map
from tests.explanation.tiny import TwoInputs

IMAGE = torch.tensor([[[[1.0, -2.0], [3.0, 0.0]]]])
COVARIATES = torch.tensor([[1.0]])


def test_the_map_is_the_one_computed_by_hand() -> None:
    """Logit 1 is 2 mean(picture+) - mean(picture-): weights 2/4 and -1/4 of the two channels."""
    positive = grad_cam(TwoInputs(), (IMAGE, COVARIATES), "rectify", 1)
    assert positive.dtype == np.float32
    np.testing.assert_allclose(positive, [[[0.5, 0.0], [1.5, 0.0]]])
    negative = grad_cam(TwoInputs(), (IMAGE, COVARIATES), "rectify", 0)
    np.testing.assert_allclose(negative, [[[0.0, 0.5], [0.0, 0.0]]])


def test_a_layer_before_its_activation_is_explained_as_it_is() -> None:
    """The channels are those before the ReLU that works in place: -2 stays -2."""
    # Gradients: channel 0 gets 2/4 where it is positive (2 of 4 pixels), channel 1 gets -1/4 in 1.
    values = grad_cam(TwoInputs(), (IMAGE, COVARIATES), "conv", 1)
    weights = np.array([2 * 0.5 / 4, -0.25 / 4])
    picture = IMAGE[0, 0].numpy()
    by_hand = np.maximum(weights[0] * picture - weights[1] * picture, 0)
    np.testing.assert_allclose(values[0], by_hand, rtol=1e-6)


def test_what_speaks_against_a_class_is_below_0_where_signs_are_kept() -> None:
    """The map of the other test, without its ReLU."""
    found = grad_cam(TwoInputs(), (IMAGE, COVARIATES), "rectify", 1, signed=True)
    np.testing.assert_allclose(found, [[[0.5, -0.5], [1.5, 0.0]]])


def test_the_deepest_layer_has_as_many_cells_as_are_asked_for() -> None:
    """Else it is the last one with maps; the pool, which is called twice, is none."""

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1)
            self.pool = nn.MaxPool2d(2)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            whole: torch.Tensor = self.pool(self.second(self.pool(self.first(image))))
            return whole.mean(dim=(2, 3))

    image = (torch.zeros(1, 1, 8, 8),)
    assert [deepest_layer(Pooled(), image, cells) for cells in (8, 4, 99)] == [
        "first",
        "second",
        "second",
    ]
    with pytest.raises(UsageError, match="no layer with maps"):
        deepest_layer(nn.Linear(2, 2), (torch.zeros(1, 2),), 1)


def test_without_a_class_the_most_likely_one_is_explained() -> None:
    """Each sample has its own class, which the covariate may decide."""
    images, covariates = IMAGE.repeat(2, 1, 1, 1), torch.tensor([[1.0], [-1.0]])
    found = grad_cam(TwoInputs(), (images, covariates), "rectify")
    asked = grad_cam(TwoInputs(), (images, covariates), "rectify", [1, 0])
    np.testing.assert_array_equal(found, asked)
    assert not np.array_equal(found[0], found[1])


def test_frozen_parameters_make_no_difference() -> None:
    """No parameter has to ask for a gradient, and none gets one."""
    network = TwoInputs()
    free = grad_cam(network, (IMAGE, COVARIATES), "conv", 1)
    assert network.head.weight.grad is None
    network.requires_grad_(False)
    with torch.no_grad():
        frozen = grad_cam(network, (IMAGE, COVARIATES), "conv", 1)
    np.testing.assert_array_equal(free, frozen)


def test_a_map_of_one_image_does_not_depend_on_its_neighbours() -> None:
    """Normalisation is in evaluation mode for the time, and back in its own mode afterwards."""
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten())
    network.append(nn.Linear(3 * 36, 2)).train()
    network[1].eval()
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    together = grad_cam(network, (images,), "2", 0)
    alone = grad_cam(network, (images[:1],), "2", 0)
    np.testing.assert_allclose(together[:1], alone, rtol=1e-5, atol=1e-7)
    assert [module.training for module in network] == [True, False, True, True, True]


def test_volumes_have_maps_too() -> None:
    """A 3-D network gives (B, d, h, w)."""
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    values = grad_cam(network, (torch.ones(2, 1, 6, 5, 4),), "0", 1)
    assert values.shape == (2, 4, 3, 2)


def test_of_a_layer_with_several_maps_the_last_is_explained() -> None:
    """An encoder gives a list; what else uses the maps before is left as it was."""

    class Encoder(nn.Module):
        def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
            return [image, torch.cat([image, -image], dim=1).relu_()]

    class Network(TwoInputs):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Encoder()

        def forward(self, image: torch.Tensor, covariates: torch.Tensor) -> torch.Tensor:
            fine, last = self.encoder(image)
            assert fine is image
            logits: torch.Tensor = self.head(torch.cat([last.mean(dim=(2, 3)), covariates], dim=1))
            return logits

    found = grad_cam(Network(), (IMAGE, COVARIATES), "encoder", 1)
    np.testing.assert_array_equal(found, grad_cam(TwoInputs(), (IMAGE, COVARIATES), "rectify", 1))


def test_no_hook_stays_behind_even_after_an_error() -> None:
    """The network is as it was before, whatever happened."""
    network = TwoInputs()
    with pytest.raises(RuntimeError):
        grad_cam(network, (IMAGE, torch.ones(1, 9)), "conv", 1)
    grad_cam(network, (IMAGE, COVARIATES), "conv", 1)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("layer", "target", "sentence"),
    [
        ("convv", 0, "no layer 'convv': the nearest are conv"),
        ("head", 0, r"'head' is of the shape \(1, 2\)"),
        ("conv", 2, "has 2 classes, from 0, and 2 is none"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(layer: str, target: int, sentence: str) -> None:
    """Unknown layers, layers without a map and classes that are not there are named."""
    with pytest.raises(UsageError, match=sentence):
        grad_cam(TwoInputs(), (IMAGE, COVARIATES), layer, target)


def test_a_layer_without_a_way_to_the_logits_is_refused() -> None:
    """A map of nothing would look like an answer."""

    class Aside(TwoInputs):
        def forward(self, image: torch.Tensor, covariates: torch.Tensor) -> torch.Tensor:
            self.conv(image)
            return covariates.repeat(1, 2)

    with pytest.raises(UsageError, match="do not depend on the layer 'conv'"):
        grad_cam(Aside(), (IMAGE, COVARIATES), "conv", 0)
    with pytest.raises(UsageError, match="'rectify' is not used"):
        grad_cam(Aside(), (IMAGE, COVARIATES), "rectify", 0)


def test_scaled_maps_lie_between_0_and_1_and_are_never_nan() -> None:
    """An empty map stays empty: the published code divided 0 by 0."""
    scaled = scale_map(np.array([[1.0, 3.0], [2.0, 5.0]]))
    np.testing.assert_allclose(scaled, [[0, 0.5], [0.25, 1]])
    for flat in (np.zeros((3, 3)), np.full((3, 3), 7.0)):
        assert (scale_map(flat) == 0).all()
    unseen = scale_map(np.array([[np.nan, 2.0], [4.0, 3.0]], np.float32))
    np.testing.assert_allclose(unseen, [[np.nan, 0], [1, 0.5]])

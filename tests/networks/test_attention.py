# SPDX-License-Identifier: Apache-2.0
"""Pooling by attention: the weights are the network's, and show where it looked."""

from __future__ import annotations

import pytest
import torch

from encephalon.networks import build_network
from encephalon.networks.image_classifier import AttentionPooling
from encephalon.training.losses import LOSSES, attention, class_cross_entropy

SMALL = {"layers": (1, 1, 1, 1), "widths": (8, 8, 8, 8), "hidden": 8, "strides": (1, 2, 2, 1)}


def test_features_are_averaged_where_the_attention_lies() -> None:
    """With all weight on one place, the pooled features are those of that place."""
    pooling = AttentionPooling(2)
    with torch.no_grad():
        pooling.weigh.weight.copy_(torch.tensor([40.0, 0.0]).view(1, 2, 1, 1))
        pooling.weigh.bias.fill_(-20.0)
    features = torch.zeros(1, 2, 3, 3)
    features[0, :, 1, 2] = torch.tensor([1.0, 7.0])
    features[0, 1, 0, 0] = 100.0
    pooled = pooling(features)[0]
    assert pooled[:2].tolist() == pytest.approx([1.0, 7.0], rel=2e-3)
    assert pooled.shape == (2 + 9,)
    assert int(pooled[2:].argmax()) == 5


def test_a_classifier_shows_its_attention_only_when_asked() -> None:
    """The same logits come out with and without the log-odds of the 8 x 8 places behind them."""
    network = build_network("image-classifier", {**SMALL, "classes": 3, "pooling": "attention"})
    network.eval()
    image, covariates = torch.rand(2, 1, 128, 128), torch.zeros(2, 0)
    logits = network(image, covariates)
    network.shows_attention = True
    shown = network(image, covariates)
    assert logits.shape == (2, 3)
    assert shown.shape == (2, 3 + 64)
    assert torch.equal(shown[:, :3], logits)
    assert network.map_layer == "encoder.avgpool.gated"


def test_a_network_that_averages_has_no_attention() -> None:
    """Asked for it, a network with mean pooling adds nothing to its logits."""
    network = build_network("image-classifier", {**SMALL, "classes": 2})
    network.shows_attention = True
    assert network.eval()(torch.rand(1, 1, 64, 64)).shape == (1, 2)
    assert (network.attends, network.map_layer) == (False, "encoder.layer4")


def test_the_loss_of_attention_falls_when_it_lies_where_it_should() -> None:
    """Right places cost less than none, and none less than wrong ones."""
    target = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0]])
    right, none, wrong = (
        attention(torch.tensor([[0.0, 0.0, *odds]]), target, columns=2)
        for odds in ((-6.0, 6.0, -6.0), (-6.0, -6.0, -6.0), (6.0, -6.0, 6.0))
    )
    assert right < 0.1 < none < wrong


def test_samples_without_a_known_place_teach_no_attention() -> None:
    """Their wishes are negative: the loss is that of the others alone, and 0 without others."""
    target = torch.tensor([[1.0, 0.0, 0.2, 0.9], [0.0, 1.0, -1.0, -1.0]])
    predicted = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    assert attention(predicted, target, 2) == attention(predicted[:1], target[:1], 2)
    assert attention(predicted[1:], target[1:], 2) == 0


def test_the_loss_of_classes_looks_at_its_own_columns_only() -> None:
    """Columns of attention behind the classes change nothing."""
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    target = torch.eye(3)[[0, 2, 1, 1]]
    wide = [torch.cat([each, torch.rand(4, 5)], dim=1) for each in (logits, target)]
    assert class_cross_entropy(*wide, columns=3) == class_cross_entropy(logits, target)
    assert LOSSES["attention"] is attention

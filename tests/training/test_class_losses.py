# SPDX-License-Identifier: Apache-2.0
"""Losses of classes that exclude each other, at each place, some of which nobody has labelled."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as nnf

from encephalon.training.losses import (
    LOSSES,
    class_cross_entropy,
    class_dice,
    class_focal,
    class_shares,
)

WEIGHTS = [0.5, 2.0, 1.0]


def example() -> tuple[Tensor, Tensor]:
    """Logits (2, 3, 5, 4), and labels of which some are unknown, -1."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(-1, 3, (2, 5, 4), generator=generator)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_is_torchs_own_with_weights_and_an_ignored_label(
    weights: list[float] | None,
) -> None:
    """Divided by the sum of the weights of what is known."""
    logits, labels = example()
    kinds = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    expected = nnf.cross_entropy(logits, labels, kinds, ignore_index=-1)
    target = class_shares(labels, 3).double()
    found = class_cross_entropy(logits, target, weights=weights, weighted_mean=True)
    torch.testing.assert_close(found, expected)


def test_focal_is_a_weighted_cross_entropy_by_hand() -> None:
    """(1 - p)^gamma of each known place; gamma 0 is cross-entropy."""
    logits, labels = example()
    target, known = class_shares(labels, 3).double(), labels >= 0
    chance = logits.softmax(dim=1).gather(1, labels.clamp_min(0)[:, None])[:, 0][known]
    expected = (-((1 - chance) ** 2) * chance.log()).mean()
    torch.testing.assert_close(class_focal(logits, target), expected)
    plain = class_cross_entropy(logits, target, weighted_mean=True)
    torch.testing.assert_close(class_focal(logits, target, gamma=0.0), plain)


def test_dice_is_a_mean_over_classes_by_hand() -> None:
    """Sums over the batch, without what is unknown; the background may be left out."""
    logits, labels = example()
    known = labels >= 0
    chances = logits.softmax(dim=1)
    each = []
    for number in range(3):
        truth = (labels == number)[known].double()
        chance = chances[:, number][known]
        each.append(1 - 2 * (truth * chance).sum() / (truth + chance).sum())
    target = class_shares(labels, 3).double()
    torch.testing.assert_close(class_dice(logits, target), torch.stack(each).mean())
    without = class_dice(logits, target, background=False)
    torch.testing.assert_close(without, torch.stack(each[1:]).mean())


@pytest.mark.parametrize("name", ["class-cross-entropy", "class-dice", "class-focal"])
def test_what_nobody_labelled_moves_no_logit(name: str) -> None:
    """Its gradient is 0; a batch in which nothing is labelled has a finite loss."""
    logits, labels = example()
    logits.requires_grad_()
    options = {"weighted_mean": True} if name == "class-cross-entropy" else {}
    LOSSES[name](logits, class_shares(labels, 3).double(), **options).backward()
    assert logits.grad is not None
    unknown = (labels < 0)[:, None].expand_as(logits)
    assert not logits.grad[unknown].any()
    assert logits.grad[~unknown].any()
    empty = class_shares(torch.full_like(labels, -1), 3).double()
    assert LOSSES[name](logits, empty, **options).isfinite()


def test_shares_of_labels() -> None:
    """One of each known label; any number may stand for what is unknown."""
    labels = torch.tensor([[0, 2, 255]])
    shares = class_shares(labels, 3, ignored=255)
    assert shares.tolist() == [[[1, 0, 0], [0, 0, 0], [0, 1, 0]]]
    assert shares.dtype == torch.float32

# SPDX-License-Identifier: Apache-2.0
"""Several targets of several kinds in one loss, of which some are unknown for some people."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as nnf

from encephalon.errors import RecipeError
from encephalon.networks.fusion import TARGET_KINDS
from encephalon.recipes.schema import Loss
from encephalon.training.losses import WeightedLoss, target_columns, targets

KINDS = ("binary", "continuous", "multiclass", "ordinal")
CLASSES = (2, 1, 3, 4)
COLUMNS = (1, 1, 3, 3)
OPTIONS: dict[str, Any] = {"kinds": KINDS, "columns": COLUMNS}
NAN = torch.nan
#: Two people of whom everything is known, and two of whom something is not.
VALUES = torch.tensor(
    [[1.0, 0.5, 2.0, 3.0], [0.0, -1.0, 0.0, 1.0], [NAN, 0.1, NAN, 0.0], [1.0, NAN, 1.0, NAN]]
)


def encoded(values: Tensor) -> Tensor:
    each = zip(values.T, KINDS, CLASSES, strict=True)
    return torch.cat([target_columns(*one) for one in each], dim=1)


def test_columns_of_each_kind() -> None:
    """A class is one of several; a grade is above each one below it; unknown stays unknown."""
    expected = [[1.0, 0.5, 0, 0, 1, 1, 1, 1], [0.0, -1.0, 1, 0, 0, 1, 0, 0]]
    found = encoded(VALUES)
    assert found[:2].tolist() == expected
    assert found[2:].isnan().tolist() == [
        [True, False, True, True, True, False, False, False],
        [False, True, False, False, False, True, True, True],
    ]


def test_the_network_has_the_columns_of_the_loss() -> None:
    """Kind by kind, for targets as recipes tell of them."""
    found = {kind: TARGET_KINDS[kind](n) for kind, n in zip(KINDS, CLASSES, strict=True)}
    assert found == dict(zip(KINDS, COLUMNS, strict=True))
    assert set(TARGET_KINDS) == set(KINDS)


def test_the_loss_is_the_mean_over_targets_of_the_mean_over_who_is_known() -> None:
    """By torch's own losses, of each target over its own people."""
    logits, values = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), VALUES
    known = ~values.isnan()
    sex, age, group, grade = (logits[known[:, i]] for i in range(4))
    above = encoded(values)[known[:, 3], 5:]
    expected = [
        nnf.binary_cross_entropy_with_logits(sex[:, 0], values[known[:, 0], 0]),
        nnf.mse_loss(age[:, 1], values[known[:, 1], 1]),
        nnf.cross_entropy(group[:, 2:5], values[known[:, 2], 2].long()),
        3 * nnf.binary_cross_entropy_with_logits(grade[:, 5:], above),
    ]
    loss = WeightedLoss([Loss(name="targets", options={k: list(v) for k, v in OPTIONS.items()})])
    total, _ = loss(logits, encoded(values))
    torch.testing.assert_close(total, torch.stack(expected).mean())


def test_what_is_unknown_moves_no_logit() -> None:
    """Its gradient is 0, and a batch of which nothing is known has no loss."""
    logits = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    truth = encoded(VALUES)
    targets(logits, truth, **OPTIONS).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad != 0, ~truth.isnan())
    assert targets(logits, torch.full_like(truth, NAN), **OPTIONS).item() == 0


def test_other_columns_than_the_network_has_are_refused() -> None:
    """One sentence with both."""
    with pytest.raises(RecipeError, match=r"1 kinds and the columns \[1\], but .* has 8 columns"):
        targets(torch.zeros(4, 8), torch.zeros(4, 8), kinds=["binary"], columns=[1])

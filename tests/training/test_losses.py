# SPDX-License-Identifier: Apache-2.0
"""Losses against numbers worked out by hand, and their slopes against finite differences."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from encephalon.errors import RecipeError
from encephalon.recipes.schema import Loss
from encephalon.training.losses import (
    LOSSES,
    WeightedLoss,
    class_cross_entropy,
    dice,
    distance,
    focal,
    jaccard,
    mse,
    reconstruction,
)


def logit(*probabilities: float) -> Tensor:
    """Logits (1, 1, N) of these probabilities."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.log(p / (1 - p))[None, None]


def truth(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[None, None]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradients_are_the_slopes_of_the_loss(name: str) -> None:
    """Every loss in double precision against central differences."""
    torch.manual_seed(0)
    predicted = torch.randn(2, 2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    target = torch.rand(2, 2, 3, 2, 2, dtype=torch.float64)
    target = 8 * target - 4 if name.startswith("distance") else target
    # What it says of the spread stops at the image on purpose, so that part is left out here.
    special: dict[str, dict[str, Any]] = {
        "reconstruction": {"spread": 0.0},
        "targets": {"kinds": ("multiclass",), "columns": (2,)},
    }
    options = special.get(name, {})
    assert torch.autograd.gradcheck(lambda p: LOSSES[name](p, target, **options), (predicted,))


def test_the_spread_is_right_when_it_is_the_mean_absolute_error() -> None:
    """The likelihood is largest there, and does not move the image."""
    predicted = torch.zeros(1, 2, 400, dtype=torch.float64)
    predicted[:, 0] = torch.linspace(-0.08, 0.12, 400)
    target = torch.stack([torch.zeros(1, 400), torch.ones(1, 400)], 1).double()
    right = float(predicted[:, 0].abs().mean())

    def loss(scale: float) -> float:
        predicted[:, 1] = torch.log(torch.tensor(scale))
        return float(reconstruction(predicted, target))

    assert loss(right) < min(loss(0.8 * right), loss(1.25 * right))


def test_weightless_voxels_do_not_count() -> None:
    """An error where the weight is 0 costs nothing."""
    predicted = torch.zeros(1, 2, 4)
    target = torch.tensor([[[0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 0.0, 0.0]]])
    assert reconstruction(predicted, target, spread=0.0) == 0


def test_jaccard_by_hand() -> None:
    """P = (0.8, 0.5, 0.2), T = (1, 1, 0): intersection 1.3, union 1.5 + 2 - 1.3."""
    value = jaccard(logit(0.8, 0.5, 0.2), truth(1, 1, 0))
    assert value.item() == pytest.approx(1 - 1.3 / 2.2, abs=1e-6)


def test_dice_by_hand() -> None:
    """The same masks: twice the intersection over the sum of both."""
    value = dice(logit(0.8, 0.5, 0.2), truth(1, 1, 0))
    assert value.item() == pytest.approx(1 - 2.6 / 3.5, abs=1e-6)


def test_mse_by_hand() -> None:
    """The mean of the squares, over all voxels."""
    assert mse(truth(0.8, 0.5, 0.2), truth(1, 1, 0)).item() == pytest.approx(0.33 / 3)


def test_jaccard_has_the_published_epsilon() -> None:
    """Both masks empty is no loss; 1e-7 is what separates nearly empty from empty."""
    empty = truth(0, 0)
    assert jaccard(torch.full_like(empty, -80), empty).item() == pytest.approx(0)
    almost = jaccard(logit(1e-7, 1e-30), empty).item()
    assert almost == pytest.approx(1 - 1e-7 / 2e-7, rel=1e-3)


def test_overlap_losses_average_over_samples_not_over_voxels() -> None:
    """A perfect sample and a wrong one are half a loss, however many voxels each has."""
    target = torch.tensor([[[1.0, 1, 1, 1]], [[1.0, 0, 0, 0]]])
    logits = torch.tensor([[[60.0, 60, 60, 60]], [[-60.0, 60, -60, -60]]])
    assert jaccard(logits, target).item() == pytest.approx(0.5)
    assert dice(logits, target).item() == pytest.approx(0.5)


def test_focal_by_hand() -> None:
    """A voxel that is right with 0.8: (1 - 0.8)^gamma times its cross-entropy."""
    for gamma in (0.0, 1.0, 2.0, 5.0):
        value = focal(logit(0.8, 0.2), truth(1, 0), gamma=gamma).item()
        assert value == pytest.approx(-(0.2**gamma) * math.log(0.8), rel=1e-6)


def test_focal_weighs_hard_voxels_more() -> None:
    """With a larger gamma the easy voxel counts less beside the hard one."""
    easy, hard = logit(0.9), logit(0.3)
    ratios = [focal(hard, truth(1), g) / focal(easy, truth(1), g) for g in (0.0, 1.0, 2.0)]
    assert ratios[0] < ratios[1] < ratios[2]


def test_focal_stays_finite_where_the_network_is_certain() -> None:
    """At logits of 100 neither the value nor the slope overflows, right or wrong, for any gamma."""
    for gamma in (0.0, 0.5, 2.0):
        logits = torch.tensor([[[100.0, -100.0, 100.0]]], requires_grad=True)
        value = focal(logits, torch.tensor([[[1.0, 0.0, 0.0]]]), gamma)
        value.backward()
        assert value.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


def test_distance_by_hand() -> None:
    """A voxel on the border weighs 5, one far away 1; beyond 6 voxels all is equally far."""
    predicted, target = truth(1.0, 6.0), truth(0.0, 50.0)
    expected = 5 * (1.0 - 0.25) / (5 + 1 + 4 * math.exp(-6))
    assert distance(predicted, target).item() == pytest.approx(expected)


def test_a_perfect_answer_has_no_loss() -> None:
    """For every loss; the soft ones come near."""
    target = truth(1, 0, 1, 0)
    certain = 80 * (target - 0.5)
    for name in ("cross-entropy", "dice", "focal", "jaccard"):
        assert LOSSES[name](certain, target).item() == pytest.approx(0, abs=1e-6)
    assert distance(target, target).item() == 0
    far = torch.tensor([[[30.0, -30.0]]])
    assert LOSSES["distance-dice"](far, far).item() == pytest.approx(0, abs=1e-6)


def chances(*rows: tuple[float, ...]) -> Tensor:
    """Logits (B, C) whose softmax these rows are."""
    return torch.tensor(rows, dtype=torch.float64).log() + 3.0


def test_class_cross_entropy_by_hand() -> None:
    """-log of the probability of the true class, in a plain mean over the batch."""
    logits, target = chances((0.7, 0.2, 0.1), (0.5, 0.25, 0.25)), torch.eye(3)[[0, 2]].double()
    expected = -(math.log(0.7) + math.log(0.25)) / 2
    assert class_cross_entropy(logits, target).item() == pytest.approx(expected)


def test_class_weights_are_weights_of_samples_in_a_plain_mean() -> None:
    """As 3BTRON was trained: not divided by the sum of the weights, which torch's own loss does."""
    logits, target = chances((0.7, 0.3), (0.6, 0.4)), torch.eye(2)[[0, 1]].double()
    expected = -(0.9045 * math.log(0.7) + 1.118 * math.log(0.4)) / 2
    found = class_cross_entropy(logits, target, weights=[0.9045, 1.118])
    assert found.item() == pytest.approx(expected)


def test_a_mixed_sample_weighs_the_mean_of_its_classes() -> None:
    """Mixup's targets are shares: the loss of each class by its share, times the mixed weight."""
    target = torch.tensor([[0.25, 0.75]], dtype=torch.float64)
    entropy = -(0.25 * math.log(0.7) + 0.75 * math.log(0.3))
    found = class_cross_entropy(chances((0.7, 0.3)), target, weights=[1.0, 3.0])
    assert found.item() == pytest.approx((0.25 + 3 * 0.75) * entropy)


def test_smoothing_is_that_of_torch() -> None:
    """The same as torch's label smoothing, and it never makes a certain answer the best one."""
    logits, target = torch.randn(5, 3, dtype=torch.float64), torch.eye(3).double()[[0, 1, 2, 1, 0]]
    expected = torch.nn.functional.cross_entropy(logits, target, label_smoothing=0.1)
    found = class_cross_entropy(logits, target, smoothing=0.1)
    assert found.item() == pytest.approx(expected.item())
    sure, likely = chances((1 - 1e-9, 1e-9)), chances((0.95, 0.05))
    one = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert class_cross_entropy(likely, one, smoothing=0.1) < class_cross_entropy(
        sure, one, smoothing=0.1
    )


def test_one_weight_a_class_is_asked_for() -> None:
    """Another number is a fault of the recipe."""
    with pytest.raises(RecipeError, match=r"gives 3 weights .* there are 2 classes"):
        class_cross_entropy(torch.zeros(1, 2), torch.zeros(1, 2), weights=[1, 2, 3])


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("class-cross-entropy", {"smothing": 1}, "'smothing'; did you mean 'smoothing'"),
        ("focal", {"zzz": 1}, "unknown key 'zzz'; the keys are gamma"),
        ("cross-entropy", {"weights": [1]}, "unknown key 'weights'; none is taken"),
        ("class-cross-entropy", {"smoothing": "0.1"}, "'smoothing' should be a valid number"),
        ("class-cross-entropy", {"smoothing": 5.0}, "less than or equal to 1, but is 5.0"),
        ("class-cross-entropy", {"columns": 0}, "'columns' should be greater than 0, but is 0"),
        ("class-cross-entropy", {"weights": [1.0, -1.0]}, "greater than or equal to 0"),
        ("focal", {"gamma": math.nan}, "'gamma' should be a finite number"),
        ("distance", {"far": 0}, "'far' should be greater than 0"),
        ("dice", {"epsilon": [1]}, "'epsilon' should be a valid number"),
    ],
)
def test_an_option_that_a_loss_cannot_take_is_refused(
    name: str, options: dict[str, Any], words: str
) -> None:
    """Before any training begins, with what it takes."""
    with pytest.raises(RecipeError, match=f"Options of the loss '{name}': .*{words}"):
        WeightedLoss([Loss(name=name, options=options)])


@given(
    st.lists(st.floats(0.01, 0.99), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_jaccard_and_dice_say_the_same(chances: list[float], mask: list[bool]) -> None:
    """J = D / (2 - D) for the overlaps, whatever the masks; both lie in [0, 1]."""
    target = truth(*map(float, mask))
    d, j = 1 - dice(logit(*chances), target, 0.0), 1 - jaccard(logit(*chances), target, 0.0)
    assert 0 <= j <= d <= 1
    assert j.item() == pytest.approx((d / (2 - d)).item(), abs=1e-9)


def test_a_weighted_sum_reports_each_term_unweighted() -> None:
    """Weights and options of the recipe reach the losses."""
    predicted, target = logit(0.8, 0.5), truth(1, 0)
    focal_term = Loss(name="focal", weight=0.5, options={"gamma": 1.0})
    loss = WeightedLoss([Loss(name="dice", weight=2.0), focal_term])
    total, terms = loss(predicted, target)
    assert terms["focal"].item() == pytest.approx(focal(predicted, target, 1.0).item())
    assert total.item() == pytest.approx(2 * terms["dice"].item() + 0.5 * terms["focal"].item())


def test_an_unknown_loss_is_refused_with_the_known_ones() -> None:
    """Before any training begins."""
    with pytest.raises(RecipeError, match=r"'dize'.*dice"):
        WeightedLoss([Loss(name="dize")])


def test_shapes_that_differ_are_never_broadcast() -> None:
    """One border drawn where two are asked for is a fault of the recipe, not a smaller loss."""
    with pytest.raises(RecipeError, match=r"\(1, 1, 4\).*\(1, 2, 4\)"):
        WeightedLoss([Loss(name="distance")])(torch.zeros(1, 1, 4), torch.zeros(1, 2, 4))


def test_smoothing_a_target_leaves_its_weight_alone() -> None:
    """An even guess between two classes costs log 2, times the whole weight of the true one."""
    target = torch.tensor([[1.0, 0.0]])
    loss = class_cross_entropy(torch.zeros(1, 2), target, weights=[2.0, 1.0], smoothing=0.2)
    assert loss.item() == pytest.approx(2 * math.log(2))


def test_the_error_that_is_told_does_not_move_the_image() -> None:
    """Whatever it weighs, the image has the gradient of its own error."""
    torch.manual_seed(0)
    target = torch.cat([torch.rand(1, 1, 3, 3, 3), torch.ones(1, 1, 3, 3, 3)], dim=1)
    gradients = []
    for spread in (0.0, 0.5):
        predicted = target.flip(1).clone().requires_grad_()
        reconstruction(predicted, target, spread=spread).backward()
        gradients.append(predicted.grad)
    torch.testing.assert_close(gradients[0][:, 0], gradients[1][:, 0])
    assert not torch.equal(gradients[0][:, 1], gradients[1][:, 1])

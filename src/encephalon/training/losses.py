# SPDX-License-Identifier: Apache-2.0
"""Losses by name, and their weighted sum as a recipe asks for it.

Overlap losses take logits (B, C, ...) and targets in [0, 1] of the same shape. The loss of classes
takes logits (B, C, ...) of which one is true. Distance losses take signed distances, in voxels,
positive inside. Each returns a scalar tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Annotated, Any, Literal, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, create_model
from torch import Tensor
from torch.nn import functional as nnf

from encephalon.errors import RecipeError
from encephalon.recipes.schema import Loss, Section
from encephalon.recipes.validation import make_settings

#: Smoothing of the overlap losses, as in the published training of Nobrainer's brainy.
EPSILON = 1e-7

# What options may be.
Above = Annotated[float, Field(gt=0)]
Least = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Kind = Literal["binary", "continuous", "multiclass", "ordinal"]


def dice(logits: Tensor, target: Tensor, epsilon: Least = EPSILON) -> Tensor:
    """1 - 2 |P∩T| / (|P| + |T|), per sample over all voxels and channels."""
    intersection, total = _overlap(logits.sigmoid(), target)
    return (1 - (2 * intersection + epsilon) / (total + epsilon)).mean()


def jaccard(logits: Tensor, target: Tensor, epsilon: Least = EPSILON) -> Tensor:
    """1 - |P∩T| / |P∪T|, per sample over all voxels and channels."""
    intersection, total = _overlap(logits.sigmoid(), target)
    return (1 - (intersection + epsilon) / (total - intersection + epsilon)).mean()


def focal(logits: Tensor, target: Tensor, gamma: Least = 2.0) -> Tensor:
    """Cross-entropy weighted by (1 - p of the truth)^gamma (Lin et al. 2017)."""
    entropy = nnf.binary_cross_entropy_with_logits(logits, target, reduction="none")
    # A power below 1 has an infinite slope at 0, where the network is certain and right.
    missed = (1 - torch.exp(-entropy)).clamp_min(1e-7)
    return (missed**gamma * entropy).mean()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of every channel."""
    return nnf.binary_cross_entropy_with_logits(logits, target)


def class_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weights: Sequence[Least] | None = None,
    smoothing: Share = 0.0,
    columns: Annotated[int, Field(gt=0)] | None = None,
    weighted_mean: bool = False,
) -> Tensor:
    """Cross-entropy of the softmax over C, for targets that are shares of each class.

    A sample weighs what its classes weigh, sum(target * weights), in a plain mean over the batch,
    which is not divided by the sum of the weights (as 3BTRON was trained). `smoothing` moves that
    share of each target evenly to all classes (Szegedy et al. 2016), and leaves the weight alone.
    Only the first `columns` of C are looked at, where the others belong to another loss.
    With `weighted_mean` the sum is divided by that of the weights, as torch's own loss does it;
    what has no share of any class (`class_shares` of unknown labels) then counts for nothing.
    Raises RecipeError for another number of weights than of classes.
    """
    logits, target = logits[:, :columns], target[:, :columns]
    classes = logits.shape[1]
    soft = (1 - smoothing) * target + smoothing / classes
    losses = -(soft * logits.log_softmax(dim=1)).sum(dim=1)
    if weights is not None and len(weights) != classes:
        raise RecipeError(
            f"The recipe gives {len(weights)} weights to the loss 'class-cross-entropy', but there "
            f"are {classes} classes: give one for each."
        )
    if weights is None and not weighted_mean:
        return losses.mean()
    shape = (1, classes, *[1] * (logits.dim() - 2))
    each = logits.new_tensor([1.0] * classes if weights is None else weights).view(shape)
    weight = (target * each).sum(dim=1)
    if weighted_mean:
        return (losses * weight).sum() / weight.sum().clamp_min(EPSILON)
    return (losses * weight).mean()


def class_dice(
    logits: Tensor, target: Tensor, background: bool = True, epsilon: Above = EPSILON
) -> Tensor:
    """1 - Dice of the softmax, a mean over the classes, whose overlaps are summed over the batch.

    The first class is left out without `background`; what has no share of any class counts for
    nothing.
    """
    known = target.sum(dim=1, keepdim=True)
    axes = (0, *range(2, logits.dim()))
    probability = logits.softmax(dim=1) * known
    intersection = (probability * target).sum(axes)[not background :]
    total = (probability + target).sum(axes)[not background :]
    return (1 - (2 * intersection + epsilon) / (total + epsilon)).mean()


def class_focal(logits: Tensor, target: Tensor, gamma: Least = 2.0) -> Tensor:
    """Cross-entropy of the softmax weighted by (1 - p of the truth)^gamma (Lin et al. 2017).

    What has no share of any class counts for nothing.
    """
    entropy = -(target * logits.log_softmax(dim=1)).sum(dim=1)
    missed = (1 - torch.exp(-entropy)).clamp_min(1e-7)
    return (missed**gamma * entropy).sum() / target.sum().clamp_min(EPSILON)


def class_shares(labels: Tensor, classes: int, ignored: int = -1) -> Tensor:
    """Labels (B, ...) as shares of each class (B, classes, ...); those `ignored` have none."""
    known = labels != ignored
    shares = nnf.one_hot(torch.where(known, labels, 0).long(), classes) * known[..., None]
    return shares.movedim(-1, 1).float()


def targets(
    predicted: Tensor,
    target: Tensor,
    kinds: Sequence[Kind] = (),
    columns: Sequence[Annotated[int, Field(gt=0)]] = (),
    weights: Sequence[Sequence[Least] | None] | None = None,
) -> Tensor:
    """A mean over several targets of their losses, each a mean over those whose target is known.

    Both tensors are (B, C, ...), where C is the `columns` of each target, one after another, as
    `target_columns` makes them. By its kind in `kinds` a target's loss is cross-entropy, of two
    classes, of the softmax, or summed over an ordinal target's thresholds, or squared error. What
    is not a number is not known; a target that nobody's is known of counts as no loss. `weights`
    has, of each target that needs them, what each of its classes weighs in its mean. Raises
    RecipeError for other columns than there are.
    """
    if len(kinds) != len(columns) or sum(columns) != predicted.shape[1]:
        raise RecipeError(
            f"The recipe gives the loss 'targets' {len(kinds)} kinds and the columns "
            f"{list(columns)}, but the network has {predicted.shape[1]} columns: give a kind and a "
            "number of columns for each target."
        )
    parts = []
    each = (one.split_with_sizes(list(columns), dim=1) for one in (predicted, target))
    weighed = [None] * len(kinds) if weights is None else weights
    for kind, given, wanted, some in zip(kinds, *each, weighed, strict=True):
        known = wanted.isfinite().all(dim=1)
        truth = torch.where(known[:, None], wanted, 0.0)
        if kind == "multiclass":
            losses = -(truth * given.log_softmax(dim=1)).sum(dim=1)
        elif kind == "continuous":
            losses = (given - truth).square().sum(dim=1)
        else:
            losses = nnf.binary_cross_entropy_with_logits(given, truth, reduction="none").sum(dim=1)
        weight = known.to(losses)
        if some is not None:
            place = truth.argmax(dim=1) if kind == "multiclass" else truth.sum(dim=1).long()
            weight = weight * losses.new_tensor(list(some))[place]
        total = (torch.where(known, losses, 0.0) * weight).sum()
        parts.append(total / (weight.sum() + (weight.sum() == 0)))
    return torch.stack(parts).mean()


def target_columns(values: Tensor, kind: Kind, classes: int = 2) -> Tensor:
    """The values (B,) of a target as `targets` wants them, (B, columns); NaN stays NaN.

    Classes count from 0. An ordinal target is, of each class but the last, whether it is above it.
    """
    values = values.float()[:, None]
    if kind in {"binary", "continuous"}:
        return values
    each = torch.arange(classes, device=values.device)
    found = values == each if kind == "multiclass" else values > each[:-1]
    return torch.where(values.isnan(), values, found.float())


def class_weights(truth: NDArray[Any], classes: int) -> list[float]:
    """What each class weighs: n / (classes * its own n), as in scikit-learn's "balanced".

    Of truth (N,) what is -1 or NaN is unknown. A class that does not occur weighs 0, with which
    nothing is multiplied.
    """
    known = np.nan_to_num(truth, nan=-1)
    counts = np.bincount(known[known >= 0].astype(np.int64), minlength=classes)
    return [float(counts.sum() / (classes * count)) if count else 0.0 for count in counts]


def attention(
    log_odds: Tensor,
    target: Tensor,
    columns: Annotated[int, Field(ge=0)] = 0,
    emphasis: Above = 4.0,
) -> Tensor:
    """Whether a network attends to the places where the answer is known to lie.

    Both tensors are (B, columns + places): the classes, which are another loss's, then the log-odds
    of attention and the wished share of it, in [0, 1], at each place. The loss is binary
    cross-entropy, in which wished places weigh `emphasis` times as much, plus Dice. A sample whose
    answer lies nobody knows where has negative wishes, and is left out.
    """
    log_odds, target = log_odds[:, columns:], target[:, columns:]
    known = (target >= 0).flatten(1).all(dim=1)
    if not known.any():
        return log_odds.sum() * 0
    log_odds, target = log_odds[known], target[known]
    weight = log_odds.new_tensor(emphasis)
    entropy = nnf.binary_cross_entropy_with_logits(log_odds, target, pos_weight=weight)
    return entropy + dice(log_odds, target, epsilon=1.0)


def distance(predicted: Tensor, target: Tensor, far: Above = 6.0, focus: Least = 4.0) -> Tensor:
    """Smooth absolute error of signed distances, heavier near the border.

    Targets are clipped at ± `far` voxels; a voxel on the border weighs 1 + `focus`.
    """
    target = target.clamp(-far, far)
    weight = 1 + focus * torch.exp(-target.abs())
    error = nnf.smooth_l1_loss(predicted, target, reduction="none", beta=0.5)
    return (weight * error).sum() / weight.sum()


def distance_dice(predicted: Tensor, target: Tensor, sharpness: Above = 2.0) -> Tensor:
    """Dice loss of two signed distances read as masks with a soft border."""
    return dice(sharpness * predicted, (sharpness * target).sigmoid())


def reconstruction(
    predicted: Tensor, target: Tensor, beta: Least = 0.1, spread: Least = 0.02
) -> Tensor:
    """Smooth absolute error of an image, and how well the network knows that error.

    `predicted` (B, 2, ...) is the image and the logarithm of its mean absolute error, `target`
    (B, 2, ...) the truth and the weight of each voxel. Errors below `beta` count by their squares.
    The second term, weighted by `spread`, is the negative log-likelihood of the errors under a
    Laplace distribution of the predicted scale (Kendall & Gal 2017); it does not move the image.
    """
    image, scale = predicted[:, 0], predicted[:, 1]
    truth, weight = target[:, 0], target[:, 1]
    error = nnf.smooth_l1_loss(image, truth, reduction="none", beta=beta)
    surprise = (image - truth).detach().abs() * torch.exp(-scale) + scale
    return (weight * (error + spread * surprise)).sum() / weight.sum().clamp_min(1e-6)


def mse(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over all voxels, the loss of BABY-AI."""
    return nnf.mse_loss(predicted, target)


def _overlap(probability: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    axes = tuple(range(1, probability.dim()))
    intersection = (probability * target).sum(axes)
    return intersection, probability.sum(axes) + target.sum(axes)


LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "attention": attention,
    "class-cross-entropy": class_cross_entropy,
    "class-dice": class_dice,
    "class-focal": class_focal,
    "cross-entropy": cross_entropy,
    "dice": dice,
    "distance": distance,
    "distance-dice": distance_dice,
    "focal": focal,
    "jaccard": jaccard,
    "mse": mse,
    "reconstruction": reconstruction,
    "targets": targets,
}


class _Options(Section):
    """Options are given to a loss as they stand, so that "0.1" is no number."""

    model_config = ConfigDict(strict=True)


class WeightedLoss:
    """The weighted sum of the losses that a recipe asks for, which also reports each of them.

    Raises RecipeError for what cannot be asked.
    """

    def __init__(self, terms: Sequence[Loss]) -> None:
        for term in terms:
            if term.name not in LOSSES:
                raise RecipeError(
                    f"The recipe asks for the loss {term.name!r}, which does not exist: "
                    f"choose from {', '.join(sorted(LOSSES))}."
                )
            loss = LOSSES[term.name]
            hints = get_type_hints(loss, include_extras=True)
            options = list(signature(loss).parameters.values())[2:]
            fields: Any = {one.name: (hints[one.name], one.default) for one in options}
            schema = create_model("Options", __base__=_Options, **fields)
            make_settings(schema, term.options, f"Options of the loss {term.name!r}", section="")
        self.terms = tuple(terms)

    def __call__(self, predicted: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, and each unweighted term by name.

        Raises RecipeError when the shapes differ, which some losses would take for broadcasting.
        """
        if predicted.shape != target.shape:
            raise RecipeError(
                f"The network gives the shape {tuple(predicted.shape)} where the target has "
                f"{tuple(target.shape)}: change the options of the network in the recipe."
            )
        values = {t.name: LOSSES[t.name](predicted, target, **t.options) for t in self.terms}
        total = torch.stack([t.weight * values[t.name] for t in self.terms]).sum()
        return total, {name: value.detach() for name, value in values.items()}

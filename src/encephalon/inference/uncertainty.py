# SPDX-License-Identifier: Apache-2.0
"""How far a network disagrees with itself: test-time augmentation with a running mean and variance.

A sample is shown in several views, and each answer is brought back before it is counted (Welford
1962), so that memory is that of a few answers however many views there are. Variance and entropy
say where the network is unsure of what it knows; they do not say where it is surely wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, combinations, product

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAPS", "Moments", "View", "combined", "entropy", "flips", "gammas", "over_views"]

Float = NDArray[np.float32]
Change = Callable[[Float], Float]
View = tuple[Change, Change]
"""What a sample is shown as, and what brings an answer back."""

#: The maps that can be written of it, with their sentences.
MAPS = {
    "variance": "Variance of the probability over views of the scan, mean over classes.",
    "entropy": "Entropy of the mean probability over views of the scan, nats.",
}


@dataclass(frozen=True)
class Moments:
    """What a network says of a sample as it is, and mean and variance over all views of it."""

    first: Float
    mean: Float
    variance: Float


def flips(axes: Sequence[int]) -> list[View]:
    """Every combination of flips of `axes`, counted from the last (-1); the first flips nothing."""
    chosen = chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1))
    return [(partial(_flip, axes=some), partial(_flip, axes=some)) for some in chosen]


def gammas(values: Sequence[float]) -> list[View]:
    """Each power of a sample whose values lie in [0, 1]: another contrast of the same shapes.

    Values below 0, which tell what was not acquired, are left as they are.
    """
    return [(partial(_power, exponent=value), np.asarray) for value in values]


def combined(first: Sequence[View], second: Sequence[View]) -> list[View]:
    """Every view of `first` in every view of `second`."""
    return [
        (partial(_both, one=one, other=other), partial(_both, one=back_other, other=back))
        for (one, back), (other, back_other) in product(first, second)
    ]


def over_views(predict: Change, sample: Float, views: Sequence[View]) -> Moments:
    """What `predict` says of `sample` in all `views`, of which the first changes nothing."""
    first = predict(sample)
    mean, squares = first.copy(), np.zeros_like(first)
    for count, (show, undo) in enumerate(views[1:], start=2):
        said = undo(predict(show(sample)))
        off = said - mean
        mean += off / np.float32(count)
        squares += off * (said - mean)
    return Moments(first, mean, squares / np.float32(len(views)))


def entropy(probabilities: Float, axis: int) -> Float:
    """Entropy (nats) over the classes along `axis`; of a single class, of it and its absence."""
    shares = probabilities
    if shares.shape[axis] == 1:
        shares = np.concatenate([shares, 1 - shares], axis)
    found: Float = -(shares * np.log(np.clip(shares, 1e-12, 1))).sum(axis)
    return found


def _flip(array: Float, axes: tuple[int, ...]) -> Float:
    return np.ascontiguousarray(np.flip(array, axes))


def _power(array: Float, exponent: float) -> Float:
    return np.where(array > 0, np.abs(array) ** np.float32(exponent), array).astype(np.float32)


def _both(array: Float, one: Change, other: Change) -> Float:
    return other(one(array))

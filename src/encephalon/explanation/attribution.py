# SPDX-License-Identifier: Apache-2.0
"""What each input adds to an answer, and each number of an input: shares that sum to the answer.

What inputs add are Shapley values over all sets of them (Shapley 1953; Lundberg & Lee 2017,
arXiv:1705.07874), exact, which costs 2^n answers of n inputs. What numbers add are integrated
gradients (Sundararajan et al. 2017, arXiv:1703.01365) from those of an average person.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["mean_gradient", "shapley_values"]

#: Points along the way of a gradient's mean: of Gauss and Legendre, which are exact for a
#: polynomial of twice the degree. Our choice; of half as many, shares missed their sum by 1.4 %.
POINTS = 64


def shapley_values(
    answers: Callable[[NDArray[np.bool_]], NDArray[np.float64]], count: int
) -> NDArray[np.float64]:
    """What each of `count` players adds (count,): together the answer to all less that to none.

    answers  to sets of players (2^count, count), of which the first is empty, (2^count,)

    One who changes no answer adds 0 exactly.
    """
    places = np.arange(2**count)
    sets = (places[:, None] >> np.arange(count)) & 1 == 1
    found, sizes = answers(sets), sets.sum(axis=1)
    orders = np.array([1 / (count * comb(count - 1, size)) for size in range(count)])
    added = np.zeros(count)
    for player in range(count):
        without = places[~sets[:, player]]
        gains = found[without + 2**player] - found[without]
        added[player] = orders[sizes[without]] @ gains
    return added


def mean_gradient(function: Callable[[Tensor], Tensor], given: Tensor, base: Tensor) -> Tensor:
    """The gradient (F,) of a `function` from (B, F) to (B,), its mean on the way to `given` (F,).

    Times `given - base` it is what each number adds, which sums to the change of the function from
    `base` (F,), but for the error of an integral over few points.
    """
    places, weights = (torch.from_numpy(some) for some in np.polynomial.legendre.leggauss(POINTS))
    share = ((places + 1) / 2).to(given)[:, None]
    with torch.enable_grad():
        way = (base + share * (given - base)).requires_grad_()
        (gradient,) = torch.autograd.grad(function(way).sum(), way)
    found: Tensor = (weights / 2).to(gradient) @ gradient
    return found

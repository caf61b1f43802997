# SPDX-License-Identifier: Apache-2.0
"""What each input adds to an answer, and each number of an input: shares that sum to the answer.

What inputs add are Shapley values over all sets of them (Shapley 1953; Lundberg & Lee 2017,
arXiv:1705.07874), exact, which costs 2^n answers of n inputs. What numbers add are integrated
gradients (Sundararajan et al. 2017, arXiv:1703.01365) from those of an average person. Of an image
it is said where it speaks for the answer: a map of Grad-CAM.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.explanation.gradcam import grad_cam, similarity_when_randomised

__all__ = ["InputShares", "mean_gradient", "mean_similarities", "shapley_values"]

Values = NDArray[np.float64]

#: Points along the way of a gradient's mean: of Gauss and Legendre, which are exact for a
#: polynomial of twice the degree. Our choice; of half as many, shares missed their sum by 1.4 %.
POINTS = 64
#: Known numbers of an input, at the least, for their ranks to be compared (ours).
FEWEST = 5


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


@dataclass(frozen=True, eq=False)
class InputShares:
    """What one input of a sample adds to a number, by its network and by randomised ones.

    network  tells the number (B, 1) from the input (B, ...)
    given    (1, F) of numbers, NaN where unknown, or (1, channels, ...) of an image
    base     of an average sample (F,), or one number for all; None of an image
    layer    that the map of an image is taken from
    """

    network: nn.Module
    given: Tensor
    base: Tensor | None = None
    layer: str = ""

    def shares(self, network: nn.Module | None = None) -> NDArray[Any]:
        """What each number (F,) adds, or the signed map of an image on the grid of the layer."""
        network = self.network if network is None else network
        if self.base is None:
            return np.asarray(grad_cam(network, (self.given,), self.layer, 0, signed=True)[0])
        gradient, change = self.gradient_and_change(network)
        return gradient * change

    def gradient_and_change(self, network: nn.Module | None = None) -> tuple[Values, Values]:
        """The mean gradient (F,) from the base, and what it is multiplied by; 0 of the unknown."""
        assert self.base is not None
        told = self.network if network is None else network
        base = self.base.expand(self.given.shape[1])
        gradient = mean_gradient(lambda way: told(way)[:, 0], self.given[0], base)
        known = (gradient.nan_to_num(), (self.given[0] - base).nan_to_num())
        first, second = (one.double().cpu().numpy() for one in known)
        return first, second

    @torch.no_grad()
    def gap(self, shares: Values) -> float:
        """How far shares are from their sum, as a share of what they add and take away."""
        assert self.base is not None
        base = self.base.expand_as(self.given)
        average = torch.where(self.given.isnan(), self.given, base)
        change = float(self.network(self.given) - self.network(average))
        return abs(change - float(shares.sum())) / max(float(np.abs(shares).sum()), 1e-9)

    def similarities(self, seed: int = 0) -> dict[str, float]:
        """How like its shares are to those of ever more randomised networks, by stage."""
        return similarity_when_randomised(self.network, lambda one: [self.shares(one)], seed)


def mean_similarities(
    samples: Iterable[Mapping[str, InputShares]],
) -> dict[str, dict[str, float]]:
    """Of each input the means of `similarities` over samples, by stage.

    Of a sample that has fewer than FEWEST numbers of an input, that one is left out.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed, inputs in enumerate(samples):
        for name, one in inputs.items():
            if one.given.isfinite().sum() >= FEWEST:
                for stage, value in one.similarities(seed).items():
                    found[name][stage].append(value)
    return {
        name: {stage: float(np.mean(values)) for stage, values in some.items()}
        for name, some in found.items()
    }

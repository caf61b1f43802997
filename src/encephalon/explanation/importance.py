# SPDX-License-Identifier: Apache-2.0
"""How much a classifier relies on each covariate: what it loses when the values are permuted.

Permutation importance (Breiman 2001, doi:10.1023/A:1010933404324) on the log loss; images stay.
Scikit-learn's works on estimators and gives no interval; samples of one group are not independent,
so here whole groups are the unit. The encoder runs once an image: what the head takes of it is kept
while its covariates are permuted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.statistics.intervals import Interval, bootstrap_weighted, mean_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from encephalon.tables.schema import Columns

__all__ = ["HeadInputs", "covariate_importance", "permutation_importance", "watching_head"]

Values = NDArray[np.float64]
# Probabilities below this count as this, so that one sure mistake does not make a loss infinite.
_SMALLEST = 1e-12
Probabilities = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def permutation_importance(
    predict: Callable[[NDArray[np.float32]], Values],
    values: NDArray[np.float32],
    truth: NDArray[np.int64],
    blocks: Mapping[str, Sequence[int]],
    *,
    groups: Sequence[Any] | None = None,
    repeats: int = 20,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return, for each block of columns, by how much the mean log loss grows without it (nats).

    predict  from covariates (N, W) to probabilities (N, C) of the same N samples
    values   (N, W) the covariates as they are
    truth    (N,) index of the true class
    blocks   the columns that belong to one covariate (a one-hot code), by its name
    repeats  permutations that are averaged over

    Zero means that the model does not use it. The interval draws samples, or whole `groups`.
    """
    generator = np.random.default_rng(seed)
    known = _losses(predict(values), truth)
    found = {}
    for name, columns in blocks.items():
        growth = np.zeros(len(truth))
        for _ in range(repeats):
            dealt = values.copy()
            dealt[:, list(columns)] = values[generator.permutation(len(truth))][:, list(columns)]
            growth += _losses(predict(dealt), truth) - known
        found[name] = bootstrap_weighted(growth / repeats, mean_of, groups=groups, seed=seed)
    return found


def _losses(probabilities: Values, truth: NDArray[np.int64]) -> Values:
    """(N,) the log loss of each sample."""
    given = probabilities[np.arange(len(truth)), truth]
    return np.asarray(-np.log(np.maximum(given, _SMALLEST)))


@contextmanager
def watching_head(network: nn.Module) -> Iterator[dict[str, NDArray[np.float32]]]:
    """While open, keeps what the head of a network was last given, and what it said.

    with watching_head(network) as head:
        network(images, covariates)
        head["seen"], head["logits"]    # (B, F + W): features, then covariates; and (B, C)
    """
    found: dict[str, NDArray[np.float32]] = {}

    def keep(_module: nn.Module, given: tuple[Tensor, ...], logits: Tensor) -> None:
        for name, values in (("seen", given[0]), ("logits", logits)):
            found[name] = values.detach().float().cpu().numpy()

    handle = network.get_submodule("head").register_forward_hook(keep)
    try:
        yield found
    finally:
        handle.remove()


@dataclass(frozen=True, eq=False)
class HeadInputs:
    """What the head of a network was given of some of N images.

    places  (B,) of the images among the N
    seen    (B, F + W) from `watching_head`: features, then covariates
    """

    network: nn.Module
    places: NDArray[np.int64]
    seen: NDArray[np.float32]


def covariate_importance(
    parts: Sequence[HeadInputs],
    truth: NDArray[np.int64],
    columns: Columns,
    probabilities: Probabilities,
    groups: Sequence[Any] | None = None,
) -> dict[str, Interval]:
    """Return by how much the mean log loss (nats) grows when a covariate is permuted.

    parts          of N images, each with the network that judges it
    truth          (N,) index of the true class
    probabilities  from logits (N, C) to the probabilities (N, C) that the model reports
    groups         (N) the unit that intervals draw

    Empty for a model without covariates.
    """
    import torch

    # The encoded columns of each covariate, in the order in which the network takes them.
    blocks, width = {}, 0
    for name, kind in columns.covariates.items():
        before, width = width, width + (1 if kind == "number" else len(kind))
        blocks[name] = range(before, width)
    order = np.argsort(np.concatenate([part.places for part in parts]))
    covariates = np.concatenate([part.seen[:, part.seen.shape[1] - width :] for part in parts])

    @torch.no_grad()
    def predict(values: NDArray[np.float32]) -> NDArray[np.float64]:
        found = []
        for part in parts:
            head = part.network.get_submodule("head").eval()
            features = part.seen[:, : part.seen.shape[1] - width]
            given = torch.from_numpy(np.concatenate([features, values[part.places]], axis=1))
            logits = head(given.to(next(head.parameters()).device))
            found.append(logits.double().cpu().numpy())
        return probabilities(np.concatenate(found)[order])

    return permutation_importance(predict, covariates[order], truth, blocks, groups=groups)

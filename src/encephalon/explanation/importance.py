# SPDX-License-Identifier: Apache-2.0
"""How much a classifier relies on each covariate: what it loses when the values are permuted.

Permutation importance (Breiman 2001, doi:10.1023/A:1010933404324) on the log loss; images stay.
Scikit-learn's works on estimators and gives no interval; samples of one group are not independent,
so here whole groups are the unit. The encoder runs once an image: what the head takes of it is kept
while its covariates are permuted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.statistics.intervals import Interval, bootstrap_weighted, mean_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from encephalon.tables.schema import Columns

__all__ = ["HeadWatch", "covariate_blocks", "covariate_importance", "permutation_importance"]

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


class HeadWatch:
    """While open, keeps what the head of a network was last given, and what it said.

    with HeadWatch(network) as head:
        network(images, covariates)
        head.seen, head.logits    # (B, F + W): features, then covariates; and (B, C)
    """

    def __init__(self, network: nn.Module) -> None:
        self._head: nn.Module = network.get_submodule("head")
        self.seen: NDArray[np.float32]
        self.logits: NDArray[np.float32]

    def __enter__(self) -> HeadWatch:
        """Begin to watch."""
        self._handle = self._head.register_forward_hook(self._keep)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop watching; no hook stays behind."""
        self._handle.remove()

    def _keep(self, _module: nn.Module, given: tuple[Tensor, ...], logits: Tensor) -> None:
        self.seen, self.logits = (
            values.detach().float().cpu().numpy() for values in (given[0], logits)
        )


def covariate_importance(
    network: nn.Module,
    seen: NDArray[np.float32],
    truth: NDArray[np.int64],
    columns: Columns,
    probabilities: Probabilities,
    groups: Sequence[Any] | None = None,
) -> dict[str, Interval]:
    """Return by how much the mean log loss (nats) grows when a covariate is permuted.

    seen           (N, F + W) what the head is given for each image, from `HeadWatch`
    truth          (N,) index of the true class
    probabilities  from logits (N, C) to the probabilities (N, C) that the model reports
    groups         (N) the unit that intervals draw

    Empty for a model without covariates.
    """
    import torch

    blocks = covariate_blocks(columns)
    width = sum(map(len, blocks.values()))
    features, covariates = np.split(seen, [seen.shape[1] - width], axis=1)
    head: nn.Module = network.get_submodule("head")
    device = next(head.parameters()).device

    def predict(values: NDArray[np.float32]) -> NDArray[np.float64]:
        given = torch.from_numpy(np.concatenate([features, values], axis=1)).to(device)
        with torch.no_grad():
            return probabilities(head(given).double().cpu().numpy())

    head.eval()
    return permutation_importance(predict, covariates, truth, blocks, groups=groups)


def covariate_blocks(columns: Columns) -> Mapping[str, tuple[int, ...]]:
    """The encoded columns of each covariate, in the order in which the network takes them."""
    blocks, start = {}, 0
    for name, kind in columns.covariates.items():
        width = 1 if kind == "number" else len(kind)
        blocks[name] = tuple(range(start, start + width))
        start += width
    return blocks

# SPDX-License-Identifier: Apache-2.0
"""Which nodes of a weighted graph are alike: a nested block model, by description length.

Nodes of one block are tied alike to those of every other block. After Peixoto (2018, "Nonparametric
weighted stochastic block models", doi:10.1103/PhysRevE.97.012306): the weights between two blocks
are described by their mean and what is left of it, and the means are the weights of a graph of
blocks, which are in blocks themselves (2014, doi:10.1103/PhysRevX.4.011047). Of all nestings the
one that describes the weights in the fewest bits is kept, so their numbers of blocks are found, and
where nothing is worth a block there is none. Our own, small: for graphs of tens of nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from encephalon.errors import UsageError

__all__ = ["BlockModel", "Family", "block_model"]

Values = NDArray[np.float64]
Labels = NDArray[np.int64]
Family = Literal["normal", "exponential"]

#: Variances within blocks have an inverse gamma distribution of this shape and of one of these
#: scales, in units of the variance of all weights; which one is part of the description (ours).
SHAPE, SCALES = 1.0, (0.5, 0.1, 0.02, 0.004)
#: Exponential weights below this share of their mean are taken for it: none is 0 (ours).
SMALLEST = 0.01
#: Merges that are weighed at a time, drawn where there are more, and partitions held at a time.
MERGES, AT_ONCE = 300, 300


@dataclass(frozen=True)
class BlockModel:
    """The blocks of N nodes.

    family     what weights between two blocks are taken to be, "normal" or "exponential"
    levels     the block of each node (N,) at each level, 0, 1 .., the finest first; none where one
               block describes the weights as well
    bits       that describe the weights so; of numbers without a unit, so that only differences
               between models of the same weights count
    one_block  bits that describe them as weights of one block
    """

    family: Family
    levels: tuple[Labels, ...]
    bits: float
    one_block: float

    @property
    def saved(self) -> float:
        """Bits that the blocks save; each makes them twice as likely. 0 without structure."""
        return self.one_block - self.bits

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        blocks = [len(np.unique(level)) for level in self.levels]
        return {"family": self.family, "blocks": blocks, "bits": self.bits, "saved": self.saved}


def block_model(
    weights: ArrayLike, *, family: Family | None = None, starts: int = 5, seed: int = 0
) -> BlockModel:
    """The nested blocks that describe the weights of a graph in the fewest bits that were found.

    weights  (N, N), symmetric, NaN where there is no edge; the diagonal is not read
    family   of the weights; by default the one that describes them in fewer bits, of which
             "exponential" is only tried where no weight is below 0
    starts   of the search, from the single nodes and from random blocks

    The same seed finds the same. Raises UsageError for weights that are not symmetric, that are
    infinite, or of which fewer than two are known, and for negative ones of the exponential family.
    """
    values = _checked(weights, family)
    families: list[Family] = [family] if family else ["normal"]
    if not family and np.nanmin(values) >= 0:
        families.append("exponential")
    found = (_described(values, one, starts, np.random.default_rng(seed)) for one in families)
    return min(found, key=lambda model: model.bits)


def _checked(weights: ArrayLike, family: Family | None) -> Values:
    values = np.array(weights, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise UsageError(f"Weights of a graph are a square, but got the shape {values.shape}.")
    np.fill_diagonal(values, np.nan)
    if not np.allclose(values, values.T, equal_nan=True) or np.isinf(values).any():
        raise UsageError("Weights of a graph are finite and the same in both directions.")
    if np.isfinite(values).sum() < 4:
        raise UsageError("A block model needs two known weights at least: give more nodes.")
    if family == "exponential" and np.nanmin(values) < 0:
        raise UsageError("Exponential weights are not negative: take the normal family for these.")
    return values


def _described(values: Values, family: Family, starts: int, rng: np.random.Generator) -> BlockModel:
    known = np.isfinite(values)
    mean, spread = float(values[known].mean()), float(values[known].std()) or 1.0
    if family == "normal":
        scaled = (values - mean) / spread
    else:
        mean, spread = (mean, mean) if mean > 0 else (1.0, 1.0)
        scaled = np.maximum(values / spread, SMALLEST)
    level = _Level.of(scaled, family)
    nats, partitions = _shortest(level, starts, rng)
    alone = float(level.costs(np.zeros((1, len(values)), np.int64))[0])
    unit = known.sum() / 2 * np.log(spread)  # from the density of scaled weights to that of these
    blocks, levels = np.arange(len(values)), []
    for partition in partitions:
        blocks = partition[blocks]
        levels.append(blocks)
    bits, one_block = float((nats + unit) / np.log(2)), float((alone + unit) / np.log(2))
    return BlockModel(family, tuple(levels), bits, one_block)


@dataclass(frozen=True)
class _Level:
    """The weights between nodes, or between blocks of them, and the costs of dividing these, nats.

    sums  (3, n, n): how many weights there are between two, 0 or 1, the weight, and its square.
          The diagonal is doubled, as every other pair stands in two places
    """

    family: Family
    sums: Values

    @classmethod
    def of(cls, values: Values, family: Family) -> Self:
        known = np.isfinite(values)
        filled = np.where(known, values, 0.0)
        sums = np.stack([known, filled, filled**2])
        return cls(family, sums * (1 + np.eye(len(values))))

    def __len__(self) -> int:
        return len(self.sums[0])

    def divided(self, candidates: Labels) -> tuple[Values, Values]:
        """Sizes (B, k) of the blocks of partitions (B, n), and sums (3, B, P) between each two."""
        blocks = int(candidates.max()) + 1
        member = (candidates[:, :, None] == np.arange(blocks)).astype(np.float64)
        sums = np.swapaxes(member, 1, 2) @ self.sums[:, None] @ member
        pairs = np.triu_indices(blocks)
        return member.sum(axis=1), sums[:, :, *pairs] / np.where(pairs[0] == pairs[1], 2, 1)

    def own(self, sizes: Values, between: Values) -> Values:
        """What it costs to name the block of each node, and the weights once their means are known.

        A partition costs its number of blocks, their sizes, and who is in which (Peixoto 2017).
        """
        nodes, many = len(self), (sizes > 0).sum(axis=1)
        which = gammaln(nodes + 1) - gammaln(sizes + 1).sum(axis=1)
        parted = gammaln(nodes) - gammaln(many) - gammaln(nodes - many + 1)
        named: Values = np.log(nodes) + parted + which
        named += _remainder(self.family, *between)
        return named

    def costs(self, candidates: Labels) -> Values:
        """The costs (B,) of partitions (B, n), with the means of their blocks all of one kind."""
        if len(candidates) > AT_ONCE:
            parts = np.array_split(candidates, -(-len(candidates) // AT_ONCE))
            return np.concatenate([self.costs(part) for part in parts])
        sizes, between = self.divided(candidates)
        known = between[0] > 0
        means = np.where(known, between[1] / np.maximum(between[0], 1), 0.0)
        sums = [each.sum(axis=1, keepdims=True) for each in (known, means, means**2)]
        top = (sums[1] / sums[0])[:, 0]
        last = top if self.family == "exponential" else (top**2 + np.log(2 * np.pi)) / 2
        above = np.log((sizes > 0).sum(axis=1)) + _remainder(self.family, *sums) + last
        total: Values = self.own(sizes, between) + above
        return total

    def above(self, partition: Labels) -> _Level:
        """The means of the weights between the blocks of a partition (n,)."""
        count, total, _ = self.divided(partition[None])[1][:, 0]
        means = np.full((int(partition.max()) + 1,) * 2, np.nan)
        pairs = np.triu_indices(len(means))
        means[pairs] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        means.T[pairs] = means[pairs]
        return _Level.of(means, self.family)


def _remainder(family: Family, count: Values, total: Values, squares: Values) -> Values:
    """What is left of groups (.., P) of weights to be told once the mean of each is known, nats."""
    many = np.maximum(count, 1)
    if family == "exponential":
        # Weights of a known sum are anywhere on a simplex.
        left = (many - 1) * np.log(np.where(count > 0, total, 1)) - gammaln(many) + np.log(many)
        told: Values = np.where(count > 0, left, 0.0).sum(axis=-1)
        return told
    spread, freedom = np.maximum(squares - total**2 / many, 0) / 2, (many - 1) / 2
    left = freedom * np.log(2 * np.pi) + np.log(many) / 2 - gammaln(SHAPE + freedom)
    shared = np.where(count > 0, left + gammaln(SHAPE), 0.0).sum(axis=-1)
    scaled = [
        ((SHAPE + freedom) * np.log(scale + spread) - SHAPE * np.log(scale)).sum(
            axis=-1, where=count > 0
        )
        for scale in SCALES
    ]
    in_all: Values = shared + np.min(scaled, axis=0) + np.log(len(SCALES))
    return in_all


def _shortest(
    level: _Level, starts: int, rng: np.random.Generator, tried: int | None = None
) -> tuple[float, list[Labels]]:
    """The least cost that was found, and the partitions of each level; none for one block.

    tried  numbers of blocks that are followed upwards, the cheapest first; all if None
    """
    found = _partitions(level, starts, rng)
    alone = float(level.costs(np.zeros((1, len(level)), np.int64))[0])
    best: tuple[float, list[Labels]] = alone, []
    for number in sorted(found, key=lambda number: found[number][0])[:tried]:
        partition = found[number][1]
        own = level.own(*level.divided(partition[None]))
        cost, partitions = _shortest(level.above(partition), 1, rng, tried=1)
        best = min(best, (float(own[0]) + cost, [partition, *partitions]), key=lambda one: one[0])
    return best


def _partitions(
    level: _Level, starts: int, rng: np.random.Generator
) -> dict[int, tuple[float, Labels]]:
    """By each number of blocks up to half of that of the nodes, the cheapest that was found."""
    nodes = len(level)
    found: dict[int, tuple[float, Labels]] = {}
    for start in range(starts):
        labels = np.arange(nodes) if start == 0 else rng.integers(nodes, size=nodes)
        labels = np.unique(labels, return_inverse=True)[1]
        while (number := int(labels.max()) + 1) > 1:
            if number <= (nodes + 1) // 2:
                cost, labels = _moved(level, labels)
                if number not in found or cost < found[number][0] - 1e-9:
                    found[number] = cost, labels
            labels = _merged(level, labels, rng)
    return found


def _merged(level: _Level, labels: Labels, rng: np.random.Generator) -> Labels:
    """The partition with the two blocks in one of which that costs least."""
    first, second = np.triu_indices(int(labels.max()) + 1, 1)
    drawn = rng.permutation(len(first))[:MERGES]
    first, second = first[drawn, None], second[drawn, None]
    candidates = np.where(labels == second, first, labels)
    candidates -= candidates > second
    merged: Labels = candidates[int(level.costs(candidates).argmin())]
    return merged


def _moved(level: _Level, labels: Labels) -> tuple[float, Labels]:
    """The partition after the best moves of one node each, until none costs less, and its cost."""
    blocks = np.arange(int(labels.max()) + 1)
    cost = float(level.costs(labels[None])[0])
    while len(blocks) > 1:
        free = np.flatnonzero(np.bincount(labels)[labels] > 1)  # the number of blocks stays
        candidates = np.tile(labels, (len(free), len(blocks), 1))
        candidates[np.arange(len(free)), :, free] = blocks
        candidates = candidates.reshape(-1, len(labels))
        costs = level.costs(candidates)
        best = int(costs.argmin())
        if costs[best] > cost - 1e-9:
            break
        cost, labels = float(costs[best]), candidates[best]
    return cost, labels

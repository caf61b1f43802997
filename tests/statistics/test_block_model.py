# SPDX-License-Identifier: Apache-2.0
"""Blocks that were planted into a graph are found, with their number and what they nest in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from encephalon.errors import UsageError
from encephalon.statistics.block_model import Family, block_model

Values = NDArray[np.float64]
Labels = NDArray[np.int64]


def _planted(
    means: Values, sizes: Sequence[int], family: Family = "normal", seed: int = 0
) -> tuple[Values, Labels]:
    """Weights whose means are those between the blocks of two nodes, and the block of each node."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    wanted = means[truth][:, truth]
    drawn = rng.normal(wanted, 0.3) if family == "normal" else rng.exponential(wanted)
    upper = np.triu(drawn, 1)
    return upper + upper.T, truth


def _same(first: Labels, second: Labels) -> bool:
    """Whether two partitions put the same nodes together."""
    return bool(((first[:, None] == first) == (second[:, None] == second)).all())


def _assortative(blocks: int, inside: float, between: float) -> Values:
    return np.where(np.eye(blocks, dtype=bool), inside, between)


def test_planted_blocks_are_found_with_their_number_and_the_family_of_their_weights() -> None:
    for family in ("normal", "exponential"):
        weights, truth = _planted(_assortative(3, 5.0, 1.0), [8, 8, 9], family)
        found = block_model(weights)
        assert found.family == family
        assert len(found.levels) == 1
        assert _same(found.levels[0], truth)
        assert found.saved > 20
        assert found.record()["blocks"] == [3]


def test_blocks_are_told_apart_by_whom_they_are_tied_to_and_not_only_by_their_inside() -> None:
    means = np.array([[1.0, 3.0, 1.0], [3.0, 1.0, 2.0], [1.0, 2.0, 1.0]])
    weights, truth = _planted(means, [7, 8, 10])
    assert _same(block_model(weights).levels[0], truth)


def test_blocks_in_blocks_are_found_at_both_levels() -> None:
    halves = np.repeat([0, 1], 4)
    means = np.where(halves[:, None] == halves, 2.0, 0.5)
    np.fill_diagonal(means, 4.0)
    weights, truth = _planted(means, [4] * 8)
    fine, coarse = block_model(weights).levels
    assert _same(fine, truth)
    assert _same(coarse, halves[truth])


@pytest.mark.parametrize("family", ["normal", "exponential"])
def test_weights_of_one_kind_have_no_blocks(family: Family) -> None:
    for seed in range(3):
        weights, _ = _planted(np.ones((1, 1)), [20], family, seed)
        found = block_model(weights, starts=2)
        assert found.levels == ()
        assert (found.saved, found.bits) == (0, found.one_block)


def test_the_order_and_the_unit_of_the_weights_do_not_matter() -> None:
    weights, _ = _planted(_assortative(3, 6.0, 1.0), [6, 7, 7], "exponential")
    one, scaled = (block_model(weights * unit, starts=2) for unit in (1, 1000))
    assert _same(scaled.levels[0], one.levels[0])
    assert (scaled.family, scaled.saved) == (one.family, pytest.approx(one.saved))
    order = np.random.default_rng(1).permutation(20)
    moved = block_model(weights[order][:, order], starts=2)
    assert _same(moved.levels[0], one.levels[0][order])


def test_edges_that_are_not_there_are_passed_over() -> None:
    weights, truth = _planted(_assortative(3, 2.0, 1.0), [8, 8, 9])
    gone = np.triu(np.random.default_rng(2).random((25, 25)) < 0.2, 1)
    weights[gone | gone.T] = np.nan
    assert _same(block_model(weights).levels[0], truth)


def test_weights_without_any_spread_have_no_blocks() -> None:
    for value in (0.0, 0.4):
        assert block_model(np.full((9, 9), value)).levels == ()


def test_the_same_seed_finds_the_same() -> None:
    weights, _ = _planted(_assortative(4, 1.4, 1.0), [6, 6, 6, 7])
    one, again = (block_model(weights, starts=2, seed=3) for _ in range(2))
    assert one.record() == again.record()
    assert all(np.array_equal(a, b) for a, b in zip(one.levels, again.levels, strict=True))


def test_weights_that_are_no_graph_are_refused() -> None:
    for weights, message in [
        (np.ones((3, 2)), r"the shape \(3, 2\)"),
        (np.arange(9.0).reshape(3, 3), "the same in both directions"),
        (np.full((3, 3), np.inf), "finite"),
        (np.ones((2, 2)), "two known weights"),
    ]:
        with pytest.raises(UsageError, match=message):
            block_model(weights)
    with pytest.raises(UsageError, match="take the normal family"):
        block_model(-np.ones((4, 4)), family="exponential")

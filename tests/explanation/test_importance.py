# SPDX-License-Identifier: Apache-2.0
"""A covariate that the model uses matters; one that it ignores matters exactly nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encephalon.explanation.importance import permutation_importance

BLOCKS = {"sex": (0, 1), "age": (2,)}


def _predict(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sex says the class with 90 %; age says nothing."""
    p = np.where(values[:, 1] > 0, 0.9, 0.1)
    return np.stack([1 - p, p], axis=1)


def _people(rng: np.random.Generator, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    truth = np.arange(count) % 2
    values = np.column_stack([1 - truth, truth, rng.normal(size=count)]).astype(np.float32)
    return values, truth.astype(np.int64)


def test_what_is_used_matters_and_what_is_not_does_not(rng: np.random.Generator) -> None:
    """Half of the dealt-out sexes are wrong: the loss grows by log(9) / 2 nats."""
    values, truth = _people(rng, 400)
    found = permutation_importance(_predict, values, truth, BLOCKS)
    assert found["sex"].low < np.log(9) / 2 < found["sex"].high
    assert (found["age"].value, found["age"].low, found["age"].high) == (0, 0, 0)


def test_groups_are_drawn_as_wholes(rng: np.random.Generator) -> None:
    """Ten animals are ten units, and their interval is wider than that of 400 images."""
    values, truth = _people(rng, 400)
    values[:200, :2] = values[:200, 1::-1]  # for half of the animals the model is wrong
    animals = np.arange(400) // 40
    alone = permutation_importance(_predict, values, truth, BLOCKS)["sex"]
    grouped = permutation_importance(_predict, values, truth, BLOCKS, groups=list(animals))["sex"]
    assert (alone.units, grouped.units) == (400, 10)
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)
    assert grouped.value == alone.value

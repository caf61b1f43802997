# SPDX-License-Identifier: Apache-2.0
"""How far two columns depend on each other, against what is known by heart, by hand or in print."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from encephalon.errors import UsageError
from encephalon.statistics.dependence import (
    Estimator,
    dependences,
    maximal_information_coefficient,
    mutual_information,
)

RNG = np.random.default_rng(0)
FLAT = RNG.uniform(-1, 1, 500)
NORMAL, NOISE = RNG.standard_normal((2, 2000))


@pytest.mark.parametrize("estimator", ["mic_e", "mic_approx"])
def test_a_noiseless_function_of_few_turns_has_a_mic_of_1(estimator: Estimator) -> None:
    for values in (FLAT, -FLAT, np.exp(FLAT), FLAT**2, np.sign(FLAT)):
        found = maximal_information_coefficient(FLAT, values, estimator)
        assert found == pytest.approx(1.0, abs=0.02)


def test_a_noiseless_function_of_many_turns_has_a_mic_of_1_by_the_first_estimator() -> None:
    turns = (np.sin(4 * np.pi * FLAT), 4 * FLAT**3 - 3 * FLAT, np.cos(9 * FLAT * (1 + FLAT)))
    for values in turns:
        found = maximal_information_coefficient(FLAT, values, "mic_approx")
        assert found == pytest.approx(1.0, abs=0.02)


def test_the_mic_of_the_example_that_minepy_prints_is_its_number() -> None:
    """https://minepy.readthedocs.io/en/latest/python.html: 1.0, and 0.505716693417 with noise."""
    x = np.linspace(0, 1, 1000)
    y = np.sin(10 * np.pi * x) + x
    noise = np.random.RandomState(0).uniform(-1, 1, 1000)
    assert maximal_information_coefficient(x, y, "mic_approx") == pytest.approx(1.0)
    noisy = maximal_information_coefficient(x, y + noise, "mic_approx")
    assert noisy == pytest.approx(0.505716693417, abs=1e-9)


def test_independent_columns_have_a_low_mic_that_falls_with_their_number() -> None:
    few, many = (maximal_information_coefficient(NORMAL[:n], NOISE[:n]) for n in (100, 2000))
    assert many < 0.05 < few < 0.2
    assert maximal_information_coefficient(NORMAL, NOISE, "mic_approx") < 0.15


def test_the_cuts_of_mic_are_the_best_of_all_cuts() -> None:
    """Of 40 people, whose grids have at most 9 cells: every one is tried."""
    x, y = RNG.integers(0, 30, 40).astype(float), RNG.standard_normal(40)
    y += x / 20
    best = max(_every_grid(x, y), _every_grid(y, x))
    assert maximal_information_coefficient(x, y, "mic_approx") == pytest.approx(best)


def _every_grid(cut: NDArray[np.float64], even: NDArray[np.float64]) -> float:
    best = 0.0
    for parts in range(2, 5):
        ranks = np.searchsorted(np.sort(even), even, "right")
        edges = np.sort([ranks[np.argmin(abs(ranks - 40 * k / parts))] for k in range(1, parts)])
        rows = np.searchsorted(edges, ranks)
        for columns in range(2, 9 // parts + 1):
            places = np.unique(cut)[1:]
            for edge in combinations(places, columns - 1):
                told = np.searchsorted(edge, cut, "right")
                best = max(best, _counted(told, rows) / np.log(min(parts, columns)))
    return best


def _counted(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1 / len(first))
    alone = np.outer(table.sum(axis=1), table.sum(axis=0))
    return float((table[table > 0] * np.log(table[table > 0] / alone[table > 0])).sum())


def test_two_columns_of_two_values_have_the_mic_and_phi_of_their_four_cells() -> None:
    first, second = (
        np.repeat([0, 0, 1, 1], [40, 10, 10, 40]),
        np.repeat([0, 1, 0, 1], [40, 10, 10, 40]),
    )
    told = 0.8 * np.log(1.6) + 0.2 * np.log(0.4)
    (found,) = dependences({"a": first, "b": second}).values()
    assert found.correlation.value == pytest.approx(0.6)
    assert found.mutual_information == pytest.approx(told)
    assert found.mic == pytest.approx(told / np.log(2))
    assert found.n == 100


def test_mutual_information_of_normal_columns_is_near_what_their_correlation_says() -> None:
    for r in (0.0, 0.5, 0.9):
        mixed = r * NORMAL + np.sqrt(1 - r * r) * NOISE
        told = mutual_information(NORMAL, mixed)
        assert told == pytest.approx(-0.5 * np.log(1 - r * r), abs=0.05)
        assert told == pytest.approx(mutual_information(mixed, NORMAL), abs=1e-6)


def test_mutual_information_of_two_values_and_a_number_is_that_of_what_they_tell() -> None:
    half = (np.median(NORMAL) < NORMAL).astype(float)
    assert mutual_information(half, NORMAL) == pytest.approx(np.log(2), abs=0.02)
    assert mutual_information(NORMAL, half) == pytest.approx(np.log(2), abs=0.02)
    assert mutual_information(half, NOISE) == pytest.approx(0, abs=0.02)


def test_a_pair_is_measured_in_the_people_who_have_both() -> None:
    first, second, third = NORMAL.copy(), NORMAL + NOISE, NOISE.copy()
    first[:500], second[1200:] = np.nan, np.nan
    found = dependences({"a": first, "b": second, "c": third}, repeats=200)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert {pair: one.n for pair, one in found.items()} == {
        ("a", "b"): 700,
        ("a", "c"): 1500,
        ("b", "c"): 1200,
    }
    both = slice(500, 1200)
    one = found["a", "b"]
    assert one.correlation.value == pytest.approx(np.corrcoef(first[both], second[both])[0, 1])
    assert one.correlation.low < one.correlation.value < one.correlation.high
    assert one.mic == maximal_information_coefficient(first[both], second[both])


def test_the_interval_of_a_correlation_is_that_of_fisher_for_normal_columns() -> None:
    (found,) = dependences({"a": NORMAL + 1e6, "b": NORMAL + NOISE}).values()
    r = np.corrcoef(NORMAL, NORMAL + NOISE)[0, 1]
    ends = np.tanh(np.arctanh(r) + np.array([-1.96, 1.96]) / np.sqrt(1997))
    assert (found.correlation.low, found.correlation.high) == pytest.approx(ends, abs=0.005)


def test_families_are_drawn_together() -> None:
    twins = {"a": np.repeat(NORMAL[:200], 2), "b": np.repeat(NORMAL[:200] + NOISE[:200], 2)}
    (alone,) = dependences(twins).values()
    (together,) = dependences(twins, groups=np.repeat(range(200), 2).tolist()).values()
    widths = [one.correlation.high - one.correlation.low for one in (alone, together)]
    assert widths[1] > 1.2 * widths[0]


def test_nothing_is_said_of_few_people_or_of_a_column_that_is_the_same_for_all() -> None:
    few = np.where(np.arange(2000) < 9, NORMAL, np.nan)
    found = dependences({"few": few, "same": np.full(2000, 0.1), "a": NORMAL}, repeats=100)
    assert [one.n for one in found.values()] == [9, 9, 2000]
    for one in found.values():
        assert np.isnan([one.correlation.value, one.correlation.low, one.mic]).all()
        assert np.isnan(one.mutual_information)


def test_columns_of_different_people_are_refused() -> None:
    with pytest.raises(UsageError, match="'a': 3, 'b': 2"):
        dependences({"a": [1, 2, 3], "b": [1, 2]})


def test_a_part_of_an_axis_never_parts_equal_values() -> None:
    """Half of the people share a value: two columns of rank 1 still have a MIC of 1."""
    counts = np.repeat([0.0, 1.0, 2.0, 3.0], [100, 40, 40, 20])
    assert maximal_information_coefficient(counts, -counts) == pytest.approx(1.0)

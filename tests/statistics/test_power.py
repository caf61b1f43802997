# SPDX-License-Identifier: Apache-2.0
"""How large an effect an input needs to be found, planted into people whose inputs are known."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import UsageError
from encephalon.statistics.power import PlantedPower, liability_auc, planted_power

RNG = np.random.default_rng(0)
FEW, MANY = RNG.standard_normal((300, 4)), RNG.standard_normal((300, 200))


def test_columns_of_noise_hide_effects_that_few_columns_show() -> None:
    few, many = planted_power({"few": FEW, "many": MANY}, repeats=10)
    assert (few.people, many.people) == (300, 300)
    assert few.needed < many.needed
    assert few.r2[0.4] == pytest.approx(0.4, abs=0.05)
    assert many.r2[0.4] < 0.3


def test_more_people_find_smaller_effects() -> None:
    small, large = (planted_power({"few": FEW[:n]}, repeats=10)[0] for n in (40, 300))
    assert large.needed < small.needed


def test_what_is_not_there_is_found_as_rarely_as_chance_has_it() -> None:
    (nothing,) = planted_power({"few": FEW}, shares=(0.0,), repeats=200)
    assert nothing.found[0.0] < 0.1
    assert np.isnan(nothing.needed)


def test_an_effect_that_is_found_by_luck_is_not_what_is_needed() -> None:
    found = {0.01: 0.9, 0.02: 0.5, 0.05: 0.8, 0.1: 1.0}
    assert PlantedPower("t1", 100, found, {}).needed == 0.05


def test_who_lacks_an_input_has_no_say_and_unknown_cells_do_no_harm() -> None:
    gaps = FEW.copy()
    gaps[:100] = np.nan
    gaps[150, 2] = np.nan
    empty = np.full((300, 1), np.nan)
    (found,) = planted_power({"few": np.hstack([gaps, empty])}, repeats=5)
    assert found.people == 200
    assert found.found[0.8] == 1
    with pytest.raises(UsageError, match="'nothing' is the same for everybody"):
        planted_power({"nothing": np.ones((300, 1))})


def test_a_family_is_in_one_fold() -> None:
    """Twins whose columns are the same and whose chance is not: no more than that is found."""
    twins = np.repeat(MANY[:100], 2, axis=0)
    (found,) = planted_power({"many": twins}, groups=np.repeat(range(100), 2).tolist(), repeats=5)
    assert found.people == 200


def test_too_few_people_for_the_folds_are_refused() -> None:
    gaps = FEW[:10].copy()
    gaps[3:] = np.nan
    with pytest.raises(UsageError, match=r"'few': .* 5 folds .* 3 of them"):
        planted_power({"few": gaps})


def test_an_effect_is_harder_to_find_in_classes_the_rarer_one_is() -> None:
    """Numbers tell more than two halves, and these more than a twentieth and the rest."""
    number, halves, rare = (
        planted_power({"few": FEW}, classes=classes, shares=(0.05,), repeats=100)[0].found[0.05]
        for classes in ((), (0.5, 0.5), (0.95, 0.05))
    )
    assert number > halves > rare > 0.05


@pytest.mark.parametrize("frequency", [0.1, 0.5])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6])
def test_what_knowing_an_effect_would_reach_is_that_of_a_simulation(
    share: float, frequency: float
) -> None:
    known = RNG.standard_normal(40_000) * np.sqrt(share)
    behind = known + RNG.standard_normal(known.size) * np.sqrt(1 - share)
    ill = behind > np.quantile(behind, 1 - frequency)
    higher = known[ill][:2000, None] > known[~ill][None, :2000]
    expected = 0.5 if share == 0 else higher.mean()
    assert liability_auc(share, frequency) == pytest.approx(expected, abs=0.02)

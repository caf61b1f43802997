# SPDX-License-Identifier: Apache-2.0
"""Bias and limits of agreement are those that Bland and Altman compute by hand."""

from __future__ import annotations

from math import isnan

import pytest

from encephalon.errors import UsageError
from encephalon.statistics.agreement import agreement_of


def test_four_pairs_have_the_limits_that_pencil_and_paper_give() -> None:
    """Differences 10, -10, 20, -5: mean 3.75, squares about it 568.75, sd the root of that over 3.

    It is 13.76893, and 1.96 times that 26.98710.
    """
    found = agreement_of([1010, 990, 1030, 1000], [1000, 1000, 1010, 1005])
    assert found.means == (1005.0, 995.0, 1020.0, 1002.5)
    assert found.differences == (10.0, -10.0, 20.0, -5.0)
    assert found.bias == 3.75
    assert found.sd == pytest.approx(13.76893, abs=1e-5)
    assert found.low == pytest.approx(-23.23710, abs=1e-5)
    assert found.high == pytest.approx(30.73710, abs=1e-5)


def test_the_sign_is_that_of_the_first_less_the_second() -> None:
    assert agreement_of([2.0, 2.0], [1.0, 1.0]).bias == 1.0
    assert agreement_of([1.0, 1.0], [2.0, 2.0]).bias == -1.0


def test_pairs_that_lack_one_are_left_out() -> None:
    found = agreement_of([1.0, float("nan"), 3.0], [1.0, 2.0, float("inf")])
    assert found.means == (1.0,)
    assert found.bias == 0.0
    assert isnan(found.low)
    assert isnan(found.high)


def test_no_pairs_are_no_error_and_unequal_lengths_are() -> None:
    assert isnan(agreement_of([], []).bias)
    with pytest.raises(UsageError, match="2 measurements and 1 of the reference"):
        agreement_of([1.0, 2.0], [1.0])

# SPDX-License-Identifier: Apache-2.0
"""Ridge regression that leaves out each row once."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge as Reference
from sklearn.linear_model import RidgeCV

from encephalon.statistics.ridge import PENALTIES, fit_ridge

Values = NDArray[np.float64]


@pytest.mark.parametrize("features", [4, 60])
def test_it_is_what_leaving_out_every_row_would_choose(features: int) -> None:
    """Of fewer and of more features than rows: the weights, and each row as all others tell it."""
    rng = np.random.default_rng(0)
    given = rng.normal(size=(30, features))
    truth = given[:, :1] @ np.array([[1.0, -2.0]]) + rng.normal(size=(30, 2))
    found = fit_ridge(given, truth)
    reference = RidgeCV(PENALTIES).fit(given, truth)
    np.testing.assert_allclose(found.weights.T, reference.coef_, atol=1e-8)
    np.testing.assert_allclose(found.intercept, reference.intercept_, atol=1e-8)
    for row in (0, 17):
        others = np.delete(np.arange(30), row)
        alone = Reference(reference.alpha_).fit(given[others], truth[others])
        np.testing.assert_allclose(found.left_out[row], alone.predict(given[[row]])[0], atol=1e-8)


def test_what_a_feature_does_not_tell_is_told_by_the_mean() -> None:
    """It is as often of the one sign as of the other, so that every penalty does worse."""
    given = np.array([[-1.0], [1.0]] * 6)
    truth = np.array([[3.0], [3.0], [-1.0], [-1.0]] * 3)
    found = fit_ridge(given, truth)
    assert not found.weights.any()
    assert found.intercept == 1.0


def test_a_group_is_left_out_as_a_whole() -> None:
    """Those who share one are told by the others alone."""
    rng = np.random.default_rng(2)
    given = rng.normal(size=(12, 5))
    truth = given[:, :1] + rng.normal(size=(12, 1)) / 4
    groups = ["a", "a", "b", "c", "c", "c", *"defghi"]
    found = fit_ridge(given, truth, groups)
    # Only the penalty is chosen by all: the one that gives these weights.
    chosen = min(
        PENALTIES, key=lambda one: np.abs(weights(one, given, truth) - found.weights).max()
    )
    for inside in ([0, 1], [3, 4, 5], [8]):
        others = np.delete(np.arange(12), inside)
        alone = Reference(chosen).fit(given[others], truth[others])
        told = alone.predict(given[inside]).reshape(-1, 1)
        np.testing.assert_allclose(found.left_out[inside], told, atol=1e-8)


def weights(penalty: float, given: Values, truth: Values) -> Values:
    """Those of the reference (F, 1)."""
    return Reference(penalty).fit(given, truth).coef_.reshape(-1, 1)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_hardly_any_row_is_enough_for_a_mean_alone(rows: int) -> None:
    """And nothing is not finite."""
    truth = np.arange(rows, dtype=np.float64)[:, None]
    found = fit_ridge(np.ones((rows, 3)), truth)
    assert not found.weights.any()
    assert found.intercept == (truth.mean() if rows else 0.0)

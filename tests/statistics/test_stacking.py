# SPDX-License-Identifier: Apache-2.0
"""How predictors are weighed by few rows."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.statistics.stacking import combine, losses, stacking_weights


def test_losses_are_squared_errors_and_log_losses() -> None:
    assert losses(np.array([[3.0], [1.0]]), np.array([1.0, 1.0])).tolist() == [4.0, 0.0]
    chances = np.array([[0.25, 0.75], [1.0, 0.0]])
    np.testing.assert_allclose(
        losses(chances, np.array([1.0, 1.0])), [-np.log(0.75), -np.log(1e-7)]
    )


def test_weights_are_exponential_in_the_loss() -> None:
    truth = np.zeros(8)
    answers = np.stack([np.full((8, 1), 1.0), np.full((8, 1), 2.0)], axis=1)
    # Losses 1 and 4 in units of twice the smaller: 8 people make exp(-8 * (2 - 0.5) / 2) of it.
    expected = 1 / (1 + np.exp(-6.0))
    np.testing.assert_allclose(stacking_weights(answers, truth, 8), [expected, 1 - expected])
    assert stacking_weights(answers[:0], truth[:0], 0).tolist() == [0.5, 0.5]
    # Ten rows of one person say no more than one.
    once = stacking_weights(answers, truth, 1)
    assert once[0] < expected


def test_what_somebody_lacks_does_not_weigh() -> None:
    answers = np.array([[[1.0], [3.0]], [[np.nan], [3.0]], [[np.nan], [np.nan]]])
    found = combine(answers, np.array([0.75, 0.25]))
    np.testing.assert_array_equal(found, [[1.5], [3.0], [np.nan]])
    np.testing.assert_array_equal(combine(answers[1:2], np.array([1.0, 0.0])), [[3.0]])


@pytest.mark.parametrize("people", [14, 40, 200])
def test_a_part_that_is_better_alone_is_not_spoilt_by_noise(people: int) -> None:
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(50):
        truth = rng.normal(size=people)
        good = truth + 0.5 * rng.normal(size=people)
        spoilt = 0.5 * good + 1.5 * rng.normal(size=people)
        answers = np.stack([good, rng.normal(size=people), spoilt], axis=1)[:, :, None]
        weights = stacking_weights(answers, truth, people)
        fresh = rng.normal(size=1000)
        seen = fresh + 0.5 * rng.normal(size=1000)
        new = np.stack([seen, rng.normal(size=1000), 0.5 * seen + 1.5 * rng.normal(size=1000)], 1)
        made = combine(new[:, :, None], weights)
        gains.append(np.mean((made[:, 0] - fresh) ** 2) / np.mean((seen - fresh) ** 2))
    assert np.mean(gains) < 1.1

# SPDX-License-Identifier: Apache-2.0
"""The best of many is worth less than it scored, and seldom is it the only one."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import UsageError
from encephalon.statistics.selection import choose_again, noisy_draws, select_best

ERROR = 0.1


def chosen(rng: np.random.Generator, truth: np.ndarray) -> tuple[float, float, bool]:
    """Score and correction of the best, less its true value; whether `equal` has the truly best."""
    made = truth + ERROR * rng.normal(size=truth.size)
    found = select_best(made, *noisy_draws(made, np.full(truth.size, ERROR), repeats=400))
    return (
        found.score - truth[found.place],
        found.corrected - truth[found.place],
        int(truth.argmax()) in found.equal,
    )


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0])
def test_the_correction_takes_away_what_luck_added(rng: np.random.Generator, spread: float) -> None:
    """On average, whether the sets differ by nothing, by as much as luck, or by far more."""
    rows = [chosen(rng, spread * rng.normal(size=20)) for _ in range(300)]
    flattered, corrected, kept = np.array(rows).T.astype(float)
    assert abs(corrected.mean()) < 0.03
    assert flattered.mean() > (0.1 if spread < 1 else 0)
    assert kept.mean() >= 0.92


def test_what_is_common_to_all_changes_no_choice(rng: np.random.Generator) -> None:
    """People who are hard for one set are hard for all: only differences count."""
    scores = np.array([0.5, 0.52, 0.6])
    own = 0.002 * rng.normal(size=(500, 3))
    shared = rng.normal(size=(500, 1))
    later = choose_again(scores + shared + own, np.broadcast_to(scores, (500, 3)))
    found = select_best(scores, scores + shared + own, later)
    assert (found.place, found.equal) == (2, (2,))
    assert found.corrected == pytest.approx(0.6)
    apart = select_best(scores, scores + rng.normal(size=(500, 3)), later)
    assert apart.equal == (0, 1, 2)


def test_two_that_never_differ_are_equal() -> None:
    """And one that always is worse by as much is not."""
    draws = np.random.default_rng(0).normal(size=(200, 1)) + np.array([0.5, 0.5, 0.4])
    assert select_best([0.5, 0.5, 0.4], draws, draws[:, 0]).equal == (0, 1)


def test_scores_that_are_none_are_left_out() -> None:
    """So are draws in which one could not be scored."""
    draws = np.array([[0.1, np.nan, 0.3], [0.2, np.nan, np.nan], [0.1, np.nan, 0.2]])
    found = select_best([0.1, np.nan, 0.25], draws, choose_again(draws, draws)[[0, 2]])
    assert (found.place, found.corrected) == (2, pytest.approx(0.25))
    assert select_best([0.5], [[0.5]], [np.nan]).equal == (0,)
    with pytest.raises(UsageError, match="one score at least"):
        select_best([np.nan], [[0.5]], [0.5])

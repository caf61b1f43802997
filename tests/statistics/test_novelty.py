# SPDX-License-Identifier: Apache-2.0
"""How unlike others a sample is."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.statistics.novelty import Usual


def test_percentiles_are_those_of_the_people_who_train() -> None:
    """The middle one of them has about half of them nearer, and who is beyond all has all."""
    features = np.random.default_rng(0).normal(size=(400, 30))
    usual = Usual.fit(features, standardised=True)
    distances = sorted(map(usual.distance, features))
    assert usual.percentile(distances[200]) == pytest.approx(50, abs=2)
    assert usual.percentile(usual.distance(features[0] + 5)) == 100
    gaps = features[0].copy()
    gaps[1:] = np.nan
    assert usual.distance(gaps) == pytest.approx(abs(features[0, 0]))

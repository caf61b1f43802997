# SPDX-License-Identifier: Apache-2.0
"""What the network sees: the channels, and the scale of intensities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encephalon.errors import ContentError
from encephalon.studies.isotropic.reconstruction.network import CHANNELS, Scale, make_features
from encephalon.studies.isotropic.reconstruction.problem import Estimate
from tests.studies.isotropic.thick_head import problem, truth

SCALE = Scale(0.0, 900.0)
START = Estimate(truth(), np.full(truth().shape, 90, np.float32))


def test_the_scale_is_percentiles_1_and_99_of_what_is_above_0() -> None:
    """Zeros and what is negative do not count."""
    data = np.concatenate([np.arange(1, 1001), np.zeros(500), np.full(100, -5)]).astype(np.float32)
    scale = Scale.of(data)
    low, high = np.percentile(np.arange(1, 1001), [1, 99])
    assert (scale.low, scale.high) == pytest.approx((low, high))


def test_units_come_back_from_the_scale(rng: np.random.Generator) -> None:
    """Normalising loses nothing, below 0 and above 1 too."""
    data = rng.normal(300, 200, (6, 7, 8)).astype(np.float32)
    scale = Scale.of(data)
    np.testing.assert_allclose(scale.restore(scale.normalise(data)), data, rtol=1e-4, atol=1e-2)


def test_a_constant_scan_is_refused_by_name() -> None:
    """There is no scale where nothing differs."""
    with pytest.raises(ContentError, match="the T2w has the same intensity everywhere"):
        Scale.of(np.full((3, 3, 3), 7, np.float32), "the T2w")


def test_without_a_t1w_its_channels_are_empty() -> None:
    """A missing T1w is told apart from a dark one by the channel of coverage."""
    features = make_features(problem(guided=False), START, SCALE, None)
    assert features.shape == (len(CHANNELS), *truth().shape)
    assert not features[3:6].any()
    assert features[0].any()


def test_the_first_two_channels_are_the_guided_estimate() -> None:
    """What the network starts from is their sum, in its units; its deviation comes next."""
    features = make_features(problem(), START, SCALE, SCALE)
    np.testing.assert_allclose(features[0] + features[1], truth() / 900, atol=1e-5)
    np.testing.assert_allclose(features[2], 0.1, rtol=1e-5)


def test_voxels_in_the_middle_of_a_slice_are_told_from_those_between() -> None:
    """The channel of place is 0 at a slice's middle, and 1 half-way to the next one."""
    place = make_features(problem(ratio=3), START, SCALE, SCALE)[6, 0, 0]
    np.testing.assert_allclose(place[[1, 4, 7]], 0, atol=1e-6)
    np.testing.assert_allclose(place[[2, 3]], 2 / 3, atol=1e-6)


def test_ratio_and_thickness_are_told() -> None:
    """Slices of 2 mm every 4 mm have a gap, and the network knows."""
    features = make_features(problem(thickness=2), START, SCALE, SCALE)
    np.testing.assert_allclose(features[7], np.log(4), rtol=1e-5)
    np.testing.assert_allclose(features[8], np.log(2), rtol=1e-5)


def test_nothing_of_the_t1w_is_seen_where_it_was_not_acquired() -> None:
    """Outside of the coverage its channels are 0, whatever the array holds there."""
    coverage = np.ones(truth().shape, bool)
    coverage[:10] = False
    features = make_features(replace(problem(), coverage=coverage), START, SCALE, SCALE)
    assert not features[3:6, :10].any()
    assert features[5, 10:].all()

# SPDX-License-Identifier: Apache-2.0
"""What the network sees: the channels, the scale of intensities, the detail a guide foretells."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import ContentError
from encephalon.studies.isotropic.features import CHANNELS, Scale, local_slope, make_features
from encephalon.transforms.slices import SliceOperator, SliceProfile
from tests.studies.isotropic.tiny_isotropic import pair


def operator(voxels: int = 48, ratio: float = 4) -> SliceOperator:
    """Box slices that touch, voxels of 1 mm."""
    middles = np.arange((ratio - 1) / 2, voxels, ratio)
    return SliceOperator.of(SliceProfile(), ratio, middles, voxels, 1.0)


def test_the_scale_is_percentiles_1_and_99_of_what_is_above_0() -> None:
    """Zeros and what is negative do not count (spec section 3)."""
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


def test_without_a_guide_its_channels_are_empty() -> None:
    """A missing T1w is told apart from a dark one by the channel of coverage."""
    slices = operator().slice(pair()[0] / 900)
    features = make_features(slices, operator())
    assert features.shape == (len(CHANNELS), 40, 44, 48)
    assert not features[1:5].any()
    assert features[0].any()


def test_voxels_in_the_middle_of_a_slice_are_told_from_those_between() -> None:
    """The channel of place is 0 at a slice's middle, and 1 half-way to the next one."""
    odd = operator(45, 5)
    place = make_features(odd.slice(pair()[0][..., :45]), odd)[5, 0, 0]
    np.testing.assert_allclose(place[[2, 7, 12]], 0, atol=1e-6)
    assert place.max() == pytest.approx(0.8)


def test_the_foretold_detail_brings_the_interpolation_nearer_to_the_truth() -> None:
    """Where the guide shows the same borders, it knows what the slices averaged away."""
    t2w, t1w = (image / image.max() for image in pair())
    features = make_features(operator().slice(t2w), operator(), t1w)
    inside = t2w > 0
    plain = np.mean((features[0] - t2w)[inside] ** 2)
    foretold = np.mean((features[0] + features[1] - t2w)[inside] ** 2)
    assert foretold < 0.8 * plain


def test_a_flat_guide_foretells_nothing() -> None:
    """A guide without contrast has no slope, and so no say."""
    slices = operator().slice(pair()[0] / 900)
    assert not make_features(slices, operator(), np.full((40, 44, 48), 0.5, np.float32))[1].any()


def test_the_slope_of_a_linear_relation_is_found() -> None:
    """Scan = 2 x guide has the slope 2, but for the weight of flat places."""
    guide = np.asarray(np.random.default_rng(0).normal(0, 1, (20, 20, 10)), np.float32)
    slope = local_slope(2 * guide, guide, 4.0)
    assert slope[5:-5, 5:-5, 2:-2].mean() == pytest.approx(2, rel=0.05)


def test_nothing_of_the_guide_is_seen_where_it_was_not_acquired() -> None:
    """Outside of the coverage the guide's channels are 0, whatever the array holds there."""
    t2w, t1w = (image / image.max() for image in pair())
    coverage = np.ones(t2w.shape, bool)
    coverage[:15] = False
    features = make_features(operator().slice(t2w), operator(), t1w, coverage)
    assert not features[1:5, :15].any()

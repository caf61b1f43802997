# SPDX-License-Identifier: Apache-2.0
"""Mean and variance over views are those of all answers, held at no time together."""

from __future__ import annotations

import numpy as np

from encephalon.inference.uncertainty import combined, entropy, flips, gammas, over_views

SAMPLE = np.random.default_rng(0).uniform(0, 1, (1, 6, 5, 4)).astype(np.float32)


def tilted(image: np.ndarray) -> np.ndarray:
    """A network that trusts the first voxels of each axis more."""
    ramp = sum(np.meshgrid(*(np.linspace(0, 1, n) for n in image.shape[1:]), indexing="ij"))
    return np.asarray(image * ramp, np.float32)


def test_the_running_moments_are_those_of_all_views() -> None:
    """Each answer is turned back before it is counted; the first view is the sample as it is."""
    views = combined(flips((-1, -3)), gammas((1.0, 0.8)))
    answers = np.stack([undo(tilted(show(SAMPLE))) for show, undo in views])
    found = over_views(tilted, SAMPLE, views)
    assert len(views) == 8
    np.testing.assert_array_equal(found.first, tilted(SAMPLE))
    np.testing.assert_allclose(found.mean, answers.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.variance, answers.var(0), atol=1e-6)


def test_a_network_that_does_not_mind_how_it_is_shown_a_sample_has_no_variance() -> None:
    """A voxel-wise network agrees with itself over flips."""
    found = over_views(np.square, SAMPLE, flips((-1, -2, -3)))
    assert found.variance.max() < 1e-12


def test_entropy_is_largest_where_nothing_is_known() -> None:
    """ln 2 for a mask, ln 3 for three classes; 0 for what is certain."""
    mask = np.array([[0.5, 0.0, 1.0]], np.float32)
    np.testing.assert_allclose(entropy(mask, 0), [np.log(2), 0, 0], atol=1e-6)
    three = np.array([[1 / 3, 1], [1 / 3, 0], [1 / 3, 0]], np.float32)
    np.testing.assert_allclose(entropy(three, 0), [np.log(3), 0], atol=1e-6)

# SPDX-License-Identifier: Apache-2.0
"""Smoothing draws voxels to neighbours that are like them, and to no others."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.studies.isotropic.reconstruction.guided_terms import (
    Guide,
    ProblemContext,
    smoothing,
)
from encephalon.transforms.slices import SliceOperator, SliceProfile

OPERATOR = SliceOperator.of(SliceProfile("box"), 4.0, np.arange(4) * 4 + 1.5, 16, 1.0)
SLICES = np.zeros((12, 12, 4), np.float32)


def test_an_even_volume_is_drawn_nowhere() -> None:
    """All neighbours are alike: the pull is 0."""
    pull = smoothing(ProblemContext(SLICES, OPERATOR, None), np.full((12, 12, 16), 3, np.float32))
    np.testing.assert_allclose(pull, 0, atol=1e-6)


def test_the_slices_do_not_see_the_pull(rng: np.random.Generator) -> None:
    """Whatever is smoothed, the measured slices stay."""
    image = rng.standard_normal((12, 12, 16)).astype(np.float32)
    pull = smoothing(ProblemContext(SLICES, OPERATOR, None), image)
    assert pull.std() > 0.01
    np.testing.assert_allclose(OPERATOR.slice(pull), 0, atol=1e-4)


def test_noise_falls_and_an_edge_of_the_t1w_stays(rng: np.random.Generator) -> None:
    """A step that the T1w shares is drawn less than the same step without a T1w."""
    step = np.zeros((12, 12, 16), np.float32)
    step[..., 6:] = 1
    guide = Guide.of(step + 1, None, 4.0)
    alone = smoothing(ProblemContext(SLICES, OPERATOR, None), step)
    shared = smoothing(ProblemContext(SLICES, OPERATOR, guide), step)
    assert np.abs(shared).max() < 0.6 * np.abs(alone).max()


@pytest.mark.parametrize("axis", [0, 1])
def test_an_axis_in_slices_has_no_neighbours(axis: int, rng: np.random.Generator) -> None:
    """With one fine axis, planes along it do not feel each other."""
    image = rng.standard_normal((12, 12, 16)).astype(np.float32)
    other = np.moveaxis(image.copy(), 1 - axis, 0)
    other[7] = other[7, ::-1]
    context = ProblemContext(SLICES, OPERATOR, None, (axis,))
    first, second = smoothing(context, image), smoothing(context, np.moveaxis(other, 0, 1 - axis))
    kept = [index for index in range(12) if index != 7]
    np.testing.assert_allclose(
        np.take(first, kept, 1 - axis), np.take(second, kept, 1 - axis), atol=1e-5
    )

# SPDX-License-Identifier: Apache-2.0
"""Equalisation and Li's threshold on counts: the same as scikit-image on pixels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.exposure import equalize_hist
from skimage.filters import threshold_li

from encephalon.studies.micrographs.published.preprocessing import (
    equalised_levels,
    li_level,
    li_threshold,
)
from encephalon.transforms.grey_levels import count_levels

Levels = NDArray[np.uint8 | np.uint16]


def pictures() -> list[Levels]:
    """Narrow and wide histograms of 8 and 16 bits, with gaps and with saturated ends."""
    rng = np.random.default_rng(3)
    smooth = rng.normal(120, 40, (61, 47)).clip(0, 255)
    return [
        smooth.astype(np.uint8),
        (smooth / 4 + 90).astype(np.uint8),
        (smooth * 16).astype(np.uint16),
        rng.integers(0, 65536, (50, 31), dtype=np.uint16),
        np.where(smooth > 100, 255, 3).astype(np.uint8),
        rng.choice(np.array([0, 1, 7, 200, 255], np.uint8), (20, 20)),
    ]


def scaled(levels: Levels) -> NDArray[np.float64]:
    return levels * (1.0 / np.iinfo(levels.dtype).max)


@pytest.mark.parametrize("levels", pictures())
def test_equalised_levels_are_those_of_scikit_image(levels: Levels) -> None:
    """Each level of a picture becomes what `equalize_hist` makes of its pixels."""
    expected = equalize_hist(scaled(levels)).astype(np.float32)
    assert np.array_equal(equalised_levels(count_levels(levels))[levels], expected)


@pytest.mark.parametrize("levels", pictures())
def test_lis_threshold_is_that_of_scikit_image(levels: Levels) -> None:
    """The threshold agrees, and comparing raw levels gives the same black and white picture."""
    counts = count_levels(levels)
    equalised = equalize_hist(scaled(levels)).astype(np.float32)
    expected = threshold_li(equalised)
    assert li_threshold(equalised_levels(counts), counts) == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(levels > li_level(counts), equalised > expected)


def test_lis_threshold_of_a_flat_histogram_is_two_fifths() -> None:
    """Equalised ramps and noise are thresholded near 0.398 (as 3BTRON has it)."""
    ramp = count_levels(np.tile(np.arange(256, dtype=np.uint8), (16, 1)))
    assert li_threshold(equalised_levels(ramp), ramp) == pytest.approx(0.399, abs=0.002)
    noise = np.random.default_rng(0).integers(0, 65536, (512, 512), dtype=np.uint16)
    counts = count_levels(noise)
    assert li_threshold(equalised_levels(counts), counts) == pytest.approx(0.398, abs=0.003)

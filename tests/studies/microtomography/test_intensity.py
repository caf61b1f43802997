# SPDX-License-Identifier: Apache-2.0
"""How voxels become numbers where images differ in brightness."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.studies.microtomography.data import scaled, window_of
from encephalon.studies.microtomography.settings import Intensity


def picture() -> np.ndarray:
    """Grey levels (1, 64, 64) from 50 to 149."""
    return np.random.default_rng(0).integers(50, 150, (1, 64, 64)).astype(np.float32)


@pytest.mark.parametrize("how", ["percentiles", "deviations"])
def test_brightness_and_contrast_of_a_box_do_not_matter(how: str) -> None:
    """A picture and the same one brighter, with more contrast, are equal to a network."""
    intensity = Intensity.model_validate({"each_box": how})
    one = picture()
    other = 3 * one + 200
    assert np.allclose(scaled(one, intensity, one), scaled(other, intensity, other), atol=1e-5)


def test_a_window_of_deviations_lies_two_of_them_around_the_mean() -> None:
    """Of 3 and 5 in equal parts, with a standard deviation of 1, it is 2 to 6."""
    box = np.tile([3.0, 5.0], 50).reshape(1, 10, 10)
    assert window_of(box, how="deviations") == pytest.approx((2, 6))


def test_bright_specks_move_deviations_less_than_percentiles() -> None:
    """Half a percent of white voxels makes one window eight times as wide, the other not thrice."""
    clean = picture()
    specks = clean.copy()
    specks.reshape(-1)[:20] = 1000

    def width(box: np.ndarray, how: str) -> float:
        low, high = window_of(box, how=how)
        return high - low

    assert width(specks, "percentiles") > 8 * width(clean, "percentiles")
    assert width(specks, "deviations") < 3 * width(clean, "deviations")

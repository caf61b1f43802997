# SPDX-License-Identifier: Apache-2.0
"""Figures of grey levels, on planes whose figures are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from encephalon.transforms.grey_levels import (
    IntensityHistogram,
    count_levels,
    level_percentile,
    sharpness,
)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_figures_of_a_ramp(kind: type) -> None:
    """0 to 200 in equal parts: its ends, its middle, and two of 201 levels at the ends."""
    grey = IntensityHistogram(np.tile(np.arange(201), (201, 1)).astype(kind))
    assert (grey.darkest, grey.brightest) == (0, 200)
    assert grey.percentiles(0, 50, 100) == (0, 100, 200)
    assert grey.saturated() == pytest.approx(2 / 201)
    full = {np.uint8: 255, np.uint16: 65535, np.float32: 200}[kind]
    assert grey.contrast() == pytest.approx(199 / full, rel=0.02)


def test_percentiles_of_many_floats_are_estimated() -> None:
    """A sample of a large float plane is within a hundredth of the whole."""
    data = np.random.default_rng(0).normal(size=(900, 1000)).astype(np.float32)
    assert IntensityHistogram(data).percentiles(5, 95) == pytest.approx((-1.645, 1.645), abs=0.02)


def test_sharpness_falls_with_blur_and_ignores_contrast() -> None:
    """White noise has 1, and what a microscope out of focus does lowers it, whatever the gain."""
    noise = np.random.default_rng(0).normal(size=(300, 300))
    values = [sharpness(gaussian_filter(noise, sigma)) for sigma in (0, 1, 3)]
    assert values[0] == pytest.approx(1, abs=0.02)
    assert values[0] > 2 * values[1] > 8 * values[2] > 0
    assert sharpness(7 + 30 * noise) == pytest.approx(values[0])


def test_sharpness_of_nothing_is_not_a_number() -> None:
    """Neither a constant plane nor a single row has neighbours that could differ."""
    assert math.isnan(sharpness(np.ones((9, 9))))
    assert math.isnan(sharpness(np.arange(9.0)[None]))


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_sharpness_does_not_depend_on_the_unit_of_the_levels(unit: float) -> None:
    """Squares of very small or large floats neither vanish nor overflow."""
    noise = np.random.default_rng(0).normal(size=(40, 50))
    assert sharpness((unit * noise).astype(np.float32)) == pytest.approx(sharpness(noise), rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([np.uint8, np.uint16]).flatmap(
        lambda kind: arrays(kind, st.tuples(st.integers(1, 9), st.integers(1, 9)))
    ),
    st.floats(0, 100),
)
def test_counts_and_percentiles_are_those_of_numpy(levels: NDArray[Any], percent: float) -> None:
    """Whatever the levels, counting them loses nothing that a percentile needs."""
    counts = count_levels(levels)
    assert np.array_equal(counts, np.bincount(levels.ravel(), minlength=counts.size))
    assert level_percentile(counts, percent) == pytest.approx(np.percentile(levels, percent))


def test_parts_of_a_picture_are_counted_as_they_stand() -> None:
    """A slice of rows or columns, which is not contiguous, is counted without its neighbours."""
    levels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    assert count_levels(levels[1:3, ::2]).nonzero()[0].tolist() == [8, 10, 12, 14, 16, 18, 20, 22]

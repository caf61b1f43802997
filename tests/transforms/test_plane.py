# SPDX-License-Identifier: Apache-2.0
"""Other grids: every set of weights against the library whose name it bears, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from skimage.transform import rescale
from torch.nn.functional import interpolate

from encephalon.transforms.resize import (
    area_weights,
    gaussian_weights,
    linear_weights,
    resample,
    triangle_weights,
)

SIZES = [(64, 64), (100, 133), (37, 29), (3, 41), (1, 9)]


@pytest.mark.parametrize("shape", SIZES)
def test_gaussian_weights_equal_rescaling_by_scikit_image(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    """An eighth of the size, with and without a remainder, within 1e-6."""
    plane = rng.random(shape)
    expected = rescale(plane, 0.125, order=1, mode="reflect", anti_aliasing=True)
    weights = [gaussian_weights(a, b) for a, b in zip(shape, expected.shape, strict=True)]
    assert np.abs(resample(plane, *weights) - expected).max() < 1e-6


@pytest.mark.parametrize("sizes", [((40, 30), (16, 13)), ((9, 7), (30, 8)), ((12, 12), (12, 12))])
def test_triangle_weights_equal_antialiased_interpolation_by_torch(
    sizes: tuple[tuple[int, int], tuple[int, int]], rng: np.random.Generator
) -> None:
    """Smaller, larger and the same size, within 1e-6 of torch in double precision."""
    before, after = sizes
    plane = rng.random(before)
    expected = interpolate(
        torch.from_numpy(plane)[None, None], after, mode="bilinear", antialias=True
    )[0, 0].numpy()
    weights = [triangle_weights(a, b) for a, b in zip(before, after, strict=True)]
    assert np.abs(resample(plane, *weights) - expected).max() < 1e-6
    cropped = [triangle_weights(a, b, 2, 5) for a, b in zip(before, after, strict=True)]
    assert np.abs(resample(plane, *cropped) - expected[2:7, 2:7]).max() < 1e-6


def test_area_weights_average_what_a_pixel_covers() -> None:
    """Whole factors are block means; a pixel that is cut in two counts by its share."""
    line = np.array([[0.0, 2.0, 4.0, 8.0, 10.0, 0.0]])
    one = area_weights(1, 1, 0.0, 1.0)
    assert resample(line, one, area_weights(6, 3, 0.0, 2.0)).tolist() == [[1, 6, 5]]
    halves = resample(line, one, area_weights(6, 4, 0.0, 1.5))
    assert halves == pytest.approx(np.array([[2 / 3, 10 / 3, 26 / 3, 10 / 3]]))
    beyond = resample(line, one, area_weights(6, 2, -1.0, 2.0))
    assert beyond.tolist() == [[0, 3]]


def test_area_weights_wholly_beyond_the_pixels_are_those_of_the_outermost() -> None:
    """As where results are smaller than pixels: the edge is continued, nothing is divided by 0."""
    line = np.array([[3.0, 2.0, 4.0, 8.0]])
    one = area_weights(1, 1, 0.0, 1.0)
    for start, scale in ((-4.0, 2.0), (-4.0, 0.5)):
        assert resample(line, one, area_weights(4, 2, start, scale)).tolist() == [[3, 3]]
    for start, scale in ((4.0, 2.0), (9.5, 1.0), (9.5, 0.5)):
        assert resample(line, one, area_weights(4, 2, start, scale)).tolist() == [[8, 8]]
    assert resample(line[:, :1], one, area_weights(1, 1, -1.0, 1.0)).tolist() == [[3]]


def test_area_weights_interpolate_where_results_are_smaller_than_pixels() -> None:
    """Two results a pixel lie a quarter of a pixel beside its centre; edges are continued."""
    line = np.array([[0.0, 4.0]])
    larger = resample(line, area_weights(1, 1, 0.0, 1.0), area_weights(2, 4, 0.0, 0.5))
    assert larger.tolist() == [[0, 1, 3, 4]]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 80), st.floats(0.2, 40), st.floats(-3, 3))
@example(pixels=1, results=1, scale=1.0, start=-1.0)
def test_every_result_is_an_average(pixels: int, results: int, scale: float, start: float) -> None:
    """Weights are positive and sum to one, so a constant stays and nothing leaves the range."""
    fitting = min(results, max(int((pixels - start) / scale), 1))
    for weights in (
        area_weights(pixels, fitting, min(start, 0.0), scale),
        gaussian_weights(pixels, min(results, pixels)),
        triangle_weights(pixels, results),
        linear_weights(pixels, start + scale * np.arange(results)),
    ):
        assert weights.taps.min() >= 0
        assert weights.taps.sum(axis=1) == pytest.approx(1, abs=1e-6)
        assert weights.first.min() >= 0
        assert weights.first.max() + weights.taps.shape[1] <= pixels


def test_grey_levels_are_prepared_before_they_are_averaged() -> None:
    """A threshold under the average gives the share above it, not the threshold of the mean."""
    plane = np.array([[0, 0, 0, 200]], np.uint8)
    weights = area_weights(1, 1, 0.0, 1.0), area_weights(4, 1, 0.0, 4.0)
    assert resample(plane, *weights, lambda part: part > 100).item() == pytest.approx(0.25)
    assert resample(plane, *weights).item() == pytest.approx(50)

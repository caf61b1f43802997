# SPDX-License-Identifier: Apache-2.0
"""Other grids: every set of weights against the library whose name it bears, and by hand.

The way back from the network's picture to the raw one.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from skimage.transform import rescale
from torch.nn.functional import interpolate

from encephalon.transforms.resize import (
    View,
    area_weights,
    centred_resize,
    gaussian_weights,
    linear_weights,
    resample,
    stride_of,
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


def half_sized() -> View:
    """A square of 8 pixels, each 2 raw ones, on raw columns 4 to 20 of 24 and all of 12 rows."""
    return View((12, 24), (8, 8), (2.0, 2.0), (-1.5, 4.5), (0, 12, 4, 20))


def test_a_map_returns_to_where_it_was_seen() -> None:
    """A map of straight lines stays straight in raw coordinates, and the unseen is NaN."""
    view = half_sized()
    points = np.stack(np.meshgrid(np.arange(12.0), np.arange(24.0), indexing="ij"), axis=-1)
    places = view.to_view(points)
    rows, columns = np.meshgrid(np.arange(8.0), np.arange(8.0), indexing="ij")
    raw = view.to_raw(rows + 10 * columns)
    assert raw.shape == (12, 24)
    assert raw.dtype == np.float32
    assert np.isnan(raw[:, :4]).all()
    assert np.isnan(raw[:, 20:]).all()
    assert np.isfinite(raw[:, 4:20]).all()
    inner = slice(1, -1), slice(5, 19)
    assert raw[inner] == pytest.approx((places @ [1, 10])[inner])


def test_a_coarse_map_covers_the_picture_evenly() -> None:
    """Of a map of 2 cells, the first half of the network's picture is nearer to the first."""
    view = half_sized()
    raw = view.to_raw(np.array([[0.0, 1.0]] * 2))
    across = raw[6, 4:20]
    assert across[:4] == pytest.approx(0)
    assert across[-4:] == pytest.approx(1)
    assert across[7] + across[8] == pytest.approx(1)
    assert (np.diff(across) >= 0).all()
    assert np.unique(view.to_raw(np.full((1, 1), 3.0))[:, 4:20]).tolist() == [3]


@given(st.integers(0, 40), st.integers(1, 300), st.floats(0.3, 9), st.integers(1, 64))
def test_a_stretch_is_centred_and_stays_on_the_picture(
    low: int, length: int, scale: float, size: int
) -> None:
    """Whatever is cut or padded is so on both sides alike, and never the whole."""
    stretch = centred_resize(low, low + length, scale, size)
    first, last = stretch.inside
    assert 0 <= first < last <= size
    assert low <= stretch.seen[0] < stretch.seen[1] <= low + length
    middle = stretch.edge + scale * size / 2
    assert middle == pytest.approx(low + length / 2)
    assert abs(first - (size - last)) <= 1
    assert stretch.offset == pytest.approx(stretch.edge + scale / 2 - 0.5)


def test_a_point_is_found_again_after_scaling_and_mapping_back() -> None:
    """The brightest raw pixel of a returned picture is the one that was bright."""
    raw = np.zeros((60, 90))
    raw[41, 17] = 1
    down, across = centred_resize(0, 60, 2.5, 36), centred_resize(0, 90, 2.5, 36)
    rows = area_weights(60, 24, down.edge + down.inside[0] * 2.5, 2.5)
    picture = np.zeros((36, 36))
    picture[slice(*down.inside), :] = resample(raw, rows, area_weights(90, 36, across.edge, 2.5))
    view = View(
        (60, 90), (36, 36), (2.5, 2.5), (down.offset, across.offset), (*down.seen, *across.seen)
    )
    found = np.unravel_index(np.nanargmax(view.to_raw(picture)), raw.shape)
    assert np.abs(np.subtract(found, (41, 17))).max() <= 1


def test_cells_of_padded_convolutions_lie_at_multiples_of_the_stride() -> None:
    """What a cell answers to is where its map is highest; an even share lies half a cell on."""
    whole = {"scale": (1.0, 1.0), "offset": (0.0, 0.0), "seen": (0, 64, 0, 64)}
    cells = np.zeros((8, 8), np.float32)
    cells[3, 5] = 1
    strided = View((64, 64), (64, 64), even=False, **whole).to_raw(cells)
    assert np.unravel_index(strided.argmax(), strided.shape) == (24, 40)
    even = View((64, 64), (64, 64), **whole).to_raw(cells)
    rows, columns = np.nonzero(even == even.max())
    assert (rows.mean(), columns.mean()) == (27.5, 43.5)


def test_a_map_of_a_volume_is_interpolated_along_each_of_its_axes() -> None:
    """As a linear function of the place, between the cells; the cells themselves are met."""
    cells = np.add.outer(100 * np.arange(3.0), np.add.outer(10 * np.arange(4.0), np.arange(5.0)))
    raw = View.whole((24, 32, 40), even=False).to_raw(cells)
    assert raw.shape == (24, 32, 40)
    np.testing.assert_array_equal(raw[::8, ::8, ::8], cells)
    assert raw[4, 12, 18] == pytest.approx(50 + 15 + 2.25)
    np.testing.assert_allclose(raw[8], 100 + View.whole((32, 40), even=False).to_raw(cells[0]))


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 8, 32])
@pytest.mark.parametrize("cells", [4, 7, 12])
def test_a_stride_is_known_from_the_cells_that_it_makes(stride: int, cells: int) -> None:
    """Padded convolutions make a cell of a last part as well."""
    assert stride_of(stride * cells, cells) == stride
    if stride & (stride - 1) == 0:
        assert stride_of(stride * (cells - 1) + 1, cells) == stride


def test_that_is_where_a_padded_network_looks() -> None:
    """The pixels that a cell of three padded convolutions of stride 2 depends on lie around it."""
    torch = pytest.importorskip("torch")
    layers = [torch.nn.Conv2d(1, 1, 3, stride=2, padding=1, bias=False) for _ in range(3)]
    for layer in layers:
        torch.nn.init.ones_(layer.weight)
    image = torch.zeros(1, 1, 64, 64, requires_grad=True)
    torch.nn.Sequential(*layers)(image)[0, 0, 3, 5].backward()
    weight = image.grad[0, 0].numpy()
    pixels = np.arange(64)
    centre = (weight.sum(1) @ pixels, weight.sum(0) @ pixels) / weight.sum()
    assert centre == pytest.approx((24, 40))

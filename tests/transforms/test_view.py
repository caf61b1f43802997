# SPDX-License-Identifier: Apache-2.0
"""The way back from the network's picture to the raw one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.transforms.resize import View, area_weights, centred_resize, resample


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

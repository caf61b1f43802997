# SPDX-License-Identifier: Apache-2.0
"""Pictures show the right side on the right, true proportions, and the outline of the mask."""

from __future__ import annotations

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pillow

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine, orient
from encephalon.io.image import Image
from encephalon.reports.images import (
    AMBER,
    GAP,
    SKY,
    Panel,
    Picture,
    draw,
    heat,
    outline,
    resize_mask,
)
from encephalon.reports.slices import (
    Overlay,
    axial_series,
    display_window,
    three_planes,
)


@pytest.fixture
def one_sided() -> Image:
    """A grey block with a bright mark on its right, front and top; 1 x 1 x 3 mm voxels."""
    data = np.full((40, 48, 16), 300, dtype=np.float32)
    data[0] = 0
    data[30:38, 36:46, 12:15] = 1000
    return Image(data, Affine.from_spacing((1, 1, 3)))


def centre_of_bright(part: np.ndarray) -> tuple[float, float]:
    """Row and column of the bright pixels, as shares of height and width."""
    rows, columns = np.nonzero(part > 180)
    return float(rows.mean() / part.shape[0]), float(columns.mean() / part.shape[1])


def panels(picture: Picture) -> list[np.ndarray]:
    """The sagittal, coronal and axial plane of the block's picture: 48, 40 and 40 mm wide."""
    scale = (picture.size[0] - 2 * GAP) / (48 + 40 + 40)
    ends = np.cumsum([0, 48 * scale, GAP, 40 * scale, GAP, 40 * scale]).round().astype(int)
    return [picture.base[:, ends[n] : ends[n + 1]] for n in (0, 2, 4)]


def marked(scan: Image) -> list[Overlay]:
    """An overlay on the bright mark, so that the planes run through it."""
    return [Overlay(scan.data > 500)]


def test_front_top_and_right_are_where_they_should_be(one_sided: Image) -> None:
    """The mark is at the upper right of every plane: front, top and right point that way."""
    picture = three_planes(one_sided.data, one_sided.affine, marked(one_sided))
    for panel in panels(picture):
        row, column = centre_of_bright(panel)
        assert row < 0.4
        assert column > 0.6


@pytest.mark.parametrize("codes", ["LPS", "LIA", "PSR", "ASL"])
def test_the_order_of_the_voxel_axes_does_not_show(one_sided: Image, codes: str) -> None:
    """The same scan stored in another order gives the same picture."""
    data, affine = orient(one_sided.data, one_sided.affine, codes)
    turned = Image(np.asarray(data), affine)
    first = three_planes(one_sided.data, one_sided.affine, marked(one_sided)).flat()
    second = three_planes(turned.data, turned.affine, marked(turned)).flat()
    np.testing.assert_array_equal(first, second)


def test_thick_slices_have_their_true_proportions(one_sided: Image) -> None:
    """40 x 48 x 16 voxels of 1 x 1 x 3 mm are drawn as 40 x 48 x 48 mm."""
    picture = three_planes(one_sided.data, one_sided.affine, height=240, width=2000)
    assert picture.size == (5 * (48 + 40 + 40) + 2 * GAP, 5 * 48)
    low = three_planes(one_sided.data[..., :8], one_sided.affine, height=240, width=2000)
    row = np.flatnonzero(low.base[:, :100].max(axis=1))
    assert row.size <= 5 * 24


def test_a_picture_keeps_to_its_width(head: Image, brain: np.ndarray) -> None:
    """Whatever the head's shape, the page's width is not exceeded."""
    picture = three_planes(head.data, head.affine, [Overlay(brain)], width=500)
    assert picture.size[0] <= 502
    series = axial_series(head.data, head.affine, [Overlay(brain)], count=6, columns=6, width=480)
    assert series.size[0] <= 486


def test_both_sides_are_lettered() -> None:
    """Letters are drawn into the lower corners, to be read on dark and on light."""
    for grey in (0, 150):
        pixels = np.full((40, 40), grey, dtype=np.float32)
        plain = draw([[Panel(pixels, (), (80, 80))]], "").base
        lettered = draw([[Panel(pixels, (), (80, 80), ("L", "R"))]], "").base
        assert np.ptp(plain) == 0
        assert np.array_equal(lettered[:60], plain[:60])
        assert np.ptp(lettered[60:, :20]) > 100
        assert np.ptp(lettered[60:, 60:]) > 100


def test_an_outline_is_where_the_mask_ends() -> None:
    """The line of a disc lies within a pixel of its circle, and is closed."""
    rows, columns = np.mgrid[:60, :60]
    disc = np.hypot(rows - 29.5, columns - 29.5) < 20
    alpha = outline(disc, (240, 240), "mask", AMBER).rgba[..., 3]
    rows, columns = np.nonzero(alpha > 128)
    radius = np.hypot(rows - 119.5, columns - 119.5)
    assert radius.min() > 77
    assert radius.max() < 83
    angles = np.unique(np.round(np.degrees(np.arctan2(rows - 119.5, columns - 119.5))))
    assert angles.size >= 360


def test_a_mask_cut_by_the_edge_has_a_border_there() -> None:
    """A mask that fills the image is outlined along its rim."""
    alpha = outline(np.ones((10, 10), dtype=bool), (100, 100), "mask", AMBER).rgba[..., 3]
    assert alpha[0].max() > 60
    assert alpha[50, 50] == 0


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (1, 1)])
def test_an_outline_of_one_row_or_column_is_drawn(size: tuple[int, int]) -> None:
    """A scan of one voxel across is pictured as every other."""
    mask = np.arange(size[0] * size[1]).reshape(size[::-1]) % 20 < 10
    assert outline(mask, size, "mask", AMBER).rgba.shape == (*size[::-1], 4)


def test_an_empty_mask_has_no_outline() -> None:
    """Nothing is drawn for nothing."""
    assert outline(np.zeros((8, 8)), (64, 64), "mask", AMBER).rgba.max() == 0


def test_masks_keep_their_area_when_drawn(rng: np.random.Generator) -> None:
    """Half of the levels are above one half where half of the mask is."""
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:15, 10:20] = True
    level = resize_mask(mask, (300, 200))
    assert level.shape == (200, 300)
    assert (level > 0.5).mean() == pytest.approx(mask.mean(), abs=0.005)


def test_layers_are_kept_apart_and_can_be_flattened(head: Image, brain: np.ndarray) -> None:
    """Two outlines are two layers in two colours; flattened, both colours are to be seen."""
    shifted = np.roll(brain, 4, axis=0)
    overlays = [Overlay(brain), Overlay(shifted, "reference", SKY)]
    picture = three_planes(head.data, head.affine, overlays)
    assert [layer.name for layer in picture.layers] == ["prediction", "reference"]
    flat = picture.flat().reshape(-1, 3).astype(int)
    assert (np.abs(flat - AMBER).sum(axis=1) < 30).any()
    assert (np.abs(flat - SKY).sum(axis=1) < 30).any()


def test_the_page_holds_the_same_picture(head: Image, brain: np.ndarray) -> None:
    """Base and layer are embedded as PNG of the picture's size, nearly unchanged."""
    picture = three_planes(head.data, head.affine, [Overlay(brain)])
    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", picture.html)
    base, layer = (Pillow.open(BytesIO(base64.b64decode(code))) for code in found)
    assert base.size == layer.size == picture.size
    difference = picture.base.astype(int) - np.asarray(base)
    assert 0 <= difference.min() <= difference.max() < 4
    assert 'class="layer layer-prediction"' in picture.html


def test_the_window_follows_the_brain_and_not_the_scalp() -> None:
    """A bright scalp does not darken the brain when a mask says where the brain is."""
    data = np.full((30, 30, 30), 100.0)
    data[:4] = 2000.0
    data[10:20, 10:20, 10:20] += np.linspace(0, 50, 10)
    inside = np.zeros(data.shape, dtype=bool)
    inside[10:20, 10:20, 10:20] = True
    assert display_window(data)[1] == pytest.approx(2000.0)
    assert 150 <= display_window(data, inside)[1] < 160


def test_a_constant_image_can_be_drawn() -> None:
    """No value is divided by zero."""
    assert three_planes(np.ones((8, 8, 8)), Affine(np.eye(4))).base.max() < 160
    low, high = display_window(np.ones((4, 4, 4)))
    assert high > low


def test_an_overlay_on_another_grid_is_refused(head: Image) -> None:
    """The message names the overlay and both shapes."""
    with pytest.raises(GeometryError, match=r"'truth'.*\(2, 2, 2\).*\(24, 28, 20\)"):
        three_planes(head.data, head.affine, [Overlay(np.ones((2, 2, 2)), "truth")])


def test_a_heat_map_grows_in_opacity_with_its_values() -> None:
    """Zero is transparent, and the highest value covers."""
    layer = heat(np.linspace(0, 1, 5000).reshape(50, 100), (200, 200), "attribution")
    assert layer.rgba.shape == (200, 200, 4)
    assert layer.rgba[0, 0, 3] < 20
    assert layer.rgba[-1, -1, 3] > 140

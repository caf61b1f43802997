# SPDX-License-Identifier: Apache-2.0
"""Strips of text are found where they are, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from encephalon.transforms.data_bar import picture_rows
from tests.transforms.data_bars import STYLES, Grey, as_jpeg, data_bar


def tissue(rows: int, columns: int, seed: int = 0) -> Grey:
    """Grey blobs with noise; no row of them resembles a strip."""
    rng = np.random.default_rng(seed)
    blobs = gaussian_filter(rng.normal(size=(rows, columns)), 4)
    noisy = 128 + 45 * blobs / blobs.std() + rng.normal(0, 8, blobs.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("size", "bar"), [(256, 20), (500, 30), (768, 60), (1024, 160)])
def test_a_data_bar_is_cut_off_to_the_row(style: str, size: int, bar: int) -> None:
    """Under the image or above it, in 8 bits and in 12 of 16, whatever its style."""
    picture, strip = tissue(size, size + 50), data_bar(style, bar, size + 50)
    under, above = np.vstack([picture, strip]), np.vstack([strip, picture])
    assert picture_rows(under) == (0, size)
    assert picture_rows(above) == (bar, bar + size)
    assert picture_rows(under.astype(np.uint16) * 16) == (0, size)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("quality", [75, 90])
def test_a_data_bar_is_found_through_jpeg(style: str, quality: int) -> None:
    """Rings around letters move the border by less than one block of 8 rows."""
    picture = np.vstack([tissue(500, 640), data_bar(style, 44, 640)])
    first, last = picture_rows(as_jpeg(picture, quality))
    assert first == 0
    assert abs(last - 500) < 8


def test_dark_tissue_above_a_black_bar_is_kept() -> None:
    """A black strip is blacker than dark tissue: the border is still found to the row."""
    dark = (tissue(400, 500) / 6).astype(np.uint8)
    assert picture_rows(np.vstack([dark, data_bar("black", 40, 500)])) == (0, 400)


def untouched() -> dict[str, Grey]:
    """Pictures that have something of a data bar, but none."""
    plain, y = tissue(300, 400), np.linspace(-1, 1, 300)[:, None]
    disc = np.hypot(y, np.linspace(-1, 1, 400)) < 0.9
    letters = plain.copy()
    letters[260:, :250] = data_bar("black", 40, 250)
    return {
        "tissue": plain,
        "disc on black": (plain * disc).astype(np.uint8),
        "padding without text": np.vstack([plain, np.zeros((30, 400), np.uint8)]),
        "writing on the image": letters,
        "half the image": np.vstack([plain, data_bar("black", 250, 400)]),
        "fade to black": (plain * np.clip((1 - y) * 3, 0, 1)).astype(np.uint8),
        "constant": np.full((300, 400), 9, np.uint8),
        "two rows": plain[:2],
        "narrow": plain[:, :5],
    }


@pytest.mark.parametrize("name", untouched())
def test_what_is_no_data_bar_is_left(name: str) -> None:
    """Background, padding, fading and writing on the image cut nothing off."""
    picture = untouched()[name]
    assert picture_rows(picture) == (0, picture.shape[0])


@pytest.mark.data
@pytest.mark.parametrize(
    "pattern", ["em/axon-sem/sub-*/micr/*.png", "slices/*/*[05].jpg", "slices/pituitary/*.jpg"]
)
def test_real_pictures_without_data_bars_are_left(data: Path, pattern: str) -> None:
    """Micrographs, and head slices on black, some of which end at the border, stay whole."""
    paths = sorted(data.glob(pattern))
    assert len(paths) >= 6
    for path in paths:
        picture = np.asarray(Image.open(path).convert("L"))
        assert picture_rows(picture) == (0, picture.shape[0]), path

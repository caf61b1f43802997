# SPDX-License-Identifier: Apache-2.0
"""How voxels become numbers where images differ in brightness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.recipes.loading import load_recipe
from encephalon.studies.microtomography.data import prepare_tiles, scaled, window_of
from encephalon.studies.microtomography.settings import Intensity
from encephalon.studies.microtomography.whole import warn_of_another_kind
from encephalon.tables.reading import read_table
from tests.studies.microtomography.tiny_tiles import write_table


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


def test_a_tile_has_the_window_of_its_box(tmp_path: Path) -> None:
    """However often it is asked for, and whatever the other boxes are like."""
    table = read_table(write_table(tmp_path), load_recipe("axon-myelin").table)
    structures = ("background", "vessel", "cell", "axon")
    tiles = prepare_tiles(table, tmp_path / "cache", 1, structures)
    intensity = Intensity(each_box="deviations")
    for tile in (0, len(tiles) - 1, 0):
        wanted = scaled(tiles.raw(tile), intensity, tiles.volume(tile))
        assert np.array_equal(tiles.levels(tile, intensity), wanted)


@pytest.mark.parametrize(("factor", "said"), [(1.0, False), (0.3, False), (0.02, True)])
@pytest.mark.parametrize("std", [0.12, 1.0])
def test_a_volume_is_called_too_dark_whatever_its_levels_are_divided_by(
    factor: float, said: bool, std: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """NMF leaves levels as they are, by a spread of 1, and is not warned of its own tiles."""
    path = tmp_path / "box.npy"
    np.save(path, (picture() * factor).astype(np.uint8))
    intensity = Intensity(window=(0, 255), mean=0, std=std)
    warn_of_another_kind(path, intensity, None)
    assert ("sees little" in caplog.text) is said

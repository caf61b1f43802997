# SPDX-License-Identifier: Apache-2.0
"""Label maps in pictures: every fine structure is seen, and a page of them stays small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import UnreadableFileError
from encephalon.reports.images import embedded, png_bytes
from encephalon.reports.label_maps import (
    beside,
    class_colour,
    label_legend,
    label_picture,
    label_pictures,
)


def labels(rows: int, columns: int) -> np.ndarray:
    """A line of one pixel of class 1 and a block of class 3."""
    found = np.zeros((1, rows, columns), np.uint8)
    found[0, rows // 2], found[0, :5, :5] = 1, 3
    return found


def test_every_pixel_of_a_micrograph_is_drawn() -> None:
    found = labels(822, 771)
    pictures = label_pictures(found, Truth=found)
    assert pictures["Image"].size == pictures["Truth"].size == (771, 822)
    flat = pictures["Truth"].flat()
    assert (flat[411] == class_colour(1)).all()
    assert (flat[410, 10:] == 0).all()
    assert (flat[:5, :5] == class_colour(3)).all()


def test_small_tiles_are_enlarged_and_large_ones_shrunk() -> None:
    for side, shown in ((32, 480), (600, 600), (4000, 960)):
        assert label_picture(np.zeros((1, side, side)), None, "tile").size == (shown, shown)


def test_each_class_is_a_layer_that_the_legend_names() -> None:
    layers = label_picture(labels(64, 64), labels(64, 64), "tile").layers
    legend = {
        entry.layer: entry for entry in label_legend(["background", "vessel", "cell", "axon"])
    }
    assert [entry.label for entry in legend.values()] == ["vessel", "cell", "axon"]
    assert [legend[layer.name].label for layer in layers] == ["vessel", "axon"]
    for layer in layers:
        assert tuple(layer.rgba[layer.rgba[..., 3] > 0][0, :3]) == legend[layer.name].colour


def test_six_micrographs_with_truth_and_prediction_take_less_than_6_mb() -> None:
    """Of pure noise, which no picture compresses worse than."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 255, (1, 822, 771)).astype(np.uint8)
    blobs = (generator.random((1, 103, 97)) > 0.7).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    found = blobs[:, :822, :771]
    assert 6 * len(beside("tile", "", label_pictures(noise, truth=found, found=found))) < 6_000_000


def test_a_picture_file_is_taken_as_it_is_and_another_file_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(png_bytes(np.zeros((4, 7), np.uint8)))
    assert 'style="max-width:7px"' in embedded(path, "alt")
    path.write_bytes(b"no picture at all, but long enough to be one")
    with pytest.raises(UnreadableFileError, match="expected a PNG"):
        embedded(path, "alt")

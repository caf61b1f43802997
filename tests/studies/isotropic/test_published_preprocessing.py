# SPDX-License-Identifier: Apache-2.0
"""The published steps, each against published numbers or a computation of its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from encephalon.errors import ContentError, ModelError
from encephalon.geometry.affine import Affine, Grid
from encephalon.studies.isotropic.published import preprocessing as steps
from encephalon.studies.isotropic.published.settings import PublishedSettings, Window

PUBLISHED = PublishedSettings()


def second(batch: np.ndarray) -> np.ndarray:
    """A network that gives the T2w back."""
    return batch[:, 1:]


def test_a_published_volume_has_1573_patches() -> None:
    """11 x 13 x 11 of 32 voxels every 16, in raster order from the first voxel to the last."""
    starts = steps.patch_starts(PUBLISHED.padded, PUBLISHED.patch, PUBLISHED.stride)
    assert starts.shape == (1573, 3)
    assert starts[:2].tolist() == [[0, 0, 0], [0, 0, 16]]
    assert (starts[-1] + 32).tolist() == [192, 224, 192]
    assert np.array_equal(starts, np.array(sorted(map(tuple, starts.tolist()))))


def test_the_atlas_grid_is_padded_by_5_3_and_5() -> None:
    """Zeros on both sides; the first voxel then lies at 95, -129, -77 mm."""
    before = steps.padding(PUBLISHED.shape, PUBLISHED.padded)
    assert before == ((5, 5), (3, 3), (5, 5))
    shifted = steps.ATLAS.shifted([-first for first, _ in before])
    assert shifted.origin.tolist() == [95, -129, -77]
    padded = steps.pad(np.ones((2, 3, 2)), (4, 3, 5))
    assert padded.shape == (4, 3, 5)
    assert padded.sum() == 12
    assert padded[1:3, :, 1:3].all()


def test_percentiles_of_the_voxels_above_zero_become_0_and_1() -> None:
    """By the formula, clipped; voxels at or below 0 do not count, padding or not."""
    rng = np.random.default_rng(0)
    volume = rng.normal(300, 100, (9, 8, 7))
    volume[:3] = 0
    volume[3] = -50
    low, high = np.percentile(volume[volume > 0], (1, 99))
    found = steps.normalise(volume, "x")
    assert found.dtype == np.float32
    assert (found.min(), found.max()) == (0, 1)
    np.testing.assert_allclose(found, np.clip((volume - low) / (high - low + 1e-6), 0, 1), 1e-6)
    padded = steps.normalise(steps.pad(volume, (11, 8, 9)), "x")
    assert np.array_equal(padded[1:10, :, 1:8], found)


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_a_volume_without_a_value_above_zero_is_refused(value: float) -> None:
    """The published program takes a percentile of nothing."""
    with pytest.raises(ContentError, match=r"^scan\.nii: .* values above 0.*check the file"):
        steps.normalise(np.full((3, 3, 3), value), "scan.nii")


def test_an_identity_network_returns_the_volume() -> None:
    """To 1e-6, with 8 patches at most voxels, and whatever the batch."""
    volume = np.random.default_rng(0).random((2, 64, 48, 32), dtype=np.float32)
    starts = steps.patch_starts((64, 48, 32), 32, 16)
    results = [steps.predict_patches(volume, second, starts, batch_size=n) for n in (1, 4, 99)]
    for result in results:
        assert result.dtype == np.float64
        np.testing.assert_allclose(result, volume[1], rtol=0, atol=1e-6)
        assert np.array_equal(result, results[0])


def test_overlapping_patches_count_the_same() -> None:
    """The mean of what the patches say: here how many came before, of two halves that overlap."""
    said = iter([1.0, 4.0])

    def number(batch: np.ndarray) -> np.ndarray:
        return np.full((1, 1, 4, 4, 4), next(said), np.float32)

    volume = np.zeros((2, 6, 4, 4), np.float32)
    result = steps.predict_patches(volume, number, steps.patch_starts((6, 4, 4), 4, 2), patch=4)
    assert result[:, 0, 0].tolist() == [1, 1, 2.5, 2.5, 4, 4]


def test_a_gaussian_window_fades_from_patch_to_patch_and_keeps_what_they_agree_on() -> None:
    """An identity network returns the volume to 1e-6; patches that differ leave no step."""
    volume = np.random.default_rng(0).random((2, 48, 32, 32), dtype=np.float32)
    starts = steps.patch_starts((48, 32, 32), 32, 16)
    kept = steps.predict_patches(volume, second, starts, window="gaussian")
    np.testing.assert_allclose(kept, volume[1], rtol=0, atol=1e-6)
    steepest = {}
    windows: tuple[Window, ...] = ("uniform", "gaussian")
    for window in windows:
        said = iter([0.0, 1.0])

        def number(batch: np.ndarray, said: Iterator[float] = said) -> np.ndarray:
            return np.full((1, 1, 32, 32, 32), next(said), np.float32)

        line = steps.predict_patches(volume, number, starts, window=window)[:, 0, 0]
        assert (line[0], line[-1]) == (0, 1)
        steepest[window] = np.diff(line).max()
    assert steepest["uniform"] == 0.5
    assert steepest["gaussian"] < 0.25


def test_some_patches_are_enough_to_measure() -> None:
    """Where none reaches there is 0; the listener hears of each batch."""
    volume = np.ones((2, 8, 8, 8), np.float32)
    starts, told = steps.patch_starts((8, 8, 8), 4, 4)[:3], list[tuple[int, int]]()

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    result = steps.predict_patches(volume, second, starts, patch=4, batch_size=2, tell=tell)
    assert result.sum() == 3 * 64
    assert told == [(2, 3), (3, 3)]


@given(st.tuples(*[st.integers(4, 11)] * 3), st.integers(1, 4))
def test_patches_are_the_voxels_that_they_begin_at(shape: tuple[int, ...], stride: int) -> None:
    """Cut in the order of their starts, every channel of each."""
    volume = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    starts = steps.patch_starts(shape, 3, stride)
    patches = steps.cut_patches(volume, starts, 3)
    assert patches.shape == (len(starts), 2, 3, 3, 3)
    i, j, k = starts[-1]
    assert np.array_equal(patches[-1], volume[:, i : i + 3, j : j + 3, k : k + 3])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda batch: batch, r"shape \(1, 1, 4, 4, 4\), but it gave \(1, 2, 4, 4, 4\)"),
        (lambda batch: batch[:, :1] * np.nan, "not finite"),
    ],
)
def test_an_impossible_answer_is_refused(answer: steps.Network, words: str) -> None:
    """Another shape, and numbers that are none."""
    volume = np.ones((2, 4, 4, 4), np.float32)
    with pytest.raises(ModelError, match=words):
        steps.predict_patches(volume, answer, steps.patch_starts((4, 4, 4), 4, 4), patch=4)


@pytest.mark.parametrize(
    ("shape", "spacing", "words"),
    [
        ((181, 218, 182), 1.0, "but this has 181 x 218 x 182 voxels of 1 x 1 x 1 mm"),
        ((182, 218, 182), (1.0, 1.0, 2.0), "182 x 218 x 182 voxels of 1 x 1 x 2 mm"),
    ],
)
def test_another_grid_than_the_atlas_is_refused(
    shape: tuple[int, int, int], spacing: float | tuple[float, ...], words: str
) -> None:
    """The file, what it has, and the two ways out."""
    grid = Grid(shape, Affine.from_spacing(spacing))
    with pytest.raises(ContentError, match=rf"^a\.nii: .*{words}.*--atlas.*'isotropic'"):
        steps.check_atlas_grid(grid, PUBLISHED.shape, "a.nii")
    rounded = Affine.from_spacing((1.0000002, 1.0, 0.9999999))
    steps.check_atlas_grid(Grid(PUBLISHED.shape, rounded), PUBLISHED.shape, "a.nii")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"padded": (182, 217, 182)}, "which holds the shape"),
        ({"stride": 15}, "every 15 must end where"),
        ({"shape": (8,) * 3, "padded": (10,) * 3, "patch": 2, "stride": 4}, "leaves gaps"),
        ({"factors": (1,)}, "greater than or equal to 2"),
        ({"planes": ("oblique",)}, "'axial', 'coronal' or 'sagittal'"),
    ],
)
def test_patches_must_fill_the_padded_volume(changes: dict[str, object], words: str) -> None:
    """Otherwise some voxels would have no result."""
    with pytest.raises(ValidationError, match=words):
        PublishedSettings(**changes)  # type: ignore[arg-type]

# SPDX-License-Identifier: Apache-2.0
"""Similarity figures equal their formulas, scikit-image, and values computed by hand."""

from __future__ import annotations

from math import inf, isnan, log10, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from encephalon.errors import GeometryError
from encephalon.metrics import image_quality
from encephalon.metrics.image_quality import (
    foreground,
    foreground_similarities,
    nrmse,
    published_similarity,
    similarities,
)


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A smooth volume (20, 17, 23) in about [0, 1] and a noisy copy."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in (20, 17, 23)], indexing="ij")
    truth = np.exp(-2 * sum(axis**2 for axis in axes))
    return truth, truth + rng.normal(0, 0.05, truth.shape)


def test_figures_by_hand() -> None:
    """Differences 1, 0, 0, 1 of the reference 1, 2, 0, 2: MSE 1/2, NRMSE sqrt(2 / 9)."""
    reference, image = np.array([1.0, 2, 0, 2] * 2), np.array([2.0, 2, 0, 1] * 2)
    found = similarities(reference, image, {"all": None})["all"]
    assert found.mse == 0.5
    assert found.nrmse == nrmse(reference, image) == pytest.approx(sqrt(2 / 9))
    assert found.psnr == pytest.approx(10 * log10(2))


def test_a_mask_leaves_the_rest_out() -> None:
    """Only the voxels of the mask count, in every figure."""
    reference, image = np.array([1.0, 2, 0, 2] * 2), np.array([2.0, 2, 9, 1] * 2)
    mask = np.array([True, True, False, False] * 2)
    found = similarities(reference, image, {"part": mask})["part"]
    assert found.mse == 0.5
    assert found.nrmse == nrmse(reference, image, mask) == pytest.approx(sqrt(1 / 5))
    assert found.psnr == pytest.approx(10 * log10(2))


def test_equal_images_are_perfect(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """PSNR is infinite, SSIM 1, and the errors are 0."""
    truth = pair[0]
    found = similarities(truth, truth.copy(), {"all": None})["all"]
    assert (found.psnr, found.nrmse, found.mse) == (inf, 0.0, 0.0)
    assert found.ssim == pytest.approx(1)


def test_a_reference_of_zeros_has_no_relative_error() -> None:
    """It is infinite, or 0 where the image is 0 as well."""
    nothing = np.zeros(5)
    assert nrmse(nothing, nothing) == 0.0
    assert nrmse(nothing, nothing + 1) == inf


@settings(max_examples=10)
@given(some.integers(0, 1000), some.sampled_from([(9, 8, 11), (30, 7, 8), (12, 15)]))
def test_structural_similarity_is_that_of_scikit_image(seed: int, shape: tuple[int, ...]) -> None:
    """To 1e-6 for volumes and pictures."""
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(seed)
    first = rng.random(shape)
    second = np.clip(first + rng.normal(0, 0.2, shape), -1, 2)
    known = metrics.structural_similarity(first, second, data_range=1)
    found = similarities(first, second, {"all": None})["all"]
    assert found.ssim == pytest.approx(known, abs=1e-6)


def test_the_masked_mean_is_that_of_scikit_images_map(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    """Of the full map, the voxels of the mask whose cubes lie within the image."""
    metrics = pytest.importorskip("skimage.metrics")
    mask = pair[0] > 0.3
    _, full = metrics.structural_similarity(*pair, data_range=1, full=True)
    inner = (slice(3, -3),) * 3
    found = similarities(*pair, {"part": mask})["part"]
    assert found.ssim == pytest.approx(full[inner][mask[inner]].mean(), abs=1e-6)


def test_slabs_do_not_show(
    pair: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One plane at a time gives what the whole volume gives at once."""
    whole = similarities(*pair, {"all": None})["all"].ssim
    monkeypatch.setattr(image_quality, "_SLAB", 1)
    assert similarities(*pair, {"all": None})["all"].ssim == pytest.approx(whole, abs=1e-12)


def test_the_published_figures_are_those_of_its_formulas(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    """Own percentiles over > 0, clipped, zeros around to multiples of 32, all voxels counted."""
    metrics = pytest.importorskip("skimage.metrics")
    scaled = []
    for volume in pair:
        low, high = np.percentile(volume[volume > 0], [1, 99])
        scaled.append(np.clip((volume - low) / (high - low + 1e-6), 0, 1))
    truth, image = (np.pad(each, [(6, 6), (7, 8), (4, 5)]) for each in scaled)
    assert truth.shape == (32, 32, 32)
    found = published_similarity(*pair)
    known = metrics.peak_signal_noise_ratio(truth, image, data_range=1)
    assert found.psnr == pytest.approx(known, abs=1e-4)
    known = metrics.structural_similarity(truth, image, data_range=1)
    assert found.ssim == pytest.approx(known, abs=1e-6)
    assert found.nrmse == pytest.approx(metrics.normalized_root_mse(truth, image), rel=1e-5)
    assert found.mse == pytest.approx(metrics.mean_squared_error(truth, image), rel=1e-5)


def test_what_is_left_out_of_the_work_changes_no_figure(rng: np.random.Generator) -> None:
    """A head in a corner of much air: the figures of the whole volume, padding and all."""
    metrics = pytest.importorskip("skimage.metrics")
    truth = np.zeros((40, 36, 30))
    truth[:9, 20:36, 9:20] = rng.uniform(1, 2, (9, 16, 11))
    image = truth * rng.uniform(0.8, 1.2, truth.shape)
    found = published_similarity(truth, image)
    whole = [image_quality._padded(image_quality._own_scale(each)) for each in (truth, image)]
    known = metrics.peak_signal_noise_ratio(*whole, data_range=1)
    assert found.psnr == pytest.approx(known, abs=1e-4)
    known = metrics.structural_similarity(*map(np.float64, whole), data_range=1)
    assert found.ssim == pytest.approx(known, abs=1e-6)
    assert found.mse == pytest.approx(metrics.mean_squared_error(*whole), rel=1e-5)
    assert found.nrmse == pytest.approx(metrics.normalized_root_mse(*whole), rel=1e-5)
    inside = truth > 0
    low, high = np.percentile(truth[inside], [1, 99])
    pair = [(each - low) / (high - low) for each in (truth, image)]
    part = foreground_similarities(truth, image, {"in": inside})["in"]
    known = similarities(pair[0], pair[1], {"in": inside})["in"]
    assert part.ssim == pytest.approx(known.ssim, abs=1e-5)
    assert part.mse == pytest.approx(known.mse, rel=1e-4)


def test_the_published_padding_is_the_atlas_s() -> None:
    """182 x 218 x 182 becomes 192 x 224 x 192, five, three and five voxels on each side."""
    volume = np.ones((182, 218, 182), np.float32)
    padded = image_quality._padded(volume)
    assert padded.shape == (192, 224, 192)
    assert padded[5:-5, 3:-3, 5:-5].sum() == padded.sum() == volume.size


def test_the_published_figures_do_not_see_a_change_of_scale(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    """Twice as bright is as good as equal; the default figures say that it is not."""
    truth, _ = pair
    assert published_similarity(truth, 2 * truth).psnr > 100
    inside = {"all": foreground(truth)}
    assert foreground_similarities(truth, 2 * truth, inside)["all"].psnr < 10


def test_a_volume_without_signal_fails_nothing() -> None:
    """All percentiles of nothing are 0, and so is what is scaled by them."""
    empty = np.zeros((8, 8, 8))
    assert published_similarity(empty, empty).mse == 0.0
    assert not foreground(empty).any()


def test_the_sound_figures_use_the_truth_s_percentiles(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    """Percentiles 1 and 99 of the truth become 0 and 1 in both, whatever their units."""
    truth, image = (1000 * each + 50 for each in pair)
    low, high = np.percentile(truth, [1, 99])
    mask = foreground(truth, 0.3)
    expected = np.square((truth - image) / (high - low))[mask].mean()
    found = foreground_similarities(truth, image, {"inside": mask})["inside"]
    assert found.mse == pytest.approx(expected, rel=1e-4)
    assert found.psnr == pytest.approx(-10 * log10(expected), abs=1e-3)


def test_the_foreground_has_no_holes() -> None:
    """Air within is foreground, air around is not, and faint noise is air."""
    volume = np.full((12, 12, 12), 2.0)
    volume[2:10, 2:10, 2:10] = 100
    volume[5:7, 5:7, 5:7] = 0
    inside = foreground(volume)
    assert inside[2:10, 2:10, 2:10].all()
    assert inside.sum() == 8**3


def test_an_empty_region_says_nothing(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Its figures are NaN, and those of the others are there."""
    masks = {"none": np.zeros(pair[0].shape, bool), "all": None}
    found = similarities(*pair, masks)
    assert all(map(isnan, vars(found["none"]).values()))
    assert found["all"].psnr == pytest.approx(-10 * log10(np.square(pair[0] - pair[1]).mean()))


def test_what_cannot_be_compared_is_refused() -> None:
    """Other shapes, a mask of another shape, and volumes smaller than a cube."""
    with pytest.raises(GeometryError, match="same grid"):
        nrmse(np.ones(3), np.ones(4))
    with pytest.raises(GeometryError, match="mask"):
        nrmse(np.ones(3), np.ones(3), mask=np.ones(4, bool))
    with pytest.raises(GeometryError, match="7 voxels"):
        similarities(np.ones((8, 8, 6)), np.ones((8, 8, 6)), {"all": None})

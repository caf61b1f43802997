# SPDX-License-Identifier: Apache-2.0
"""Variations of whole brains: what is drawn, how far it goes, and that nothing is nothing."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy import ndimage

from encephalon.transforms import volume_augmentation
from encephalon.transforms.parameters import VolumeRanges
from encephalon.transforms.volume_augmentation import VolumeVariation, draw_variation, vary

SIDE = 24
NEVER, ALWAYS = VolumeRanges(probability=0.0), VolumeRanges(probability=1.0)
STILL = replace(ALWAYS, elastic=(0, 0), scale=0, shift=0, shear=0, rotation=0, inflation=0)


def images(count: int = 1, side: int = SIDE) -> torch.Tensor:
    """Smooth blobs on -1, (count, 1, side, side, side)."""
    rng = np.random.default_rng(1)
    seen = ndimage.gaussian_filter(rng.standard_normal((count, side, side, side)), (0, 2, 2, 2))
    inside = np.zeros((side,) * 3, bool)
    inside[4:-4, 4:-4, 4:-4] = True
    found = np.where(inside, np.clip(seen / (4 * seen.std()), -0.9, 1), -1).astype(np.float32)
    return torch.from_numpy(found)[:, None]


def drawn(ranges: VolumeRanges, count: int = 1, seed: int = 0) -> list[VolumeVariation]:
    rng = np.random.default_rng(seed)
    return [draw_variation(rng, ranges) for _ in range(count)]


def test_with_a_probability_of_0_every_bit_stays() -> None:
    batch = images(3)
    assert torch.equal(vary(batch, drawn(NEVER, 3)), batch)


def test_the_same_numbers_make_the_same_image_and_others_another() -> None:
    batch = images(2)
    first, again, other = (vary(batch, drawn(ALWAYS, 2, seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, batch)


def test_the_ends_of_every_range_give_finite_images() -> None:
    ends = replace(
        ALWAYS, control_points=(2, 100), elastic=(0.0, 100.0), smoothness=(0.01, 10.0), scale=0.5,
        shift=20.0, shear=30.0, rotation=180.0, crop=0.51, inflation=0.5,
    )  # fmt: skip
    TypeAdapter(VolumeRanges).validate_python(asdict(ends))
    for seed in range(4):
        assert torch.isfinite(vary(images(side=16), drawn(ends, seed=seed))).all()


def test_an_image_does_not_depend_on_the_others_of_its_batch() -> None:
    batch, variations = images(3), drawn(ALWAYS, 3)
    alone = torch.cat([vary(batch[n : n + 1], variations[n : n + 1]) for n in range(3)])
    assert torch.equal(vary(batch, variations), alone)


def test_each_effect_is_drawn_as_often_as_its_probability_says() -> None:
    ranges = VolumeRanges(probability=0.2)
    some = drawn(ranges, 4000)
    shares = {
        "levels": np.mean([bool(one.levels) for one in some]),
        "elastic": np.mean([one.elastic > 0 for one in some]),
        "shift": np.mean([any(one.shift) for one in some]),
        "crop": np.mean([one.keep is not None for one in some]),
        "inflation": np.mean([bool(one.inflation) for one in some]),
    }
    # Binomial standard deviation 0.0063; five of it.
    assert all(share == pytest.approx(0.2, abs=0.032) for share in shares.values()), shares
    matrices = np.mean([one.matrix is not None for one in some])
    assert matrices == pytest.approx(1 - 0.8**3, abs=0.04)  # scale, shear or rotation


def test_draws_keep_to_their_ranges() -> None:
    ranges = VolumeRanges(probability=1.0)
    some = drawn(ranges, 500)
    assert {len(one.levels) for one in some} == {3, 4, 5, 6}
    assert all(np.all(np.diff(one.levels) >= 0) for one in some)
    assert all(one.levels[0] == 0 and one.levels[-1] == 1 for one in some)
    assert all(3 <= one.elastic <= 5 and 1 <= one.smoothness <= 3 for one in some)
    assert all(np.abs(one.shift).max() <= 2 and abs(one.inflation) <= 0.05 for one in some)
    kept = np.array([one.keep for one in some])
    assert kept.min() >= 0
    assert kept.max() <= 1 + 1e-12
    assert np.diff(kept, axis=-1).min() >= 0.99 - 1e-12
    shifts = np.array([one.shift for one in some])
    assert shifts.mean() == pytest.approx(0, abs=0.2)
    assert shifts.std() == pytest.approx(2 / np.sqrt(3), abs=0.1)  # of a uniform distribution


def test_a_map_turns_leans_and_grows_by_no_more_than_it_may() -> None:
    for one in drawn(replace(ALWAYS, shear=0, scale=0), 50):
        assert one.matrix is not None
        assert np.allclose(one.matrix @ one.matrix.T, np.eye(3))
        degrees = np.degrees(np.arccos(np.clip((np.trace(one.matrix) - 1) / 2, -1, 1)))
        assert degrees <= 2 * np.sqrt(3) + 0.1
    for one in drawn(replace(ALWAYS, shear=0, rotation=0), 50):
        assert one.matrix is not None
        assert abs(one.matrix[0, 0] - 1) <= 0.01


def points_of(variation: VolumeVariation) -> np.ndarray:
    """By how much each voxel of a cube is moved, voxels."""
    shape, device = (SIDE, SIDE, SIDE), torch.device("cpu")
    moved = volume_augmentation._points(variation, shape, device)
    still = volume_augmentation._points(VolumeVariation(), shape, device)
    return np.asarray((moved - still).numpy())


@pytest.mark.parametrize("smoothness", [1.0, 3.0])
def test_elastic_displacement_is_smooth_and_bounded(smoothness: float) -> None:
    moved = points_of(VolumeVariation(elastic=5.0, smoothness=smoothness))
    assert 0 < np.abs(moved).max() < 5
    # White noise of a uniform distribution, smoothed in three dimensions, away from the border.
    expected = 5 / np.sqrt(3) * (2 * np.sqrt(np.pi) * smoothness) ** -1.5
    inner = moved[8:-8, 8:-8, 8:-8]
    assert inner.std() == pytest.approx(expected, rel=0.35)
    # No fold: along each axis, places stay in their order.
    for axis in range(3):
        assert np.diff(moved[..., axis], axis=axis).min() > -1


def test_inflation_magnifies_around_its_centre_and_fades() -> None:
    moved = points_of(VolumeVariation(inflation=0.05, centre=(0.5, 0.5, 0.5)))
    reach = volume_augmentation.INFLATED * SIDE
    assert np.linalg.norm(moved, axis=-1).max() <= 0.05 * reach * np.exp(-0.5) + 1e-3
    half = SIDE // 2
    slope = moved[half, half, half, 0] - moved[half - 1, half, half, 0]
    assert slope == pytest.approx(-0.05, abs=0.003)
    assert np.abs(moved[0, 0, 0]).max() < 0.05


def test_a_shift_moves_whole_voxels_exactly_and_lets_the_background_in() -> None:
    batch = images()
    varied = vary(batch, [VolumeVariation(shift=(2.0, 0.0, 0.0))])
    assert torch.allclose(varied[0, 0, :-2], batch[0, 0, 2:], atol=1e-5)
    assert torch.allclose(varied[0, 0, -2:], torch.tensor(-1.0), atol=1e-5)


def test_cropping_puts_the_background_where_it_cuts_and_leaves_the_rest() -> None:
    batch = images() + 0.5  # no voxel is background
    keep = np.array([[0.0, 1.0], [0.25, 1.0], [0.0, 1 - 0.5 / SIDE]])
    varied = vary(batch, [VolumeVariation(keep=keep)])[0, 0]
    assert (varied[:, : SIDE // 4] == -1).all()
    inner = varied[:, SIDE // 4 :, :-1]
    assert torch.equal(inner, batch[0, 0, :, SIDE // 4 :, :-1])
    half = varied[:, SIDE // 4 :, -1]
    assert torch.allclose(half, (batch[0, 0, :, SIDE // 4 :, -1] - 1) / 2)


def test_bent_levels_keep_their_order_and_their_ends() -> None:
    batch = images()
    varied = vary(batch, [one for one in drawn(STILL) for _ in range(1)])
    bent = vary(batch, [VolumeVariation(levels=(0.0, 0.1, 0.7, 1.0))])
    assert bent.min() == pytest.approx(float(batch.min()))
    assert bent.max() == pytest.approx(float(batch.max()))
    order = batch.flatten().argsort()
    assert bent.flatten()[order].diff().min() > -1e-6
    assert torch.allclose(vary(batch, [VolumeVariation(levels=(0.0, 0.5, 1.0))]), batch, atol=1e-6)
    assert not torch.equal(varied, batch)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_types_and_shapes_stay(kind: torch.dtype) -> None:
    batch = images(2).to(kind).expand(2, 3, SIDE, SIDE, SIDE)
    varied = vary(batch, drawn(ALWAYS, 2))
    assert varied.dtype == kind
    assert varied.shape == batch.shape
    assert torch.equal(varied[:, 0], varied[:, 2])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_varies_alike() -> None:
    batch, variations = images(4), drawn(ALWAYS, 4)
    there = vary(batch.cuda(), variations)
    assert there.is_cuda
    assert torch.allclose(there.cpu(), vary(batch, variations), atol=1e-3)

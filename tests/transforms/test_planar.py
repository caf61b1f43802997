# SPDX-License-Identifier: Apache-2.0
"""Variations of pictures: each effect does what it says, and the same draw does it again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from encephalon.transforms.parameters import PlanarRanges
from encephalon.transforms.planar import Augmentation, augment, draw_augmentation

STILL = Augmentation(np.eye(2))
NOTHING = PlanarRanges(
    flip_columns=False,
    flip_rows=False,
    quarter_turns=False,
    rotation=0,
    scale=(1, 1),
    shift=0,
    gamma=0,
    contrast=0,
    brightness=0,
    noise=0,
    blur=0,
)


@pytest.fixture
def picture() -> Tensor:
    """White noise (1, 24, 24) around 0, standard deviation 1."""
    return torch.randn(1, 24, 24, generator=torch.Generator().manual_seed(4))


def turned(matrix: list[list[float]]) -> Augmentation:
    return Augmentation(np.asarray(matrix, float))


def test_ranges_of_nothing_change_nothing(picture: Tensor) -> None:
    """With every strength at 0 the picture is the very same."""
    augmentation = draw_augmentation(np.random.default_rng(0), NOTHING)
    assert torch.equal(augment(picture, augmentation), picture)
    assert torch.equal(augment(picture, STILL), picture)


def test_the_same_draw_gives_the_same_picture(picture: Tensor) -> None:
    """An augmentation holds all that is random: twice it is equal, drawn again it differs."""
    ranges = PlanarRanges(cutout=0.5)
    rng = np.random.default_rng(1)
    first, second = (draw_augmentation(rng, ranges) for _ in range(2))
    assert torch.equal(augment(picture, first), augment(picture, first))
    assert not torch.equal(augment(picture, first), augment(picture, second))
    again = draw_augmentation(np.random.default_rng(1), ranges)
    assert torch.equal(augment(picture, again), augment(picture, first))


def test_ranges_do_not_change_what_is_drawn_next() -> None:
    """Switching an effect off leaves the following pictures' draws as they were."""
    draws = []
    for ranges in (PlanarRanges(), NOTHING):
        rng = np.random.default_rng(7)
        draw_augmentation(rng, ranges)
        draws.append(rng.random())
    assert draws[0] == draws[1]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[-1, 0], [0, 1]], lambda image: image.flip(2)),
        ([[1, 0], [0, -1]], lambda image: image.flip(1)),
        ([[0, -1], [1, 0]], lambda image: torch.rot90(image, 1, (1, 2))),
    ],
)
def test_mirrors_and_quarter_turns_move_every_pixel_onto_another(
    picture: Tensor,
    matrix: list[list[float]],
    expected: object,
) -> None:
    """No pixel is lost or blurred by them."""
    assert callable(expected)
    assert torch.allclose(augment(picture, turned(matrix)), expected(picture), atol=1e-4)


def test_all_eight_orientations_are_drawn(picture: Tensor) -> None:
    """With mirrors and quarter turns alone, every orientation comes up, and nothing else."""
    ranges = replace(NOTHING, flip_columns=True, flip_rows=True, quarter_turns=True)
    rng = np.random.default_rng(0)
    seen = {tuple(np.rint(draw_augmentation(rng, ranges).matrix).ravel()) for _ in range(100)}
    assert len(seen) == 8
    varied = augment(picture, draw_augmentation(rng, ranges))
    assert torch.allclose(varied.sort().values.sum(), picture.sum(), atol=1e-2)


def test_draws_stay_within_their_ranges() -> None:
    """Turns, magnifications and shifts reach nearly as far as allowed, and no farther."""
    ranges = replace(NOTHING, rotation=20, scale=(0.8, 1.5), shift=0.1, cutout=0.4, blur=2)
    rng = np.random.default_rng(0)
    drawn = [draw_augmentation(rng, ranges) for _ in range(300)]
    angles = np.degrees([np.arctan2(v.matrix[1, 0], v.matrix[0, 0]) for v in drawn])
    scales = np.array([np.linalg.det(v.matrix) ** -0.5 for v in drawn])
    assert 18 < np.abs(angles).max() <= 20 + 1e-9
    assert 0.8 <= scales.min() < 0.85
    assert 1.4 < scales.max() <= 1.5
    assert 0.09 < np.abs([v.shift for v in drawn]).max() <= 0.1
    assert max(v.cutout[2] for v in drawn) <= 0.4
    assert max(v.blur for v in drawn) <= 2


def test_magnification_and_shift_take_what_lies_there() -> None:
    """A ramp magnified twice is half as steep, and one shifted by a quarter begins there."""
    ramp = torch.linspace(0, 1, 64).expand(1, 64, 64).contiguous()
    larger = augment(ramp, turned([[0.5, 0], [0, 0.5]]))
    assert larger[0, 0, 0].item() == pytest.approx(0.25, abs=0.01)
    assert larger[0, 0, -1].item() == pytest.approx(0.75, abs=0.01)
    shifted = augment(ramp, replace(STILL, shift=(0.25, 0.0)))
    assert shifted[0, 5, 0].item() == pytest.approx(0.25, abs=0.02)
    assert shifted[0, 5, 47].item() == pytest.approx(1, abs=0.02)
    assert shifted[0, 5, 63].item() == pytest.approx(0.75, abs=0.02)  # its reflection


def test_light_changes_as_it_says(picture: Tensor) -> None:
    """Contrast scales about the mean, brightness and noise are in standard deviations."""
    mean, deviation = picture.mean(), picture.std()
    contrast = augment(picture, replace(STILL, contrast=1.5))
    assert contrast.mean().item() == pytest.approx(mean.item(), abs=1e-5)
    assert contrast.std().item() == pytest.approx(1.5 * deviation.item(), rel=1e-4)
    brighter = augment(picture, replace(STILL, brightness=0.2))
    assert torch.allclose(brighter, picture + 0.2 * deviation, atol=1e-5)
    noisy = augment(100 * picture, replace(STILL, noise=0.5, seed=3))
    assert (noisy - 100 * picture).std().item() == pytest.approx(50 * deviation.item(), rel=0.1)
    gamma = augment(picture, replace(STILL, gamma=2.0))
    assert gamma.amin().item() == pytest.approx(picture.amin().item())
    assert gamma.amax().item() == pytest.approx(picture.amax().item(), abs=1e-5)
    assert gamma.mean() < mean


def test_blur_keeps_the_level_and_lowers_the_contrast(picture: Tensor) -> None:
    """A constant stays, noise loses most of its spread."""
    constant = torch.full((1, 20, 20), 3.0)
    assert torch.allclose(augment(constant, replace(STILL, blur=2.0)), constant, atol=1e-5)
    assert augment(picture, replace(STILL, blur=2.0)).std() < 0.3 * picture.std()
    wide = augment(torch.eye(3)[None], replace(STILL, blur=9.0))
    assert torch.isfinite(wide).all()


def test_cutout_erases_one_square(picture: Tensor) -> None:
    """A quarter of the side is 6 of 24 pixels, all of them at the mean, also at the border."""
    for place in (0.0, 0.5, 1.0):
        erased = augment(picture, replace(STILL, cutout=(place, 0.5, 0.25)))
        changed = (erased != picture)[0]
        assert int(changed.sum()) == 36
        assert erased[0][changed].tolist() == pytest.approx([picture.mean().item()] * 36)


def test_channels_that_are_equal_stay_equal(picture: Tensor) -> None:
    """Grey copied to three channels stays grey, noise included."""
    colour = picture.expand(3, -1, -1).contiguous()
    varied = augment(colour, draw_augmentation(np.random.default_rng(5), PlanarRanges(cutout=0.4)))
    assert varied.shape == (3, 24, 24)
    assert torch.equal(varied[0], varied[1])
    assert torch.equal(varied[0], varied[2])


def test_a_constant_picture_stays_finite() -> None:
    """Nothing to scale by is no reason for NaN."""
    constant = torch.zeros(1, 16, 16)
    varied = augment(constant, draw_augmentation(np.random.default_rng(2), PlanarRanges()))
    assert torch.isfinite(varied).all()

# SPDX-License-Identifier: Apache-2.0
"""Synthetic scans: seeded, within bounds, and made from any label map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from encephalon.transforms.masks import CSF, EYES, LABEL_COUNT, WHITE_MATTER
from encephalon.transforms.parameters import SynthesisRanges
from encephalon.transforms.synthesis import draw_tissue_table, synthesise

PLAIN = SynthesisRanges(
    lesion=0, strip=0, deface=0, crop=0, thick=0, blur=0, bias=0, noise=0, gamma=0, texture=0
)


def head() -> tuple[torch.Tensor, torch.Tensor]:
    """A ball of white matter in fluid and skin, with eyes in front, and its distance map."""
    axes = np.ogrid[:24, :28, :24]
    far = sum((x - c) ** 2 for x, c in zip(axes, (11.5, 12, 11.5), strict=True)) ** 0.5
    labels = np.select([far < 6, far < 8, far < 11], [2, 24, 515], 0)
    labels[10:13, 23:25, 8:10] = EYES[0]
    return torch.from_numpy(labels), torch.from_numpy(8.0 - far).float()


def scan(seed: int, ranges: SynthesisRanges = PLAIN) -> torch.Tensor:
    return synthesise(np.random.default_rng(seed), *head(), ranges)


def test_the_same_seed_makes_the_same_scan() -> None:
    """Bit for bit, with every effect switched on, whatever torch's own generator does."""
    everything = SynthesisRanges(lesion=1, strip=1, deface=1, crop=1, thick=1)
    torch.manual_seed(1)
    first = scan(3, everything)
    torch.manual_seed(2)
    assert torch.equal(first, scan(3, everything))
    assert not torch.equal(first, scan(4, everything))


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.int64, (8, 10, 8), elements=st.integers(0, LABEL_COUNT - 1)), st.integers(0, 10**6)
)
def test_any_label_map_makes_a_scan(labels: np.ndarray, seed: int) -> None:
    """Every label below 600, with or without brain: finite and within [0, 1]."""
    distance = torch.full((8, 10, 8), -3.0)
    distance[2:6, 2:6, 2:6] = 2.0 if seed % 2 else -1.0
    image = synthesise(
        np.random.default_rng(seed), torch.from_numpy(labels), distance, SynthesisRanges()
    )
    assert image.shape == (8, 10, 8)
    assert image.isfinite().all()
    assert image.min() >= 0
    assert image.max() <= 1


def test_an_empty_label_map_makes_an_empty_scan() -> None:
    """Air alone is no error."""
    nothing = torch.zeros(6, 6, 6, dtype=torch.int64)
    image = synthesise(np.random.default_rng(0), nothing, torch.full((6, 6, 6), -9.0), PLAIN)
    assert image.isfinite().all()


def test_contrasts_cover_both_orders_of_tissue() -> None:
    """White matter is now brighter, now darker than fluid."""
    tables = [draw_tissue_table(np.random.default_rng(s), PLAIN)[0] for s in range(60)]
    brighter = [table[WHITE_MATTER[0]] > table[CSF[0]] for table in tables]
    assert 10 < sum(brighter) < 50


def test_without_familiar_contrasts_all_are_random() -> None:
    """The share of familiar ones is the recipe's."""
    ranges = SynthesisRanges(familiar=0.0)
    whites = [draw_tissue_table(np.random.default_rng(s), ranges)[0][2] for s in range(300)]
    assert np.quantile(whites, [0.1, 0.9]) == pytest.approx([0.15, 0.9], abs=0.12)


def test_a_stripped_scan_is_dark_outside_the_brain() -> None:
    """strip = 1 leaves nothing two voxels beyond the border."""
    ranges = SynthesisRanges(**{**vars(PLAIN), "strip": 1.0})
    _, brain = head()
    for seed in range(5):
        assert scan(seed, ranges)[brain < -4].max() < 0.2


def test_a_defaced_scan_lost_its_eyes_and_no_brain() -> None:
    """The cut lies before or behind the eyes, and never takes what lies within the border."""
    labels, brain = head()
    eyes, inside = labels == EYES[0], brain > 1
    defaced = SynthesisRanges(**{**vars(PLAIN), "deface": 1.0})
    pairs = [(scan(seed), scan(seed, defaced)) for seed in range(12)]
    seen = [cut[eyes].max() for whole, cut in pairs if whole[eyes].min() > 0.1]
    assert min(seen) == 0
    assert max(seen) > 0
    assert all(cut[inside].mean() > 0.1 for whole, cut in pairs if whole[inside].mean() > 0.1)


def test_a_cropped_scan_is_cut_by_planes_near_the_brain() -> None:
    """crop = 1 blackens whole planes at the ends of the volume, crop = 0 none."""
    labels = torch.where(head()[0] == 0, 515, head()[0])

    def dark_ends(crop: float, seed: int) -> bool:
        ranges = SynthesisRanges(**{**vars(PLAIN), "crop": crop, "texture": 0.08})
        image = synthesise(np.random.default_rng(seed), labels, head()[1], ranges)
        return bool((image[0] == 0).all() or (image[-1] == 0).all())

    assert sum(dark_ends(1.0, seed) for seed in range(10)) >= 8
    assert not any(dark_ends(0.0, seed) for seed in range(10))

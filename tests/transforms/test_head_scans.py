# SPDX-License-Identifier: Apache-2.0
"""Made-up scans of a head: seeded, within bounds, and with the effects that were asked for."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import TypeAdapter

from encephalon.transforms.head_scans import (
    Head,
    Slices,
    draw_fluid,
    draw_slices,
    reshape_shell,
    reshaped_labels,
    synthesise_head,
)
from encephalon.transforms.masks import EYES, LABEL_COUNT
from encephalon.transforms.parameters import FAR_SPACING, SynthesisRanges

NOTHING = {
    **dict.fromkeys(("lesion", "dura", "patches", "strip", "deface", "reshape", "thick"), 0.0),
    **dict.fromkeys(("crop", "oblique", "padded", "bias", "falloff", "noise", "gamma"), 0.0),
    **dict.fromkeys(("texture", "dark_fluid", "marrow", "atrophy"), 0.0),
}
PLAIN = SynthesisRanges(**NOTHING)  # type: ignore[arg-type]
SHAPE, RADIUS, SKIN = (48, 52, 48), 13.0, 18.0
WIDE = (64, 64, 64)
UNSEEN = -0.5


def far_from_middle(shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    axes = np.ogrid[tuple(slice(0, size) for size in shape)]
    squares = sum((x - (n - 1) / 2) ** 2 for x, n in zip(axes, shape, strict=True))
    return torch.as_tensor(squares**0.5, dtype=torch.float32)


def ball(
    shape: tuple[int, int, int], radii: dict[int, float]
) -> tuple[Head, torch.Tensor, torch.Tensor]:
    """Balls of labels within each other, the brain last; its points and distances."""
    far = far_from_middle(shape)
    labels = torch.zeros(shape, dtype=torch.int16)
    for label, radius in radii.items():
        labels[far < radius] = label
    distance = radii[2] - far
    points = torch.stack(
        torch.meshgrid(*[torch.arange(float(n)) for n in shape], indexing="ij"), -1
    )
    step = (slice(None, None, FAR_SPACING),) * 3
    return Head(labels, distance[step].clone()), points, distance.clamp(-12.7, 12.7)


def head() -> tuple[Head, torch.Tensor, torch.Tensor]:
    """White matter in fluid, bone and skin with eyes in front."""
    found = ball(SHAPE, {510: SKIN, 515: 16.0, 24: 14.0, 2: RADIUS})
    found[0].labels[22:26, 41:45, 15:19] = EYES[0]
    return found


def scan(seed: int, **changes: Any) -> torch.Tensor:
    whole, points, distance = head()
    ranges = replace(PLAIN, **changes)
    rng = np.random.default_rng(seed)
    return synthesise_head(rng, whole, points, distance, ranges, 1.0, UNSEEN)


def test_the_same_seed_makes_the_same_scan() -> None:
    """Bit for bit, with every effect switched on, whatever torch's own generator does."""
    everything = dict.fromkeys(NOTHING, 1.0) | {"texture": 0.1, "noise": 0.1, "gamma": 0.3}
    torch.manual_seed(1)
    first = scan(3, **everything)
    torch.manual_seed(2)
    assert torch.equal(first, scan(3, **everything))
    assert not torch.equal(first, scan(4, **everything))


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.int16, (9, 10, 8), elements=st.integers(0, LABEL_COUNT - 1)), st.integers(0, 10**6)
)
def test_any_label_map_makes_a_scan(labels: np.ndarray, seed: int) -> None:
    """Every label below 600, with or without brain: finite, in [0, 1] or unseen."""
    distance = torch.full((9, 10, 8), -3.0)
    distance[2:6, 2:6, 2:6] = 2.0 if seed % 2 else -1.0
    whole = Head(torch.from_numpy(labels), distance[::FAR_SPACING, ::FAR_SPACING, ::FAR_SPACING])
    points = torch.from_numpy(np.stack(np.indices((9, 10, 8)), -1)).float()
    rng = np.random.default_rng(seed)
    image = synthesise_head(rng, whole, points, distance, SynthesisRanges(), 2.0, UNSEEN)
    assert image.shape == (9, 10, 8)
    assert image.isfinite().all()
    assert (((image >= 0) & (image <= 1)) | (image == UNSEEN)).all()


@pytest.mark.parametrize("factor", [0.4, 0.8, 1.5])
def test_the_skin_lies_as_deep_as_is_drawn_and_the_brain_stays(factor: float) -> None:
    """Below the fluid, depths are shared out anew; 12.8 mm is the depth of the skin in the maps."""
    whole, points, near = head()
    ranges = replace(PLAIN, reshape=1.0, scalp=(12.8 * factor, 12.8 * factor), uneven=0.0)
    moved = reshape_shell(np.random.default_rng(0), whole.far, points, near, ranges)
    middle = (torch.tensor(SHAPE) - 1) / 2
    fluid = min(2.0, 12.8 * factor / 3)
    still, shell = near > -fluid, (near < -fluid) & (near > -6)
    assert torch.equal(moved[still], points[still])
    above = (moved[shell] - middle).norm(dim=-1) - RADIUS
    share = (12.8 - fluid) / (12.8 * factor - fluid)
    assert torch.allclose(above, fluid + (-near[shell] - fluid) * share, atol=0.4)


def test_the_depth_of_the_map_is_kept_where_none_is_drawn() -> None:
    """reshape = 0 moves nothing."""
    whole, points, near = head()
    assert torch.equal(
        reshape_shell(np.random.default_rng(0), whole.far, points, near, PLAIN), points
    )


def test_fluid_is_put_in_between_brain_and_skull() -> None:
    """The brain stays, fluid follows it, and what lay above lies so much further out."""
    whole, points, near = head()
    fluid = torch.full(near.shape, 3.0)
    rng = np.random.default_rng(0)
    labels = reshaped_labels(rng, whole, points, near, fluid, PLAIN)
    assert torch.equal(labels[near >= 0], whole.labels[near >= 0])
    assert set(labels[(near < -0.1) & (near > -3.9)].tolist()) == {24}
    assert set(labels[(near < -4.6) & (near > -5.4)].tolist()) == {515}  # at 1.6 to 2.4 mm before


def test_what_leaves_the_skull_goes_through_the_fluid() -> None:
    """A cord below the brain stays one."""
    whole, points, near = head()
    cord = (slice(22, 27), slice(24, 29), slice(0, 12))
    labels = torch.where(near[cord] < 0, 502, whole.labels[cord].int()).to(whole.labels.dtype)
    whole.labels[cord] = labels
    fluid = torch.full(near.shape, 3.0)
    found = reshaped_labels(np.random.default_rng(0), whole, points, near, fluid, PLAIN)
    below = found[24, 26, :11]
    assert set(below[near[24, 26, :11] < -0.6].tolist()) <= {502}


@pytest.mark.parametrize(
    "ends",
    [
        {"reshape": 1.0, "scalp": (0.1, 0.1), "uneven": 1.0},
        {"reshape": 1.0, "scalp": (60.0, 60.0), "uneven": 1.0},
        {"atrophy": 1.0, "fluid": (11.0, 11.0), "reshape": 1.0, "scalp": (4.0, 4.0)},
        {"thick": 1.0, "thickness": (50.0, 50.0), "gap": 10.0},
        {"crop": 1.0, "cut": 0.45, "oblique": 1.0, "padded": 0.5},
        {"crop": 1.0, "cut": 0.0, "oblique": 1.0},
        {"blur": 0.2},
        {"blur": 10.0},
        {"bias": 1.0, "gamma": 1.0, "noise": 2.0, "falloff": 1.0, "texture": 2.0},
    ],
)
def test_every_range_that_is_taken_gives_scans(ends: dict[str, Any]) -> None:
    """At its ends, too: finite numbers, and something to see."""
    ranges = replace(SynthesisRanges(), **ends)
    assert TypeAdapter(SynthesisRanges).validate_python(asdict(ranges)) == ranges
    whole, points, distance = head()
    for seed in range(12):
        image = synthesise_head(
            np.random.default_rng(seed), whole, points, distance, ranges, 1.0, UNSEEN
        )
        assert torch.isfinite(image).all()
        assert float(image.max()) > 0


def test_the_deepest_fluid_leaves_bone_and_skin_beyond_it() -> None:
    """Where distances are no longer known, nothing is taken for fluid."""
    whole, points, near = ball(WIDE, {510: 22.0, 515: 15.0, 24: 11.0, 2: 10.0})
    fluid = torch.full(near.shape, 11.0)
    labels = reshaped_labels(np.random.default_rng(0), whole, points, near, fluid, PLAIN)
    away = far_from_middle(WIDE) - 10
    assert set(labels[(away > 0.6) & (away < 11.4)].tolist()) == {24}
    assert set(labels[(away > 13.2) & (away < 14.5)].tolist()) == {515}
    assert set(labels[(away > 17.5) & (away < 20)].tolist()) == {510}


def test_fluid_covers_a_part_of_the_brain_and_is_as_deep_as_asked_for() -> None:
    """Drawn with the probability of `atrophy`."""
    ranges = replace(PLAIN, atrophy=1.0, fluid=(4.0, 4.0))
    maps = [draw_fluid(np.random.default_rng(seed), SHAPE, ranges) for seed in range(20)]
    depths = torch.stack([one for one in maps if one is not None])
    assert len(depths) == 20
    assert 0 < float(depths.min()) < 0.1
    assert 3.9 < float(depths.max()) <= 4
    assert 0.3 < float((depths > 2).float().mean()) < 0.7
    assert draw_fluid(np.random.default_rng(0), SHAPE, PLAIN) is None


def test_slices_keep_what_does_not_change_along_them() -> None:
    """Spread over the parts, averaged, and filled up again, a line stays itself."""
    for seed in range(6):
        ranges = replace(PLAIN, thick=1.0)
        slices = draw_slices(np.random.default_rng(seed), (30, 32, 28), 1.0, ranges)
        assert slices is not None
        size = (30, 32, 28)[slices.axis]
        shape = [9, 9, 9]
        shape[slices.axis] = size
        view = [1, 1, 1]
        view[slices.axis] = size
        ramp = torch.arange(float(size)).view(view).expand(shape)
        back = slices.fill(slices.average(slices.spread(ramp)), size)
        inner = [slice(None)] * 3
        inner[slices.axis] = slice(12, size - 12)
        assert torch.allclose(back[tuple(inner)], ramp[tuple(inner)], atol=1e-3)


def test_a_slice_is_the_mean_of_its_parts_and_a_gap_is_left_out() -> None:
    """Parts at 0 and 1, then at 4 and 5: what lies at 2 and 3 is seen by no slice."""
    slices = Slices(0, torch.tensor([[0.0, 1.0], [4.0, 5.0]]))
    image = torch.tensor([1.0, 3.0, 100.0, 100.0, 5.0, 9.0]).view(6, 1, 1)
    formed = slices.average(slices.spread(image))
    assert formed.flatten().tolist() == [2.0, 7.0]
    filled = slices.fill(formed, 6).flatten()
    assert filled.tolist() == pytest.approx([2.0, 2.625, 3.875, 5.125, 6.375, 7.0])


def test_slices_that_are_no_thicker_than_the_voxels_are_none() -> None:
    """On a coarse grid there is nothing to average."""
    rng = np.random.default_rng(0)
    ranges = replace(PLAIN, thick=1.0, thickness=(2.0, 2.0), gap=0.0)
    assert draw_slices(rng, SHAPE, 4.0, ranges) is None


def test_a_cut_field_of_view_is_told_unless_it_was_padded() -> None:
    """Whole planes are unseen; padded ones are as dark as air, and the brain stays within cut."""
    told = [scan(seed, crop=1.0) for seed in range(8)]
    assert all((image == UNSEEN).any() for image in told)
    padded = [scan(seed, crop=1.0, padded=1.0) for seed in range(8)]
    assert not any((image == UNSEEN).any() for image in padded)
    assert not any((scan(seed) == UNSEEN).any() for seed in range(4))
    brain = head()[2] > 0
    lost = [float(((image == UNSEEN) & brain).sum() / brain.sum()) for image in told]
    assert max(lost) > 0


def test_a_stripped_scan_is_dark_outside_the_brain() -> None:
    """strip = 1 leaves nothing of the skin, which is bright otherwise."""
    whole, _, distance = head()
    skin = (whole.labels > 0) & (distance < -4.5)
    for seed in range(4):
        assert scan(seed, strip=1.0)[skin].max() < 0.1
        assert scan(seed)[skin].max() > 0.2


def test_a_defaced_scan_lost_its_eyes_and_no_brain() -> None:
    """The cut lies before or behind the eyes, and never takes what lies within the border."""
    whole, _, distance = head()
    eyes, inside = whole.labels == EYES[0], distance > 1
    pairs = [(scan(seed), scan(seed, deface=1.0)) for seed in range(12)]
    seen = [float(cut[eyes].max()) for full, cut in pairs if full[eyes].min() > 0.1]
    assert min(seen) < 0.02
    assert all(cut[inside].mean() > 0.1 for full, cut in pairs if full[inside].mean() > 0.1)


def test_contrast_agent_makes_the_rim_of_the_brain_bright() -> None:
    """dura = 1 sets a layer about the border, of brain and of fluid, to one intensity."""
    distance = head()[2]
    rim = (distance < 0.25) & (distance > -0.95)
    for seed in range(4):
        assert scan(seed, dura=1.0, blur=0.2)[rim].std() < 0.01
        assert scan(seed, blur=0.2)[rim].std() > 0.03

# SPDX-License-Identifier: Apache-2.0
"""Heads stand out from air, and coarser copies of a scan lie where the scan lies.

A volume that cannot hold a head is refused by its voxel size.
"""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.transforms.masks import foreground, near, otsu_threshold, reduced, require_head_size
from tests.transforms.heads import painted


def test_thick_axes_keep_their_voxels(oblique: Affine) -> None:
    """Of voxels of 0.9 x 1.2 x 3 mm only the first two axes shrink to 2 mm, in the same field."""
    small = reduced(Image(np.ones((40, 40, 12), np.float32), oblique), 2.0)
    assert small.shape == (18, 24, 12)
    assert small.spacing == pytest.approx((2.0, 2.0, 3.0))
    assert small.grid.extent == pytest.approx((36.0, 48.0, 36.0))


def test_a_ramp_stays_where_it_is(oblique: Affine) -> None:
    """Inside, voxels of a smaller ramp (1 per mm) tell their place to a hundredth of a mm."""
    voxels = np.indices((40, 40, 12)).transpose(1, 2, 3, 0)
    ramp = oblique.apply(voxels)[..., 1].astype(np.float32)
    small = reduced(Image(ramp, oblique), 3.0)
    truth = small.affine.apply(np.indices(small.shape).transpose(1, 2, 3, 0))[..., 1]
    inside = (slice(2, -2), slice(2, -2), slice(None))
    assert np.abs(small.data - truth)[inside].max() < 0.01


def test_a_brain_is_found_whole() -> None:
    """Dark folds within a brain belong to it, and noise far from it does not."""
    image = painted("t1", noise=0.03)
    mask = foreground(image)
    axes = [np.linspace(-(n - 1) * 1.5, (n - 1) * 1.5, n) for n in image.shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    brain = (x / 55) ** 2 + (y / 66) ** 2 + (z / 50) ** 2 < 1
    assert 2 * (mask & brain).sum() / (mask.sum() + brain.sum()) > 0.95


def test_nothing_stands_out_of_air() -> None:
    """A scan of one value has no foreground."""
    image = Image(np.full((8, 8, 8), 3.0, np.float32), Affine.from_spacing(1.0))
    assert not foreground(image).any()
    assert otsu_threshold(image.data) == 3.0


def test_the_threshold_parts_two_tissues(rng: np.random.Generator) -> None:
    """Between peaks at 100 and 500, wherever one of them is ten times as large."""
    values = np.concatenate([rng.normal(100, 10, 10_000), rng.normal(500, 10, 1_000)])
    assert 110 < otsu_threshold(values) < 490


def test_near_is_in_millimetres() -> None:
    """5 mm around one voxel are 5 voxels of 1 mm, and 1 of 4 mm."""
    mask = np.zeros((21, 21, 21), bool)
    mask[10, 10, 10] = True
    around = near(mask, Affine.from_spacing((1.0, 1.0, 4.0)), 5.0)
    assert around[:, 10, 10].sum() == 11
    assert around[10, 10].sum() == 3


def test_micrometres_are_no_head(head: Image) -> None:
    """The sentence has the voxel size, which shows what is wrong; a head passes."""
    assert require_head_size(head) is head
    small = Image(head.data, Affine(head.affine.matrix @ np.diag([1e-3, 1e-3, 1e-3, 1])))
    with pytest.raises(GeometryError, match=r"0\.002 x 0\.0015 x 0\.0025 mm the volume is 0\.048"):
        require_head_size(small)

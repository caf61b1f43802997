# SPDX-License-Identifier: Apache-2.0
"""The synthetic volume: the proportions that were measured, and the same one for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from encephalon.studies.microtomography.synthetic import REGIONS, make_volume

VOLUME = make_volume(3, depth=48, side=64, cubes=2)


@pytest.mark.parametrize("region", REGIONS, ids=lambda one: one.name)
def test_each_region_has_the_measured_shares_of_structures(region: object) -> None:
    """To a voxel, in each cube of it."""
    for name in (region.name, f"{region.name}-2"):  # type: ignore[attr-defined]
        start, size = VOLUME.boxes[name]
        place = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
        shares = 100 * np.bincount(VOLUME.structures[place].ravel(), minlength=4) / np.prod(size)
        wanted = [getattr(region, kind) for kind in ("vessel", "cell", "axon")]
        assert shares[1:] == pytest.approx(wanted, abs=1e-3)


def test_vessels_and_cells_have_about_the_measured_areas() -> None:
    """Medians of components of slices: 14 to 17 and 28 to 62 px (nerdslab/xray-thc)."""
    for number, low, high in ((1, 7, 34), (2, 14, 124)):
        areas: list[int] = []
        for labels in VOLUME.structures[::8]:
            pieces = ndimage.label(labels == number)[0]
            areas += np.bincount(pieces.ravel())[1:].tolist()
        assert low <= np.median(areas) <= high


def test_the_grey_levels_are_about_the_measured_ones() -> None:
    """Mean 0.489 and standard deviation 0.124 of the range."""
    levels = VOLUME.image / 255
    assert levels.mean() == pytest.approx(0.489, abs=0.05)
    assert levels.std() == pytest.approx(0.124, abs=0.05)


def test_a_seed_is_a_volume_and_nobody_annotated_its_last_slices() -> None:
    again, other = (make_volume(seed, depth=48, side=64, cubes=2) for seed in (3, 4))
    for name in ("image", "regions", "structures"):
        assert np.array_equal(getattr(again, name), getattr(VOLUME, name))
    assert not np.array_equal(other.image, VOLUME.image)
    ids = [region.ids[0] for region in REGIONS]
    assert np.unique(VOLUME.regions).tolist() == sorted([0, *ids])
    assert not VOLUME.regions[-1].any()
    assert VOLUME.regions[:-1].all()

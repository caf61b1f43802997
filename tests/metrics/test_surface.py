# SPDX-License-Identifier: Apache-2.0
"""Surface distances equal a brute-force reference for any spacing, and known shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from encephalon.errors import GeometryError
from encephalon.metrics.segmentation import assd, hd95, surface_distances, surface_points

SPACING = (0.7, 1.0, 4.0)
FILLED = arrays(bool, (5, 6, 4)).filter(np.any)


def brute_force_surface(mask: np.ndarray) -> np.ndarray:
    """Elements with a face neighbour outside, looked up one by one."""
    padded = np.pad(mask, 1)
    found = []
    for place in np.argwhere(mask):
        steps = [
            padded[tuple(place + 1 + sign * np.eye(mask.ndim, dtype=int)[axis])]
            for axis in range(mask.ndim)
            for sign in (-1, 1)
        ]
        if not all(steps):
            found.append(place)
    return np.array(found)


@settings(deadline=None, max_examples=40)
@given(FILLED, FILLED)
def test_distances_equal_a_brute_force_search(first: np.ndarray, second: np.ndarray) -> None:
    """Every distance is the smallest over all pairs, with anisotropic voxels."""
    one = brute_force_surface(first) * SPACING
    two = brute_force_surface(second) * SPACING
    apart = np.linalg.norm(one[:, None] - two[None], axis=2)
    measured = surface_distances(first, second, SPACING)
    np.testing.assert_allclose(measured.to_reference, apart.min(axis=1))
    np.testing.assert_allclose(measured.to_prediction, apart.min(axis=0))
    both = np.concatenate([apart.min(axis=1), apart.min(axis=0)])
    assert measured.assd == pytest.approx(both.mean())
    assert measured.percentile(100) == pytest.approx(both.max())
    ends = [np.percentile(apart.min(axis=axis), 95) for axis in (0, 1)]
    assert measured.hd95 == pytest.approx(max(ends))


def test_a_shifted_slab_is_as_far_as_its_shift() -> None:
    """Two planes of voxels 3 slices apart are 3 spacings apart, everywhere."""
    first, second = np.zeros((4, 4, 9)), np.zeros((4, 4, 9))
    first[..., 1], second[..., 4] = 1, 1
    assert hd95(first, second, (1, 1, 2.5)) == assd(first, second, (1, 1, 2.5)) == 7.5


def test_equal_masks_are_nowhere_apart(brain: np.ndarray) -> None:
    """A mask has distance 0 to itself, everywhere."""
    measured = surface_distances(brain, brain, (2.0, 1.5, 2.5))
    assert (measured.percentile(100), measured.assd) == (0.0, 0.0)


def test_an_empty_mask_is_infinitely_far() -> None:
    """There is no flattering distance to nothing; two empty masks are 0 apart."""
    full, empty = np.ones((3, 3, 3)), np.zeros((3, 3, 3))
    assert hd95(empty, full) == assd(full, empty) == float("inf")
    assert hd95(empty, empty) == assd(empty, empty) == 0.0


def test_only_the_surface_counts(brain: np.ndarray) -> None:
    """The points are the voxels with a face neighbour outside, at their place in mm."""
    points = surface_points(brain, (2.0, 1.5, 2.5))
    expected = brute_force_surface(brain) * (2.0, 1.5, 2.5)
    assert {tuple(point) for point in points} == {tuple(point) for point in expected}
    assert 0 < len(points) < brain.sum()


def test_the_edge_of_the_image_is_a_surface() -> None:
    """A mask that fills the image has its surface along the edge."""
    assert len(surface_points(np.ones((4, 4, 4)))) == 4**3 - 2**3


def test_images_of_two_dimensions_are_measured_too() -> None:
    """Micrographs have two axes and a pixel size."""
    first, second = np.zeros((6, 6)), np.zeros((6, 6))
    first[2, 2], second[2, 5] = 1, 1
    assert hd95(first, second, (1.0, 0.5)) == 1.5


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, np.nan, 1.0)])
def test_a_spacing_must_fit_the_image(spacing: tuple[float, ...]) -> None:
    """One positive number an axis is needed."""
    with pytest.raises(GeometryError, match="3 positive numbers"):
        hd95(np.ones((2, 2, 2)), np.ones((2, 2, 2)), spacing)


def test_masks_of_different_shapes_have_no_distance() -> None:
    """The shapes must agree."""
    with pytest.raises(GeometryError, match="same grid"):
        hd95(np.ones((2, 2)), np.ones((3, 2)))

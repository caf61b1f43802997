# SPDX-License-Identifier: Apache-2.0
"""What is made wrong on purpose is wrong by as much as it says, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import ContentError
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.studies.isotropic.evaluation.cases import (
    RADIUS_MM,
    centred,
    draw_lesion,
    misaligned,
    with_lesion,
)


@pytest.fixture
def ball(oblique: Affine) -> Image:
    """A ball of 100 in air, 40 voxels wide, on an oblique grid of 1 mm."""
    axes = np.meshgrid(*[np.linspace(-1, 1, 40)] * 3, indexing="ij")
    data = np.where(sum(axis**2 for axis in axes) < 0.8, 100, 0).astype(np.float32)
    return Image(data, Affine.from_parts(oblique.direction, 1.0, oblique.origin))


def test_a_misaligned_scan_is_moved_and_turned_as_far_as_it_says(ball: Image) -> None:
    """The middle moves by 2 mm; the axes turn by 2°; the voxels stay what they are."""
    moved = misaligned(ball, 3)
    assert np.linalg.norm(moved.grid.centre - ball.grid.centre) == pytest.approx(2.0)
    turn = moved.affine.direction @ ball.affine.direction.T
    angle = np.degrees(np.arccos((np.trace(turn) - 1) / 2))
    assert angle == pytest.approx(2.0, abs=1e-6)
    assert moved.data is ball.data
    assert misaligned(ball, 3).affine == moved.affine
    assert misaligned(ball, 4).affine != moved.affine


def test_a_stranger_s_scan_is_put_over_the_scan(ball: Image) -> None:
    """The middles of both volumes meet, without any turn."""
    other = Image(np.ones((10, 12, 8), np.float32), Affine.from_spacing(2.0, (100, 50, 0)))
    there = centred(other, ball)
    np.testing.assert_allclose(there.grid.centre, ball.grid.centre)
    np.testing.assert_allclose(there.affine.direction, other.affine.direction)


def test_a_lesion_lies_deep_in_the_head(ball: Image) -> None:
    """For every seed its place is nearer to the middle of the head than to its edge."""
    for seed in range(5):
        lesion = draw_lesion(ball, seed)
        apart = np.linalg.norm(np.asarray(lesion.centre) - ball.grid.centre)
        assert apart < 0.7 * 20
    assert draw_lesion(ball, 1) == draw_lesion(ball, 1)
    assert draw_lesion(ball, 1).healthy == pytest.approx(100)


def test_a_lesion_is_bright_inside_and_nothing_outside(ball: Image) -> None:
    """Within its radius it has the 99th percentile, beyond its edge the scan is what it was."""
    ball.data[:3] = 200
    lesion = draw_lesion(ball, 0)
    seen, apart = with_lesion(ball, lesion).data, lesion.distance(ball.grid)
    assert seen[apart < RADIUS_MM - 4].min() > 195
    far = apart > RADIUS_MM + 8
    np.testing.assert_allclose(seen[far], ball.data[far], atol=0.05)
    points = ball.affine.apply(np.argwhere(np.ones((40, 40, 40), bool)))
    expected = np.linalg.norm(points - np.asarray(lesion.centre), axis=1).reshape(40, 40, 40)
    np.testing.assert_allclose(apart, expected, rtol=1e-4, atol=1e-3)


def test_no_head_has_no_lesion(ball: Image) -> None:
    """An image of air alone cannot have a lesion."""
    with pytest.raises(ContentError, match="no head"):
        draw_lesion(Image(np.zeros((9, 9, 9), np.float32), ball.affine), 0)

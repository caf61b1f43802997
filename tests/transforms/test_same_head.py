# SPDX-License-Identifier: Apache-2.0
"""Two scans of one person agree in detail; scans of two persons do not."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.geometry import Affine
from encephalon.io.image import Image
from encephalon.transforms.registration import image_similarity, mirrored
from tests.transforms.heads import painted, placed, turned

IDENTITY = Affine(np.eye(4))


@pytest.fixture(scope="module")
def right() -> float:
    """The image_similarity of one person's T2w and T1w."""
    return image_similarity(painted("t2"), painted("t1"), IDENTITY)


def test_one_person_agrees_in_detail(right: float) -> None:
    """More than half of the local variance is shared, though the contrasts are opposite."""
    assert right > 0.5


@pytest.mark.parametrize("person", [1, 2, 3])
def test_another_person_agrees_no_better_than_the_mirror_image(person: int, right: float) -> None:
    """Persons in one place share a quarter of what the right one shares, as mirror images do."""
    scan = painted("t2")
    assert image_similarity(scan, painted("t1", person), IDENTITY) < right / 4
    assert image_similarity(scan, mirrored(painted("t1")), IDENTITY) < right / 4


def test_being_out_of_place_costs_likeness(right: float) -> None:
    """The further off, the less detail agrees."""
    scan, t1w = painted("t2"), painted("t1")
    near, far = (image_similarity(scan, t1w, turned(0, shift, 1)) for shift in (2.0, 6.0))
    assert right > 1.1 * near > 1.1 * far


def test_the_map_undoes_the_header(right: float) -> None:
    """A turned header and the map that belongs to it are as alike as before."""
    truth = turned(15, 20, 2)
    turned_scan = placed(painted("t1"), truth)
    assert image_similarity(painted("t2"), turned_scan, truth) == pytest.approx(right, rel=1e-3)


def test_scale_does_not_count(right: float) -> None:
    """Units of either scan are nothing that image_similarity sees."""
    scan, t1w = painted("t2"), painted("t1")
    louder = Image(t1w.data * 37, t1w.affine)
    assert image_similarity(scan, louder, IDENTITY) == pytest.approx(right, rel=1e-3)


def test_scans_that_do_not_meet() -> None:
    """Without a common voxel there is no image_similarity."""
    far = Affine.from_parts(np.eye(3), 1.0, (900.0, 0.0, 0.0))
    assert image_similarity(painted("t2"), painted("t1"), far) == 0.0


def test_mirrored_twice_is_where_it_was() -> None:
    """A head stays where it is, the voxels the same: only left and right change places."""
    image = placed(painted("t1"), Affine.from_parts(np.eye(3), 1.0, (40.0, 0.0, 0.0)))
    once = mirrored(image)
    assert np.linalg.det(once.affine.matrix) < 0 < np.linalg.det(image.affine.matrix)
    assert once.grid.centre == pytest.approx(image.grid.centre, abs=1.0)
    assert mirrored(once).affine.is_close(image.affine, 0.2)


def test_coarse_voxels_are_compared_as_well() -> None:
    """A window of 3 mm on voxels of 4 mm would hold one voxel, in which nothing varies."""
    coarse = [Image(scan.data, Affine.from_spacing(4.0)) for scan in (painted("t2"), painted("t1"))]
    assert image_similarity(coarse[0], coarse[1], IDENTITY) > 0.5

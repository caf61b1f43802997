# SPDX-License-Identifier: Apache-2.0
"""The T1w comes to lie on the grid of the result, and a wrong one is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.studies.isotropic.acquisition import registration as module
from encephalon.studies.isotropic.acquisition.registration import Registration, register_t1w
from encephalon.transforms.registration import moved
from tests.transforms.heads import brain_points, painted, placed, turned

TRUTH = turned(12, 18, 5)


@pytest.fixture(scope="module")
def found() -> Registration:
    """The right T1w, its header turned, placed on the grid of the T2w."""
    t2w = painted("t2")
    return register_t1w(placed(painted("t1"), TRUTH), t2w, t2w.grid)


def test_a_turned_header_is_found_and_undone(found: Registration) -> None:
    """The guide is the T1w as it was before its header was turned, resampled once."""
    t1w = painted("t1")
    assert found.trusted
    assert found.reasons == ()
    assert moved(found.matrix, TRUTH, brain_points(t1w)) < 0.3
    assert np.corrcoef(found.guide.ravel(), t1w.data.ravel())[0, 1] > 0.995
    assert found.coverage.mean() > 0.7
    assert (found.guide[~found.coverage] == 0).all()


def test_headers_that_are_right_are_kept() -> None:
    """Nothing is moved by less than registration can tell: the very voxels come back."""
    t2w, t1w = painted("t2"), painted("t1")
    kept = register_t1w(t1w, t2w, t2w.grid)
    assert kept.matrix == Affine(np.eye(4))
    assert kept.fit is not None
    assert kept.trusted
    assert np.allclose(kept.guide, t1w.data, atol=0.1)
    assert kept.coverage.all()


def test_another_person_is_noticed() -> None:
    """A T1w of somebody else, in the right place, is not trusted, and the reason says so."""
    t2w = painted("t2")
    other = register_t1w(painted("t1", 1), t2w, t2w.grid)
    assert not other.trusted
    assert "another person" in other.reasons[0]


def test_a_mirrored_header_is_noticed() -> None:
    """The same voxels with left and right exchanged are not trusted, and the reason says so."""
    t2w = painted("t2")
    flip = Affine.from_parts(np.diag([-1.0, 1.0, 1.0]), 1.0, 0.0)
    flipped = register_t1w(placed(painted("t1"), flip), t2w, t2w.grid)
    assert not flipped.trusted
    assert "mirrored left to right" in flipped.reasons[0]
    assert flipped.mirror_similarity > 3 * flipped.similarity


def test_headers_can_be_believed() -> None:
    """Without registration the right place is trusted, and a wrong one is noticed."""
    t2w, t1w = painted("t2"), painted("t1")
    right = register_t1w(t1w, t2w, t2w.grid, "none")
    wrong = register_t1w(placed(t1w, TRUTH), t2w, t2w.grid, "none")
    assert right.fit is wrong.fit is None
    assert right.trusted
    assert not wrong.trusted
    assert "out of place" in wrong.reasons[0]


def test_too_little_of_the_head(found: Registration) -> None:
    """A T1w that covers a third of the T2w is not trusted, and the reason says how much."""
    reasons = module._uncovered(0.34, None)
    assert reasons == ("The T1w covers only 34% of what the T2w shows.",)
    assert module._uncovered(1.0, found.fit) == ()


def test_a_ramp_comes_back_to_a_thousandth(oblique: Affine) -> None:
    """On any grid, every voxel has the value of the place where it lies, without drift."""
    voxels = np.indices((40, 40, 20)).transpose(1, 2, 3, 0)
    ramp = oblique.apply(voxels).sum(axis=-1).astype(np.float32)
    grid = Grid((8, 9, 7), Affine.from_spacing(1.3, oblique.apply((18, 18, 9)) - 4))
    guide, coverage = module.resample_filtered(Image(ramp, oblique), grid)
    truth = grid.affine.apply(np.indices(grid.shape).transpose(1, 2, 3, 0)).sum(axis=-1)
    assert coverage.all()
    assert np.abs(guide - truth).max() < 1e-3 * np.ptp(truth)


def test_finer_voxels_are_widened_first() -> None:
    """Stripes that the grid cannot hold vanish; the same on equal voxels stay."""
    fine = np.tile(np.float32([0, 100]), (40, 40, 20))
    image = Image(fine, Affine.from_spacing(0.5))
    coarse = Grid((10, 10, 10), Affine.from_spacing(1.5, (2, 2, 2)))
    guide, _ = module.resample_filtered(image, coarse)
    assert np.ptp(guide) < 5
    equal = Grid((40, 40, 40), image.affine)
    unfiltered = resample(fine, image.affine, equal, 3)
    assert np.allclose(module.resample_filtered(image, equal)[0], unfiltered, atol=1e-3)


@pytest.mark.parametrize(("similarity", "other"), [(0.0, 0.0), (0.02, 0.001)])
def test_no_evidence_is_no_trust(similarity: float, other: float) -> None:
    """Where nothing can be compared a T1w is not trusted, however little its mirror image fits."""
    assert "may show another person" in module._doubts(similarity, other)[0]


@pytest.mark.data
def test_real_scans_of_one_person_and_of_two(data: Path) -> None:
    """Headers 17 mm apart are mended; the T1w of somebody else is noticed."""
    folder = data / "heads" / "ds000011"

    def scan(person: str, name: str) -> Image:
        return read_image(folder / f"sub-{person}" / "anat" / f"sub-{person}_{name}.nii.gz")

    t2w = scan("01", "inplaneT2")
    right = register_t1w(scan("01", "T1w"), t2w, t2w.grid)
    assert right.trusted
    assert right.similarity > 2 * right.mirror_similarity
    wrong = register_t1w(scan("04", "T1w"), t2w, t2w.grid)
    assert not wrong.trusted

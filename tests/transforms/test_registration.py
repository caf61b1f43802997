# SPDX-License-Identifier: Apache-2.0
"""Registration finds known maps, whatever the slices, the storage and the threads.

Two scans of one person agree in detail; scans of two persons do not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import ContentError
from encephalon.geometry.affine import Affine, orient
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.transforms import registration_search
from encephalon.transforms.conform import straightened
from encephalon.transforms.registration import (
    RegistrationFit,
    image_similarity,
    mirrored,
    moved,
    refine_rigid,
    register_affine,
    register_rigid,
)
from encephalon.transforms.registration_search import COARSE, climb, mutual_information
from encephalon.transforms.slices import SliceOperator, SliceProfile
from tests.transforms.heads import brain_points, painted, placed, turned

IDENTITY = Affine(np.eye(4))


def thick(image: Image, axis: int, thickness: float) -> Image:
    """`image` as slices of `thickness` mm across `axis`, centred."""
    lines = np.moveaxis(image.data, axis, -1)
    size = image.spacing[axis]
    count = int(lines.shape[-1] * size // thickness)
    middles = (lines.shape[-1] - 1) / 2 * size + (np.arange(count) - (count - 1) / 2) * thickness
    operator = SliceOperator.of(SliceProfile("box"), thickness, middles, lines.shape[-1], size)
    spacing, first = np.asarray(image.spacing), np.zeros(3)
    spacing[axis], first[axis] = thickness, middles[0] / size
    affine = Affine.from_parts(image.affine.direction, spacing, image.affine.apply(first))
    return Image(np.moveaxis(operator.slice(lines), -1, axis), affine)


@pytest.fixture(scope="module")
def aligned() -> RegistrationFit:
    """The fit of two scans whose headers are right."""
    return register_rigid(painted("t2"), painted("t1"), threads=2)


@pytest.mark.parametrize(("axis", "codes"), [(0, "RAS"), (1, "PSR"), (2, "LIP")])
def test_thick_slices_15_degrees_and_20_mm_away(axis: int, codes: str) -> None:
    """Slices of 6 mm across any axis, T1w stored in any order: less than 0.5 mm off."""
    scan, truth = painted("t2"), turned(15, 20, axis)
    t1w = placed(painted("t1"), truth)
    stored = Image(*orient(t1w.data, t1w.affine, codes))
    fit = register_rigid(thick(scan, axis, 6.0), stored)
    assert moved(fit.matrix, truth, brain_points(scan)) < 0.5
    assert fit.information > 2 * fit.header_information
    assert fit.overlap > 0.95
    assert fit.moved_mm == pytest.approx(moved(truth, IDENTITY, brain_points(scan)), abs=1.0)


def test_the_same_result_in_every_run_and_for_any_number_of_threads(
    aligned: RegistrationFit,
) -> None:
    """One thread and two give the same matrix, bit for bit."""
    again = register_rigid(painted("t2"), painted("t1"), threads=1)
    assert again.matrix == aligned.matrix
    assert again.information == aligned.information


def test_aligned_scans_stay_where_they_are(aligned: RegistrationFit) -> None:
    """What the headers already say is moved by less than a tenth of a voxel."""
    assert aligned.moved_mm < 0.3
    assert aligned.disagreement_mm < 1.0
    assert aligned.foreground_overlap > 0.9
    assert aligned.header_information == pytest.approx(aligned.information, rel=0.02)


def test_information_out_of_place_is_little(aligned: RegistrationFit) -> None:
    """Of what the right place tells, places beside it tell less than a third."""
    assert aligned.relative_information > 2 / 3


def test_refining_ends_at_the_optimum_nearby() -> None:
    """From 6 degrees and 6 mm off, the quick search ends within 0.4 mm."""
    scan = painted("t2")
    found = refine_rigid(scan, painted("t1"), turned(6, 6, 1))
    assert moved(found, IDENTITY, brain_points(scan)) < 0.4


def test_air_cannot_be_registered() -> None:
    """A scan of one value is refused by name."""
    air = Image(np.zeros((20, 20, 20), np.float32), Affine.from_spacing(3.0), Path("air.nii.gz"))
    with pytest.raises(ContentError, match=r"air\.nii\.gz: expected a head"):
        register_rigid(painted("t2"), air)


def test_an_affine_map_between_contrasts_is_found_whatever_the_threads() -> None:
    """Stretched by up to 12 %, leaning, turned and shifted: less than 0.5 mm off."""
    lean = np.eye(4)
    lean[:3, :3] = [[0.9, 0.04, 0.0], [0.0, 1.08, -0.05], [0.0, 0.0, 0.95]]
    truth = turned(15, 20, 4) @ Affine(lean)
    brain = painted("t1")
    moving = straightened(Image(brain.data, truth @ brain.affine))
    scan = painted("t2")
    fit = register_affine(scan, moving, threads=2)
    assert moved(fit.matrix, truth, brain_points(scan)) < 0.5
    assert register_affine(scan, moving, threads=1).matrix == fit.matrix


def test_a_start_without_overlap_stays() -> None:
    """Where the scans do not meet there is nothing to climb, and no error either."""
    scan = painted("t2")
    far = Affine.from_parts(np.eye(3), 1.0, (900.0, 0.0, 0.0))
    mask = Image(scan.data > 100, scan.affine)
    assert climb(scan, painted("t1"), mask, far, COARSE) == far


def test_a_map_survives_simpleitk() -> None:
    """Into SimpleITK's world and back, about any centre, a map is the same to a nanometre."""
    truth = turned(40, 70, 3)
    there, _ = registration_search._transform(COARSE, truth, np.asarray([12.0, -30.0, 55.0]))
    assert registration_search._world(there).is_close(truth, 1e-6)


def test_information_of_unrelated_and_equal_values(rng: np.random.Generator) -> None:
    """Unrelated values share nothing; equal ones share the entropy of their 32 bins."""
    first, second = rng.uniform(size=(2, 100_000))
    assert mutual_information(first, second) < 0.01
    assert mutual_information(first, first) == pytest.approx(np.log(32), rel=0.01)


@pytest.mark.data
def test_real_slices_of_4_mm_15_degrees_and_20_mm_away(data: Path) -> None:
    """Co-registered scans of a patient, the T1w's header turned: less than 0.5 mm off."""
    folder = data / "pairs" / "openms-mni"
    t2w, t1w = (read_image(folder / f"patient07_{name}.nii.gz") for name in ("T2", "T1"))
    truth = turned(15, 20, 4)
    fit = register_rigid(thick(t2w, 2, 4.0), placed(t1w, truth))
    brain = t2w.affine.apply(np.argwhere(t2w.data > 200)[::997])
    assert moved(fit.matrix, truth, brain) < 0.5


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


def test_no_scan_is_turned_inside_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that mirrors is none of two brains: the start is kept."""
    mirror = Affine(np.diag([-1.0, 1.0, 1.0, 1.0]))
    monkeypatch.setattr(registration_search, "_world", lambda _: mirror)
    scan = painted("t1")
    mask = Image(scan.data > scan.data.mean(), scan.affine)
    assert climb(scan, scan, mask, IDENTITY, COARSE) == IDENTITY

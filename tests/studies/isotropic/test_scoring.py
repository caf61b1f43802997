# SPDX-License-Identifier: Apache-2.0
"""Figures of one estimate equal those computed by hand, in the regions that are meant."""

from __future__ import annotations

from math import isnan, log10
from pathlib import Path

import numpy as np
import pytest

from encephalon.evaluation.cases import Case
from encephalon.geometry.affine import Affine, Grid
from encephalon.io.image import Image
from encephalon.studies.isotropic.evaluation.cases import (
    CaseVariant,
    Lesion,
    SimulatedCase,
    with_lesion,
)
from encephalon.studies.isotropic.evaluation.scoring import acquired_voxels, regions, score
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Problem, Stack
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_problem
from encephalon.tables.samples import Sample
from encephalon.transforms.slices import SliceOperator, SliceProfile

VARIANT = CaseVariant(Case(Sample("a", {"t2w": Path("a.nii.gz")}), "p"), "axial", 4.0)


def problem_of(distance: float, voxels: int = 24, first: float | None = None) -> Problem:
    """Slices of that thickness in voxels of 1 mm, the first one at the edge."""
    start = (distance - 1) / 2 if first is None else first
    middles = np.arange(start, voxels - 0.4, distance)
    operator = SliceOperator.of(SliceProfile("box"), distance, middles, voxels, 1.0)
    grid = Grid((8, 9, voxels), Affine.from_spacing(1.0))
    return Problem((Stack(np.zeros((8, 9, len(middles)), np.float32), grid, operator),), 2)


def pattern(distance: float, first: float | None = None) -> str:
    """Acquired voxels along the first 12 of the slice axis as 1, missing ones as 0."""
    problem = problem_of(distance, first=first)
    line = acquired_voxels(problem, problem.grid)[3, 3]
    return "".join(str(int(one)) for one in line[:12])


def test_acquired_voxels_are_those_beside_the_middles() -> None:
    """The middle one of an odd number, the middle pair of an even one, the kept ones of points."""
    assert pattern(3) == "010010010010"
    assert pattern(5) == "001000010000"
    assert pattern(4) == "011001100110"
    assert pattern(2) == "111111111111"
    assert pattern(4, first=0) == "100010001000"
    assert pattern(2.5) == "010100101001"


def test_acquired_voxels_of_another_grid_are_at_the_same_place() -> None:
    """On a turned and flipped grid the same points of the world are acquired."""
    problem = problem_of(4)
    matrix = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 23], [0, 0, 0, 1.0]])
    other = Grid((24, 9, 8), Affine(matrix))
    here = acquired_voxels(problem, problem.grid)
    np.testing.assert_array_equal(acquired_voxels(problem, other), here.transpose(2, 1, 0)[::-1])


@pytest.fixture
def case(rng: np.random.Generator) -> SimulatedCase:
    """A ball of 100 to 200 in air, in axial slices of 4 mm."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in (20, 22, 24)], indexing="ij")
    ball = np.where(sum(axis**2 for axis in axes) < 0.7, 150 + 50 * np.sin(4 * axes[2]), 0)
    scan = Image(ball.astype(np.float32), Affine.from_spacing(1.0))
    problem, truth = simulate_problem(scan, None, SliceSettings("axial", 4.0))
    return SimulatedCase(VARIANT, problem, truth, problem.grid, "axial", 4.0)


def test_the_figures_of_a_known_error_are_known(case: SimulatedCase) -> None:
    """An offset of a tenth of the truth's range is 20 dB in every region, and as wide as itself."""
    above = case.truth[case.truth > 0]
    tenth = 0.1 * float(np.subtract(*np.percentile(above, [99, 1])))
    image = np.asarray(case.truth + tenth, np.float32)
    masks = regions(case)
    found = score(case, masks, Estimate(image, np.full(image.shape, tenth * 0.5, np.float32)))
    for region in ("foreground", "whole", "acquired", "missing"):
        assert found[f"psnr_{region}"] == pytest.approx(20, abs=0.01)
        assert found[f"mse_{region}"] == pytest.approx(0.01, rel=1e-3)
    slices = case.problem.stack.slices
    expected = tenth * np.sqrt(slices.size) / np.linalg.norm(slices)
    assert found["consistency"] == pytest.approx(expected, rel=1e-4)
    assert (found["coverage_68"], found["coverage_95"]) == (0.0, 0.0)
    wider = Estimate(image, np.full(image.shape, tenth / 1.5, np.float32))
    assert score(case, masks, wider)["coverage_95"] == 1.0
    assert isnan(found["lesion_kept"])
    assert isnan(found["psnr_lesion"])


def test_what_bleeds_out_of_the_head_is_seen_in_the_whole_volume_alone(case: SimulatedCase) -> None:
    """The foreground is blind to it."""
    masks = regions(case)
    image = np.where(masks["foreground"], case.truth, 30)
    found = score(case, masks, Estimate(np.asarray(image, np.float32)))
    assert found["psnr_foreground"] == 100.0
    assert found["psnr_whole"] < 20


def test_an_error_between_the_slices_shows_there_alone(case: SimulatedCase) -> None:
    """Acquired voxels stay perfect (100 dB), missing ones do not."""
    masks = regions(case)
    image = np.where(masks["missing"], case.truth + 10, case.truth)
    found = score(case, masks, Estimate(np.asarray(image, np.float32)))
    assert found["psnr_acquired"] == 100.0
    assert found["psnr_missing"] < found["psnr_foreground"] < 100
    share = masks["missing"].sum() / masks["foreground"].sum()
    apart = found["psnr_foreground"] - found["psnr_missing"]
    assert apart == pytest.approx(-10 * log10(share), abs=1e-3)
    assert isnan(found["coverage_95"])


def test_a_deviation_that_is_the_error_is_perfect(
    case: SimulatedCase, rng: np.random.Generator
) -> None:
    """Ranks agree, no error is larger; of errors that it describes 68 and 95 % are within."""
    masks = regions(case)
    spread = rng.uniform(1, 20, case.truth.shape).astype(np.float32)
    exact = Estimate(np.asarray(case.truth + spread, np.float32), spread * np.float32(1.001))
    found = score(case, masks, exact)
    assert found["deviation_correlation"] == pytest.approx(1, abs=1e-3)
    assert found["coverage_68"] == 1.0
    noise = rng.standard_normal(case.truth.shape).astype(np.float32)
    found = score(case, masks, Estimate(case.truth + spread * noise, spread))
    assert found["coverage_68"] == pytest.approx(0.683, abs=0.03)
    assert found["coverage_95"] == pytest.approx(0.95, abs=0.02)
    assert 0.3 < found["deviation_correlation"] < 0.8


def test_half_a_lesion_is_half_kept(case: SimulatedCase) -> None:
    """Between the healthy head, 0, and the truth, 1; and the region of the lesion has a PSNR."""
    place = case.problem.grid.centre
    lesion = Lesion((float(place[0]), float(place[1]), float(place[2])), 100.0)
    flat = np.where(case.truth > 0, np.float32(100), np.float32(0))
    scan = Image(np.where(case.truth > 0, np.float32(100), flat), case.grid.affine)
    scan.data[0] = 200
    seen = with_lesion(scan, lesion).data
    changed = SimulatedCase(VARIANT, case.problem, seen, case.grid, "axial", 4.0, lesion=lesion)
    half = Estimate(np.asarray((seen + scan.data) / 2, np.float32))
    found = score(changed, regions(changed), half)
    assert found["lesion_kept"] == pytest.approx(0.5, abs=0.01)
    assert found["psnr_lesion"] < found["psnr_foreground"]
    nothing = score(changed, regions(changed), Estimate(scan.data))
    assert nothing["lesion_kept"] == pytest.approx(0, abs=0.01)

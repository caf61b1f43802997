# SPDX-License-Identifier: Apache-2.0
"""The guided method uses a T1w that belongs, leaves one that does not, and keeps the slices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encephalon.geometry.affine import Affine, Grid
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.studies.isotropic.reconstruction.guided import guided
from encephalon.studies.isotropic.reconstruction.problem import Problem, Stack
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_problem
from tests.studies.isotropic.tissue_head import T1W, contrast, error, problem


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_t1w_brings_detail_that_slices_cannot_see(axis: int) -> None:
    """With the T1w the error is less than two thirds of that of the likeliest volume."""
    with_guide, truth = problem(axis, guide=contrast(T1W))
    base = with_guide.stack.operator.interpolate(with_guide.stack.slices)
    assert error(guided(with_guide).image, truth) < 0.67 * error(base, truth)


def test_without_a_t1w_nothing_is_lost() -> None:
    """The error is no larger than that of the likeliest volume."""
    alone, truth = problem()
    base = alone.stack.operator.interpolate(alone.stack.slices)
    assert error(guided(alone).image, truth) <= 1.001 * error(base, truth)


def test_the_t1w_of_somebody_else_does_no_harm() -> None:
    """Examples show that it foretells nothing: the error grows by no more than 2 %."""
    alone, truth = problem()
    wrong, _ = problem(guide=contrast(T1W, seed=1))
    assert error(guided(wrong).image, truth) < 1.02 * error(guided(alone).image, truth)


def test_the_slices_are_kept() -> None:
    """Sliced again, the result is what was measured, whatever the T1w says."""
    with_guide, _ = problem(guide=contrast(T1W))
    estimate = guided(with_guide)
    again = with_guide.stack.operator.slice(estimate.image)
    np.testing.assert_allclose(again, with_guide.stack.slices, atol=0.05)
    assert estimate.image.dtype == np.float32


@pytest.mark.parametrize("with_guide", [True, False])
def test_the_deviation_is_of_the_size_of_the_error_and_knows_where_it_is(with_guide: bool) -> None:
    """Within a factor of 1.6 of it in the mean, and correlated with it voxel by voxel."""
    some, truth = problem(guide=contrast(T1W) if with_guide else None)
    estimate = guided(some)
    assert estimate.deviation is not None
    off, head = np.abs(estimate.image - truth), truth > 100
    ratio = np.sqrt(np.mean(estimate.deviation[head] ** 2) / np.mean(off[head] ** 2))
    assert 1 / 1.6 < ratio < 1.6
    assert np.corrcoef(off.ravel(), estimate.deviation.ravel())[0, 1] > 0.25


def test_units_do_not_matter() -> None:
    """Slices times 0.001 and a T1w times 50 give the same volume times 0.001."""
    some, _ = problem(guide=contrast(T1W))
    assert some.guide is not None
    small = replace(some.stack, slices=some.stack.slices * np.float32(1e-3))
    other = replace(some, stacks=(small,), guide=some.guide * np.float32(50))
    expected = guided(some).image * 1e-3
    np.testing.assert_allclose(guided(other).image, expected, atol=2e-3)


def test_where_no_t1w_was_acquired_the_result_is_that_without_one() -> None:
    """Far from what was acquired they agree; where it was, the T1w still helps."""
    full, truth = problem(guide=contrast(T1W))
    assert full.guide is not None
    coverage = np.ones(full.grid.shape, bool)
    coverage[:20] = False
    part = np.where(coverage, full.guide, np.float32(np.nan))
    cut = guided(replace(full, guide=part, coverage=coverage)).image
    alone = guided(replace(full, guide=None, coverage=None)).image
    assert np.isfinite(cut).all()
    assert error(cut[:19], alone[:19]) < 0.2 * error(alone[:19], truth[:19])
    assert error(cut[20:], truth[20:]) < 0.85 * error(alone[20:], truth[20:])


def test_missing_values_stay_where_they_are() -> None:
    """Voxels that are not numbers count as 0 in slices and as not acquired in the T1w."""
    some, _ = problem(guide=contrast(T1W))
    assert some.guide is not None
    slices, guide = some.stack.slices.copy(), some.guide.copy()
    slices[3, 4, 5], guide[20, 20, 20] = np.nan, np.inf
    holed = replace(some, stacks=(replace(some.stack, slices=slices),), guide=guide)
    estimate = guided(holed)
    assert np.isfinite(estimate.image).all()
    assert estimate.deviation is not None
    assert np.isfinite(estimate.deviation).all()


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_an_even_scan_stays_even(value: float) -> None:
    """Nothing is made of nothing, with a T1w that is even or has nothing to say."""
    some, _ = problem(guide=contrast(T1W))
    even = np.full_like(some.stack.slices, value)
    for guide in (some.guide, np.full(some.grid.shape, np.float32(3)), None):
        stacks = (replace(some.stack, slices=even),)
        estimate = guided(replace(some, stacks=stacks, guide=guide))
        np.testing.assert_allclose(estimate.image, value, atol=1e-4)


def test_a_scan_too_small_for_examples_is_interpolated() -> None:
    """Twelve voxels are three slices across: the likeliest volume, and no deviation."""
    some, _ = problem(guide=contrast(T1W))
    grid = Grid((12, 12, some.grid.shape[2]), some.grid.affine)
    small = Stack(some.stack.slices[14:26, 16:28].copy(), grid, some.stack.operator)
    estimate = guided(Problem((small,), 2))
    assert estimate.deviation is None
    base = small.operator.interpolate(small.slices)
    np.testing.assert_allclose(estimate.image, base, atol=0.05)


@pytest.mark.data
@pytest.mark.parametrize(("axis", "gap"), [("axial", 0.0), ("sagittal", 0.7)])
def test_real_scans_gain_a_decibel(data: Path, axis: str, gap: float) -> None:
    """A real T1w brings more than 1 dB over the likeliest volume, on 64 voxels of a stroke."""
    scans = [read_image(data / "pairs" / "stroke" / f"{name}.nii.gz") for name in ("T2", "T1")]
    box = tuple(slice(size // 2 - 32, size // 2 + 32) for size in scans[0].shape)
    t2w, t1w = (
        Image(np.asarray(scan.data[box], np.float32), Affine.from_spacing(scan.affine.spacing))
        for scan in scans
    )
    some, truth = simulate_problem(t2w, t1w, SliceSettings(axis, 4.0 - gap, gap))
    base = some.stack.operator.interpolate(some.stack.slices)
    assert error(guided(some).image, truth) < 10 ** (-1 / 20) * error(base, truth)

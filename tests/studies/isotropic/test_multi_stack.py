# SPDX-License-Identifier: Apache-2.0
"""Several stacks make a better volume than the best of them alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.studies.isotropic.reconstruction.guided import guided
from encephalon.studies.isotropic.reconstruction.multi_stack import fuse_stacks
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Problem, Stack
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_stack
from tests.studies.isotropic.tissue_head import GRID, T1W, T2W, contrast, error, stack

TRUTH = contrast(T2W)


def turned(degrees: float) -> Stack:
    """Coronal slices of a scan whose voxels are turned about the third axis."""
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = GRID.centre - turn[:3, :3] @ GRID.centre
    grid = Grid(GRID.shape, Affine(turn) @ GRID.affine)
    return simulate_stack(
        Image(resample(TRUTH, GRID.affine, grid, order=3), grid.affine), SliceSettings(1, 4.0)
    )[0]


def alone(one: Stack) -> float:
    """The error of the guided method on one stack by itself."""
    image = guided(Problem((one,), 2)).image
    return error(resample(image, one.grid.affine, GRID, order=3), TRUTH)


def together(*stacks: Stack) -> tuple[Problem, Estimate]:
    problem = Problem(stacks, 2)
    return problem, fuse_stacks(problem, guided(problem))


def test_two_and_three_stacks_beat_the_best() -> None:
    """Two have a third less error than the best; three have a fifth less than two."""
    axial, coronal, sagittal = stack(2), stack(1), stack(0)
    best = min(alone(axial), alone(coronal), alone(sagittal))
    two = error(together(axial, coronal)[1].image, TRUTH)
    three = error(together(axial, coronal, sagittal)[1].image, TRUTH)
    assert two < 0.67 * best
    assert three < 0.8 * two


def test_a_turned_stack_helps_as_well() -> None:
    """Slices 3 degrees off the axes of the first stack still beat both alone."""
    other = turned(3.0)
    assert error(together(stack(2), other)[1].image, TRUTH) < 0.7 * min(
        alone(stack(2)), alone(other)
    )


def test_a_t1w_still_helps_two_stacks() -> None:
    """What neither stack sees is kept from the guided estimate."""
    problem = Problem((stack(2), stack(1)), 2)
    with_guide = replace(problem, guide=contrast(T1W))
    helped = fuse_stacks(with_guide, guided(with_guide)).image
    assert error(helped, TRUTH) < error(fuse_stacks(problem, guided(problem)).image, TRUTH)


def test_other_intensities_are_brought_to_those_of_the_first() -> None:
    """A gain of 1.3 and an offset of 50 change the error by less than a tenth."""
    coronal = stack(1)
    brighter = replace(coronal, slices=1.3 * coronal.slices + np.float32(50))
    plain = error(together(stack(2), coronal)[1].image, TRUTH)
    assert error(together(stack(2), brighter)[1].image, TRUTH) < 1.1 * plain


def test_noisy_stacks_are_not_fitted_to_their_noise() -> None:
    """With 4 % noise in each, three stacks are no worse than the best of them."""
    stacks = [stack(axis, noise=0.04) for axis in (2, 1, 0)]
    assert error(together(*stacks)[1].image, TRUTH) < min(alone(one) for one in stacks)


def test_the_first_stack_has_the_last_word() -> None:
    """Its slices are kept, and the deviation falls where a second stack looked."""
    problem, estimate = together(stack(2), turned(3.0))
    again = problem.stack.operator.slice(estimate.image)
    np.testing.assert_allclose(again, problem.stack.slices, atol=0.1)
    before = guided(problem).deviation
    assert before is not None
    assert estimate.deviation is not None
    assert (estimate.deviation <= before + 1e-6).all()
    assert estimate.deviation[15:25, 15:25].mean() < 0.8 * before[15:25, 15:25].mean()


def test_a_stack_elsewhere_changes_nothing() -> None:
    """Without overlap the estimate is the one that came; the same with one stack alone."""
    coronal = stack(1)
    away = replace(coronal, grid=Grid(coronal.grid.shape, coronal.grid.affine.shifted((900, 0, 0))))
    for stacks in ((stack(2), away), (stack(2),)):
        problem = Problem(stacks, 2)
        first = guided(problem)
        assert fuse_stacks(problem, first) is first


@pytest.mark.parametrize("which", [0, 1])
def test_missing_values_do_not_spread(which: int) -> None:
    """A voxel that is not a number, in either stack, leaves the volume as good as without it."""
    stacks = [stack(2), stack(1)]
    whole = together(*stacks)[1].image
    slices = stacks[which].slices.copy()
    slices[10, 10, 4] = np.nan
    stacks[which] = replace(stacks[which], slices=slices)
    image = together(*stacks)[1].image
    assert np.isfinite(image).all()
    assert error(image, TRUTH) < 1.02 * error(whole, TRUTH)
    changed = np.abs(image - whole) > 0.01 * (TRUTH.max() - TRUTH.min())
    assert changed.mean() < 0.002


def test_an_estimate_without_deviation_stays_without() -> None:
    """Only the image is corrected."""
    problem = Problem((stack(2), stack(1)), 2)
    first = guided(problem)
    corrected = fuse_stacks(problem, Estimate(first.image))
    assert corrected.deviation is None
    assert error(corrected.image, TRUTH) < error(first.image, TRUTH)

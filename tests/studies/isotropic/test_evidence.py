# SPDX-License-Identifier: Apache-2.0
"""The evidence measures what it says, on a head whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encephalon.studies.isotropic.acquisition.registration import missing_voxels
from encephalon.studies.isotropic.quality import (
    check_quality,
    head_of,
    intensity_range,
    measure_quality,
    residual,
)
from encephalon.studies.isotropic.reconstruction.problem import Estimate
from encephalon.transforms.slices import SliceOperator
from tests.studies.isotropic.thick_head import estimate, guide, problem, truth


def test_the_truth_agrees_with_its_slices() -> None:
    """Nothing remains, and nothing is doubted."""
    one = problem()
    found = measure_quality(one, estimate(one), trained=(1.6, 6.5), trusted=True)
    assert found.consistency < 1e-6
    assert np.abs(residual(one, truth())).max() < 1e-3
    assert found.coverage == 1
    assert check_quality(found).reasons == ()


def test_a_brighter_volume_is_off_by_its_excess() -> None:
    """Five percent brighter is an inconsistency of five percent."""
    one = problem()
    found = measure_quality(one, Estimate(1.05 * truth()))
    assert found.consistency == pytest.approx(0.05, abs=1e-4)
    assert found.uncertain is None


def test_uncertainty_counts_the_head_alone() -> None:
    """What the air does is nobody's concern."""
    one = problem()
    deviation = np.where(truth() > 0, 10.0, 1e4).astype(np.float32)
    found = measure_quality(one, Estimate(truth(), deviation))
    assert found.uncertain is not None
    assert found.uncertain < 0.2  # the rim, where a thick slice holds both
    assert measure_quality(one, estimate(one, 1e4)).uncertain == 1


def test_what_lies_beyond_the_slices_is_not_compared() -> None:
    """Slices left out at an end leave voxels of 0 there, about which two methods cannot differ."""
    whole = problem()
    stack, operator = whole.stack, whole.stack.operator
    some = SliceOperator(operator.matrix[3:], operator.middles[3:], 1.0, operator.thickness)
    one = replace(whole, stacks=(replace(stack, slices=stack.slices[..., 3:], operator=some),))
    image = np.where(missing_voxels(some), 0, truth()).astype(np.float32)
    other = some.interpolate(stack.slices[..., 3:])
    cut = measure_quality(one, Estimate(image), other=other).disagreement
    plain = measure_quality(
        whole, Estimate(truth()), other=operator.interpolate(stack.slices)
    ).disagreement
    assert cut is not None
    assert plain is not None
    assert cut < 1.5 * plain


def test_a_t1w_given_as_t2w_is_noticed() -> None:
    """The same contrast twice correlates, a true pair does not."""
    one = problem()
    found = measure_quality(one, estimate(one), trusted=True)
    twice = measure_quality(replace(one, guide=truth()), estimate(one), trusted=True)
    assert found.correlation is not None
    assert found.correlation < 0.5
    assert twice.correlation == pytest.approx(1, abs=1e-3)
    assert (
        measure_quality(replace(one, guide=0 * guide()), estimate(one), trusted=True).correlation
        is None
    )


def test_coverage_is_that_of_the_head() -> None:
    """A T1w that ends in the middle covers half."""
    one = problem()
    covered = np.ones(one.grid.shape, bool)
    covered[: covered.shape[0] // 2] = False
    found = measure_quality(replace(one, coverage=covered), estimate(one), trusted=True)
    assert found.coverage == pytest.approx(0.5, abs=0.02)


def test_methods_that_differ_by_a_constant_disagree_by_it() -> None:
    """In shares of the range of intensities."""
    one = problem()
    low, high = intensity_range(one.stack.slices)
    other = (truth() + 0.25 * (high - low)).astype(np.float32)
    found = measure_quality(one, estimate(one), other=other)
    assert found.disagreement == pytest.approx(0.25, abs=1e-3)


def test_empty_and_negative_slices_break_nothing() -> None:
    """A scan without anything above 0 still has a range."""
    assert intensity_range(np.full((4, 4, 4), -3.0)) == (-3, -3)
    assert not head_of(np.zeros((4, 4, 4))).any()

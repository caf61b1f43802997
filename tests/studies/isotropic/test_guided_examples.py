# SPDX-License-Identifier: Apache-2.0
"""An example cuts slices as the scan was cut, and weighs terms by what they are worth."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.geometry.affine import Affine, Grid
from encephalon.studies.isotropic.reconstruction.guided import (
    fit_weights,
    propagate_error,
    self_supervised_examples,
)
from encephalon.studies.isotropic.reconstruction.guided_terms import Guide, ProblemContext
from encephalon.transforms.slices import ProfileKind, SliceOperator, SliceProfile
from tests.studies.isotropic.tissue_head import T1W, T2W, contrast


def context(
    distance: float = 4.0, thickness: float = 4.0, kind: ProfileKind = "box", guide: bool = False
) -> tuple[ProblemContext, Grid]:
    middles = np.arange(distance / 2 - 0.5, 35 - distance / 2 + 0.6, distance)
    operator = SliceOperator.of(SliceProfile(kind), thickness, middles, 36, 1.0)
    volume = contrast(T2W)
    t1w = Guide.of(contrast(T1W), None, 4.0) if guide else None
    grid = Grid((40, 44, 36), Affine.from_spacing((1.0, 1.0, 1.0)))
    return ProblemContext(operator.slice(volume), operator, t1w), grid


@pytest.mark.parametrize("kind", ["box", "gaussian"])
@pytest.mark.parametrize(("distance", "thickness"), [(4.0, 4.0), (5.0, 3.0)])
def test_slices_of_a_practice_have_the_profile_of_the_scan(
    kind: ProfileKind, distance: float, thickness: float
) -> None:
    """In the middle of a line, the same voxels count as much as they do in the scan."""
    real, grid = context(distance, thickness, kind)
    row = len(real.operator.middles) // 2
    for example in self_supervised_examples(real, grid):
        matrix = example.context.operator.matrix
        np.testing.assert_allclose(matrix.sum(axis=1), 1)
        np.testing.assert_allclose(matrix[row, :36], real.operator.matrix[row], atol=1e-6)


def test_the_truth_is_the_scan_itself() -> None:
    """Back in the order of the scan, the truth of each example is the slices."""
    real, grid = context(guide=True)
    found = self_supervised_examples(real, grid)
    assert [example.axis for example in found] == [0, 1]
    for example in found:
        np.testing.assert_array_equal(np.moveaxis(example.truth, 2, example.axis), real.slices)
        assert example.context.guide is not None
        assert example.context.guide.image.shape == example.truth.shape


def test_a_practice_of_voxels_of_another_size_keeps_millimetres() -> None:
    """Voxels of 2 mm: half as many to a slice of 4 mm."""
    real, _ = context()
    grid = Grid((40, 44, 36), Affine.from_spacing((2.0, 1.0, 1.0)))
    operator = self_supervised_examples(real, grid)[0].context.operator
    assert operator.distance == pytest.approx(4)
    assert operator.ratio == pytest.approx(2)


def test_slices_as_thin_as_voxels_teach_nothing() -> None:
    """There is no example, since there is nothing to find."""
    real, grid = context(1.0, 1.0)
    assert self_supervised_examples(real, grid) == []


def test_terms_are_weighed_by_least_squares(rng: np.random.Generator) -> None:
    """A sum of terms is taken apart again; a term that says nothing weighs nothing."""
    terms = [[rng.standard_normal((9, 9, 9)).astype(np.float32) for _ in range(3)] for _ in "ab"]
    sums = [2 * some[0] - 0.5 * some[1] for some in terms]
    np.testing.assert_allclose(fit_weights(terms, sums), [2, -0.5, 0], atol=0.01)


def test_the_error_is_larger_where_the_practice_was_worse() -> None:
    """Errors on one side, and far from the middles, are foretold there."""
    real, grid = context()
    found = self_supervised_examples(real, grid)
    errors = []
    for example in found:
        far = np.abs(example.context.operator.place())[None, None]
        error = np.where(far > 0.2, 2.0, 1.0) * np.ones(example.truth.shape)
        np.moveaxis(error, 2, example.axis)[:20] *= 5
        errors.append(error.astype(np.float32))
    spread = propagate_error(real.operator, found, errors)
    assert spread.shape == grid.shape
    assert spread[:15].mean() > 3 * spread[25:].mean()
    far = np.abs(real.operator.place()) > 0.2
    assert spread[..., far].mean() > 1.3 * spread[..., ~far].mean()

# SPDX-License-Identifier: Apache-2.0
"""What a T1w foretells is a local relation to it, and nothing that slices would have seen."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.studies.isotropic.reconstruction.guided_terms import (
    Guide,
    ProblemContext,
    details,
    neighbour_mean,
    null_space_component,
)
from encephalon.studies.isotropic.reconstruction.interpolation import linear_weights
from encephalon.transforms.slices import SliceOperator, SliceProfile
from tests.studies.isotropic.tissue_head import T1W, contrast

OPERATOR = SliceOperator.of(SliceProfile("box"), 4.0, np.arange(9) * 4 + 1.5, 36, 1.0)


def context(t2w: np.ndarray, t1w: np.ndarray) -> ProblemContext:
    slices = OPERATOR.slice(t2w)
    guide = Guide.of(t1w, None, 4.0)
    return ProblemContext((slices - slices.mean()) / slices.std(), OPERATOR, guide)


def test_a_linear_relation_is_foretold_whole() -> None:
    """Where the T2w is 5 minus the T1w, the detail is all that the slices left out."""
    t1w = contrast(T1W)
    t2w = 5.0 - t1w
    some = context(t2w, t1w)
    hidden = null_space_component(OPERATOR, t2w / OPERATOR.slice(t2w).std())
    detail = details(some)[0]
    assert np.corrcoef(detail.ravel(), hidden.ravel())[0, 1] > 0.98


def test_no_term_is_seen_by_the_slices(rng: np.random.Generator) -> None:
    """Sliced, what crosses the slices is 0: the measured slices stay."""
    volume = rng.standard_normal((5, 6, 36)).astype(np.float32)
    np.testing.assert_allclose(OPERATOR.slice(null_space_component(OPERATOR, volume)), 0, atol=1e-4)
    terms = details(context(5.0 - contrast(T1W), contrast(T1W)))
    for term in (terms[1], terms[3]):
        np.testing.assert_allclose(OPERATOR.slice(term), 0, atol=1e-3)


def test_neighbours_at_the_edge_are_the_edge() -> None:
    """An even volume has neighbours of its own value everywhere, two on each axis."""
    np.testing.assert_array_equal(neighbour_mean(np.ones((2, 3, 1), np.float32), (0, 1, 2)), 6)


def test_fields_are_read_linearly_even_where_a_slice_is_missing() -> None:
    """Rows sum to 1; between distant middles the weights share as the distances say."""
    middles = np.array([1.5, 5.5, 13.5])
    operator = SliceOperator.of(SliceProfile("box"), 4.0, middles, 16, 1.0)
    weights = linear_weights(operator)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights[8], [0, (13.5 - 8) / 8, (8 - 5.5) / 8])
    np.testing.assert_allclose(weights[15], [0, 0, 1])


def test_tissues_climb_from_air_to_the_brightest() -> None:
    """Each step is 0 below its levels and 1 above them."""
    guide = Guide.of(contrast(T1W), None, 4.0)
    assert guide is not None
    assert guide.weight is None
    steps = guide.tissues()
    assert len(steps) == len(guide.levels) - 1 == 3
    for step, low, high in zip(steps, guide.levels[:-1], guide.levels[1:], strict=True):
        assert (step[guide.image <= low] == 0).all()
        assert (step[guide.image >= high] == 1).all()


@pytest.mark.parametrize("image", [np.full((4, 4, 4), np.nan), np.full((4, 4, 4), 3.0)])
def test_an_empty_or_even_t1w_guides_nothing(image: np.ndarray) -> None:
    """There is no guide, instead of one with levels that are equal."""
    assert Guide.of(image.astype(np.float32), None, 4.0) is None
    assert details(ProblemContext(np.zeros((4, 4, 9), np.float32), OPERATOR, None)) == []


def test_belief_rises_inside_what_was_acquired() -> None:
    """0 outside, 1 deep inside, never falling on the way."""
    coverage = np.zeros((40, 8, 8), bool)
    coverage[10:] = True
    image = np.random.default_rng(0).uniform(1, 2, coverage.shape).astype(np.float32)
    guide = Guide.of(image, coverage, 4.0)
    assert guide is not None
    assert guide.weight is not None
    line = guide.weight[:, 4, 4]
    assert (line[:10] == 0).all()
    assert (np.diff(line) >= -1e-6).all()
    assert line[-1] == pytest.approx(1)

# SPDX-License-Identifier: Apache-2.0
"""The pictures of a reconstruction show what they say, and the body as it lies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encephalon.geometry.affine import Affine
from encephalon.reports import slices
from encephalon.studies.isotropic.images import (
    EDGES,
    Figure,
    ScanFigures,
    interpolated_planes,
    orthogonal_slices,
)
from encephalon.studies.isotropic.quality import measure_quality
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Problem
from tests.studies.isotropic.thick_head import SHAPE, estimate, guide, problem, truth


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head of 4 cm needs no large pictures."""
    monkeypatch.setattr(slices, "WIDTH", 450)


KEYS = ["before", "cubic", "after", "uncertainty", "residual", "guide"]


def drawn(one: Problem, result: Estimate | None = None) -> dict[str, Figure]:
    """The pictures by their keys."""
    result = result or estimate(one)
    scan = ScanFigures(one, result, measure_quality(one, result, trusted=True))
    return {each.key: each for each in scan}


def test_every_picture_has_words() -> None:
    """Six pictures of one size, each with a text in its place and a caption."""
    shown = drawn(problem())
    assert list(shown) == KEYS
    assert all(each.picture.alt and each.caption and each.title for each in shown.values())
    assert len({each.picture.size[0] for each in shown.values()}) == 1


def test_what_there_is_not_is_not_drawn() -> None:
    """No T1w, no deviation."""
    shown = drawn(problem(guided=False), Estimate(truth()))
    assert list(shown) == ["before", "cubic", "after", "residual"]


def test_a_t1w_that_was_not_used_can_be_judged() -> None:
    """It is drawn where it was put."""
    one = problem(guided=False)
    result = estimate(one)
    scan = ScanFigures(one, result, measure_quality(one, result, trusted=False), guide=guide())
    layers = scan.guided()
    assert layers is not None
    assert [layer.name for layer in layers.picture.layers] == [EDGES]
    assert layers.picture.layers[0].rgba[..., 3].max() == 255


def test_before_and_after_share_their_window() -> None:
    """A result twice as bright looks brighter, not alike."""
    one = problem()
    dim, bright = (drawn(one, Estimate(f * truth()))["after"].picture.base for f in (0.5, 1.0))
    assert bright.mean() > 1.6 * dim.mean()


def test_agreement_is_grey_and_contradiction_is_not() -> None:
    """The residual of the truth is flat; that of a wrong result is black or white."""
    one = problem()
    flat = drawn(one)["residual"].picture.base
    middle = flat.shape[0] // 3, flat.shape[1] // 6
    assert abs(int(flat[middle]) - 128) < 3
    wrong = drawn(one, Estimate(1.3 * truth()))["residual"].picture.base
    assert int(wrong.max()) > 230


def test_the_lightest_colour_is_a_large_deviation() -> None:
    """No deviation is black."""
    one = problem()
    none, much = (
        drawn(one, estimate(one, size))["uncertainty"].picture.layers[0].rgba for size in (0.0, 1e4)
    )
    assert none[: none.shape[0] // 2, :, 3].max() == 0
    assert much[much.shape[0] // 3, much.shape[1] // 6].min() > 150


def test_few_slices_are_drawn_too() -> None:
    """Two slices have no cubic spline, and a line between them; one has a constant."""
    for ratio, count in ((18, 2), (36, 1)):
        one = problem(ratio=ratio)
        assert one.stack.slices.shape[2] == count
        assert np.isfinite(drawn(one)["cubic"].picture.base).all()


def test_a_guide_by_itself_overrules_that_of_the_problem() -> None:
    """What is given to be shown is shown."""
    one = problem()
    result = estimate(one)
    metrics = measure_quality(one, result, trusted=True)
    own, other = (
        ScanFigures(one, result, metrics, guide=each).guided() for each in (None, truth())
    )
    assert own is not None
    assert other is not None
    assert not np.array_equal(own.picture.base, other.picture.base)
    assert ScanFigures(replace(one, guide=None), result, metrics).guided() is None


def _affine(worlds: tuple[int, int, int], signs: tuple[int, int, int]) -> Affine:
    matrix = np.zeros((3, 3))
    for axis, (world, sign) in enumerate(zip(worlds, signs, strict=True)):
        matrix[world, axis] = sign
    return Affine.from_parts(matrix, 1.0, (0, 0, 0))


@pytest.mark.parametrize("worlds", [(0, 1, 2), (0, 2, 1), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, -1)])
def test_planes_follow_the_world(worlds: tuple[int, int, int], signs: tuple[int, int, int]) -> None:
    """Left is left, anterior right in the sagittal plane, and superior above."""
    affine = _affine(worlds, signs)
    planes = orthogonal_slices(problem(affine=affine))
    indices = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    places = affine.apply(indices)
    sagittal = planes.of(places[..., 1])[0]
    coronal, axial = planes.of(places[..., 0])[1:]
    high = planes.of(places[..., 2])
    assert (np.diff(sagittal, axis=1) > 0).all()
    assert (np.diff(coronal, axis=1) > 0).all()
    assert (np.diff(axial, axis=1) > 0).all()
    assert (np.diff(high[0], axis=0) < 0).all()
    assert (np.diff(high[1], axis=0) < 0).all()
    assert (np.diff(planes.of(places[..., 1])[2], axis=0) < 0).all()


def test_slices_and_volumes_are_cut_alike() -> None:
    """What a matrix makes of the slices looks as if the whole volume had been made first."""
    one = problem(affine=_affine((1, 2, 0), (-1, 1, 1)))
    planes, thick = orthogonal_slices(one), one.stack.slices
    matrix = np.eye(thick.shape[2])[one.stack.operator.nearest]
    whole = thick[..., one.stack.operator.nearest]
    for quick, slow in zip(
        interpolated_planes(planes, matrix, thick), planes.of(whole), strict=True
    ):
        np.testing.assert_allclose(quick, slow, rtol=1e-6)


def test_the_plane_along_the_slices_lies_between_two() -> None:
    """There before and after differ most."""
    one = problem(ratio=5, thickness=5)
    offset = one.stack.operator.place()[orthogonal_slices(one).at[2]]
    assert abs(offset) == pytest.approx(0.4)


def test_panels_have_the_proportions_of_the_body() -> None:
    """A voxel twice as long is drawn twice as long."""
    one = problem(affine=Affine.from_spacing((1.0, 2.0, 1.0)))
    planes = orthogonal_slices(one)
    widths = [panel.size for panel in planes.panels(planes.of(truth()))]
    (deep, high), (across, also_high), (also_across, also_deep) = widths
    assert (deep, high, across) == (also_deep, also_high, also_across)
    assert deep / across == pytest.approx(2 * 30 / 26, rel=0.02)
    assert deep + 2 * across + 20 <= 452


def test_an_empty_scan_is_shown_whole() -> None:
    """Without a head there is nothing to cut to."""
    one = problem(guided=False)
    one.stack.slices[:] = 0
    planes = orthogonal_slices(one)
    assert planes.box == tuple(slice(0, size) for size in SHAPE)

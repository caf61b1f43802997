# SPDX-License-Identifier: Apache-2.0
"""Resampling as it should be moves nothing; as it was published, it moves what it should not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import zoom

from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.studies.isotropic.published.preprocessing import decimate
from encephalon.studies.isotropic.reconstruction.interpolation import (
    METHODS,
    cubic_weights,
    linear_weights,
    zoom_weights,
)
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_problem
from encephalon.transforms.slices import SliceOperator, SliceProfile


def volume(shape: tuple[int, int, int], values: np.ndarray) -> Image:
    """Values along the last axis, the same everywhere else, on 1 mm voxels."""
    return Image(np.broadcast_to(values, shape).astype(np.float32), Affine.from_spacing(1.0))


@pytest.mark.parametrize("name", ["cubic", "linear"])
@pytest.mark.parametrize(("thickness", "gap"), [(2.0, 0.0), (3.3, 0.0), (4.0, 1.0), (6.0, 0.0)])
def test_a_ramp_is_reproduced_without_drift(name: str, thickness: float, gap: float) -> None:
    """Between the outermost middles to 1e-3 of a voxel's step."""
    problem, truth = simulate_problem(
        volume((3, 4, 60), np.arange(60)), None, SliceSettings(2, thickness, gap)
    )
    middles = problem.stack.operator.middles
    # A slice that cuts voxels in parts measures steps, whose mean is not quite its middle's place.
    slices = np.broadcast_to(middles, problem.stack.slices.shape).astype(np.float32)
    problem = replace(problem, stacks=(replace(problem.stack, slices=slices),))
    image = METHODS[name](problem).image
    assert image.shape == truth.shape
    assert image.dtype == np.float32
    places = np.arange(truth.shape[2])
    inside = (places >= middles[0]) & (places <= middles[-1])
    np.testing.assert_allclose(image[..., inside], truth[..., inside], atol=1e-3)
    np.testing.assert_allclose(image[..., 0], middles[0], atol=1e-3)


def test_the_published_interpolation_drifts() -> None:
    """Of a ramp in 4 mm slices, the first voxel shows the first middle and the last the last."""
    problem, truth = simulate_problem(
        volume((2, 2, 60), np.arange(60)), None, SliceSettings(2, 4.0)
    )
    drift = METHODS["zoom"](problem).image - truth
    assert drift[0, 0, 0] == pytest.approx(1.5, abs=1e-3)
    assert drift[0, 0, -1] == pytest.approx(-1.5, abs=1e-3)
    assert drift[0, 0, 29:31] == pytest.approx(0, abs=0.05)


def test_splines_pass_through_the_slices() -> None:
    """At a middle that is a voxel, the cubic and the linear line have the slice's value."""
    operator = SliceOperator.of(SliceProfile(), 3.0, np.arange(1, 60, 3), 60, 1.0)
    for weights in (cubic_weights(operator), linear_weights(operator)):
        np.testing.assert_allclose(weights[1::3], np.eye(20), atol=1e-12)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)


def test_a_smooth_wave_is_followed_by_the_cubic_line() -> None:
    """Where it can be followed at all, its error is a small share of that of straight lines."""
    wave = 100 + 50 * np.sin(np.arange(80) / 5)
    problem, truth = simulate_problem(
        volume((1, 2, 80), wave), None, SliceSettings(2, 4.0, profile=SliceProfile("point"))
    )
    errors = {name: METHODS[name](problem).image - truth for name in METHODS}
    size = {name: float(np.abs(error[..., 8:-8]).max()) for name, error in errors.items()}
    assert size["cubic"] < 0.2 * size["linear"]
    assert size["cubic"] < 0.2 * size["zoom"]


def test_the_published_weights_are_scipy_s(rng: np.random.Generator) -> None:
    """One product along the slice axis is what `zoom` makes of all three axes."""
    slices = rng.normal(100, 30, (7, 9, 12))
    operator = SliceOperator.of(SliceProfile(), 4.0, np.arange(12) * 4 + 1.5, 48, 1.0)
    expected = zoom(slices, (1, 1, 4), order=3)
    np.testing.assert_allclose(slices @ zoom_weights(operator).T, expected, rtol=1e-9)


def test_points_and_zoom_are_the_published_pair(rng: np.random.Generator) -> None:
    """Decimated and zoomed, a problem's baseline is the published image of the same scan."""
    image = Image(rng.normal(100, 20, (9, 10, 23)).astype(np.float32), Affine.from_spacing(1.0))
    problem, _ = simulate_problem(image, None, SliceSettings(2, 4.0, profile=SliceProfile("point")))
    published = decimate(image.data, 4, 2)
    np.testing.assert_allclose(METHODS["zoom"](problem).image, published, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_slices_are_no_obstacle(count: int) -> None:
    """Splines of a lower order take over, and one slice holds everywhere."""
    operator = SliceOperator.of(SliceProfile(), 4.0, np.arange(count) * 4 + 1.5, 4 * count, 1.0)
    for make in (cubic_weights, linear_weights, zoom_weights):
        weights = make(operator)
        assert weights.shape == (4 * count, count)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-9)


@pytest.mark.data
def test_alignment_is_worth_what_was_measured(data: Path) -> None:
    """Of a real T2w, every second slice: the aligned spline gains 2 to 4 dB on `zoom`."""
    image = read_image(data / "pairs" / "openms-mni" / "patient07_T2.nii.gz")
    part = Image(image.data[60:100], image.affine.shifted((60, 0, 0)))
    problem, truth = simulate_problem(
        part, None, SliceSettings("axial", 2.0, profile=SliceProfile("point"))
    )
    errors = {
        name: float(((method(problem).image - truth) ** 2).mean())
        for name, method in METHODS.items()
    }
    assert 1.5 < 10 * np.log10(errors["zoom"] / errors["cubic"]) < 4

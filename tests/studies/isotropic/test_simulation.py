# SPDX-License-Identifier: Apache-2.0
"""Simulated slices lie where they say, measure the truth, and pair with it voxel by voxel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import GeometryError, UsageError
from encephalon.geometry.affine import Affine, orient
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from encephalon.studies.isotropic.acquisition.registration import make_stack
from encephalon.studies.isotropic.acquisition.slices import find_acquisition
from encephalon.studies.isotropic.reconstruction.problem import AXES, slice_axis
from encephalon.studies.isotropic.settings import PredictOptions
from encephalon.studies.isotropic.simulation import (
    SliceSettings,
    coarser,
    place_slices,
    simulate_problem,
    simulate_slices,
    simulate_stack,
)
from encephalon.transforms.slices import SliceProfile

PLANES = ("axial", "coronal", "sagittal")


def world_ramp(axis: int, shape: tuple[int, int, int] = (20, 24, 28), codes: str = "RAS") -> Image:
    """A volume whose intensity is its place along a world axis, mm."""
    affine = Affine.from_spacing(1.0, (-9.0, 4.0, 30.0))
    places = affine.apply(np.stack(np.indices(shape), -1))[..., axis]
    data, turned = orient(places.astype(np.float32), affine, codes)
    return Image(np.ascontiguousarray(data), turned)


@pytest.fixture
def scan(rng: np.random.Generator) -> Image:
    """Positive noise on 1 mm voxels, stored posterior to anterior, down and to the left."""
    affine = Affine.from_spacing(1.0, (-8.0, 3.0, 20.0))
    data = rng.gamma(4, 100, (16, 21, 26)).astype(np.float32)
    turned, placed = orient(data, affine, "PIL")
    return Image(np.ascontiguousarray(turned), placed)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("codes", ["RAS", "LIA", "PSR", "SPL"])
def test_slice_middles_are_where_the_affine_says(plane: str, codes: str) -> None:
    """The mean place of what a slice measured is the world position of its voxels."""
    ramp = world_ramp(AXES[plane], codes=codes)
    thick = simulate_slices(ramp, SliceSettings(plane, 3.0, gap=1.0))
    slices, affine = thick.data, thick.affine
    across = slice_axis(ramp.affine, plane)
    assert slices.shape[across] == ramp.shape[across] // 4
    assert affine.spacing[across] == pytest.approx(4.0)
    assert affine.codes == codes
    places = affine.apply(np.stack(np.indices(slices.shape), -1))[..., AXES[plane]]
    np.testing.assert_allclose(slices, places, atol=1e-4)


def test_an_oblique_scan_is_cut_across_its_nearest_axis(oblique: Affine) -> None:
    """12 degrees off, axial slices follow the voxel axis nearest to the head's."""
    assert [slice_axis(oblique, plane) for plane in PLANES] == [0, 2, 1]
    volume = np.indices((10, 12, 8)).astype(np.float32)[1]
    image = Image(volume, oblique)
    thick = simulate_slices(Image(volume, image.affine), SliceSettings("sagittal", 2.4))
    slices, affine = thick.data, thick.affine
    assert slices.shape == (10, 6, 8)
    np.testing.assert_allclose(affine.origin, oblique.apply((0, 0.5, 0)))
    np.testing.assert_allclose(affine.spacing, (0.9, 2.4, 3.0))
    np.testing.assert_allclose(affine.direction, oblique.direction)
    np.testing.assert_allclose(slices[0, :, 0], np.arange(6) * 2 + 0.5, atol=1e-5)


@pytest.mark.parametrize("axis", [*PLANES, "j", 2])
@pytest.mark.parametrize(("thickness", "gap"), [(2.0, 0.0), (3.3, 0.0), (4.0, 1.0), (5.0, 0.0)])
def test_the_truth_is_the_scan_itself(
    scan: Image, axis: str | int, thickness: float, gap: float
) -> None:
    """Truth and grid agree voxel by voxel, and its slices are the ones of the problem."""
    problem, truth = simulate_problem(scan, None, SliceSettings(axis, thickness, gap=gap))
    assert truth.shape == problem.grid.shape
    assert problem.axis == slice_axis(scan.affine, axis)
    native = problem.native(truth)
    grid = problem.native_grid
    corner = np.round(scan.affine.inverse.apply(grid.affine.origin)).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(corner, native.shape, strict=True))
    np.testing.assert_array_equal(native, scan.data[box])
    np.testing.assert_allclose(scan.affine.apply(corner), grid.affine.origin, atol=1e-9)
    np.testing.assert_allclose(grid.affine.matrix[:3, :3], scan.affine.matrix[:3, :3])
    stack = problem.stack
    np.testing.assert_allclose(stack.operator.slice(truth), stack.slices, rtol=1e-5)
    lost = scan.shape[problem.axis] - native.shape[problem.axis]
    assert 0 <= lost < thickness + gap


@pytest.mark.parametrize(("thickness", "gap"), [(2.0, 0.0), (3.3, 0.0), (3.6, 0.0), (4.0, 1.0)])
@pytest.mark.parametrize("plane", PLANES)
def test_a_thick_file_is_read_as_the_same_problem(
    scan: Image, tmp_path: Path, plane: str, thickness: float, gap: float
) -> None:
    """Written, read and put on its grid again, slices lie on the very voxels of the truth."""
    settings = SliceSettings(plane, thickness, gap=gap)
    expected, _ = simulate_problem(scan, None, settings)
    thick = simulate_slices(scan, settings)
    path = write_image(thick.data, tmp_path / "thick.nii.gz", thick)
    image = read_image(path)
    options = PredictOptions(thickness=thickness, gap=gap)
    stack = make_stack(image, find_acquisition(image, options), 1.0, SliceProfile())
    assert stack.grid.shape == expected.grid.shape
    assert stack.grid.affine.is_close(expected.grid.affine, 1e-4)
    np.testing.assert_allclose(stack.operator.matrix, expected.stack.operator.matrix, atol=1e-4)
    np.testing.assert_allclose(stack.slices, expected.stack.slices, rtol=1e-5)


@given(
    st.integers(12, 200),
    st.floats(0.5, 1.6),
    st.floats(1.0, 6.0),
    st.floats(0, 2),
)
def test_whole_slices_lie_inside_the_scan(
    voxels: int, size: float, ratio: float, gap: float
) -> None:
    """They are evenly apart, centred on their grid, and no further whole one would fit."""
    thickness = ratio * size
    if voxels * size / (thickness + gap) < 2.01:
        return
    covered, middles = place_slices(voxels, size, SliceSettings(2, thickness, gap))
    distance = thickness + gap
    np.testing.assert_allclose(np.diff(middles), distance)
    begin = middles[0] + size / 2 - distance / 2
    end = begin + len(middles) * distance
    assert covered <= voxels + 1
    assert abs(begin) <= 0.26 * size + 1e-2 * size
    assert end <= voxels * size + 0.3 * size
    assert voxels * size - end < distance + 0.3 * size


def test_slices_that_divide_the_scan_leave_nothing_over() -> None:
    """180 voxels of a rounded millimetre hold 45 slices of 4 mm, which cover all of them."""
    covered, middles = place_slices(180, 0.99999994, SliceSettings(2, 4.0))
    assert (covered, len(middles)) == (180, 45)
    assert middles[0] == pytest.approx(1.5, abs=1e-4)


def test_points_are_decimation(scan: Image) -> None:
    """Of the profile "point" every k-th slice is kept as it is, and the grid is the whole scan."""
    problem, truth = simulate_problem(
        scan, None, SliceSettings("i", 4.0, profile=SliceProfile("point"))
    )
    np.testing.assert_allclose(problem.stack.slices, truth[..., ::4], rtol=1e-6)
    assert truth.shape[2] == scan.shape[0]
    assert problem.stack.operator.thickness == pytest.approx(1.0), "as a voxel, not as a step"


def test_slices_keep_the_energy(scan: Image) -> None:
    """Slices that divide the scan have its mean, whatever their thickness."""
    for thickness in (2.0, 4.0):
        part = Image(scan.data[..., :16], scan.affine)
        slices = simulate_slices(part, SliceSettings(2, thickness)).data
        assert slices[..., : int(16 / thickness)].mean() == pytest.approx(
            scan.data[..., :16].mean(), rel=1e-5
        )


def test_noise_is_rician(rng: np.random.Generator) -> None:
    """Its deviation is a share of bright tissue; in air it has the mean of a Rayleigh law."""
    data = np.zeros((40, 40, 40), np.float32)
    data[:20] = 1000
    image = Image(data, Affine.from_spacing(1.0))
    slices, again, other = (
        simulate_slices(image, SliceSettings("axial", 2.0, noise=0.05, seed=seed)).data
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(slices, again)
    assert not np.array_equal(slices, other)
    assert slices[:20].std() == pytest.approx(50, rel=0.03)
    assert slices[20:].mean() == pytest.approx(50 * np.sqrt(np.pi / 2), rel=0.03)
    assert slices.min() >= 0


def test_a_t1w_on_the_same_voxels_is_not_interpolated(scan: Image) -> None:
    """Cropped to the grid it is itself, also when it is stored along other axes."""
    t1w = Image(scan.data * 2, scan.affine)
    problem, truth = simulate_problem(scan, t1w, SliceSettings("coronal", 5.0))
    assert problem.guide is not None
    np.testing.assert_array_equal(problem.guide, truth * 2)
    turned, affine = orient(t1w.data, t1w.affine, "RAS")
    same, _ = simulate_problem(scan, Image(turned, affine), SliceSettings("coronal", 5.0))
    np.testing.assert_array_equal(same.guide, problem.guide)
    assert problem.coverage is not None
    assert problem.coverage.all()


def test_a_misaligned_t1w_is_moved_by_as_much() -> None:
    """A head moved 2 mm up is seen 2 mm higher, and where there was nothing is not covered."""
    ramp = world_ramp(2)
    lifted = Affine(np.eye(4) + np.outer(np.eye(4)[2], np.eye(4)[3]) * 2.25)
    moved = Image(ramp.data, lifted @ ramp.affine)
    problem, truth = simulate_problem(ramp, moved, SliceSettings("axial", 4.0))
    assert problem.guide is not None
    assert problem.coverage is not None
    inner = (slice(3, -3), slice(3, -3), slice(8, -4))
    np.testing.assert_allclose(problem.guide[inner], truth[inner] - 2.25, atol=1e-2)
    assert not problem.coverage[..., 0].any()
    assert problem.coverage[..., 4:].all()


def test_a_second_stack_shares_the_world(scan: Image) -> None:
    """The stacks of two planes show the same truth at the same places."""
    first, one = simulate_stack(scan, SliceSettings("axial", 3.0))
    second, two = simulate_stack(scan, SliceSettings("sagittal", 4.0))
    point = first.grid.affine.apply((2, 3, 4))
    other = np.round(second.grid.affine.inverse.apply(point)).astype(int)
    assert one[2, 3, 4] == two[tuple(other)]


def test_what_makes_no_sense_is_refused(scan: Image) -> None:
    """One sentence each: the scan is named where it is the scan that does not fit."""
    with pytest.raises(UsageError, match="no slice axis 'axal': did you mean 'axial'"):
        simulate_problem(scan, None, SliceSettings("axal", 4.0))
    for wrong in (0.0, -4.0, np.nan, np.inf):
        with pytest.raises(UsageError, match="thickness of a slice must be above 0 mm"):
            SliceSettings("axial", wrong)
    with pytest.raises(UsageError, match=r"gap .* must be 0 mm or more, but it is -1"):
        SliceSettings("axial", 4.0, gap=-1.0)
    with pytest.raises(UsageError, match="noise must be 0 or more"):
        SliceSettings("axial", 4.0, noise=-0.1)
    with pytest.raises(GeometryError, match=r"the array: slices of 0\.5 mm are thinner"):
        simulate_problem(scan, None, SliceSettings("axial", 0.5))
    with pytest.raises(GeometryError, match="fewer than two slices"):
        simulate_problem(scan, None, SliceSettings("axial", 15.0))


def test_a_coarser_scan_shows_the_same_places_and_keeps_the_mean() -> None:
    """Cubes of 0.8 mm become cubes of 1 mm, five of which take the place of four."""
    affine = Affine.from_spacing(0.8, (3.0, -2.0, 7.0))
    places = affine.apply(np.stack(np.indices((20, 25, 30)), -1))
    for axis in range(3):
        ramp = Image(places[..., axis].astype(np.float32), affine)
        coarse = coarser(ramp, 1.0)
        assert coarse.shape == (16, 20, 24)
        assert coarse.spacing == pytest.approx((1, 1, 1))
        expected = coarse.affine.apply(np.stack(np.indices(coarse.shape), -1))[..., axis]
        np.testing.assert_allclose(coarse.data, expected, atol=0.11)
        assert coarse.data.mean() == pytest.approx(ramp.data.mean(), abs=1e-3)

# SPDX-License-Identifier: Apache-2.0
"""Thick slices measure what they should, and their inverse keeps what they measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from encephalon.errors import GeometryError
from encephalon.transforms.slices import (
    ProfileKind,
    SliceOperator,
    SliceProfile,
    along,
    kriging_weights,
    slice_matrix,
)

#: A triangle twice the thickness wide: what two box pulses in a row make.
TRIANGLE = SliceProfile("measured", (-1.0, 0.0, 1.0), (0.0, 1.0, 0.0))
PROFILES = [SliceProfile("box"), SliceProfile("gaussian"), SliceProfile("point"), TRIANGLE]


def middles_of(distance: float, voxels: int, voxel_size: float = 1.0) -> np.ndarray:
    """The middles of as many slices as the voxels hold, from the outer face of the first."""
    count = int(voxels * voxel_size / distance + 1e-9)
    return (np.arange(count) + 0.5) * distance - voxel_size / 2


def operator_of(
    thickness: float,
    gap: float = 0.0,
    voxels: int = 60,
    voxel_size: float = 1.0,
    kind: ProfileKind = "box",
) -> SliceOperator:
    """An operator whose slices fill the voxels from the first on."""
    middles = middles_of(thickness + gap, voxels, voxel_size)
    return SliceOperator.of(SliceProfile(kind), thickness, middles, voxels, voxel_size)


@given(
    st.sampled_from(PROFILES),
    st.floats(0.5, 12),
    st.floats(0.4, 2.5),
    st.integers(1, 50),
    st.lists(st.floats(-30, 130), min_size=1, max_size=6),
)
def test_every_slice_is_a_weighted_mean(
    profile: SliceProfile, thickness: float, size: float, voxels: int, middles: list[float]
) -> None:
    """Shares are never negative and sum to 1, wherever the slice lies and however thick it is."""
    matrix = slice_matrix(profile, thickness, middles, voxels, size)
    assert matrix.shape == (len(middles), voxels)
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


def test_whole_voxels_are_averaged_evenly() -> None:
    """Slices of 4 mm over voxels of 1 mm are the means of four voxels each."""
    matrix = operator_of(4.0, voxels=12).matrix
    np.testing.assert_allclose(matrix, np.kron(np.eye(3), np.full((1, 4), 0.25)), atol=1e-12)


def test_a_slice_of_3_3_mm_takes_parts_of_voxels() -> None:
    """The first slice has three voxels whole and 0.3 of the fourth; the second has the rest."""
    first, second = operator_of(3.3, voxels=20).matrix[:2]
    np.testing.assert_allclose(first[:5] * 3.3, [1, 1, 1, 0.3, 0], atol=1e-9)
    np.testing.assert_allclose(second[3:8] * 3.3, [0.7, 1, 1, 0.6, 0], atol=1e-9)


def test_a_gap_is_measured_by_no_slice() -> None:
    """With 4 mm slices and gaps of 1 mm, half of each voxel at a slice's edge falls in a gap."""
    operator = operator_of(4.0, gap=1.0, voxels=20)
    np.testing.assert_allclose(operator.matrix[0, :6] * 4, [0.5, 1, 1, 1, 0.5, 0], atol=1e-9)
    np.testing.assert_allclose(operator.matrix.sum(axis=0) * 4, [0.5, 1, 1, 1, 0.5] * 4, atol=1e-9)
    assert operator.distance == pytest.approx(5.0)
    assert operator.ratio == pytest.approx(5.0)
    assert operator.thickness == 4.0


@pytest.mark.parametrize("kind", ["box", "gaussian"])
def test_slices_without_gaps_keep_the_energy(kind: ProfileKind) -> None:
    """Away from the ends every voxel is in the slices as often as any other: sums are kept."""
    operator = operator_of(3.0, voxels=60, kind=kind)
    received = operator.matrix.sum(axis=0)[9:51] * 3.0
    # Bells a full width apart overlap to a nearly even sum: their ripple is 5 %.
    np.testing.assert_allclose(received, 1, atol=1e-9 if kind == "box" else 0.05)
    line = np.zeros(60)
    line[20:40] = np.hanning(20)
    assert operator.slice(line[None, None]).sum() * 3 == pytest.approx(line.sum(), rel=0.01)


def test_a_gaussian_s_width_is_the_thickness() -> None:
    """Read back from the matrix, the full width at half maximum is the thickness in mm."""
    size = 0.05
    (row,) = slice_matrix(SliceProfile("gaussian"), 4.0, [20.0], 801, size)
    above = np.flatnonzero(row >= row.max() / 2)
    assert (above[-1] - above[0] + 1) * size == pytest.approx(4.0, abs=2 * size)
    positions = np.arange(801) * size
    assert row @ positions == pytest.approx(20.0)
    deviation = np.sqrt(row @ (positions - 20.0) ** 2)
    assert deviation == pytest.approx(4.0 / 2.3548, rel=1e-3)
    expected = norm.pdf(positions, 20.0, deviation) * size
    np.testing.assert_allclose(row, expected, atol=1e-5)


def test_a_measured_profile_is_what_was_measured() -> None:
    """A triangle's row is the triangle, and a measured box is the box."""
    (row,) = slice_matrix(TRIANGLE, 4.0, [20.0], 401, 0.1)
    positions = np.arange(401) * 0.1
    np.testing.assert_allclose(row, np.clip(1 - abs(positions - 20) / 4, 0, None) / 40, atol=2e-4)
    box = SliceProfile("measured", (-0.5, 0.5), (3.0, 3.0))
    args = (3.3, middles_of(3.3, 40), 40, 1.0)
    np.testing.assert_allclose(
        slice_matrix(box, *args), slice_matrix(SliceProfile("box"), *args), atol=1e-6
    )


def test_a_lopsided_profile_stays_lopsided() -> None:
    """A slice that is sensitive above its middle alone measures what lies above it."""
    profile = SliceProfile("measured", (0.0, 0.5), (1.0, 1.0))
    (row,) = slice_matrix(profile, 4.0, [9.5], 20, 1.0)
    np.testing.assert_allclose(row[8:13], [0, 0, 0.5, 0.5, 0], atol=1e-6)


def test_a_point_is_read_between_its_neighbours() -> None:
    """Point samples are linear between voxel centres, and the last voxel holds beyond the end."""
    matrix = slice_matrix(SliceProfile("point"), 4.0, [0.0, 2.25, 7.0, 40.0], 8, 1.0)
    assert matrix[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(matrix[1, 2:4], [0.75, 0.25])
    assert matrix[2, 7] == matrix[3, 7] == 1


@pytest.mark.parametrize(
    ("offsets", "sensitivity"),
    [
        ((), ()),
        ((0.0,), (1.0,)),
        ((-0.5, 0.5), (1.0,)),
        ((0.5, -0.5), (1.0, 1.0)),
        ((0.0, 0.0), (1.0, 1.0)),
        ((-0.5, 0.0, 0.5), (1.0, -0.1, 1.0)),
        ((-0.5, 0.5), (0.0, 0.0)),
        ((-0.5, 0.5), (np.nan, 1.0)),
        ((-0.5, 0.5), (np.inf, 1.0)),
        ((-0.5, np.inf), (1.0, 1.0)),
    ],
)
def test_a_profile_that_says_nothing_is_refused(
    offsets: tuple[float, ...], sensitivity: tuple[float, ...]
) -> None:
    """Offsets must rise, sensitivities be finite, none negative and not all 0."""
    with pytest.raises(GeometryError, match="two or more rising offsets"):
        SliceProfile("measured", offsets, sensitivity)


@pytest.mark.parametrize(
    ("thickness", "voxels", "size"),
    [
        *((0.0, 10, 1.0), (-4.0, 10, 1.0), (4.0, 0, 1.0), (4.0, 10, 0.0), (np.nan, 10, 1.0)),
        *((np.inf, 10, 1.0), (4.0, 10, np.inf)),
    ],
)
def test_impossible_sizes_are_refused(thickness: float, voxels: int, size: float) -> None:
    """Slices and voxels have a finite size above 0."""
    with pytest.raises(GeometryError, match="must have a size"):
        slice_matrix(SliceProfile(), thickness, [0.0], voxels, size)


@pytest.mark.parametrize("kind", ["box", "gaussian", "point"])
@given(thickness=st.floats(2, 8), gap=st.floats(0, 0.5), size=st.floats(0.5, 1.5))
def test_interpolated_slices_are_measured_again(
    kind: ProfileKind, thickness: float, gap: float, size: float
) -> None:
    """A P is the identity within 1e-4, whatever the ratio, the gap and the profile."""
    operator = operator_of(thickness, gap * thickness, 60, size, kind)
    identity = np.eye(len(operator.middles))
    np.testing.assert_allclose(operator.matrix @ operator.spread, identity, atol=1e-4)


@given(st.floats(1.2, 12), st.sampled_from(["box", "gaussian", "point"]), st.floats(-300, 3000))
def test_a_constant_stays_a_constant(distance: float, kind: ProfileKind, level: float) -> None:
    """Sliced and interpolated, an even volume is the same, also beyond the last slice."""
    operator = operator_of(distance, voxels=40, kind=kind)
    even = np.full((2, 1, 40), level, np.float32)
    slices = operator.slice(even)
    np.testing.assert_allclose(slices, level, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(operator.interpolate(slices), level, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(("thickness", "gap"), [(2.0, 0.0), (3.3, 0.0), (4.0, 1.0)])
def test_a_ramp_is_reproduced_without_drift(thickness: float, gap: float) -> None:
    """Three slices from the ends, an even rise comes back within 5 % of the slices' distance.

    The error goes up and down between slices and does not grow: nothing is moved.
    """
    operator = operator_of(thickness, gap, voxels=80)
    ramp = np.arange(80, dtype=np.float32)[None, None]
    error = (operator.interpolate(operator.slice(ramp)) - ramp)[0, 0, 16:64]
    assert np.abs(error).max() < 0.05 * operator.distance
    assert abs(np.polyfit(np.arange(48), error, 1)[0]) < 2e-3


def test_a_consistent_volume_has_the_slices_and_moves_little(rng: np.random.Generator) -> None:
    """Any volume is moved to have these slices, and one that has them stays where it is."""
    operator = operator_of(3.3, 0.7, voxels=40)
    truth = rng.normal(100, 20, (3, 4, 40)).astype(np.float32)
    slices = operator.slice(truth)
    guess = rng.normal(0, 20, truth.shape).astype(np.float32)
    mended = operator.consistent(guess, slices)
    assert mended.dtype == np.float32
    np.testing.assert_allclose(operator.slice(mended), slices, atol=0.02)
    np.testing.assert_allclose(operator.consistent(truth, slices), truth, atol=1e-3)


def test_voxels_know_their_place_between_the_slices() -> None:
    """Signed offsets run from -1/2 to 1/2 of a slice's distance, and beyond them outside."""
    operator = operator_of(4.0, voxels=8)
    expected = np.array([-1.5, -0.5, 0.5, 1.5] * 2) / 4
    np.testing.assert_allclose(operator.place(), expected)
    beyond = SliceOperator.of(SliceProfile(), 4.0, [10.0, 14.0], 24, 1.0).place()
    assert (beyond[0], beyond[23]) == pytest.approx((-2.5, 2.25))


def test_voxels_know_where_they_are_and_the_slice_beside_them() -> None:
    """Voxels of 2 mm, two a slice; beyond the last slice it is still the nearest."""
    operator = SliceOperator.of(SliceProfile(), 4.0, [1.0, 5.0], 6, 2.0)
    assert operator.places.tolist() == [0, 2, 4, 6, 8, 10]
    assert operator.nearest.tolist() == [0, 0, 1, 1, 1, 1]


def test_a_single_slice_is_spread_over_all_voxels() -> None:
    """Nothing else is known, so its value holds everywhere."""
    operator = SliceOperator.of(SliceProfile(), 4.0, 6.0, 12, 1.0)
    assert operator.distance == 4.0
    np.testing.assert_allclose(operator.spread, 1, atol=1e-9)


def test_a_matrix_is_applied_along_the_last_axis_of_any_type() -> None:
    """Integers, slices of arrays and swapped axes give what NumPy's product gives, in float32."""
    matrix = slice_matrix(SliceProfile("gaussian"), 3.0, [2.0, 5.0], 9, 1.0)
    volume = np.arange(9 * 4 * 5, dtype=np.int16).reshape(9, 4, 5).transpose(2, 1, 0)[::2]
    result = along(matrix, volume)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, volume @ matrix.T, rtol=1e-5)


def test_a_wider_prior_bends_less() -> None:
    """Weights of a longer range lean on more slices than those of a short one."""
    matrix = operator_of(4.0, voxels=40).matrix
    short, long = (kriging_weights(matrix, 1.0, reach) for reach in (0.5, 6.0))
    assert np.abs(long).sum(axis=1).mean() > np.abs(short).sum(axis=1).mean()

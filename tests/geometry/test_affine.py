# SPDX-License-Identifier: Apache-2.0
"""Affines and grids: where voxels are, and which matrices are refused or repaired."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine, Grid, checked

spacings = st.tuples(*[st.floats(0.05, 20.0)] * 3)
points = st.tuples(*[st.floats(-300, 300)] * 3)


@st.composite
def affines(draw: st.DrawFn) -> Affine:
    """Any rotation (or reflection), voxel size and origin."""
    seed = draw(st.integers(0, 2**32 - 1))
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return Affine.from_parts(turn, draw(spacings), draw(points))


@given(affines(), points)
def test_an_affine_and_its_inverse_cancel(affine: Affine, point: tuple[float, ...]) -> None:
    """Voxel to world and back is the same voxel."""
    assert np.allclose(affine.inverse.apply(affine.apply(point)), point, atol=1e-6)
    assert (affine @ affine.inverse).is_close(Affine(np.eye(4)), 1e-6)


@given(affines())
def test_parts_put_together_give_the_affine_again(affine: Affine) -> None:
    """Direction, spacing and origin hold all of an affine without shear."""
    again = Affine.from_parts(affine.direction, affine.spacing, affine.origin)
    assert again.is_close(affine, 1e-9)
    assert affine.voxel_volume == pytest.approx(np.prod(affine.spacing))


@given(affines())
def test_codes_name_three_different_directions(affine: Affine) -> None:
    """No two axes share a direction, however oblique they are."""
    assert sorted("RAS"["RLAPSI".index(c) // 2] for c in affine.codes) == ["A", "R", "S"]


@pytest.mark.parametrize("diagonal", [(1, 1, 1), (-2, 1, 3), (-1, -1, 1), (1, 2, -4)])
def test_codes_agree_with_nibabel(diagonal: tuple[float, ...]) -> None:
    """Codes mean the positive end of each axis, as nibabel's do."""
    matrix = np.diag([*diagonal, 1.0])
    assert Affine(matrix).codes == "".join(aff2axcodes(matrix))


def test_an_affine_cannot_be_changed_and_is_hashable() -> None:
    """Equal matrices are equal keys, and nobody can write into one."""
    one, other = Affine.from_spacing(1.5), Affine.from_spacing((1.5, 1.5, 1.5))
    assert one == other
    assert len({one, other}) == 1
    assert one != Affine.from_spacing(2.0)
    assert one != "RAS"
    with pytest.raises(ValueError, match="read-only"):
        one.matrix[0, 0] = 2.0


def test_a_shifted_affine_begins_at_the_given_voxel(oblique: Affine) -> None:
    """The corner of a cut-out lies where that voxel of the whole lay."""
    assert np.allclose(oblique.shifted((3, 1, 2)).origin, oblique.apply((3, 1, 2)))


def test_only_four_by_four_is_an_affine() -> None:
    """A 3 x 3 matrix is refused with its shape."""
    with pytest.raises(GeometryError, match=r"4 x 4.*\(3, 3\)"):
        Affine(np.eye(3))


def test_a_grid_knows_its_centre_and_extent() -> None:
    """The centre lies between the two middle voxels of an even grid; faces count in the extent."""
    grid = Grid((4, 5, 6), Affine.from_spacing((1.0, 2.0, 3.0), (10, 0, 0)))
    assert np.allclose(grid.centre, (11.5, 4.0, 7.5))
    assert grid.extent == (4.0, 10.0, 18.0)
    assert grid.codes == "RAS"


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 0), (4, -5, 6)])
def test_a_grid_needs_three_positive_sizes(shape: tuple[int, ...]) -> None:
    """Two sizes, zero and a negative size are refused."""
    with pytest.raises(GeometryError, match="three positive sizes"):
        Grid(shape, Affine.from_spacing(1.0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.diag([1.0, 0.0, 1.0, 1.0]), "voxel size must be positive, but it is 1 x 0 x 1 mm"),
        (np.diag([2000.0, 2000, 2000, 1]), "2000 x 2000 x 2000 mm is too large.*fix the units"),
        (np.full((4, 4), np.nan), "not finite"),
        (np.eye(3), "of shape"),
        (np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "singular"),
    ],
)
def test_a_matrix_without_inverse_is_refused_by_name(matrix: np.ndarray, words: str) -> None:
    """The sentence names the source and what is wrong."""
    with pytest.raises(GeometryError, match=f"scan.nii.*{words}"):
        checked(matrix, "scan.nii")


def test_sheared_axes_stay_as_they_are_with_a_warning() -> None:
    """The affine of a tilted gantry is true, and so is the volume of its voxels."""
    sheared = np.diag([1.0, 1.0, 2.0, 1.0])
    sheared[0, 1] = 0.2
    affine, warnings = checked(sheared, "ct.nii")
    assert np.array_equal(affine.matrix, sheared)
    assert affine.voxel_volume == pytest.approx(2.0)
    assert len(warnings) == 1
    assert "ct.nii: the voxel axes are 11.3° away from right angles" in warnings[0]


@pytest.mark.parametrize(("degrees", "repaired"), [(0.08, False), (0.2, True), (1.1, True)])
def test_a_shear_is_told_from_a_fifth_of_a_degree_on(degrees: float, repaired: bool) -> None:
    """Less is the rounding of single precision headers; 1.1° would move a face by 2 mm."""
    sheared = np.eye(4)
    sheared[0, 1] = np.tan(np.deg2rad(degrees))
    warnings = checked(sheared, "ct.nii")[1]
    assert [f"{degrees:.1f}° away" in warning for warning in warnings] == [True] * repaired


@given(affines())
def test_a_proper_affine_passes_unchanged(affine: Affine) -> None:
    """Nothing is repaired, and the very numbers come back, even in single precision."""
    again, warnings = checked(affine.matrix.astype(np.float32))
    assert not warnings
    assert again.is_close(affine, 1e-3)


def test_what_is_no_matrix_is_refused_with_its_words() -> None:
    """As a name in the place of the numbers."""
    with pytest.raises(GeometryError, match="4 x 4 finite numbers, but it is 'x'"):
        checked("x")

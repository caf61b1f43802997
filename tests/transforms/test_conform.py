# SPDX-License-Identifier: Apache-2.0
"""Conform and undo: FreeSurfer's cube, and masks back on the grid they came from.

Straight grids for scans whose axes lean: same volume, same places, whole slices.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nibabel.freesurfer.mghformat import MGHHeader

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine, Grid, checked, is_sheared
from encephalon.geometry.resample import resample, resample_aligned
from encephalon.io.image import Image
from encephalon.transforms.conform import (
    conform,
    conform_grid,
    straight_grid,
    straightened,
)


def test_the_conformed_grid_is_the_cube_of_freesurfer(oblique: Affine) -> None:
    """256 voxels of 1 mm, axes exactly along L, I and A."""
    grid = conform_grid(Grid((160, 192, 30), oblique))
    assert grid.shape == (256, 256, 256)
    assert grid.affine.spacing == (1.0, 1.0, 1.0)
    assert np.array_equal(grid.affine.direction, [[-1, 0, 0], [0, 0, 1], [0, -1, 0]])


def test_the_cube_lies_where_freesurfer_puts_it(oblique: Affine) -> None:
    """An MGH header with the input's c_ras and coronal slices has the conformed affine."""
    native = Grid((161, 192, 30), oblique)
    header = MGHHeader()
    header["Mdc"] = [[-1, 0, 0], [0, 0, -1], [0, 1, 0]]
    header.set_data_shape((256, 256, 256))
    header["Pxyz_c"] = oblique.apply(np.asarray(native.shape) / 2)
    assert conform_grid(native).affine.is_close(Affine(header.get_affine()), 1e-4)


def test_a_conformed_image_is_left_as_it_is(rng: np.random.Generator) -> None:
    """Conforming what is on the cube already changes no voxel and no place."""
    data = rng.normal(size=(16, 16, 16)).astype(np.float32)
    cube = conform_grid(Grid(data.shape, Affine.from_spacing(1.0)), shape=(16, 16, 16))
    image = conform(Image(data, cube.affine), conform_grid(cube, shape=(16, 16, 16)))
    assert image.affine.is_close(cube.affine, 1e-9)
    assert np.allclose(image.data, data, atol=1e-5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.33, 1.33), (0.9, 0.9, 3.0)])
def test_a_mask_survives_conform_and_undo(oblique: Affine, spacing: tuple[float, ...]) -> None:
    """A ball on an oblique grid returns at Dice 0.98 or better, on the grid it came from."""
    affine = Affine.from_parts(oblique.direction, spacing, oblique.origin)
    native = Grid(tuple(int(60 / s) for s in spacing), affine)  # type: ignore[arg-type]
    world = affine.apply(np.moveaxis(np.indices(native.shape), 0, -1))
    mask = np.linalg.norm(world - native.centre, axis=-1) < 24
    target = conform_grid(native, shape=(80, 80, 80))
    conformed = conform(Image(mask, affine), target)
    back = resample(conformed.data > 0.5, target.affine, native, order=0)
    assert back.shape == mask.shape
    assert back.dtype == np.bool_
    assert 2 * np.sum(back & mask) / (back.sum() + mask.sum()) >= 0.98


def test_conform_without_a_target_uses_the_standard_cube(head: Image) -> None:
    """The result is float32 on 256 voxels of 1 mm, 0 outside the input, brightness kept."""
    result = conform(head)
    assert result.shape == (256, 256, 256)
    assert result.data.dtype == np.float32
    assert result.data[0, 0, 0] == 0
    assert result.data.max() == pytest.approx(head.data.max(), rel=0.02)


ORDERS = ((0, 1, 2), (2, 0, 1), (1, 2, 0))


def tilted(degrees: float, order: tuple[int, ...] = (0, 1, 2)) -> Affine:
    """Voxels of 1 x 1.5 x 3 mm whose slices slide along the second axis, axes in `order`."""
    matrix = np.diag([-1.0, 1.5, 3.0, 1.0])
    matrix[1, 2] = 3.0 * np.tan(np.radians(degrees))
    matrix[:3, 3] = (5, -7, 11)
    turn = np.deg2rad(20.0)
    about = np.eye(4)
    about[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    columns = (about @ matrix)[:, [*order, 3]]
    return Affine(columns)


@pytest.mark.parametrize("degrees", [0.3, 5.0, -20.0, 30.0])
@pytest.mark.parametrize("order", ORDERS)
def test_the_straight_grid_of_a_tilted_scan_keeps_its_volume_and_its_slices(
    degrees: float, order: tuple[int, ...]
) -> None:
    """Right angles, the determinant of the scan, its number of slices, and all of its voxels."""
    grid = Grid((9, 8, 7), tilted(degrees, order))
    straight = straight_grid(grid)
    direction = straight.affine.direction
    assert np.allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    assert straight.affine.voxel_volume == pytest.approx(4.5)
    assert straight.affine.voxel_volume == pytest.approx(grid.affine.voxel_volume)
    across = order.index(2)
    assert straight.shape[across] == grid.shape[across]
    assert straight.affine.spacing[across] == pytest.approx(3.0)
    corners = np.argwhere(np.ones((2, 2, 2))) * (np.asarray(grid.shape) - 1)
    inside = straight.affine.inverse.apply(grid.affine.apply(corners))
    assert inside.min() > -1e-9
    assert (inside < np.asarray(straight.shape) - 1 + 1e-9).all()
    assert straight.codes == grid.codes


def test_a_tilted_image_shows_the_same_world() -> None:
    """A plane of values over the world has the same values on the straight grid."""
    grid = Grid((20, 18, 9), tilted(20.0))
    places = grid.affine.apply(np.argwhere(np.ones(grid.shape)))
    data = (100 + places @ [1.0, -2.0, 0.5]).reshape(grid.shape).astype(np.float32)
    straight = straightened(Image(data, grid.affine))
    expected = 100 + straight.affine.apply(np.argwhere(np.ones(straight.shape))) @ [1, -2, 0.5]
    filled = straight.data > data.min()
    assert filled.mean() > 0.6
    assert np.allclose(straight.data[filled], expected.reshape(straight.shape)[filled], atol=1.6)
    assert np.median(np.abs(straight.data - expected.reshape(straight.shape))[filled]) < 1e-3


def test_the_way_back_gives_the_voxels_of_the_scan() -> None:
    """A ball drawn on the straight grid is, on the leaning one, the ball."""
    grid = Grid((60, 40, 20), tilted(-25.0))
    straight = straight_grid(grid)

    def ball(on: Grid) -> np.ndarray:
        away = on.affine.apply(np.argwhere(np.ones(on.shape))) - grid.centre
        return 25 - np.linalg.norm(away, axis=1).reshape(on.shape)

    back = resample(ball(straight).astype(np.float32), straight.affine, grid, outside=-9.0) > 0
    truth = ball(grid) > 0
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.985
    assert back.sum() * grid.affine.voxel_volume == pytest.approx(4 / 3 * np.pi * 25**3, rel=0.03)


def test_straight_scans_are_not_touched() -> None:
    """The very grid and image come back, however oblique, and also where rounding leans."""
    slightly = np.diag([1.0, 1.0, 2.0, 1.0])
    slightly[0, 1] = 1e-3
    for affine in (tilted(0.0), Affine(slightly)):
        image = Image(np.zeros((3, 4, 5), np.float32), affine)
        assert straight_grid(image.grid).affine is affine
        assert straightened(image) is image


def test_a_lean_that_rounding_cannot_explain_is_said() -> None:
    """A tenth of a degree may be rounding; three tenths are not."""
    assert not is_sheared(tilted(0.1))
    assert not checked(tilted(0.1).matrix)[1]
    affine, warnings = checked(tilted(0.3).matrix, "ct.nii")
    assert np.array_equal(affine.matrix, tilted(0.3).matrix)
    assert "ct.nii: the voxel axes are 0.3° away from right angles" in warnings[0]


def test_axes_that_lean_alike_are_resampled_along_each() -> None:
    """Grids that share leaning axes are parallel: shrinking one is a matter of its axes."""
    for affine in (tilted(20.0), tilted(0.05)):
        data = np.arange(6 * 7 * 8, dtype=np.float32).reshape(6, 7, 8)
        target = Grid((6, 7, 8), affine)
        assert np.array_equal(resample_aligned(data, affine, target), data)


def test_axes_that_lean_beyond_any_scanner_are_refused() -> None:
    """A header that asks for a grid of a hundred times the voxels is damaged; its file is named."""
    matrix = np.eye(4)
    matrix[0, 2] = 30.0
    image = Image(np.zeros((50, 50, 50), np.uint8), Affine(matrix), Path("leaning.nii"))
    with pytest.raises(GeometryError, match=r"^leaning\.nii: .* further than those of any scanner"):
        straightened(image)


def test_what_a_tilted_scan_does_not_reach_is_air() -> None:
    """Air of a CT is -1000 and not 0, which would be water."""
    data = np.full((9, 8, 7), -1000.0, np.float32)
    data[3:6, 3:5, 2:5] = 40
    straight = straightened(Image(data, tilted(20.0)))
    assert straight.data.size > data.size
    assert straight.data.min() == straight.data[0, 0, 0] == straight.data[-1, -1, -1] == -1000
    assert straight.data.max() <= 40

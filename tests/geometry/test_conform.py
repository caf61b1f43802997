# SPDX-License-Identifier: Apache-2.0
"""Conform and undo: FreeSurfer's cube, and masks back on the grid they came from."""

from __future__ import annotations

import numpy as np
import pytest
from nibabel.freesurfer.mghformat import MGHHeader

from encephalon.geometry import Affine, Grid, conform, conform_grid, unconform
from encephalon.io.image import Image


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
    back = unconform(conformed.data > 0.5, target, native)
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

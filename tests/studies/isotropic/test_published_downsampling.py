# SPDX-License-Identifier: Apache-2.0
"""The published synthesis, bit for bit, and the faults that it is kept for."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.ndimage import zoom

from encephalon.errors import GeometryError, OutputExistsError, UnreadableFileError, UsageError
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.studies.isotropic.published.preprocessing import (
    FACTORS,
    decimate,
    decimated_path,
    read_published,
    write_published,
)

#: Voxels of the published grid across sagittal, coronal and axial slices.
SIZES = {"sagittal": 182, "coronal": 218, "axial": 182}


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_it_is_the_published_arithmetic(rng: np.random.Generator, factor: int, axis: int) -> None:
    """Every k-th slice from the first, then SciPy's zoom of order 3 over all axes: equal bits."""
    data = rng.normal(100, 30, (13, 17, 11))
    down = np.take(data, np.arange(0, data.shape[axis], factor), axis)
    expected = zoom(down, np.array(data.shape) / np.array(down.shape), order=3)
    result = decimate(data, factor, axis)
    assert result.dtype == np.float64
    assert result.shape == data.shape
    np.testing.assert_array_equal(result, expected)


def test_the_first_slice_that_is_kept_can_be_chosen(rng: np.random.Generator) -> None:
    """The published program's `start_slice`, bit for bit; one that no factor allows is refused."""
    data = rng.normal(100, 30, (9, 8, 11))
    down = data[..., 2::4]
    expected = zoom(down, np.array(data.shape) / np.array(down.shape), order=3)
    np.testing.assert_array_equal(decimate(data, 4, 2, start=2), expected)
    for start in (-1, 4):
        with pytest.raises(UsageError, match="0 to 3"):
            decimate(data, 4, 2, start)


@pytest.mark.parametrize(
    ("direction", "factor", "last", "drift"),
    [
        *(("axial", factor, 180, 1) for factor in FACTORS),
        *(("sagittal", factor, 180, 1) for factor in FACTORS),
        *(("coronal", factor, 216, 1) for factor in (2, 3, 4)),
        ("coronal", 5, 215, 2),
    ],
)
def test_the_measured_drift_is_kept(direction: str, factor: int, last: int, drift: int) -> None:
    """Voxel j holds position j * last / (size - 1): up to 1 mm off, 2 mm at coronal k = 5.

    BABY-AI's `create_LR_img`, on the published grid of 182 x 218 x 182 voxels of 1 mm.
    """
    size = SIZES[direction]
    places = np.arange(size) * last / (size - 1)
    error = np.arange(size) - places
    assert error.max() == pytest.approx(drift)
    assert error.mean() == pytest.approx(drift / 2)
    ramp = np.broadcast_to(np.arange(size, dtype=float), (2, 2, size))
    shown = decimate(ramp, factor, 2)[0, 0]
    # Mirrored ends bend the spline over some kept slices; the middle is as straight as the ramp.
    inner = slice(8 * factor, -8 * factor)
    np.testing.assert_allclose(shown[inner], places[inner], atol=1e-3)
    assert shown[0] == pytest.approx(0, abs=1e-6)
    assert shown[-1] == pytest.approx(last, abs=1e-6)


def test_names_are_the_published_ones() -> None:
    """The stem is the whole name without .nii.gz, so that T2w is said twice."""
    path = decimated_path(Path("out"), Path("a/sub-01_T2w.nii.gz"), "coronal", 5)
    assert path == Path("out/coronal/LR5/sub-01_T2w_coronal_T2w_LR5.nii.gz")


def test_files_are_float64_with_the_affine_alone(tmp_path: Path, rng: np.random.Generator) -> None:
    """Scaled integers are read and written in double precision, as nibabel does."""
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (90, -126, -72)
    source = nibabel.Nifti1Image(rng.integers(0, 4000, (8, 9, 12)).astype(np.int16), affine)
    source.header.set_slope_inter(0.37, 1.1)
    source.header["descrip"] = b"not to be kept"
    nibabel.save(source, tmp_path / "T2w.nii.gz")
    image = read_image(tmp_path / "T2w.nii.gz")
    data = read_published(image)
    np.testing.assert_array_equal(data, nibabel.load(tmp_path / "T2w.nii.gz").get_fdata())
    path = write_published(decimate(data, 4, 2), tmp_path / "LR.nii.gz", image)
    written = nibabel.load(path)
    assert written.get_data_dtype() == np.float64
    np.testing.assert_array_equal(written.affine, affine)
    np.testing.assert_array_equal(written.get_fdata(), decimate(data, 4, 2))
    assert bytes(written.header["descrip"]).strip(b"\0") == b""
    with pytest.raises(OutputExistsError):
        write_published(data, path, image)


def test_arrays_need_no_file(tmp_path: Path) -> None:
    """Their voxels are taken as they are; a file that has gone is one sentence."""
    image = Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), Affine.from_spacing(1.0))
    assert read_published(image).dtype == np.float64
    gone = Image(image.data, image.affine, tmp_path / "gone.nii.gz")
    with pytest.raises(UnreadableFileError, match=r"gone\.nii\.gz"):
        read_published(gone)


def test_wrong_factors_are_refused() -> None:
    """Below 2 nothing is left out, and of too few slices nothing is left."""
    with pytest.raises(UsageError, match="factor of 1"):
        decimate(np.zeros((4, 4, 4)), 1, 2)
    with pytest.raises(GeometryError, match="Of 4 slices only 1"):
        decimate(np.zeros((4, 4, 4)), 5, 2)

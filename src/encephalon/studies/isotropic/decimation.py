# SPDX-License-Identifier: Apache-2.0
"""Thick slices as BABY-AI published them: slices left out and interpolated, with all the faults.

Source: spec baby-ai, section 4. No slice is thick: every k-th is kept as it is. What is kept is
stretched over the whole grid, which moves it by up to k - 1 voxels. For comparisons with published
results alone; `simulate` does what scanners do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError, UnreadableFileError, UsageError
from encephalon.io.atomic import atomic_path, refuse_existing
from encephalon.io.image import image_stem, image_suffix

if TYPE_CHECKING:
    from encephalon.io.image import Image

__all__ = ["FACTORS", "decimate", "decimated_path", "read_published", "write_published"]

Double = NDArray[np.float64]

#: The factors that were published.
FACTORS = (2, 3, 4, 5)
START_SLICE = 0


def decimate(data: NDArray[Any], factor: int, axis: int) -> Double:
    """`data` (I, J, K) with every `factor`-th slice of `axis` kept, back on its grid, float64.

    Bit for bit what `create_LR_img` makes of float64 data: SciPy's `zoom` of order 3 over all
    axes, which takes the first and the last kept slice for the first and the last voxel.
    Raises UsageError for a factor below 2, GeometryError where fewer than two slices are kept.
    """
    from scipy.ndimage import zoom

    if factor < 2:
        raise UsageError(f"Every slice is kept with a factor of {factor}: give 2 or more.")
    kept = [slice(None)] * 3
    kept[axis] = slice(START_SLICE, None, factor)
    down = np.asarray(data, dtype=np.float64)[tuple(kept)]
    if down.shape[axis] < 2:
        raise GeometryError(
            f"Of {data.shape[axis]} slices only {down.shape[axis]} is kept with a factor of "
            f"{factor}: give a smaller one."
        )
    return np.asarray(zoom(down, np.array(data.shape) / np.array(down.shape), order=3))


def decimated_path(folder: Path, source: Path, direction: str, factor: int) -> Path:
    """Where the published program writes: axial/LR4/<stem>_axial_T2w_LR4.nii.gz below `folder`."""
    name = f"{image_stem(source)}_{direction}_T2w_LR{factor}.nii.gz"
    return folder / direction / f"LR{factor}" / name


def read_published(image: Image) -> Double:
    """The voxels of a checked image as the published program reads them, float64.

    Scaled integers are scaled in double precision, where `read_image` is content with single.
    Raises UnreadableFileError for a file that nibabel cannot read.
    """
    source = image.source
    if source is None or (image_suffix(source) or "") not in (".nii", ".nii.gz"):
        return np.asarray(image.data, dtype=np.float64)
    import nibabel

    try:
        loaded: Any = nibabel.load(source)
        return np.asarray(loaded.get_fdata(dtype=np.float64)).reshape(image.shape)
    except Exception as error:  # nibabel has many errors of its own
        raise UnreadableFileError(f"{source}: the voxels could not be read: {error}.") from error


def write_published(data: Double, path: Path, like: Image, overwrite: bool = False) -> Path:
    """Write `data` (I, J, K) as float64 with the affine of `like` and nothing else of its header.

    Atomic. Raises OutputExistsError unless `overwrite`, OutputError when it cannot be written.
    """
    from nibabel.nifti1 import Nifti1Image

    refuse_existing(path, overwrite)
    make: Any = Nifti1Image  # nibabel has few types of its own
    image = make(data, like.affine.matrix)
    with atomic_path(path, overwrite) as temporary:
        image.to_filename(temporary)
    return path

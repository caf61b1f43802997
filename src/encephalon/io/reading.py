# SPDX-License-Identifier: Apache-2.0
"""Volumes in and out of files: one function each, whatever the format."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import (
    ContentError,
    GeometryError,
    MissingFileError,
    OutputError,
    UnreadableFileError,
)
from encephalon.geometry.affine import Affine, checked
from encephalon.io.atomic import atomic_path, refuse_existing
from encephalon.io.dicom_series import is_dicom
from encephalon.io.files import exists, is_folder
from encephalon.io.image import (
    FORMATS,
    Image,
    from_array,
    image_suffix,
    plain_numbers,
    volume_shape,
)

_log = logging.getLogger(__name__)

#: Share of voxels that may be no number where programs mark the air so: brains alone fill more.
MOST_AIR = 0.97
#: Share of the finite voxels that may be no number amid them: dark sinuses and skull that went with
#: the air, and failed fits of a map.
MOST_HOLES = 0.1


def read_image(
    source: Any, *, affine: Affine | None = None, check: bool = True, series: str | None = None
) -> Image:
    """Read one volume from a file, a DICOM folder, an array, a nibabel image or an Image.

    Integers keep their type unless the file scales them; everything else becomes float32. An
    array without `affine` gets 1 mm voxels in RAS order. With `check`, voxels that are not
    finite become 0, with a doubt, where they are few or air; voxels that are all equal are refused.
    `series` chooses among several DICOM series, or the volumes of one; see `io.dicom.read`.

    Raises MissingFileError, UnreadableFileError, GeometryError or ContentError, naming the file.
    """
    image = _decode(source, affine, series)
    if check:
        image = with_finite_voxels(image)
        low, high = image.data.min(), image.data.max()
        if low == high:
            what = "0: the image is empty" if low == 0 else f"{low:g}: the image is constant"
            raise ContentError(
                f"{image.name}: every voxel is {what}, so there is nothing to see; check the file."
            )
    for warning in image.warnings:
        _log.warning(warning)
    return image


def read_labels(source: Any, *, affine: Affine | None = None) -> Image:
    """Read a mask or label map: whole numbers from 0, in the smallest unsigned type.

    An empty mask is allowed. Raises ContentError for negative, fractional or infinite values,
    and what `read_image` raises for the file itself.
    """
    image = read_image(source, affine=affine, check=False)
    low, high = image.data.min(), image.data.max()
    whole = image.data.dtype.kind in "iu" or (
        bool(np.isfinite(low) and np.isfinite(high))
        and all(bool((np.mod(plane, 1) == 0).all()) for plane in image.data)
    )
    if not whole or low < 0:
        raise ContentError(
            f"{image.name}: expected labels (whole numbers from 0), but the values are "
            f"{'whole' if whole else 'not whole'} and run from {low:g} to {high:g}; give a mask "
            "or label map."
        )
    return replace(image, data=image.data.astype(np.min_scalar_type(int(high)), copy=False))


def write_image(data: NDArray[Any], path: str | Path, like: Image, overwrite: bool = False) -> Path:
    """Write `data` (I, J, K) on the grid of `like`, atomically; returns the path.

    Masks become uint8, integers keep their type and the rest becomes float32. NIfTI keeps the
    qform, the sform and their codes when `like` came from NIfTI. The suffix names the format:
    .nii.gz, .nii, .mgz, .mgh, .nrrd, .mha, .npy or .npz.

    Raises OutputExistsError, OutputError (also for an unknown suffix), or GeometryError when the
    shape is another than that of `like`.
    """
    path = Path(path)
    write = image_writer(data, path, like)
    refuse_existing(path, overwrite)
    with atomic_path(path, overwrite) as temporary:
        write(temporary)
    return path


def image_writer(data: NDArray[Any], path: Path, like: Image) -> Callable[[Path], None]:
    """What writes `data` (I, J, K) on the grid of `like` in the format of `path`, to any path.

    For writers of several files that are to appear together; the errors are those of
    `write_image`, here those of `data`, and there, when called, those of the disk.
    """
    name, writes = FORMATS.get(image_suffix(path) or "", ("", False))
    if not writes:
        known = ", ".join(suffix for suffix, (_, writes) in FORMATS.items() if writes)
        raise OutputError(
            f"{path} could not be written: the name of an image must end in one of {known}."
        )
    if data.shape != like.shape:
        raise GeometryError(
            f"{path}: expected data of shape {like.shape}, the grid of {like.name}, but it is "
            f"{data.shape}."
        )
    module = import_module(f"encephalon.io.{name}")
    return partial(module.write, data=plain_numbers(data, path), like=like)


def _decode(source: Any, affine: Affine | None, series: str | None) -> Image:
    if isinstance(source, Image):  # which may have been made of anything
        given = np.asanyarray(source.data)
        data = from_array(given, source.affine, source.source).data
        is_same = given is source.data and (data.shape, data.dtype) == (given.shape, given.dtype)
        return source if is_same else replace(source, data=data)
    if isinstance(source, np.ndarray):
        return from_array(source, affine)
    if hasattr(source, "dataobj"):
        name = source.get_filename() or "the nibabel image"
        shape = volume_shape(source.shape, name)
        affine, warnings = checked(source.affine, name)
        try:
            data = np.asanyarray(source.dataobj).reshape(shape, order="F")
        except (OSError, ValueError, EOFError) as error:
            raise UnreadableFileError(f"{name}: the voxels could not be read: {error}.") from error
        file = Path(source.get_filename()) if source.get_filename() else None
        return Image(plain_numbers(data, name), affine, file, source.header, tuple(warnings))
    if not isinstance(source, str | os.PathLike):
        raise ContentError(
            "expected a path, a NumPy array (I, J, K), a nibabel image or an Image, but got "
            f"{type(source).__name__}; convert it."
        )
    path = Path(os.fsdecode(source))
    suffix = image_suffix(path)
    if suffix is not None and not is_folder(path):
        name = FORMATS[suffix][0]
    elif is_folder(path) or is_dicom(path):
        name = "dicom"
    elif exists(path):
        raise UnreadableFileError(
            f"{path}: expected an image named {', '.join(FORMATS)}, a DICOM file or a folder of "
            f"such, but the suffix is {path.suffix!r}; convert or rename it."
        )
    else:
        raise MissingFileError(f"{path}: there is no such file or folder; check the path.")
    chosen = {"series": series} if name == "dicom" else {}
    image: Image = import_module(f"encephalon.io.{name}").read(path, **chosen)
    return image


def with_finite_voxels(image: Image) -> Image:
    """`image` with 0 where a voxel (I, J, K) was NaN or infinite, and that as a doubt.

    Raises ContentError where so many are that the head cannot be there: nearly all, or many that
    others enclose.
    """
    data = image.data
    if data.dtype.kind != "f" or bool(np.isfinite(data.min()) and np.isfinite(data.max())):
        return image
    finite = np.isfinite(data)
    holes = _holes(~finite)
    wrong = data.size - int(np.count_nonzero(finite))
    if wrong > MOST_AIR * data.size or holes > MOST_HOLES * (data.size - wrong):
        count = "all" if wrong == data.size else f"{wrong:,} of {data.size:,}"
        amid = f", {holes:,} of them amid the others" if holes else ""
        raise ContentError(
            f"{image.name}: {count} voxels are NaN or infinite{amid}, too many to be mended; "
            "convert the file again."
        )
    air = wrong - holes
    mended = replace(image, data=np.where(finite, data, np.float32(0)))
    where = [f"{air:,} of the air"] * bool(air) + [f"{holes:,} amid the others"] * bool(holes)
    return mended.doubted(f"voxels were NaN or infinite and are now 0: {' and '.join(where)}")


def _holes(wrong: NDArray[np.bool_]) -> int:
    """How many of the voxels `wrong` (I, J, K) are enclosed by others."""
    from scipy import ndimage

    pieces, count = ndimage.label(wrong)
    border = np.zeros(count + 1, bool)
    for axis in range(3):
        for end in (0, -1):
            border[np.unique(pieces.take(end, axis=axis))] = True
    border[0] = True
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    return int(sizes[~border].sum())

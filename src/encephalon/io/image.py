# SPDX-License-Identifier: Apache-2.0
"""The image in memory, and the way in and out: one function each, whatever the format."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from encephalon.geometry import Affine, Grid, checked
from encephalon.io.atomic import atomic_path, refuse_existing
from encephalon.io.content import plain_numbers, refuse_useless, volume_shape
from encephalon.io.files import exists, is_folder

_log = logging.getLogger(__name__)

# suffix -> (module with read(path) -> Image, whether it has write(path, data, like) as well)
_FORMATS = {
    ".nii.gz": ("nifti", True),
    ".nii": ("nifti", True),
    ".mgz": ("mgz", True),
    ".mgh": ("mgz", True),
    ".npy": ("arrays", True),
    ".npz": ("arrays", True),
    ".dcm": ("dicom", False),
    ".ima": ("dicom", False),
}
IMAGE_SUFFIXES = tuple(_FORMATS)
#: A file of these is one slice of a volume; they are read and never written.
SLICE_SUFFIXES = tuple(suffix for suffix, (_, writes) in _FORMATS.items() if not writes)


@dataclass(frozen=True, eq=False)
class Image:
    """One volume: `data` (I, J, K) of a real type, its place in the world and where it came from.

    `header` is what the format needs to write on the same grid again (nibabel's header, or
    None); `warnings` are sentences about what was noticed while reading. Those of them that put
    what is made from the image in doubt are `doubts` too, as reasons without the name.
    """

    data: NDArray[Any] = field(repr=False)
    affine: Affine
    source: Path | None = None
    header: Any = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def doubted(self, reason: str) -> Image:
        """The same image with one more doubt, which is a warning as well."""
        warning = f"{self.name}: {reason}."
        return replace(self, warnings=(*self.warnings, warning), doubts=(*self.doubts, reason))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""
        i, j, k = self.data.shape
        return i, j, k

    @property
    def grid(self) -> Grid:
        """Shape and affine together."""
        return Grid(self.shape, self.affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edges along i, j, k, mm."""
        return self.affine.spacing

    @property
    def volume_ml_per_voxel(self) -> float:
        """Volume of one voxel, mL."""
        return self.affine.voxel_volume / 1000.0

    @property
    def name(self) -> str:
        """What messages call it: the path, or 'the array'."""
        return str(self.source) if self.source is not None else "the array"


def image_suffix(path: str | Path) -> str | None:
    """The known image suffix that `path` ends in (lower case, '.nii.gz' whole), or None."""
    name = Path(path).name.lower()
    return next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), None)


def image_stem(path: str | Path) -> str:
    """The file name without its image suffix: 'scan' for 'scan.nii.gz'."""
    name, suffix = Path(path).name, image_suffix(path)
    return name[: -len(suffix)] if suffix else Path(path).stem


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
        from encephalon.io.finite import with_finite_voxels

        image = with_finite_voxels(image)
        content_check(image)
    for warning in image.warnings:
        _log.warning(warning)
    return image


def content_check(image: Image) -> None:
    """Raise ContentError when the voxels are not finite or all equal."""
    refuse_useless(image.data, image.name)


def read_labels(source: Any, *, affine: Affine | None = None) -> Image:
    """Read a mask or label map: whole numbers from 0, in the smallest unsigned type.

    An empty mask is allowed. Raises ContentError for negative, fractional or infinite values,
    and what `read_image` raises for the file itself.
    """
    image = read_image(source, affine=affine, check=False)
    low, high = image.data.min(), image.data.max()
    whole = image.data.dtype.kind in "iu" or bool(
        np.isfinite(low) and np.isfinite(high) and _all_whole(image.data)
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
    .nii.gz, .nii, .mgz, .mgh, .npy or .npz.

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
    module = _writer(path)
    if data.shape != like.shape:
        raise GeometryError(
            f"{path}: expected data of shape {like.shape}, the grid of {like.name}, but it is "
            f"{data.shape}."
        )
    plain = plain_numbers(data, path)

    def write(target: Path) -> None:
        module.write(target, plain, like)

    return write


def from_array(
    data: NDArray[Any], affine: Affine | None, source: Path | None = None, header: Any = None
) -> Image:
    """An Image of `data` after the checks of shape and type; 1 mm RAS voxels without `affine`."""
    name = source or "the array"
    data = data.reshape(volume_shape(data.shape, name), order="F")
    warnings: tuple[str, ...] = ()
    if affine is None:
        affine = Affine.from_spacing(1.0)
        warnings = (f"{name}: no affine came with the array; 1 mm voxels in RAS order assumed.",)
    return Image(plain_numbers(data, name), affine, source, header, warnings)


def _decode(source: Any, affine: Affine | None, series: str | None) -> Image:
    if isinstance(source, Image):
        return source
    if isinstance(source, np.ndarray):
        return from_array(source, affine)
    if hasattr(source, "dataobj"):
        return _from_nibabel(source)
    if not isinstance(source, str | os.PathLike):
        raise ContentError(
            "expected a path, a NumPy array (I, J, K), a nibabel image or an Image, but got "
            f"{type(source).__name__}; convert it."
        )
    path = Path(os.fsdecode(source))
    module = _module(path)
    chosen = {"series": series} if module.__name__.endswith("dicom") else {}
    image: Image = module.read(path, **chosen)
    return image


def _from_nibabel(image: Any) -> Image:
    name = image.get_filename() or "the nibabel image"
    shape = volume_shape(image.shape, name)
    affine, warnings = checked(image.affine, name)
    try:
        data = np.asanyarray(image.dataobj).reshape(shape, order="F")
    except (OSError, ValueError, EOFError) as error:
        raise UnreadableFileError(f"{name}: the voxels could not be read: {error}.") from error
    source = Path(image.get_filename()) if image.get_filename() else None
    return Image(plain_numbers(data, name), affine, source, image.header, tuple(warnings))


def _module(path: Path) -> Any:
    suffix = image_suffix(path)
    if suffix is None or is_folder(path):
        dicom = import_module("encephalon.io.dicom")
        if is_folder(path) or dicom.is_dicom(path):
            return dicom
        if not exists(path):
            raise MissingFileError(f"{path}: there is no such file or folder; check the path.")
        raise UnreadableFileError(
            f"{path}: expected an image named {', '.join(_FORMATS)}, a DICOM file or a folder of "
            f"such, but the suffix is {path.suffix!r}; convert or rename it."
        )
    return import_module(f"encephalon.io.{_FORMATS[suffix][0]}")


def _writer(path: Path) -> Any:
    name, writes = _FORMATS.get(image_suffix(path) or "", ("", False))
    if not writes:
        known = ", ".join(suffix for suffix, (_, writes) in _FORMATS.items() if writes)
        raise OutputError(
            f"{path} could not be written: the name of an image must end in one of {known}."
        )
    return import_module(f"encephalon.io.{name}")


def _all_whole(data: NDArray[Any]) -> bool:
    return all(bool(np.equal(np.mod(plane, 1), 0).all()) for plane in data)

# SPDX-License-Identifier: Apache-2.0
"""The image in memory, and the voxels of a file: their shape, their type and their bytes.

Both NIfTI and MGH store them one after the other, i fastest.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, GeometryError, UnreadableFileError
from encephalon.geometry.affine import Affine, Grid, checked

Data = NDArray[Any]

_SLAB_BYTES = 4 * 2**20  # converted at once while writing
# suffix -> (module with read(path) -> Image, whether it has write(path, data, like) as well)
FORMATS = {
    ".nii.gz": ("nifti", True),
    ".nii": ("nifti", True),
    ".mgz": ("mgz", True),
    ".mgh": ("mgz", True),
    ".nrrd": ("itk", True),
    ".mha": ("itk", True),
    ".npy": ("arrays", True),
    ".npz": ("arrays", True),
    ".dcm": ("dicom", False),
    ".ima": ("dicom", False),
}
IMAGE_SUFFIXES = tuple(FORMATS)
#: A file of these is one slice of a volume; they are read and never written.
SLICE_SUFFIXES = tuple(suffix for suffix, (_, writes) in FORMATS.items() if not writes)


@dataclass(frozen=True, eq=False)
class Image:
    """One volume: `data` (I, J, K) of a real type, its place in the world and where it came from.

    An `affine` that is a plain matrix (4, 4), as nibabel has it, becomes an `Affine`; it may raise
    GeometryError.
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

    def __post_init__(self) -> None:
        given: Any = self.affine
        if not isinstance(given, Affine):
            object.__setattr__(self, "affine", checked(given, "the affine")[0])

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


def placed(data: Any, affine: Any) -> Image:
    """An array (I, J, K) with its `affine` (4, 4), mm, as an Image.

    Raises ContentError for what is no array, as a file has its own affine, and GeometryError.
    """
    if not isinstance(data, np.ndarray):
        kind, has_own = type(data).__name__, isinstance(data, str | os.PathLike)
        advice = (
            f"a {kind}, which has its own: leave the affine out"
            if has_own or hasattr(data, "affine")
            else f"a {kind}: convert it with numpy.asarray"
        )
        raise ContentError(f"an affine goes with an array (I, J, K), and this is {advice}.")
    place, warnings = checked(getattr(affine, "matrix", affine), "the affine")
    image = from_array(data, place)
    return replace(image, warnings=(*image.warnings, *warnings))


def from_array(data: Data, affine: Affine | None, source: Path | None = None) -> Image:
    """An Image of `data` after the checks of shape and type; 1 mm RAS voxels without `affine`."""
    name = source or "the array"
    data = data.reshape(volume_shape(data.shape, name), order="F")
    warnings: tuple[str, ...] = ()
    if affine is None:
        affine = Affine.from_spacing(1.0)
        warnings = (f"{name}: no affine came with the array; 1 mm voxels in RAS order assumed.",)
    return Image(plain_numbers(data, name), affine, source, None, warnings)


def volume_shape(shape: tuple[int, ...], source: object) -> tuple[int, int, int]:
    """`shape` without trailing axes of one: (I, J, K).

    Raises ContentError for a series of volumes, and GeometryError for no voxels, a single
    slice or a volume one voxel thick.
    """
    sizes = tuple(int(n) for n in shape)
    if not sizes or min(sizes) < 1:
        raise GeometryError(
            f"{source}: expected a 3-D volume, but the shape {sizes} holds no voxels."
        )
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]
    if len(sizes) > 3 and sizes[0] == 1:
        raise ContentError(
            f"{source}: expected one 3-D volume, but the shape is {sizes}, whose first axis has a "
            "single voxel; save it without that axis."
        )
    if len(sizes) > 3:
        count = math.prod(sizes[3:])
        raise ContentError(
            f"{source}: expected one 3-D volume, but the shape is {sizes}, {count} volumes in one "
            "file; save the one that you want as a file of its own."
        )
    if len(sizes) < 3 or min(sizes) == 1:
        raise GeometryError(
            f"{source}: expected a 3-D volume, but the shape is {sizes}, a single slice; give a "
            "volume of at least two voxels along each axis."
        )
    return sizes[0], sizes[1], sizes[2]


def plain_numbers(data: Data, source: object, *, ours: bool = False) -> Data:
    """`data` as uint8 (from truth values), its own integer type, or float32; native byte order.

    The array may be changed in place only if it is `ours`, read from a file and seen by nobody yet.
    Raises ContentError for colours, complex numbers and anything else that is not one real
    number a voxel.
    """
    kind = data.dtype
    if kind == np.bool_:
        return data.view(np.uint8)
    if kind.kind not in "iuf":
        advice = (
            "convert colours or complex values to a single grey value"
            if kind.kind in "cV"
            else "convert them to numbers, such as with astype(float)"
        )
        raise ContentError(
            f"{source}: expected one real number a voxel, but the voxels are of type {kind}; "
            f"{advice}."
        )
    if not kind.isnative:
        data = data.byteswap(inplace=ours and data.flags.writeable).view(kind.newbyteorder("="))
    if kind.kind == "f":
        with np.errstate(over="ignore"):  # what overflows turns infinite and is refused by its name
            return data.astype(np.float32, copy=False)
    return data


def stored_voxels(
    content: bytearray,
    kind: np.dtype[Any],
    shape: tuple[int, int, int],
    offset: int,
    source: object,
) -> Data:
    """The voxels (I, J, K) of type `kind` from byte `offset` of `content` on, without a copy.

    Raises UnreadableFileError, naming `source`, when there are fewer than `shape` promises.
    """
    count = math.prod(shape)
    found = max(0, len(content) - offset) // kind.itemsize if kind.itemsize else 0
    if found < count:
        raise UnreadableFileError(
            f"{source}: the file is truncated: its header promises {count:,} voxels, but only "
            f"{found:,} are there; copy or download it again."
        )
    return np.frombuffer(content, kind, count, offset).reshape(shape, order="F")


def as_stored(data: NDArray[Any], kind: np.dtype[Any]) -> Iterator[bytes]:
    """The bytes of `data` (I, J, K) as `kind`, a few slices of k at a time."""
    depth = max(1, _SLAB_BYTES // max(1, data[:, :, :1].nbytes))
    for first in range(0, data.shape[2], depth):
        yield data[:, :, first : first + depth].astype(kind, copy=False).tobytes(order="F")

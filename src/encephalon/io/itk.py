# SPDX-License-Identifier: Apache-2.0
"""NRRD (`.nrrd`) and MetaImage (`.mha`), as 3D Slicer and ITK write them, by SimpleITK.

ITK counts millimetres towards the left, the back and the head (LPS), everything here towards the
right, the front and the head (RAS).
"""

from __future__ import annotations

import math
import re
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, GeometryError, UnreadableFileError
from encephalon.geometry.affine import Affine, checked, is_sheared
from encephalon.io.files import opened
from encephalon.io.image import Image, image_suffix, plain_numbers, volume_shape

_IMAGE_IO = {".nrrd": "NrrdImageIO", ".mha": "MetaImageIO"}
_LPS = np.array([-1.0, -1.0, 1.0])
_LONGEST_HEADER, _PART = 1 << 20, 1 << 24  # bytes
_ELSEWHERE = "its voxels lie in another file, by which it would not be known;"
# A unit of length other than millimetres.
_UNITS = re.compile(rb'(?im)^(?:space units: *|DistanceUnits *= *)"?(?!\?|mm\b|millimet)(\w+).*$')
# What ends a header, says that the voxels are elsewhere, and that they are packed; the container of
# these for zlib (gzip, and zlib's own): teem.sourceforge.net/nrrd/format.html and itk.org/Wiki,
# "MetaIO/Documentation".
_HEADERS = {
    ".nrrd": (rb"\r?\n\r?\n", rb"(?im)^data ?file:", rb"(?im)^encoding: *(gzip|gz)\s", 31),
    ".mha": (
        rb"(?im)^ElementDataFile *=.*\r?\n",
        rb"(?im)^ElementDataFile *=(?! *LOCAL\s)",
        rb"(?im)^CompressedData *= *True\s",
        15,
    ),
}


def read(path: str | Path) -> Image:
    """Read a volume; the errors are those of a NIfTI file."""
    sitk: Any = import_module("SimpleITK")

    path = Path(path)
    with opened(path) as stream:
        room = _room(stream, path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(_IMAGE_IO[image_suffix(path) or ""])
    try:
        reader.ReadImageInformation()
        _check_promise(reader, room, path)
        image = reader.Execute()
    except (RuntimeError, MemoryError) as error:
        why = str(error).strip().splitlines()[-1].removeprefix("ITK ERROR: ").rstrip(".")
        raise UnreadableFileError(
            f"{path}: ITK cannot read the image ({why}); copy or save it again."
        ) from error
    lps = np.reshape(image.GetDirection(), (3, 3))
    matrix = np.eye(4)
    matrix[:3, :3] = _LPS[:, None] * lps * np.asarray(image.GetSpacing())
    matrix[:3, 3] = _LPS * image.GetOrigin()
    affine, warnings = checked(matrix, path)
    if path.suffix.lower() == ".nrrd" and _space(image) != "left-posterior-superior":
        warnings.append(f"{path}: the file does not say which way its axes point; LPS assumed.")
    data = np.transpose(sitk.GetArrayFromImage(image))
    return Image(plain_numbers(data, path, ours=True), affine, path, None, tuple(warnings))


def write(path: Path, data: NDArray[Any], like: Image) -> None:
    """Write `data` (I, J, K) to `path` on the grid of `like`, packed.

    Raises GeometryError for axes that are not at right angles, which the formats cannot place.
    """
    sitk: Any = import_module("SimpleITK")

    affine: Affine = like.affine
    if is_sheared(affine):
        raise GeometryError(
            f"{path}: the axes of {like.name} are not at right angles, which this format cannot "
            "say; write NIfTI."
        )
    image = sitk.GetImageFromArray(np.transpose(data))
    image.SetSpacing(affine.spacing)
    image.SetOrigin((_LPS * affine.origin).tolist())
    image.SetDirection((_LPS[:, None] * affine.direction).ravel().tolist())
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.SetImageIO(_IMAGE_IO[image_suffix(path) or ""])
    writer.UseCompressionOn()
    try:
        writer.Execute(image)
    except RuntimeError as error:
        raise OSError(str(error).strip().splitlines()[-1]) from error


def write_transform(matrix: NDArray[Any], path: Path) -> None:
    """Write `matrix` (4, 4), from points of one world to those of another, RAS mm, for ITK.

    The ending is .tfm. ITK, ANTs and 3D Slicer bring an image of the second world to a grid in the
    first one by it, as it stands.
    """
    sitk: Any = import_module("SimpleITK")

    transform = sitk.AffineTransform(3)
    transform.SetMatrix((_LPS[:, None] * matrix[:3, :3] * _LPS).ravel().tolist())
    transform.SetTranslation((_LPS * matrix[:3, 3]).tolist())
    sitk.WriteTransform(transform, str(path))


def _space(image: Any) -> str:
    """Of a NRRD; ITK calls it LPS where it knew the space, and turned the axes."""
    key = "NRRD_space"
    return str(image.GetMetaData(key)) if image.HasMetaDataKey(key) else ""


def _room(stream: BinaryIO, path: Path) -> int:
    """How many bytes of voxels there are.

    ITK takes whatever comes out of damaged packed voxels without a word, so that they are unpacked
    here before, to compare their checksum. Raises UnreadableFileError for damaged ones, and for
    voxels in another file.
    """
    ends, elsewhere, packed, container = _HEADERS[image_suffix(path) or ""]
    start = stream.read(_LONGEST_HEADER)
    end = re.search(ends, start)
    if end is None or re.search(elsewhere, start[: end.end()]):
        raise UnreadableFileError(
            f"{path}: {'no header of an image was found; copy or' if end is None else _ELSEWHERE} "
            "save it again."
        )
    if unit := re.search(_UNITS, start[: end.end()]):  # which ITK passes over
        raise GeometryError(
            f"{path}: expected millimetres, but the header counts in {unit[1].decode()}; change "
            "the numbers to millimetres, and the unit, and save it again."
        )
    stream.seek(end.end())
    if not re.search(packed, start[: end.end()]):
        return stream.seek(0, 2) - end.end()
    unpacker, count = zlib.decompressobj(container), 0
    try:
        while not unpacker.eof and (part := unpacker.unconsumed_tail or stream.read(_PART)):
            count += len(unpacker.decompress(part, _PART))
    except zlib.error as error:
        raise UnreadableFileError(
            f"{path}: its packed voxels are damaged ({error}); copy or download it again."
        ) from error
    return count


def _check_promise(reader: Any, room: int, path: Path) -> None:
    """Refuse other than one volume of numbers, and more voxels than there is room for."""
    sitk: Any = import_module("SimpleITK")

    shape, values = volume_shape(reader.GetSize(), path), reader.GetNumberOfComponents()
    if values != 1:
        raise ContentError(
            f"{path}: expected one 3-D volume, but every voxel has {values} values; save the one "
            "that you want as a file of its own."
        )
    width = sitk.Image([1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
    if math.prod(shape) * width > room:
        raise UnreadableFileError(
            f"{path}: the file is truncated: its header promises {math.prod(shape):,} voxels, but "
            "fewer are there; copy or download it again."
        )

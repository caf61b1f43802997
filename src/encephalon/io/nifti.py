# SPDX-License-Identifier: Apache-2.0
"""NIfTI-1 and NIfTI-2, packed or not: `.nii` and `.nii.gz`."""

from __future__ import annotations

import math
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, GeometryError, UnreadableFileError
from encephalon.geometry.affine import Affine, checked, is_sheared
from encephalon.io.files import read_bytes, write_stream
from encephalon.io.image import Image, as_stored, plain_numbers, stored_voxels, volume_shape

_SIZES = {348: "Nifti1Header", 540: "Nifti2Header"}
# xyzt_units, lowest three bits -> mm (nifti1.h: 1 metre, 2 millimetre, 3 micrometre).
_MILLIMETRES = {1: 1000.0, 3: 0.001}
# Relative difference between pixdim and the affine's spacing worth a warning.
_SPACING_TOLERANCE = 0.01
# Smallest extent that can be a head's, mm; one below it that is in micrometres may be a mistake.
_SMALLEST_HEAD = 10.0
# Length beyond 1 of a quaternion that float32 and programs that chain rotations explain.
_QUATERNION_ROUNDING = 1e-5
# Types of voxels (nifti1.h) that no reader agrees on.
_NOT_READ = {0: "unknown", 1: "single bits", 1536: "128-bit numbers", 2048: "256-bit complex"}
_LARGEST_OFFSET = 1 << 28  # far above any extension that stands between header and voxels
_LARGEST_NIFTI1 = 32767  # dim is int16
# What an image on the same grid inherits: where it is. Its values and their display are its own.
_KEPT = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
)


def read(path: str | Path) -> Image:
    """Read a NIfTI file; the voxels are views into one buffer unless the file scales them.

    Raises the errors of `read_bytes`, UnreadableFileError for a header that is not NIfTI or
    fewer voxels than it promises, GeometryError and ContentError for what makes no sense.
    """
    path = Path(path)
    content = read_bytes(path, partial(_size, path=path))
    header = _parse(content, path)
    shape = volume_shape(_stored_shape(header, path), path)
    affine, warnings = header_affine(header, path)
    raw = stored_voxels(content, _kind(header, path), shape, _offset(header, path), path)
    data = plain_numbers(raw, path, ours=True)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    # A slope of 0 or NaN means "not scaled".
    if math.isfinite(slope) and slope != 0.0 and (slope, intercept) != (1.0, 0.0):
        data = data.astype(np.float32)
        data *= np.float32(slope)
        if math.isfinite(intercept) and intercept != 0.0:
            data += np.float32(intercept)
    image = Image(data, affine, path, header, tuple(warnings))
    if len(content) > _size(content, path):
        image = image.doubted(
            "the file goes on after the voxels that its header promises, so its dim may be wrong"
        )
    return image


def write(path: Path, data: NDArray[Any], like: Image) -> None:
    """Write `data` (I, J, K) to `path` on the grid of `like`, voxels in the order of the type."""
    start = _header_like(data, like).binaryblock + b"\0\0\0\0"
    chunks = chain([start], as_stored(data, data.dtype))
    write_stream(path, chunks, packed=path.name.lower().endswith(".gz"))


def as_nibabel(data: NDArray[Any], like: Image) -> Any:
    """`data` (I, J, K) on the grid of `like` as an image of nibabel, as `write` would write it."""
    nibabel, header = _nibabel(), _header_like(data, like)
    large = isinstance(header, nibabel.Nifti2Header)
    return (nibabel.Nifti2Image if large else nibabel.Nifti1Image)(
        data, header.get_best_affine(), header
    )


def _header_like(data: NDArray[Any], like: Image) -> Any:
    nibabel = _nibabel()
    source = like.header if isinstance(like.header, nibabel.Nifti1Header) else None
    large = isinstance(source, nibabel.Nifti2Header) or max(data.shape) > _LARGEST_NIFTI1
    header = (nibabel.Nifti2Header if large else nibabel.Nifti1Header)(endianness="<")
    if source is not None:
        for name in _KEPT:
            header[name] = source[name]
    header.set_data_shape(data.shape)
    header.set_data_dtype(data.dtype)
    header["vox_offset"] = int(header["sizeof_hdr"]) + 4
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    try:
        placed = source is not None and header_affine(header, like.name)[0].is_close(like.affine)
    except GeometryError:
        placed = False
    if not placed:
        code = int(header["sform_code"]) or int(header["qform_code"]) or 1
        header.set_sform(like.affine.matrix, code)
        # A qform holds a rotation alone.
        header.set_qform(like.affine.matrix, 0 if is_sheared(like.affine) else code)
        header.set_xyzt_units("mm")
    return header


def header_affine(header: Any, source: object) -> tuple[Affine, list[str]]:
    """The affine of a NIfTI header in mm, checked: sform before qform before voxel sizes alone.

    Raises GeometryError for a voxel size of zero and for a singular or infinite affine.
    """
    spacing = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    if not (np.isfinite(spacing).all() and spacing.min() > 0):
        text = " x ".join(f"{s:g}" for s in spacing)
        raise GeometryError(
            f"{source}: the voxel size must be positive, but pixdim is {text}; fix the header."
        )
    scale = _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    try:
        matrix = np.array(header.get_best_affine(), dtype=np.float64)
    except (ValueError, ArithmeticError, _nibabel().spatialimages.HeaderDataError) as error:
        raise GeometryError(
            f"{source}: the affine makes no sense ({error}); fix the qform or the sform."
        ) from error
    matrix[:3] *= scale
    affine, warnings = checked(matrix, source)
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        warnings.append(
            f"{source}: neither qform nor sform is set, so left and right are not known; the "
            f"voxel axes are taken as {affine.codes}."
        )
    elif not warnings and not np.allclose(affine.spacing, spacing * scale, rtol=_SPACING_TOLERANCE):
        stored, used = _sizes(spacing * scale), _sizes(affine.spacing)
        warnings.append(f"{source}: pixdim is {stored} mm, the affine has {used} mm and is used.")
    if _mirrored(header):
        warnings.append(
            f"{source}: the sform and the qform disagree on left and right; the sform is used: "
            "make sure that it is right, and set both alike."
        )
    extent = np.asarray(affine.spacing) * header["dim"][1:4]
    if scale == _MILLIMETRES[3] and extent.max() < _SMALLEST_HEAD:
        warnings.append(
            f"{source}: the unit of its sizes is the micrometre, which makes a voxel of "
            f"{_sizes(affine.spacing)} mm; if its numbers are millimetres, mend the unit."
        )
    return affine, warnings


def _mirrored(header: Any) -> bool:
    """Whether both forms are set, and voxel steps that go right in one go left in the other."""
    if min(int(header["sform_code"]), int(header["qform_code"])) <= 0:
        return False
    try:
        forms = header.get_sform(), header.get_qform()
    except (ValueError, ArithmeticError, _nibabel().spatialimages.HeaderDataError):
        return False  # a qform that nobody uses may be damaged
    sform, qform = (form[0, :3] / np.linalg.norm(form[:3, :3], axis=0) for form in forms)
    return bool(sform @ qform < 0)


def _sizes(spacing: Any) -> str:
    return " x ".join(f"{size:.4g}" for size in spacing)


def _mended(header: Any) -> Any:
    """The header with what rounding and careless writers do to a qform put right.

    As the standard's own reader does (nifti1_io.c): a pixdim[0] that is not -1 means 1, and a
    quaternion that is too long by rounding has no real part. A sform of zeros was never set.
    """
    header["pixdim"][0] = -1.0 if header["pixdim"][0] < 0 else 1.0
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    rows = ("srow_x", "srow_y", "srow_z")
    if int(header["qform_code"]) > 0 and not any(header[row][:3].any() for row in rows):
        header["sform_code"] = 0
    parts = ("quatern_b", "quatern_c", "quatern_d")
    length = math.hypot(*(float(header[part]) for part in parts))
    if 1.0 < length <= 1.0 + _QUATERNION_ROUNDING:
        for part in parts:
            header[part] = float(header[part]) / length
    return header


def _parse(content: bytes | bytearray, path: Path) -> Any:
    sizes = {int.from_bytes(content[:4], order): order for order in ("little", "big")}
    size = next((size for size in sizes if size in _SIZES), None)
    if size is None or len(content) < size:
        found = f"it begins with the bytes {bytes(content[:4]).hex(' ')}"
        if len(content) < min(_SIZES):
            found = f"there are only {len(content)} bytes in it"
        raise UnreadableFileError(
            f"{path}: expected a NIfTI file, but {found}; check what the file is, or download it "
            "again."
        )
    kind = getattr(_nibabel(), _SIZES[size])
    header = kind.from_fileobj(BytesIO(bytes(content[:size])), check=False)
    magic = bytes(header["magic"].item())[:3]
    if magic not in (b"n+1", b"n+2"):
        what = "a header whose voxels are in another file" if magic[:2] == b"ni" else "not NIfTI"
        raise UnreadableFileError(
            f"{path}: expected NIfTI with its voxels inside, but this is {what}; convert it."
        )
    return _mended(header)


def _stored_shape(header: Any, path: Path) -> tuple[int, ...]:
    dim = [int(n) for n in header["dim"]]
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 0:
        raise UnreadableFileError(
            f"{path}: the header is damaged, its dim is {dim}; copy or download it again."
        )
    shape = dim[1 : dim[0] + 1]
    # Axes beyond the third that have 0 have 1 for the standard's own reader.
    return (*shape[:3], *(n or 1 for n in shape[3:]))


def _size(content: bytes | bytearray, path: Path) -> int:
    """Bytes that the file should have: its header, its voxels, and less than one voxel more."""
    header = _parse(content, path)
    shape = volume_shape(_stored_shape(header, path), path)
    return _offset(header, path) + (math.prod(shape) + 1) * _kind(header, path).itemsize - 1


def _kind(header: Any, path: Path) -> np.dtype[Any]:
    """The type of the voxels, in the byte order of the file."""
    code = int(header["datatype"])
    if code in _NOT_READ:
        raise ContentError(
            f"{path}: the voxels are of type {code} ({_NOT_READ[code]}), which is not read; "
            "convert them to whole numbers or to float32."
        )
    try:
        kind: np.dtype[Any] = header.get_data_dtype()
    except Exception as error:  # nibabel raises its own class for unknown codes
        raise ContentError(f"{path}: the voxel type {code} is not known to NIfTI.") from error
    return kind


def _offset(header: Any, path: Path) -> int:
    """Where the voxels begin; some programs leave 0 and mean the end of the header."""
    stored, size = float(header["vox_offset"]), int(header["sizeof_hdr"])
    if stored == 0:
        return size + 4
    if not (math.isfinite(stored) and size <= stored <= _LARGEST_OFFSET):
        raise UnreadableFileError(
            f"{path}: the header is damaged, its vox_offset is {stored:g}; copy or download it "
            "again."
        )
    return int(stored)


def _nibabel() -> Any:
    """nibabel, imported when first needed and, having few types of its own, untyped."""
    import nibabel

    return nibabel

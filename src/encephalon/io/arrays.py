# SPDX-License-Identifier: Apache-2.0
"""NumPy files: `.npy` holds voxels alone, `.npz` holds `data` (I, J, K) and `affine` (4, 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UnreadableFileError
from encephalon.geometry import checked
from encephalon.io.files import need_file, refuse_foreign
from encephalon.io.image import Image, from_array


def read(path: str | Path) -> Image:
    """Read a NumPy file, never unpickling anything; the errors are those of a NIfTI file."""
    path = Path(path)
    need_file(path)
    refuse_foreign(path)
    try:
        data, matrix = _load(path)
    except Exception as error:  # damage makes numpy and zipfile raise a dozen classes
        reason = str(error).split("\n")[0].rstrip(".")
        message = f"{path}: the NumPy file could not be read ({reason}); write it again."
        raise UnreadableFileError(message) from error
    if matrix is None:
        return from_array(data, None, path)
    affine, warnings = checked(matrix, path)
    image = from_array(data, affine, path)
    return Image(image.data, affine, path, None, tuple(warnings))


def write(path: Path, data: NDArray[Any], like: Image) -> None:
    """Write `data` (I, J, K), and in `.npz` the affine of `like`, to `path`."""
    with path.open("wb") as stream:
        if path.name.lower().endswith(".npz"):
            np.savez_compressed(stream, data=data, affine=like.affine.matrix)
        else:
            np.save(stream, data, allow_pickle=False)


def _load(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    with path.open("rb") as stream:
        loaded = np.load(stream, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded, None
        names = set(loaded.files)
        arrays = sorted(names - {"affine"})
        if "data" not in names and len(arrays) != 1:
            message = f"expected arrays named 'data' and 'affine', found {sorted(names)}"
            raise ValueError(message)
        data = loaded["data" if "data" in names else arrays[0]]
        return data, loaded["affine"] if "affine" in names else None

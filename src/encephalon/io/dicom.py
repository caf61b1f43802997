# SPDX-License-Identifier: Apache-2.0
"""A DICOM series: every slice of one acquisition in a folder, or any one of its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import (
    ContentError,
    GeometryError,
    InputError,
    MissingFileError,
    UnreadableFileError,
)
from encephalon.geometry import checked
from encephalon.io.content import plain_numbers, volume_shape
from encephalon.io.files import need_file, refuse_foreign
from encephalon.io.image import SLICE_SUFFIXES, Image

# DICOM is LPS, we are RAS.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_POSITION, _SERIES, _DESCRIPTION = "0020|0032", "0020|000e", "0008|103e"
# Gaps between slices that differ by more than this share of the median: a slice is missing.
_GAP_TOLERANCE = 0.05
_PREAMBLE = 128  # "DICM" follows; PS3.10 section 7.1
_SHOWN = 5


def read(path: str | Path) -> Image:
    """Read the one series of a folder, or the series that a file belongs to.

    Slices are sorted by position; rescale slope and intercept are applied. Raises InputError
    when the folder holds several series (they are listed) or none, GeometryError when a slice
    is missing, ContentError for a time series, and UnreadableFileError for damaged files.
    """
    path = Path(path)
    if path.is_dir():
        files = _only_series(path)
    else:
        need_file(path)
        refuse_foreign(path)
        files = _series_of(path)
    with _explained(path):
        image, positions = _load(files)
    return _assemble(path, image, positions)


def _only_series(folder: Path) -> list[str]:
    series = _all_series(folder)
    if not series:
        raise _nothing(folder)
    if len(series) > 1:
        listed = "; ".join(_summary(files) for files in list(series.values())[:_SHOWN])
        more = f"; and {len(series) - _SHOWN} more" if len(series) > _SHOWN else ""
        message = (
            f"{folder}: expected the slices of one DICOM series, but there are {len(series)}: "
            f"{listed}{more}; give one file of the series that you want, or a folder for each."
        )
        raise InputError(message)
    files = next(iter(series.values()))
    _refuse_unread(folder, files)
    return files


def _series_of(file: Path) -> list[str]:
    tags = _tags(file)
    with _explained(file):
        return _all_series(file.parent).get(tags.get(_SERIES, "").strip("\0 "), [str(file)])


def _all_series(folder: Path) -> dict[str, list[str]]:
    sitk = _sitk()
    with _quiet():
        reader = sitk.ImageSeriesReader
        names = reader.GetGDCMSeriesIDs(str(folder))
        found = {name: list(reader.GetGDCMSeriesFileNames(str(folder), name)) for name in names}
    return {name.split("\0")[0]: files for name, files in found.items() if files}


def _load(files: Sequence[str]) -> tuple[Any, NDArray[np.float64]]:
    """The stacked SimpleITK image, and the position of each slice (N, 3) LPS mm, if known."""
    sitk = _sitk()
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(list(files))
    reader.MetaDataDictionaryArrayUpdateOn()
    reader.LoadPrivateTagsOff()
    with _quiet():
        image = reader.Execute()
    tags = [
        reader.GetMetaData(n, _POSITION)
        for n in range(len(files))
        if reader.HasMetaDataKey(n, _POSITION)
    ]
    positions = [[float(x) for x in tag.split("\\")] for tag in tags]
    return image, np.asarray(positions, dtype=np.float64).reshape(-1, 3)


def _assemble(path: Path, image: Any, positions: NDArray[np.float64]) -> Image:
    sitk = _sitk()
    shape = volume_shape(image.GetSize(), path)
    if image.GetNumberOfComponentsPerPixel() != 1:
        message = f"{path}: expected one grey value a voxel, but the slices are in colour."
        raise ContentError(message)
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    if len(positions) == shape[2]:
        matrix[:3, 2] = _slice_step(path, positions, matrix)
    affine, warnings = checked(_LPS_TO_RAS @ matrix, path)
    data = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    return Image(plain_numbers(data, path), affine, path, None, tuple(warnings))


def _slice_step(
    path: Path, positions: NDArray[np.float64], matrix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The step from slice to slice (3,) mm; raises unless all gaps are equal."""
    normal = np.cross(matrix[:3, 0], matrix[:3, 1])
    heights = positions @ (normal / np.linalg.norm(normal))
    gaps = np.abs(np.diff(heights))
    typical = float(np.median(gaps))
    if gaps.min() < 1e-3:
        message = (
            f"{path}: several slices lie at the same place, so this is a time series or several "
            "echoes, not one volume; put the files of one volume into a folder."
        )
        raise ContentError(message)
    if np.abs(gaps - typical).max() > _GAP_TOLERANCE * typical:
        message = (
            f"{path}: the slices are {gaps.min():.2f} to {gaps.max():.2f} mm apart, so at least "
            "one is missing; export the series again, whole."
        )
        raise GeometryError(message)
    return np.asarray((positions[-1] - positions[0]) / (len(positions) - 1))


def _tags(file: Path) -> dict[str, str]:
    sitk = _sitk()
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    with _explained(file), _quiet():
        reader.ReadImageInformation()
    wanted = (_SERIES, _DESCRIPTION)
    return {key: reader.GetMetaData(key) for key in wanted if reader.HasMetaDataKey(key)}


def _summary(files: Sequence[str]) -> str:
    name = _tags(Path(files[0])).get(_DESCRIPTION, "").strip() or "without a description"
    return f"{name} ({len(files)} files, such as {Path(files[0]).name})"


def _refuse_unread(folder: Path, files: Sequence[str]) -> None:
    """A damaged slice drops silently out of the series; its neighbours would close the gap."""
    known = {Path(file).name for file in files}
    lost = sorted(f.name for f in folder.iterdir() if f.name not in known and is_dicom(f))
    if lost:
        message = (
            f"{folder}: {len(lost)} DICOM files could not be read as part of the series, such as "
            f"{lost[0]}; export them again or take them out of the folder."
        )
        raise UnreadableFileError(message)


def is_dicom(file: Path) -> bool:
    """Whether a file is, or is named as, a slice of a series; one that cannot be read is none."""
    if not file.is_file() or file.name == "DICOMDIR":
        return False
    try:
        with file.open("rb") as stream:
            stream.seek(_PREAMBLE)
            return stream.read(4) == b"DICM" or file.suffix.lower() in SLICE_SUFFIXES
    except OSError:
        return False


def _nothing(folder: Path) -> InputError:
    inner = next((file.parent for file in sorted(folder.rglob("*")) if is_dicom(file)), None)
    if inner == folder:
        message = f"{folder}: its DICOM files are damaged; export them again."
        return UnreadableFileError(message)
    hint = f"give the folder {inner}" if inner else "check the path"
    return MissingFileError(f"{folder}: there is no DICOM series in this folder; {hint}.")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # all that SimpleITK raises
        last = str(error).strip().splitlines()[-1].strip()
        message = f"{path}: the DICOM data could not be read ({last}); export it again."
        raise UnreadableFileError(message) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back ITK's warnings, which go past Python to the terminal."""
    sitk = _sitk()
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _sitk() -> Any:
    """SimpleITK, imported when first needed (0.3 s) and untyped."""
    import SimpleITK

    return SimpleITK

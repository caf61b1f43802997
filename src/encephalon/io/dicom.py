# SPDX-License-Identifier: Apache-2.0
"""A DICOM series: every slice of one acquisition in a folder, or any one of its files."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, GeometryError, UnreadableFileError
from encephalon.geometry.affine import checked
from encephalon.io.dicom_header import DicomHeader
from encephalon.io.dicom_series import Slice, one_volume
from encephalon.io.files import need_file, refuse_foreign
from encephalon.io.image import Image, plain_numbers, volume_shape

# What the UID of every class of object in DICOM begins with.
_STANDARD = "1.2.840.10008."
# DICOM is LPS, we are RAS.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Gaps between slices that differ by more than this share of the median are not one distance.
_GAP_TOLERANCE = 0.05
# Distance of a slice from the line of all, mm, that rounded positions explain.
_MOST_BESIDE = 0.1
# Share of the gaps that may be wider where slices are missing; more, and the distance varies.
_FEW_GAPS = 0.25


def read(path: str | Path, series: str | None = None) -> Image:
    """Read the one volume of a folder, or of the series that a file belongs to.

    Slices are sorted by position; rescale slope and intercept are applied. `series` chooses where
    there are several, see `encephalon.io.dicom_series.one_volume`, which also says what is raised
    for what is not one volume. Raises GeometryError when a slice is missing, the distance varies
    or nothing says it, ContentError for colours, and UnreadableFileError for damaged files.
    """
    path = Path(path)
    if not path.is_dir():
        need_file(path)
        refuse_foreign(path)
    slices = one_volume(path, series)
    header = slices[0].header
    rows, columns = int(header.number("rows")), int(header.number("columns"))
    volume_shape((columns, rows, len(slices)), path)
    matrix, doubts = _matrix(path, slices)
    affine, warnings = checked(_LPS_TO_RAS @ matrix, path)
    data = _voxels(path, slices)
    image = Image(plain_numbers(data, path), affine, path, header, tuple(warnings))
    for doubt in doubts:
        image = image.doubted(doubt)
    return image


def _matrix(path: Path, slices: Sequence[Slice]) -> tuple[NDArray[np.float64], list[str]]:
    """The map from voxels to LPS mm (4, 4), and what is doubtful in it."""
    first = slices[0]
    doubts: list[str] = []
    sizes = first.header.numbers("pixel_spacing")
    if sizes.size != 2:
        sizes = first.header.numbers("imager_spacing")
        doubts.append("the size of its pixels is that on the detector, as it says no other")
    if sizes.size != 2:
        raise GeometryError(
            f"{path}: the DICOM files do not say how large a pixel is (Pixel Spacing), so nothing "
            "can be measured; export them again with it."
        )
    if sizes.min() <= 0:
        raise GeometryError(
            f"{path}: the DICOM files say that a pixel is {sizes[0]:g} x {sizes[1]:g} mm (Pixel "
            "Spacing), but sizes are positive; export them again."
        )
    rows, columns = sizes  # the distance between them, mm
    ways = first.directions
    if ways is None:
        ways = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
        doubts.append("nothing says how its slices lie, so they are taken for axial ones")
    across, down = (way / np.linalg.norm(way) for way in (ways[:3], ways[3:]))
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = across * columns, down * rows
    if all(one.position is not None for one in slices):
        places = np.array([one.position for one in slices])
        matrix[:3, 2], matrix[:3, 3] = _slice_step(path, places, first.normal), places[0]
    else:
        matrix[:3, 2] = first.normal * _stated_distance(path, slices, doubts)
    return matrix, doubts


def _stated_distance(path: Path, slices: Sequence[Slice], doubts: list[str]) -> float:
    """The distance of slices without a position, mm, from the tags that tell it."""
    lacking = sum(one.position is None for one in slices)
    numbers = {(one.header.text("instance"), one.frame) for one in slices}
    whose = f"{lacking} of {len(slices)} slices" if lacking < len(slices) else "the slices"
    if lacking == len(slices) and len(numbers) == len(slices):
        header = slices[0].header
        for name, word in (
            ("spacing_between", "Spacing Between Slices"),
            ("thickness", "Slice Thickness"),
        ):
            if distance := abs(header.number(name)):
                doubts.append(
                    f"{whose} have no position (Image Position), so they are taken in the order "
                    f"of their numbers, {distance:g} mm apart as {word} says"
                )
                return distance
    raise GeometryError(
        f"{path}: {whose} have no position (Image Position), so how far apart and in which order "
        "they lie is not known; export the series again with it."
    )


def _slice_step(
    path: Path, places: NDArray[np.float64], normal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The step from slice to slice (3,) mm; raises unless all gaps are equal."""
    normal = normal / np.linalg.norm(normal)
    gaps = np.abs(np.diff(places @ normal))
    typical = float(np.median(gaps))
    odd = np.abs(gaps - typical) > _GAP_TOLERANCE * typical
    if odd.any():
        steps = gaps / typical
        whole = np.abs(steps - np.rint(steps)).max() <= _GAP_TOLERANCE and steps.min() > 0.5
        what = "so their distance varies, which no grid holds; resample them to one distance"
        if whole and odd.mean() <= _FEW_GAPS:
            what = "so at least one is missing; export the series again, whole"
        raise GeometryError(
            f"{path}: the slices are {gaps.min():.2f} to {gaps.max():.2f} mm apart, {what}."
        )
    step = np.asarray((places[-1] - places[0]) / (len(places) - 1))
    offsets = places - places[0] - np.arange(len(places))[:, None] * step
    across = offsets - np.outer(offsets @ normal, normal)
    beside = float(np.linalg.norm(across, axis=1).max())
    if beside > max(_MOST_BESIDE, _GAP_TOLERANCE * typical):
        raise GeometryError(
            f"{path}: the slices do not lie behind one another, but up to {beside:.2f} mm beside "
            "their line, which no grid holds; export the series again."
        )
    return step


def _voxels(path: Path, slices: Sequence[Slice]) -> NDArray[Any]:
    """The values (I, J, K), rescaled as the files say, slices in their order."""
    planes: dict[int, NDArray[Any]] = {}
    numbered = sorted(enumerate(slices), key=lambda pair: (pair[1].header.path, pair[1].frame))
    for file, group in groupby(numbered, key=lambda pair: pair[1].header.path):
        members = list(group)
        frames = _frames(path, members[0][1].header)
        for place, one in members:
            if one.frame >= len(frames) or frames[one.frame].shape != frames[0].shape:
                raise UnreadableFileError(f"{file}: a frame is missing; export it again.")
            planes[place] = frames[one.frame]
    return np.stack([planes[place] for place in range(len(slices))]).transpose(2, 1, 0)


def _frames(path: Path, header: DicomHeader) -> NDArray[Any]:
    """The images of one file, (frames, rows, columns), each rescaled as its own frame says."""
    sitk: Any = import_module("SimpleITK")  # when first needed (0.3 s), and untyped

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(header.path))
    reader.SetImageIO("GDCMImageIO")
    reader.LoadPrivateTagsOff()
    # ITK's warnings go past Python to the terminal.
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = reader.Execute()
    except RuntimeError as error:  # all that SimpleITK raises
        raise _unreadable(path, header, error) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise ContentError(
            f"{path}: expected one grey value a voxel, but the slices are in colour."
        )
    values: NDArray[Any] = sitk.GetArrayFromImage(image)
    frames = values.reshape(-1, *values.shape[-2:])  # all scaled as the first one
    slopes, intercepts = np.array(header.slopes), np.array(header.intercepts)
    if np.all(slopes == slopes[:1]) and np.all(intercepts == intercepts[:1]):
        return frames
    if not len(slopes) == len(intercepts) == len(frames) or not slopes[0]:
        raise UnreadableFileError(
            f"{header.path}: the scales of its {len(frames)} frames (Rescale Slope) differ, and "
            "not every frame has one; export it again."
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is no number, and is said
        stored = (frames.astype(np.float64) - intercepts[0]) / slopes[0]
        return np.asarray(stored * slopes[:, None, None] + intercepts[:, None, None])


def _unreadable(path: Path, header: DicomHeader, error: RuntimeError) -> UnreadableFileError:
    kind = header.text("sop_class")
    if not kind.startswith(_STANDARD):
        return UnreadableFileError(
            f"{path}: the DICOM files say that they hold objects of the class {kind or 'none'}, "
            "which no standard knows, as some anonymisers write; anonymise them again and keep "
            "the SOP Class UID."
        )
    if header.compression:
        return UnreadableFileError(
            f"{header.path}: its pixels are compressed (transfer syntax {header.compression}) in "
            "a way that is not read, or damaged; export it again without compression."
        )
    last = str(error).strip().splitlines()[-1].strip()
    return UnreadableFileError(
        f"{path}: the DICOM file {header.path.name} could not be read ({last}); export it again."
    )

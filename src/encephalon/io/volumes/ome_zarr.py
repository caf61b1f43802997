# SPDX-License-Identifier: Apache-2.0
"""OME-Zarr of versions 0.4 and 0.5, read: what a group of resolutions says of its voxels.

After the specification of ngff.openmicroscopy.org: axes ([t,] [c,] z, y, x), for each resolution a
scale and perhaps a translation, labels as groups of their own below `labels`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from encephalon.errors import ContentError, MissingFileError, UnreadableFileError, quoted
from encephalon.io.pixel_size import nanometres
from encephalon.io.volumes.arrays import array_axes
from encephalon.io.volumes.volume import Size, Spacing, Volume, volume_spacing
from encephalon.io.volumes.zarr import (
    ZarrArray,
    attributes,
    is_zarr,
    is_zarr_array,
    open_zarr_array,
)

__all__ = ["Label", "label_names", "labels_of", "open_zarr"]

_ORDERS = {"".join(lead) + space for lead in ("", "t", "c", "tc") for space in ("yx", "zyx")}


@dataclass(frozen=True)
class Label:
    """What a value of a label image stands for: its name, and a colour (red, green, blue)."""

    name: str = ""
    colour: tuple[int, int, int] | None = None


def open_zarr(folder: Path, level: int, channel: int | None, time: int | None) -> Volume:
    """The volume in a Zarr array, or in resolution `level` of an OME-Zarr group.

    The group is one of images or of labels. Spacing and origin are what its transformations say,
    None and 0 for an array alone. Raises MissingFileError for a folder or labels that are not
    there, ContentError for metadata that contradict the arrays and another order of axes, and
    UnreadableFileError for damage.
    """
    if not is_zarr(folder):
        raise MissingFileError(f"{folder}: there is no Zarr array or group; {_beside(folder)}")
    name = str(folder)
    ome = _ome(folder)
    if "multiscales" not in ome:
        return _plain(folder, level, channel, time)
    image = _image(ome["multiscales"], name)
    levels = len(image.paths)
    if not 0 <= level < levels:
        raise ContentError(f"{name}: level {level} was asked for, but there are {levels}, from 0.")
    array = _dataset(folder, image.paths[level], image.axes)
    if level:
        _refuse_unlike(folder, image, level, array)
    lead, shape, name = array_axes(array.shape, name, channel, time, image.axes)
    spacing, origin = _placed(image, level)
    return Volume(name, shape, array.dtype, array.source(lead), spacing, origin, level, levels)


def label_names(folder: Path) -> list[str]:
    """The names of the label images of an OME-Zarr image; their volumes lie at `labels/NAME`."""
    found = _ome(folder / "labels").get("labels", []) if is_zarr(folder / "labels") else []
    return [str(one) for one in found] if isinstance(found, list) else []


def labels_of(folder: Path) -> dict[int, Label]:
    """What the values of a label image stand for; empty where it does not say.

    Raises UnreadableFileError where it cannot be understood.
    """
    said = _ome(folder).get("image-label", {})
    found: dict[int, Label] = {}
    try:
        listed = [said.get(key) or [] for key in ("properties", "colors")]
        names = {int(one["label-value"]): str(one.get("name", "")) for one in listed[0]}
        colours = {int(one["label-value"]): one.get("rgba") for one in listed[1]}
        for value in sorted(names.keys() | colours.keys()):
            rgba = colours.get(value)
            colour = None if rgba is None else (int(rgba[0]), int(rgba[1]), int(rgba[2]))
            found[value] = Label(names.get(value, ""), colour)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnreadableFileError(
            f"{folder}: its image-label could not be understood ({error}); write it again."
        ) from error
    return found


def _ome(folder: Path) -> dict[str, Any]:
    """What OME has to say of a group: below `ome` since version 0.5."""
    found = attributes(folder)
    ome = found.get("ome", found)
    if not isinstance(ome, dict):
        raise UnreadableFileError(f"{folder}: its OME metadata are no table; write it again.")
    return ome


def _beside(folder: Path) -> str:
    """What to say where nothing is: the labels or groups that are there."""
    if folder.parent.name == "labels" and is_zarr(folder.parent):
        return f"the labels are {quoted(label_names(folder.parent.parent)) or 'none'}."
    return "check the path."


def _plain(folder: Path, level: int, channel: int | None, time: int | None) -> Volume:
    if not is_zarr_array(folder):
        inner = sorted(one.name for one in folder.iterdir() if one.is_dir() and is_zarr(one))
        raise ContentError(
            f"{folder}: expected an array or the resolutions of an image (multiscales), but it is "
            f"a group of {quoted(inner) or 'nothing'}; give the path of one."
        )
    if level:
        raise ContentError(f"{folder}: level {level} was asked for, but it is one array.")
    array = open_zarr_array(folder)
    lead, shape, name = array_axes(array.shape, str(folder), channel, time)
    return Volume(name, shape, array.dtype, array.source(lead))


@dataclass(frozen=True)
class _Image:
    """One image of several resolutions, as its metadata have it."""

    axes: str
    units: list[Any]
    paths: list[str]
    scales: list[list[float]]
    translations: list[list[float]]


def _image(multiscales: Any, name: str) -> _Image:
    """The first image; raises ContentError for other axes and UnreadableFileError for no sense."""
    try:
        first = multiscales[0]
        given = [one if isinstance(one, dict) else {"name": one} for one in first["axes"]]
        axes = "".join(str(one["name"]) for one in given)
        datasets = list(first["datasets"])
        paths = [str(one["path"]) for one in datasets]
        common = first.get("coordinateTransformations") or []
        steps = [[one["coordinateTransformations"], common] for one in datasets]
        placed = [_transformed(one, len(axes)) for one in steps]
        if not paths:
            raise ValueError("there are no datasets")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UnreadableFileError(
            f"{name}: its multiscales contradict the specification ({reason}); write it again."
        ) from error
    if axes not in _ORDERS:
        raise ContentError(
            f"{name}: expected the axes ([t,] [c,] z, y, x), but they are {', '.join(axes)}; write "
            "it in that order."
        )
    scales, translations = [one for one, _ in placed], [one for _, one in placed]
    return _Image(axes, [one.get("unit") for one in given], paths, scales, translations)


def _transformed(steps: list[list[Any]], count: int) -> tuple[list[float], list[float]]:
    """Scale and translation along each axis, of a resolution and then of all of them."""
    scale, translation, scaled = [1.0] * count, [0.0] * count, False
    for step in (one for part in steps for one in part):
        kind = step["type"]
        if kind == "identity":
            continue
        if kind not in {"scale", "translation"}:
            raise ValueError(f"a transformation is of the kind {kind!r}")
        values = [float(n) for n in step[kind]]
        if len(values) != count or not all(map(math.isfinite, values)):
            raise ValueError(f"a {kind} has {len(values)} numbers for {count} axes")
        if kind == "scale":
            if min(values) <= 0:
                raise ValueError("a scale is not above 0")
            scaled = True
            scale = [a * b for a, b in zip(scale, values, strict=True)]
            translation = [a * b for a, b in zip(translation, values, strict=True)]
        else:
            translation = [a + b for a, b in zip(translation, values, strict=True)]
    if not scaled:
        raise ValueError("a resolution has no scale")
    return scale, translation


def _dataset(folder: Path, path: str, axes: str) -> ZarrArray:
    """The array of a resolution, which lies in the group and has its axes."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or not is_zarr_array(folder / parts):
        raise UnreadableFileError(
            f"{folder}: its metadata name the resolution {path!r}, but there is no such array in "
            "it; fetch or write it again."
        )
    array = open_zarr_array(folder / parts)
    if len(array.shape) != len(axes):
        raise ContentError(
            f"{folder}: its metadata say {len(axes)} axes ({', '.join(axes)}), but the array "
            f"{path!r} has the shape {array.shape}; write it again."
        )
    return array


def _refuse_unlike(folder: Path, image: _Image, level: int, array: ZarrArray) -> None:
    """Raise ContentError unless a level has the voxels that its scale makes of the finest."""
    finest = _dataset(folder, image.paths[0], image.axes)
    ratios = zip(image.scales[level], image.scales[0], strict=True)
    expected = [n * fine / coarse for n, (coarse, fine) in zip(finest.shape, ratios, strict=True)]
    if not all(
        math.floor(want * (1 + 1e-6)) <= n <= math.ceil(want * (1 - 1e-6))
        for n, want in zip(array.shape, expected, strict=True)
    ):
        raise ContentError(
            f"{folder}: by its scales level {level} should have the shape "
            f"({', '.join(f'{n:g}' for n in expected)}), but it is {array.shape}; write it again."
        )


def _placed(image: _Image, level: int) -> tuple[Spacing | None, Size]:
    """Spacing, µm, and origin, in voxels of the level, along z, y and x.

    A coarser voxel lies in the middle of those that it was made of: of 2, half a fine one further.
    """
    spatial = [image.axes.find(axis) for axis in "zyx"]
    edges: list[float | None] = []
    origin: list[int] = []
    for at in spatial:
        if at < 0:  # a plane: its thickness is not said
            edges.append(None)
            origin.append(0)
            continue
        scale, fine = image.scales[level][at], image.scales[0][at]
        size = nanometres(scale, image.units[at])
        edges.append(None if size is None else size / 1000)
        origin.append(round((image.translations[level][at] - (scale - fine) / 2) / scale))
    z, y, x = origin
    return volume_spacing(edges), (z, y, x)

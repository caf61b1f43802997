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
from encephalon.io.volumes.arrays import array_axes
from encephalon.io.volumes.volume import (
    Size,
    Spacing,
    Volume,
    micrometres,
    volume_dtype,
    volume_spacing,
)
from encephalon.io.volumes.zarr import array_source, attributes, is_zarr, is_zarr_array, open_array

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
    name, shown = str(folder), "check the path."
    if not is_zarr(folder):
        if folder.parent.name == "labels" and is_zarr(folder.parent):
            shown = f"the labels are {quoted(label_names(folder.parent.parent)) or 'none'}."
        raise MissingFileError(f"{name}: there is no Zarr array or group; {shown}")
    ome = _ome(folder)
    axes, place, levels = None, folder, 1
    spacing: Spacing | None = None
    origin: Size = (0, 0, 0)
    if "multiscales" in ome:
        image = _image(ome["multiscales"], name)
        axes, levels = image.axes, len(image.levels)
        if not 0 <= level < levels:
            raise ContentError(
                f"{name}: level {level} was asked for, but there are {levels}, from 0."
            )
        place = folder / image.levels[level].path
        array = _dataset(folder, image, level)
        spacing, origin = _placed(image, level)
    elif not is_zarr_array(folder):
        inner = sorted(one.name for one in folder.iterdir() if one.is_dir() and is_zarr(one))
        raise ContentError(
            f"{name}: expected an array or the resolutions of an image (multiscales), but it is a "
            f"group of {quoted(inner) or 'nothing'}; give the path of one."
        )
    elif level:
        raise ContentError(f"{name}: level {level} was asked for, but it is one array.")
    else:
        array = open_array(folder)
    lead, shape, name = array_axes(array.shape, name, channel, time, axes)
    source = array_source(place, array, lead)
    dtype = volume_dtype(array.dtype, name)
    return Volume(name, shape, dtype, source, spacing, origin, level, levels)


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


@dataclass(frozen=True)
class _Level:
    """A resolution: its path, and scale and translation along each axis."""

    path: str
    scale: list[float]
    translation: list[float]


@dataclass(frozen=True)
class _Image:
    """One image of several resolutions, as its metadata have it."""

    axes: str
    units: list[Any]
    levels: list[_Level]


def _image(multiscales: Any, name: str) -> _Image:
    """The first image; raises ContentError for other axes and UnreadableFileError for no sense."""
    try:
        first = multiscales[0]
        given = [one if isinstance(one, dict) else {"name": one} for one in first["axes"]]
        axes = "".join(str(one["name"]) for one in given)
        common = first.get("coordinateTransformations") or []
        levels = []
        for one in list(first["datasets"]):
            steps = [*one["coordinateTransformations"], *common]
            levels.append(_Level(str(one["path"]), *_transformed(steps, len(axes))))
        if not levels:
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
    return _Image(axes, [one.get("unit") for one in given], levels)


def _transformed(steps: list[Any], count: int) -> tuple[list[float], list[float]]:
    """Scale and translation along each axis, of a resolution and then of all of them."""
    scale, translation, scaled = [1.0] * count, [0.0] * count, False
    for step in steps:
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


def _dataset(folder: Path, image: _Image, level: int) -> Any:
    """The array of a resolution, which lies in the group, has its axes, and fits its scale."""
    path, axes, scale = image.levels[level].path, image.axes, image.levels[level].scale
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or not is_zarr_array(folder / parts):
        raise UnreadableFileError(
            f"{folder}: its metadata name the resolution {path!r}, but there is no such array in "
            "it; fetch or write it again."
        )
    array = open_array(folder / parts)
    if array.ndim != len(axes):
        raise ContentError(
            f"{folder}: its metadata say {len(axes)} axes ({', '.join(axes)}), but the array "
            f"{path!r} has the shape {array.shape}; write it again."
        )
    if level:
        ratios = zip(_dataset(folder, image, 0).shape, image.levels[0].scale, scale, strict=True)
        expected = [n * fine / coarse for n, fine, coarse in ratios]
        if not all(
            math.floor(want * (1 + 1e-6)) <= n <= math.ceil(want * (1 - 1e-6))
            for n, want in zip(array.shape, expected, strict=True)
        ):
            raise ContentError(
                f"{folder}: by its scales level {level} should have the shape "
                f"({', '.join(f'{n:g}' for n in expected)}), but it is {array.shape}; write it "
                "again."
            )
    return array


def _placed(image: _Image, level: int) -> tuple[Spacing | None, Size]:
    """Spacing, µm, and origin, in voxels of the level, along z, y and x.

    A coarser voxel lies in the middle of those that it was made of: of 2, half a fine one further.
    """
    chosen, finest = image.levels[level], image.levels[0]
    edges: list[float | None] = []
    origin: list[int] = []
    for at in map(image.axes.find, "zyx"):
        if at < 0:  # a plane: its thickness is not said
            edges.append(None)
            origin.append(0)
            continue
        scale = chosen.scale[at]
        edges.append(micrometres(scale, image.units[at]))
        middle = (scale - finest.scale[at]) / 2
        origin.append(round((chosen.translation[at] - middle) / scale))
    z, y, x = origin
    return volume_spacing(edges), (z, y, x)

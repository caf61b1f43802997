# SPDX-License-Identifier: Apache-2.0
"""OME-Zarr of versions 0.4 and 0.5, written block by block and whole or not at all.

Axes are ([t,] [c,] z, y, x). Each resolution has half the voxels of the one before along each axis:
means of an image, the most frequent value of labels.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from encephalon.errors import InputError, OutputError, require_extra
from encephalon.io.atomic import atomic_folder, explained, make_folder, refuse_foreign, write_json
from encephalon.io.volumes.ome_zarr import Label
from encephalon.io.volumes.volume import (
    Box,
    Size,
    Spacing,
    box_at,
    box_size,
    box_slices,
    box_text,
    shifted,
    volume_dtype,
    volume_size,
)

#: One of these lies at the top of every Zarr, of format 3 and of format 2.
ZARR_FILES = ("zarr.json", ".zgroup", ".zarray")
Version = Literal["0.4", "0.5"]
Kind = Literal["image", "labels"]

CHUNKS: Size = (64, 128, 128)
"""Voxels of a chunk along z, y, x: 1 MiB of 8 bits, as the viewers of OME-Zarr like them."""
_MOST_LEVELS = 10
# With a checksum, so that a chunk that changed on the disk is no other chunk. Of the codecs of
# Zarr 2 that every reader has, only gzip keeps one.
_ZSTD: Any = {"name": "zstd", "configuration": {"level": 3, "checksum": True}}
_GZIP: Any = {"id": "gzip", "level": 1}
# Chunks of zeros as well, so that a chunk that is not there is one that was lost.
_ZEROS: Any = {"write_empty_chunks": True}
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


@dataclass(frozen=True)
class Labels:
    """A label image to be written: its type, and what its values stand for.

    Values without a colour get one, since the format has no value without.
    """

    dtype: DTypeLike = np.uint8
    values: Mapping[int, Label] = field(default_factory=dict)


@contextmanager
def create_ome_zarr(
    path: str | Path,
    shape: Sequence[int],
    dtype: DTypeLike,
    *,
    chunks: Size = CHUNKS,
    spacing: Spacing | None = None,
    origin: Size = (0, 0, 0),
    version: Version = "0.5",
    levels: int | None = None,
    kind: Kind = "image",
    values: Mapping[int, Label] | None = None,
    labels: Mapping[str, Labels] | None = None,
    overwrite: bool = False,
) -> Iterator[OmeZarrWriter]:
    """Fill a new OME-Zarr; it appears at `path` at the end, with all resolutions, or not at all.

    `shape` is ([t,] [c,] z, y, x), `chunks` and `spacing` (µm) are along z, y, x, `origin` is the
    absolute position of the first voxel. `levels` counts resolutions, by default until one chunk
    holds all. `labels` are label images beside the image, on its grid; a volume that is itself one
    has `kind` "labels", and `values` says what they stand for. What is not written is 0.

    Raises OutputExistsError for a path that is there, unless `overwrite` and it is a Zarr or an
    empty folder, OutputError where the disk does not take it, and ContentError for a shape or type
    of no volume.
    """
    path = Path(path)
    if overwrite:
        refuse_foreign(path, "OME-Zarr", ZARR_FILES)
    with atomic_folder(path, overwrite) as folder:
        writer = fill_ome_zarr(
            folder,
            shape,
            dtype,
            path=path,
            chunks=chunks,
            spacing=spacing,
            origin=origin,
            version=version,
            levels=levels,
            kind=kind,
            values=values,
            labels=labels,
        )
        yield writer
        writer.finish()


def fill_ome_zarr(
    folder: Path,
    shape: Sequence[int],
    dtype: DTypeLike,
    *,
    path: Path | None = None,
    chunks: Size = CHUNKS,
    spacing: Spacing | None = None,
    origin: Size = (0, 0, 0),
    offset: Spacing = (0.0, 0.0, 0.0),
    version: Version = "0.5",
    levels: int | None = None,
    kind: Kind = "image",
    values: Mapping[int, Label] | None = None,
    labels: Mapping[str, Labels] | None = None,
) -> OmeZarrWriter:
    """Begin an OME-Zarr in `folder`, or go on with one that was begun there and not finished.

    As `create_ome_zarr`, but it is where it is, and no image until the writer's `finish`. `path` is
    what errors call it, and `offset` how far, in voxels, the first one lies beyond `origin`: that
    of a coarse grid is in the middle of what it stands for. A writer may go to other processes.
    """
    path = folder if path is None else path
    require_extra("zarr", "volumes", f"Writing the OME-Zarr {path}")
    if not 3 <= len(shape) <= len(_TYPES):
        raise OutputError(f"{path}: expected the axes ([t,] [c,] z, y, x), found {tuple(shape)}.")
    size = volume_size(shape[-3:], str(path))
    for name in labels or ():
        if not name or name in {".", ".."} or "/" in name or name.startswith(("__", ".z")):
            raise OutputError(f"{path}: {name!r} is no name for labels; choose a plain word.")
    ratio = max(n / c for n, c in zip(size, chunks, strict=True))
    levels = levels or min(_MOST_LEVELS, 1 + max(0, math.ceil(math.log2(ratio))))
    grid = (chunks, spacing, origin, offset, version, levels)
    image = _Pyramid(path, folder, tuple(shape), dtype, kind, values or {}, *grid)
    images: dict[str | None, _Pyramid] = {None: image}
    for name, one in (labels or {}).items():
        place = folder / "labels" / name
        images[name] = _Pyramid(path, place, size, one.dtype, "labels", one.values, *grid)
    return OmeZarrWriter(path, folder, images)


@dataclass(frozen=True)
class OmeZarrWriter:
    """An OME-Zarr on its way; `folder` is where it is until it has its name."""

    path: Path
    folder: Path
    _images: Mapping[str | None, _Pyramid] = field(repr=False)

    def write(
        self,
        data: NDArray[Any],
        box: Box | None = None,
        *,
        label: str | None = None,
        channel: int = 0,
        time: int = 0,
    ) -> None:
        """Put voxels (z, y, x) at `box`, absolute, of the image or of the label image `label`.

        Boxes that meet at the borders of chunks may be written by several threads at once. Raises
        InputError for a box that is not inside or has another shape, and for values that the type
        does not hold.
        """
        if label not in self._images:
            raise InputError(
                f"{self.path}: there are no labels {label!r} to write to; name them at the start."
            )
        self._images[label].write(np.asarray(data), box, {"t": time, "c": channel})

    def finish(self) -> None:
        """Make the coarser resolutions and the metadata: the last thing that is done to it."""
        with explained(self.path):
            for one in self._images.values():
                one.finish()
            labels = [name for name in self._images if name is not None]
            if labels:
                version = self._images[None].version
                _write_group(self.folder / "labels", {"labels": labels}, version)


@dataclass
class _Pyramid:
    """One multiscale image; the finest resolution is written, the others are made at the end."""

    path: Path
    folder: Path
    shape: tuple[int, ...]
    dtype: Any
    kind: Kind
    values: Mapping[int, Label]
    chunks: Size
    spacing: Spacing | None
    origin: Size
    offset: Spacing
    version: Version
    levels: int

    def __post_init__(self) -> None:
        self.dtype = volume_dtype(self.dtype, str(self.path))
        self.axes = "".join(_TYPES)[-len(self.shape) :]
        with explained(self.path):
            make_folder(self.folder)
            self.finest = self._array(0)

    def write(self, data: NDArray[Any], box: Box | None, lead: Mapping[str, int]) -> None:
        whole = box_at(self.origin, self.shape[-3:])
        box = box or whole
        inside = all(low <= a < b <= high for (a, b), (low, high) in zip(box, whole, strict=True))
        if not inside or data.shape != box_size(box):
            raise InputError(
                f"{self.path}, {box_text(box)}: expected voxels of that box inside of "
                f"{box_text(whole)}, but their shape is {data.shape}."
            )
        fits = np.can_cast(data.dtype, self.dtype)
        fits |= data.dtype.kind in "uif" and self.dtype.kind == "f"
        if not fits and data.dtype.kind in "ui" and self.dtype.kind in "ui":
            limits = np.iinfo(self.dtype)
            fits = int(data.min()) >= limits.min and int(data.max()) <= limits.max
        if not fits:
            raise InputError(
                f"{self.path}, {box_text(box)}: values of type {data.dtype} do not fit into "
                f"{self.dtype}; choose a wider type."
            )
        place = [slice(lead[axis], lead[axis] + 1) for axis in self.axes[:-3]]
        spans = box_slices(shifted(box, [-n for n in self.origin]))
        with explained(self.path):
            self.finest[(*place, *spans)] = data.astype(self.dtype, copy=False)[
                (None,) * len(place)
            ]

    def finish(self) -> None:
        """Make the coarser resolutions, and last the metadata without which it is no image."""
        fine, factors = self.finest, (1,) * (len(self.shape) - 3) + (2, 2, 2)
        for level in range(1, self.levels):
            coarse = self._array(level)
            steps = zip(coarse.shape, coarse.chunks, strict=True)
            for starts in product(*(range(0, n, c) for n, c in steps)):
                # What reaches beyond the end is left out by the arrays themselves.
                box = tuple(slice(at, at + c) for at, c in zip(starts, coarse.chunks, strict=True))
                source = tuple(
                    slice(one.start * f, one.stop * f) for one, f in zip(box, factors, strict=True)
                )
                coarse[box] = halved(np.asarray(fine[source]), factors, self.kind)
            fine = coarse
        _write_group(self.folder, self._metadata(), self.version)

    def _array(self, level: int) -> Any:
        zarr: Any = import_module("zarr")
        store = self.folder / str(level)
        if level == 0 and ((store / "zarr.json").exists() or (store / ".zarray").exists()):
            # An array that is opened takes the setting from nowhere else.
            with zarr.config.set({f"array.{name}": value for name, value in _ZEROS.items()}):
                return zarr.open_array(store=str(store), mode="r+")
        spatial = [-(-n // 2**level) for n in self.shape[-3:]]
        lead, new = self.shape[:-3], self.version == "0.5"
        return zarr.create_array(
            store=str(store),
            overwrite=True,
            shape=(*lead, *spatial),
            chunks=(*(1 for _ in lead), *map(min, spatial, self.chunks)),
            dtype=self.dtype,
            zarr_format=3 if new else 2,
            fill_value=0,
            compressors=_ZSTD if new else _GZIP,
            dimension_names=list(self.axes) if new else None,
            chunk_key_encoding={"name": "default" if new else "v2", "separator": "/"},
            config=_ZEROS,
        )

    def _metadata(self) -> dict[str, Any]:
        known = {} if self.spacing is None else {"unit": "micrometer"}
        axes = [
            {"name": axis, "type": _TYPES[axis], **(known if axis in "zyx" else {})}
            for axis in self.axes
        ]
        old = {"version": "0.4"} if self.version == "0.4" else {}
        beside = self.folder.parent.name == "labels"
        image = {
            "name": self.folder.name if beside else self.path.stem,
            "axes": axes,
            "datasets": [self._dataset(level) for level in range(self.levels)],
            "type": "mean" if self.kind == "image" else "mode",
            **old,
        }
        if self.kind == "image":
            return {"multiscales": [image]}
        said: dict[str, Any] = dict(old)
        if self.values:
            # Both lists have every value, as validators ask for, whatever is known of it.
            said["colors"], said["properties"] = [], []
            for value, one in sorted(self.values.items()):
                rgba = [*(one.colour or _colour(value)), 255]
                named = {"name": one.name} if one.name else {}
                said["colors"].append({"label-value": value, "rgba": rgba})
                said["properties"].append({"label-value": value, **named})
        if beside:
            said["source"] = {"image": "../../"}
        return {"multiscales": [image], "image-label": said}

    def _dataset(self, level: int) -> dict[str, Any]:
        """A coarse voxel lies in the middle of the fine ones that it was made of."""
        spacing, lead = self.spacing or (1.0, 1.0, 1.0), len(self.shape) - 3
        middle = (2**level - 1) / 2
        placed = zip(spacing, self.origin, self.offset, strict=True)
        start = [edge * (at + more + middle) for edge, at, more in placed]
        scale = [1.0] * lead + [edge * 2**level for edge in spacing]
        return {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": scale},
                {"type": "translation", "translation": [0.0] * lead + start},
            ],
        }


def halved(data: NDArray[Any], factors: Sequence[int], kind: Kind) -> NDArray[Any]:
    """The array with 1/factor of the voxels along each axis, the last one of fewer where odd.

    Means of an "image", rounded to the even where whole numbers; of "labels" the value that most
    voxels have, the smallest of several.
    """
    pads = [(0, -n % f) for n, f in zip(data.shape, factors, strict=True)]
    # The last voxel twice: the mean and the votes of those that are there stay what they are.
    even = np.pad(data, pads, mode="edge")
    split = [part for n, f in zip(even.shape, factors, strict=True) for part in (n // f, f)]
    behind = [2 * n for n in range(data.ndim)] + [2 * n + 1 for n in range(data.ndim)]
    groups = even.reshape(split).transpose(behind)
    groups = groups.reshape(*groups.shape[: data.ndim], -1)
    if kind == "labels":
        ordered = np.sort(groups, axis=-1)
        votes = np.zeros(ordered.shape, np.uint8)
        for n in range(ordered.shape[-1]):
            votes += ordered == ordered[..., n : n + 1]
        chosen = votes.argmax(axis=-1)[..., None]
        return np.take_along_axis(ordered, chosen, axis=-1)[..., 0]
    means: NDArray[Any] = groups.mean(axis=-1, dtype=np.float64)
    return (means if data.dtype.kind == "f" else np.rint(means)).astype(data.dtype)


def _colour(value: int) -> tuple[int, int, int]:
    """A colour for a value that has none; those of values that follow each other lie far apart."""
    red, green, blue = colorsys.hsv_to_rgb(value * 0.618034 % 1.0, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def _write_group(folder: Path, content: dict[str, Any], version: Version) -> None:
    if version == "0.5":
        attributes = {"ome": {"version": "0.5", **content}}
        record = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        write_json(folder / "zarr.json", record)
        return
    write_json(folder / ".zattrs", content)
    write_json(folder / ".zgroup", {"zarr_format": 2})

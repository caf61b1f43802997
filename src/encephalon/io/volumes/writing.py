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
from encephalon.io.atomic import atomic_folder, explained, make_folder, write_json
from encephalon.io.volumes.ome_zarr import Label
from encephalon.io.volumes.volume import (
    Box,
    Size,
    Spacing,
    box_size,
    box_text,
    volume_dtype,
    volume_size,
)

__all__ = ["Labels", "OmeZarrWriter", "create_ome_zarr", "halved"]

Version = Literal["0.4", "0.5"]
Kind = Literal["image", "labels"]

CHUNKS: Size = (64, 128, 128)
"""Voxels of a chunk along z, y, x: 1 MiB of 8 bits, as the viewers of OME-Zarr like them."""
_MOST_LEVELS = 10
# With a checksum, so that a chunk that changed on the disk is no other chunk. Of the codecs of
# Zarr 2 that every reader has, only gzip keeps one.
_ZSTD: Any = {"name": "zstd", "configuration": {"level": 3, "checksum": True}}
_GZIP: Any = {"id": "gzip", "level": 1}
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

    Raises OutputExistsError for a path that is there, unless `overwrite`, OutputError where the
    disk does not take it, and ContentError for a shape or type of no volume.
    """
    require_extra("zarr", "volumes", f"Writing the OME-Zarr {path}")
    path = Path(path)
    if not 3 <= len(shape) <= len(_TYPES):
        raise OutputError(f"{path}: expected the axes ([t,] [c,] z, y, x), found {tuple(shape)}.")
    size = volume_size(shape[-3:], str(path))
    with atomic_folder(path, overwrite) as folder:
        grid = _Grid(chunks, spacing, origin, version, levels or _level_count(size, chunks))
        image = _Pyramid(path, folder, tuple(shape), np.dtype(dtype), grid, kind, values or {})
        beside = {
            name: _Pyramid(
                path,
                folder / "labels" / _checked(path, name),
                size,
                np.dtype(one.dtype),
                grid,
                "labels",
                one.values,
            )
            for name, one in (labels or {}).items()
        }
        yield OmeZarrWriter(path, folder, image, beside)
        with explained(path):
            for one in (image, *beside.values()):
                one.finish()
            if beside:
                _write_group(folder / "labels", {"labels": list(beside)}, version)


@dataclass(frozen=True)
class OmeZarrWriter:
    """An OME-Zarr on its way; `folder` is where it is until it has its name."""

    path: Path
    folder: Path
    _image: _Pyramid = field(repr=False)
    _labels: Mapping[str, _Pyramid] = field(repr=False)

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
        if label is not None and label not in self._labels:
            raise InputError(
                f"{self.path}: there are no labels {label!r} to write to; name them at the start."
            )
        pyramid = self._image if label is None else self._labels[label]
        pyramid.write(np.asarray(data), box, {"t": time, "c": channel})


@dataclass(frozen=True)
class _Grid:
    chunks: Size
    spacing: Spacing | None
    origin: Size
    version: Version
    levels: int


class _Pyramid:
    """One multiscale image; the finest resolution is written, the others are made at the end."""

    def __init__(
        self,
        path: Path,
        folder: Path,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        grid: _Grid,
        kind: Kind,
        values: Mapping[int, Label],
    ) -> None:
        self.path, self.folder, self.shape, self.grid = path, folder, shape, grid
        self.dtype, self.kind, self.values = volume_dtype(dtype, str(path)), kind, values
        self.axes = "".join(_TYPES)[-len(shape) :]
        with explained(path):
            make_folder(folder)
            self.arrays = [self._array(0)]

    def write(self, data: NDArray[Any], box: Box | None, lead: Mapping[str, int]) -> None:
        size = self.shape[-3:]
        z, y, x = ((n, n + count) for n, count in zip(self.grid.origin, size, strict=True))
        box = box or (z, y, x)
        inside = all(
            low <= a < b <= high for (a, b), (low, high) in zip(box, (z, y, x), strict=True)
        )
        if not inside or data.shape != box_size(box):
            raise InputError(
                f"{self.path}, {box_text(box)}: expected voxels of that box inside of "
                f"{box_text((z, y, x))}, but their shape is {data.shape}."
            )
        self._refuse_values(data, box)
        place = [slice(lead[axis], lead[axis] + 1) for axis in self.axes[:-3]]
        spans = [slice(a - n, b - n) for (a, b), n in zip(box, self.grid.origin, strict=True)]
        whole = data.astype(self.dtype, copy=False)[(None,) * len(place)]
        with explained(self.path):
            self.arrays[0][(*place, *spans)] = whole

    def finish(self) -> None:
        """Make the coarser resolutions, and last the metadata without which it is no image."""
        for level in range(1, self.grid.levels):
            fine, coarse = self.arrays[-1], self._array(level)
            for box in _chunks(coarse.shape, coarse.chunks):
                source = tuple(
                    slice(one.start * f, min(one.stop * f, n))
                    for one, f, n in zip(box, self._factors(), fine.shape, strict=True)
                )
                coarse[box] = halved(np.asarray(fine[source]), self._factors(), self.kind)
            self.arrays.append(coarse)
        _write_group(self.folder, self._metadata(), self.grid.version)

    def _factors(self) -> tuple[int, ...]:
        return (1,) * (len(self.shape) - 3) + (2, 2, 2)

    def _array(self, level: int) -> Any:
        zarr: Any = import_module("zarr")
        spatial = [_coarser(n, level) for n in self.shape[-3:]]
        lead = self.shape[:-3]
        chunks = [min(n, c) for n, c in zip(spatial, self.grid.chunks, strict=True)]
        new = self.grid.version == "0.5"
        return zarr.create_array(
            store=str(self.folder / str(level)),
            shape=(*lead, *spatial),
            chunks=(*(1 for _ in lead), *chunks),
            dtype=self.dtype,
            zarr_format=3 if new else 2,
            fill_value=0,
            compressors=_ZSTD if new else _GZIP,
            dimension_names=list(self.axes) if new else None,
            chunk_key_encoding={"name": "default" if new else "v2", "separator": "/"},
            # Chunks of zeros as well, so that a chunk that is not there is one that was lost.
            config={"write_empty_chunks": True},
        )

    def _refuse_values(self, data: NDArray[Any], box: Box) -> None:
        if np.can_cast(data.dtype, self.dtype):
            return
        fits = data.dtype.kind in "uif" and self.dtype.kind == "f"
        if data.dtype.kind in "ui" and self.dtype.kind in "ui":
            limits = np.iinfo(self.dtype)
            fits = int(data.min()) >= limits.min and int(data.max()) <= limits.max
        if not fits:
            raise InputError(
                f"{self.path}, {box_text(box)}: values of type {data.dtype} do not fit into "
                f"{self.dtype}; choose a wider type."
            )

    def _metadata(self) -> dict[str, Any]:
        known = {} if self.grid.spacing is None else {"unit": "micrometer"}
        axes = [
            {"name": axis, "type": _TYPES[axis], **(known if axis in "zyx" else {})}
            for axis in self.axes
        ]
        image: dict[str, Any] = {
            "name": self.folder.name if self.folder.parent.name == "labels" else self.path.stem,
            "axes": axes,
            "datasets": [self._dataset(level) for level in range(self.grid.levels)],
            "type": "mean" if self.kind == "image" else "mode",
        }
        found: dict[str, Any] = {"multiscales": [image]}
        if self.kind == "labels":
            found["image-label"] = self._image_label()
        if self.grid.version == "0.4":
            image["version"] = "0.4"
        return found

    def _dataset(self, level: int) -> dict[str, Any]:
        """A coarse voxel lies in the middle of the fine ones that it was made of."""
        spacing, lead = self.grid.spacing or (1.0, 1.0, 1.0), [1.0] * (len(self.shape) - 3)
        scale = [edge * 2**level for edge in spacing]
        start = [
            edge * (at + (2**level - 1) / 2)
            for edge, at in zip(spacing, self.grid.origin, strict=True)
        ]
        return {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": lead + scale},
                {"type": "translation", "translation": [0.0] * len(lead) + start},
            ],
        }

    def _image_label(self) -> dict[str, Any]:
        found: dict[str, Any] = {} if self.grid.version == "0.5" else {"version": "0.4"}
        # Both lists have every value, as validators ask for, whatever is known of it.
        known = sorted(self.values.items())
        if known:
            found["colors"] = [
                {"label-value": value, "rgba": [*(one.colour or _colour(value)), 255]}
                for value, one in known
            ]
            found["properties"] = [
                {"label-value": value, **({"name": one.name} if one.name else {})}
                for value, one in known
            ]
        beside = self.folder.parent.name == "labels"
        return found | ({"source": {"image": "../../"}} if beside else {})


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
        return _most_frequent(groups)
    means: NDArray[Any] = groups.mean(axis=-1, dtype=np.float64)
    return (means if data.dtype.kind == "f" else np.rint(means)).astype(data.dtype)


def _colour(value: int) -> tuple[int, int, int]:
    """A colour for a value that has none; those of values that follow each other lie far apart."""
    red, green, blue = colorsys.hsv_to_rgb(value * 0.618034 % 1.0, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def _most_frequent(groups: NDArray[Any]) -> NDArray[Any]:
    ordered = np.sort(groups, axis=-1)
    votes = np.zeros(ordered.shape, np.uint8)
    for n in range(ordered.shape[-1]):
        votes += ordered == ordered[..., n : n + 1]
    chosen = votes.argmax(axis=-1)[..., None]
    return np.take_along_axis(ordered, chosen, axis=-1)[..., 0]


def _coarser(count: int, level: int) -> int:
    for _ in range(level):
        count = -(-count // 2)
    return count


def _level_count(size: Size, chunks: Size) -> int:
    ratio = max(n / c for n, c in zip(size, chunks, strict=True))
    return min(_MOST_LEVELS, 1 + max(0, math.ceil(math.log2(ratio))))


def _chunks(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    starts = [range(0, n, c) for n, c in zip(shape, chunks, strict=True)]
    for place in product(*starts):
        yield tuple(
            slice(at, min(at + c, n)) for at, c, n in zip(place, chunks, shape, strict=True)
        )


def _checked(path: Path, name: str) -> str:
    if not name or name in {".", ".."} or "/" in name or name.startswith(("__", ".z")):
        raise OutputError(f"{path}: {name!r} is no name for labels; choose a plain word.")
    return name


def _write_group(folder: Path, content: dict[str, Any], version: Version) -> None:
    if version == "0.5":
        attributes = {"ome": {"version": "0.5", **content}}
        record = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        write_json(folder / "zarr.json", record)
        return
    write_json(folder / ".zattrs", content)
    write_json(folder / ".zgroup", {"zarr_format": 2})

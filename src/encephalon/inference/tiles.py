# SPDX-License-Identifier: Apache-2.0
"""Predict a volume tile by tile, with memory for one output and a few tiles.

The result of a tile goes straight to its place: there is no volume of counts, and with `finish`
(an arg-max, a threshold) never one of classes × voxels either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ModelError, UsageError
from encephalon.inference.plan import Axis, Box, Tile, plan_axes, plan_tiles

__all__ = ["Readable", "Tile", "most_likely", "plan_tiles", "run_tiled"]

Data = NDArray[Any]
Float = NDArray[np.float32]
Blend = Literal["crop", "gaussian"]

_SIGMA = 1 / 8
"""Width of the Gaussian window as a part of the tile; the value that nnU-Net made customary."""


class Readable(Protocol):
    """An array, or anything that is cut like one: a memory map, a Zarr or an HDF5 dataset."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, I, J, K), or with other spatial axes."""
        ...

    def __getitem__(self, box: Any, /) -> Any:
        """The voxels of a box."""
        ...


def run_tiled(
    predict: Callable[[Float], Data],
    volume: Readable,
    tile: int | Sequence[int],
    halo: int | Sequence[int] = 0,
    out: Data | None = None,
    *,
    blend: Blend = "crop",
    batch_size: int = 1,
    multiple: int | Sequence[int] = 8,
    pad: float = 0.0,
    finish: Callable[[Data], Data] | None = None,
) -> Data:
    """Return what `predict` says of `volume` (C, I, J, K): (C_out, I, J, K).

    predict     maps float32 (B, C, *tile) to (B, C_out, *tile)
    tile, halo  as in `plan_tiles`, voxels
    out         where to write, for example a memory map; made after the first tile when None
    blend       "crop" keeps the middle of each tile; with a halo as wide as the network's reach
                the result is that of the whole volume. "gaussian" averages where tiles overlap
                (by twice the halo), the middle of a tile counting most
    batch_size  tiles that the network sees at once
    multiple    the network's stride, voxels
    pad         the value that lies beyond the end of the volume
    finish      applied to each result before it is kept, for example `most_likely`; "crop" only

    Works for any number of spatial axes. Raises UsageError for settings that do not fit, and
    ModelError when the network's answer has not the tile's shape.
    """
    if finish is not None and blend != "crop":
        raise UsageError(
            f"finish needs blend='crop', because {blend!r} averages before it can decide."
        )
    shape = tuple(volume.shape[1:])
    axes = plan_axes(shape, tile, halo, multiple)
    tiles = plan_tiles(shape, tile, halo, multiple)
    canvas = _Cropped(shape, out) if blend == "crop" else _Averaged(shape, out, axes)
    batches = _batches(volume, tiles, [axis.tile for axis in axes], batch_size, pad)
    for group, batch in batches:
        results = _predicted(predict, batch, group[0])
        for one, result in zip(group, finish(results) if finish else results, strict=True):
            canvas.add(one, result)
    return canvas.result()


def most_likely(batch: Data) -> Data:
    """Return the class with the largest value, (B, 1, ...) uint8 or uint16, for `run_tiled`."""
    kind = np.uint8 if batch.shape[1] <= 256 else np.uint16
    labels: Data = batch.argmax(axis=1, keepdims=True).astype(kind)
    return labels


class _Cropped:
    """An output to which each tile gives the voxels that are its own."""

    def __init__(self, shape: tuple[int, ...], out: Data | None) -> None:
        self._shape = shape
        self._out = out

    def add(self, tile: Tile, result: Data) -> None:
        out = self._ready(len(result), result.dtype)
        out[(slice(None), *tile.write)] = result[(slice(None), *tile.kept)]

    def result(self) -> Data:
        if self._out is None:
            raise ModelError("No tile was predicted.")
        return self._out

    def _ready(self, channels: int, kind: np.dtype[Any]) -> Data:
        wanted = (channels, *self._shape)
        if self._out is None:
            self._out = np.zeros(wanted, kind)
        if self._out.shape != wanted:
            raise UsageError(
                f"out must have the shape {wanted} of the result, not {self._out.shape}."
            )
        return self._out


class _Averaged(_Cropped):
    """An output to which each tile adds its voxels, weighted.

    The window is a product over axes, and so is the plan: hence the sum of all windows at a voxel
    is a product too, and each tile can be divided by it at once.
    """

    def __init__(self, shape: tuple[int, ...], out: Data | None, axes: Sequence[Axis]) -> None:
        super().__init__(shape, out)
        self._weights = [_axis_weights(axis) for axis in axes]
        if out is not None:
            out[...] = 0

    def add(self, tile: Tile, result: Data) -> None:
        out = self._ready(len(result), np.dtype(np.float32))
        inside = tuple(
            slice(box.start, min(box.stop, size))
            for box, size in zip(tile.read, self._shape, strict=True)
        )
        weighted = result[(slice(None), *(slice(0, box.stop - box.start) for box in inside))]
        for axis, (weights, box) in enumerate(zip(self._weights, inside, strict=True)):
            column = weights[box.start][: box.stop - box.start]
            weighted = weighted * column.reshape(-1, *(1,) * (len(inside) - axis - 1))
        out[(slice(None), *inside)] += weighted


def _axis_weights(axis: Axis) -> dict[int, Float]:
    """Return the weights of each tile along one axis by its start; at each voxel they sum to 1."""
    distance = (np.arange(axis.tile) - (axis.tile - 1) / 2) / (axis.tile * _SIGMA)
    window = np.exp(-0.5 * distance**2)
    total = np.zeros(axis.starts[-1] + axis.tile)
    for start in axis.starts:
        total[start : start + axis.tile] += window
    shares = ((start, window / total[start : start + axis.tile]) for start in axis.starts)
    return {start: share.astype(np.float32) for start, share in shares}


def _batches(
    volume: Readable,
    tiles: Sequence[Tile],
    size: Sequence[int],
    batch_size: int,
    pad: float,
) -> Iterator[tuple[Sequence[Tile], Float]]:
    count = max(1, min(batch_size, len(tiles)))
    buffer = np.empty((count, volume.shape[0], *size), np.float32)
    for start in range(0, len(tiles), count):
        group = tiles[start : start + count]
        for slot, tile in zip(buffer, group, strict=False):
            _fill(slot, volume, tile.read, pad)
        yield group, buffer[: len(group)]


def _fill(slot: Float, volume: Readable, box: Box, pad: float) -> None:
    shape = volume.shape[1:]
    inside = tuple(slice(b.start, min(b.stop, n)) for b, n in zip(box, shape, strict=True))
    sizes = [b.stop - b.start for b in inside]
    slot[...] = pad
    slot[(slice(None), *(slice(0, n) for n in sizes))] = volume[(slice(None), *inside)]


def _predicted(predict: Callable[[Float], Data], batch: Float, first: Tile) -> Data:
    try:
        result = np.asarray(predict(batch))
    except Exception as error:
        where = ", ".join(f"{box.start}:{box.stop}" for box in first.read)
        error.add_note(f"while predicting the tile at voxels [{where}]")
        raise
    answered, asked = (len(result), *result.shape[2:]), (len(batch), *batch.shape[2:])
    if result.ndim != batch.ndim or answered != asked:
        raise ModelError(
            f"The network must answer {batch.shape} with (batch, channels) and the same sides, "
            f"but it gave {result.shape}."
        )
    return result

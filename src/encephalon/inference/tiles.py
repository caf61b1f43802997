# SPDX-License-Identifier: Apache-2.0
"""Predict a volume tile by tile, with memory for one output and a few tiles.

Every tile of a plan has the same size and starts at a multiple of the network's stride, so that a
network with enough context around each tile (its halo) gives the very numbers that it would give
on the whole volume. No voxel is left out or doubled, and the result of a tile goes straight to its
place. Works for any number of spatial axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ModelError, UsageError

Data = NDArray[Any]
Float = NDArray[np.float32]
Box = tuple[slice, ...]


@dataclass(frozen=True)
class Tile:
    """One tile: the network sees the box `read`, and what it says of the box `write` is kept.

    Both are in voxels of the volume. `read` may reach past its end, where the volume is padded;
    `write` never does, lies within `read`, and is disjoint from every other tile's.
    """

    read: Box
    write: Box

    @property
    def kept(self) -> Box:
        """The box `write` in voxels of the tile."""
        pairs = zip(self.read, self.write, strict=True)
        return tuple(slice(w.start - r.start, w.stop - r.start) for r, w in pairs)


def plan_tiles(
    shape: Sequence[int],
    tile: int | Sequence[int],
    halo: int | Sequence[int] = 0,
    multiple: int = 8,
) -> list[Tile]:
    """Return the tiles that cover a volume of `shape` (voxels), in C order.

    `tile` is the size that the network sees; `halo` is the margin on each inner side of it that is
    computed but not kept. A tile is never larger than the volume padded to a whole `multiple`
    (the network's stride): a small volume is one tile. Raises UsageError for a tile that is no
    multiple of `multiple`, or a halo that leaves nothing of it.
    """
    tiles, halos = _per_axis(tile, len(shape), "tile"), _per_axis(halo, len(shape), "halo")
    rows = zip(shape, tiles, halos, strict=True)
    cuts = product(*(_cut_axis(*row, multiple) for row in rows))
    return [Tile(*map(tuple, zip(*boxes, strict=True))) for boxes in cuts]


def run_tiled(
    predict: Callable[[Float], Data],
    volume: Data,
    tile: int | Sequence[int],
    halo: int | Sequence[int] = 0,
    *,
    batch_size: int = 1,
    multiple: int = 8,
) -> Data:
    """Return what `predict` says of `volume` (C, I, J, K): (C_out, I, J, K).

    predict     maps float32 (B, C, *tile) to (B, C_out, *tile)
    tile, halo  as in `plan_tiles`, voxels; with a halo as wide as the network's reach the result
                is that of the whole volume
    batch_size  tiles that the network sees at once
    multiple    the network's stride, voxels

    Beyond the end of the volume lies 0. Raises UsageError for settings that do not fit, and
    ModelError when the network's answer has not the tile's shape.
    """
    tiles = plan_tiles(volume.shape[1:], tile, halo, multiple)
    out: Data | None = None
    for group, batch in _batches(volume, tiles, batch_size):
        for one, result in zip(group, _predicted(predict, batch, group[0]), strict=True):
            if out is None:
                out = np.zeros((len(result), *volume.shape[1:]), result.dtype)
            out[(slice(None), *one.write)] = result[(slice(None), *one.kept)]
    if out is None:
        raise ModelError("No tile was predicted.")
    return out


def _batches(
    volume: Data, tiles: Sequence[Tile], batch_size: int
) -> Iterator[tuple[Sequence[Tile], Float]]:
    count = max(1, min(batch_size, len(tiles)))
    size = [box.stop - box.start for box in tiles[0].read]
    buffer = np.empty((count, volume.shape[0], *size), np.float32)
    for start in range(0, len(tiles), count):
        group = tiles[start : start + count]
        for slot, tile in zip(buffer, group, strict=False):
            inside = volume[(slice(None), *tile.read)]
            slot[...] = 0
            slot[tuple(map(slice, inside.shape))] = inside
        yield group, buffer[: len(group)]


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


def _per_axis(value: int | Sequence[int], count: int, name: str) -> tuple[int, ...]:
    """Return `value` once for each of `count` axes; raise UsageError for another number of them."""
    values = (value,) * count if isinstance(value, int) else tuple(value)
    if len(values) != count:
        raise UsageError(f"{name} must be one number or {count}, one per axis, but it is {value}.")
    return values


def _cut_axis(size: int, tile: int, halo: int, multiple: int) -> list[tuple[slice, slice]]:
    """What each tile reads and writes of an axis of `size` voxels."""
    if size < 1 or multiple < 1:
        raise UsageError(f"An axis to tile needs at least one voxel, but it has {size}.")
    if tile < multiple or tile % multiple:
        raise UsageError(f"The tile must be a multiple of {multiple} voxels, but it is {tile}.")
    # Rounding a start down to the grid may cost up to multiple - 1 voxels of each step.
    largest = (tile - multiple) // 2
    if not 0 <= halo <= largest:
        raise UsageError(
            f"The halo of a tile of {tile} voxels must be 0 to {largest}, but it is {halo}: "
            "take a larger tile."
        )
    padded = -(-size // multiple) * multiple
    if padded <= tile:
        return [(slice(0, padded), slice(0, size))]
    starts, cuts = [0], [0]
    while starts[-1] + tile < padded:
        cuts.append(starts[-1] + tile - halo)
        # The next tile must have its halo before the cut, and start on the network's own grid. The
        # last one is moved back to end with the volume: more context, never a smaller tile.
        start = (cuts[-1] - halo) // multiple * multiple
        starts.append(min(start, padded - tile))
    reads = [slice(start, start + tile) for start in starts]
    return list(zip(reads, map(slice, cuts, [*cuts[1:], size]), strict=True))

# SPDX-License-Identifier: Apache-2.0
"""Where the tiles of a volume lie: plans with constant tile size and no voxel left out or doubled.

Every tile of a plan has the same size and starts at a multiple of the network's stride, so that a
network with enough context around each tile (its halo) gives the very numbers that it would give
on the whole volume. Works for any number of spatial axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from encephalon.errors import UsageError

__all__ = ["Axis", "Box", "Tile", "per_axis", "plan_axes", "plan_tiles"]

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


@dataclass(frozen=True)
class Axis:
    """The cuts of one axis of `size` voxels, read in stretches of `tile` voxels.

    Tile n reads [starts[n], starts[n] + tile) and writes [cuts[n], cuts[n + 1]).
    """

    size: int
    tile: int
    starts: tuple[int, ...]
    cuts: tuple[int, ...]


def plan_tiles(
    shape: Sequence[int],
    tile: int | Sequence[int],
    halo: int | Sequence[int] = 0,
    multiple: int | Sequence[int] = 8,
) -> list[Tile]:
    """Return the tiles that cover a volume of `shape` (voxels), in C order.

    `tile` is the size that the network sees; `halo` is the margin on each inner side of it that is
    computed but not kept. A tile is never larger than the volume padded to a whole `multiple`
    (the network's stride): a small volume is one tile. Raises UsageError for a tile that is no
    multiple of `multiple`, or a halo that leaves nothing of it.
    """
    axes = plan_axes(shape, tile, halo, multiple)
    tiles = []
    for place in product(*(range(len(axis.starts)) for axis in axes)):
        pairs = list(zip(axes, place, strict=True))
        read = tuple(slice(a.starts[n], a.starts[n] + a.tile) for a, n in pairs)
        write = tuple(slice(a.cuts[n], a.cuts[n + 1]) for a, n in pairs)
        tiles.append(Tile(read, write))
    return tiles


def plan_axes(
    shape: Sequence[int],
    tile: int | Sequence[int],
    halo: int | Sequence[int] = 0,
    multiple: int | Sequence[int] = 8,
) -> list[Axis]:
    """Return the cuts of each axis; the plan of `plan_tiles` is their product."""
    count = len(shape)
    rows = zip(
        shape,
        per_axis(tile, count, "tile"),
        per_axis(halo, count, "halo"),
        per_axis(multiple, count, "multiple"),
        strict=True,
    )
    return [_plan_axis(*row) for row in rows]


def per_axis(value: int | Sequence[int], count: int, name: str) -> tuple[int, ...]:
    """Return `value` once for each of `count` axes; raise UsageError for another number of them."""
    values = (value,) * count if isinstance(value, int) else tuple(value)
    if len(values) != count:
        raise UsageError(f"{name} must be one number or {count}, one per axis, but it is {value}.")
    return values


def _plan_axis(size: int, tile: int, halo: int, multiple: int) -> Axis:
    _check(size, tile, halo, multiple)
    padded = -(-size // multiple) * multiple
    if padded <= tile:
        return Axis(size, padded, (0,), (0, size))
    starts, cuts = [0], [0]
    while starts[-1] + tile < padded:
        cuts.append(starts[-1] + tile - halo)
        # The next tile must have its halo before the cut, and start on the network's own grid. The
        # last one is moved back to end with the volume: more context, never a smaller tile.
        start = (cuts[-1] - halo) // multiple * multiple
        starts.append(min(start, padded - tile))
    return Axis(size, tile, tuple(starts), (*cuts, size))


def _check(size: int, tile: int, halo: int, multiple: int) -> None:
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

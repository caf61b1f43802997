# SPDX-License-Identifier: Apache-2.0
"""The tiles of a table, ready to be learnt from: each box once on disk, read through a memory map.

Memory holds what is asked for, in the type that the volume has; numbers are made of it tile by
tile. A tile is normalised as its model says, the same way in training, testing and use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, TableError, either
from encephalon.io.volumes.ome_zarr import labels_of
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.volume import box_at, box_slices
from encephalon.studies.microtomography.settings import Intensity
from encephalon.studies.microtomography.tiles import IGNORED
from encephalon.tables.encoding import encode_classes
from encephalon.tables.schema import Table
from encephalon.training.dataset import prepare

__all__ = [
    "Place",
    "TileDataset",
    "measure_intensity",
    "normalised",
    "prepare_tiles",
    "scaled",
    "tile_places",
]

#: How boxes are kept; another number makes them anew.
PREPARATION = "box-1"
#: Percentiles of the voxels of all boxes that become 0 and 1 where their type tells no range.
PERCENTILES = (0.1, 99.9)
#: Standard deviations from the mean that do. In pictures of rats 1 to 3 of axon-sem, myelin then
#: lies at 0.71 to 0.77, and by percentiles at 0.50 to 0.73.
DEVIATIONS = (-2.0, 2.0)
#: Voxels that are looked at to find these, evenly spaced.
LOOKED_AT = 1_000_000

Raw = NDArray[Any]
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Place:
    """Where a tile lies: the cell of the table that names its file, first voxel and size, z y x."""

    cell: str
    start: tuple[int, int, int]
    size: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, ...]:
        """It as an index of the array of its volume."""
        return box_slices(box_at(self.start, self.size))


@dataclass(frozen=True)
class _Box:
    """One volume of a table, as `training.dataset.prepare` wants it."""

    path: Path

    @property
    def files(self) -> list[Path]:
        return [self.path]


@dataclass(frozen=True, eq=False)
class TileDataset:
    """Tiles with what is known of them.

    table      their rows
    places     where each lies in its image
    structures where the labels of each lie; empty for a table without any
    truth      (N,) number of the region, -1 for none
    files      the array (.npy) of each volume, by its cell
    """

    table: Table
    places: Sequence[Place]
    structures: Sequence[Place]
    truth: NDArray[np.int64]
    files: Mapping[str, Path] = field(repr=False)

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.places)

    def raw(self, tile: int) -> Raw:
        """The voxels (z, y, x) of a tile as its volume has them."""
        return self._read(self.places[tile])

    def labels(self, tile: int) -> NDArray[np.uint8]:
        """The structures (z, y, x) of a tile, IGNORED where nobody looked."""
        return self._read(self.structures[tile]).astype(np.uint8)

    def volume(self, tile: int) -> Raw:
        """The whole box (z, y, x) that a tile lies in."""
        return self._arrays[self.places[tile].cell]

    @property
    def boxes(self) -> list[Raw]:
        """Each box that tiles lie in."""
        return [self._arrays[cell] for cell in dict.fromkeys(place.cell for place in self.places)]

    def levels(self, tile: int, intensity: Intensity) -> Float:
        """The voxels (z, y, x) of a tile with their window at 0 and 1; that of a box is kept."""
        if intensity.window is None:
            key = self.places[tile].cell, intensity.each_box
            if key not in self._windows:
                self._windows[key] = window_of(self.volume(tile), how=intensity.each_box)
            intensity = intensity.model_copy(update={"window": self._windows[key]})
        return scaled(self.raw(tile), intensity, self.volume(tile))

    def select(self, rows: Sequence[int]) -> TileDataset:
        """The tiles of these rows."""
        return replace(
            self,
            table=self.table.select(rows),
            places=[self.places[row] for row in rows],
            structures=[self.structures[row] for row in rows] if self.structures else [],
            truth=self.truth[list(rows)],
        )

    @cached_property
    def _windows(self) -> dict[tuple[str, str | None], tuple[float, float]]:
        return {}

    @cached_property
    def _arrays(self) -> dict[str, Raw]:
        return {cell: np.load(path, mmap_mode="r") for cell, path in self.files.items()}

    def _read(self, place: Place) -> Raw:
        return np.array(self._arrays[place.cell][place.slices])


def prepare_tiles(
    table: Table, cache: Path, workers: int, classes: Sequence[str] = ()
) -> TileDataset:
    """The tiles of a table; each box that it names is read once, in `workers` processes.

    With `classes` it has structures, whose labels must be of these. Raises TableError naming the
    row of a tile that does not lie in its box, and the errors of `open_volume` for a box that
    cannot be read.
    """
    image = next(iter(table.columns.inputs.values()))
    places = tile_places(table, image)
    structures = tile_places(table, _structures(table)) if classes else []
    for cell in dict.fromkeys(place.cell for place in structures):
        require_classes(table.path(cell), classes)
    cells = list(dict.fromkeys(place.cell for place in (*places, *structures)))
    kept = prepare(
        [_Box(table.path(cell)) for cell in cells], _keep, cache, PREPARATION, ".npy", workers
    )
    files = dict(zip(cells, kept, strict=True))
    shapes = {cell: np.load(path, mmap_mode="r").shape for cell, path in files.items()}
    for row, place in [*enumerate(places), *enumerate(structures)]:
        if any(
            a + n > m for a, n, m in zip(place.start, place.size, shapes[place.cell], strict=True)
        ):
            raise TableError(
                f"{table.source}, row {table.row(row)}: the tile begins at voxel "
                f"{list(place.start)} with {list(place.size)}, but {place.cell} has only "
                f"{list(shapes[place.cell])}: make the table again."
            )
    truth = encode_classes(table) if table.columns.classes else np.full(len(table), -1)
    return TileDataset(table, places, structures, truth, files)


def require_classes(labels: Path, classes: Sequence[str]) -> None:
    """Raise ContentError where the labels of an OME-Zarr have other names than `classes`."""
    named = {n: one.name for n, one in labels_of(labels).items() if one.name and n != IGNORED}
    if named and named != dict(enumerate(classes)):
        raise ContentError(
            f"{labels}: its labels are {either(named.values())}, but the model tells "
            f"{either(classes)}: choose another recipe or table, or set study.structures."
        )


def _keep(box: _Box, path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, open_volume(box.path).read(complete=True))


def _structures(table: Table) -> str:
    name = str(table.columns.target)
    table.require(name)
    empty = [row for row, cell in enumerate(table.texts(name)) if not cell]
    if empty:
        raise TableError(
            f"{table.source}, row {table.row(empty[0])}: {name!r} is empty, and structures are "
            "learnt from labels: leave out the rows without any."
        )
    return name


def tile_places(table: Table, column: str) -> list[Place]:
    """Where each tile lies in the volumes that a column names.

    Raises TableError for a table that is not one of tiles.
    """
    numbers = []
    for name in (f"{word}_{axis}" for word in ("first", "size") for axis in "zyx"):
        if not table.has(name):
            raise TableError(
                f"{table.source} has no column {name!r}, as a table of tiles has: make it with  "
                "encephalon table tiles."
            )
        values = table.numbers(name)
        least = int(name.startswith("size"))
        bad = np.flatnonzero(~np.isfinite(values) | (values < least) | (values % 1 != 0))
        if bad.size:
            row = int(bad[0])
            raise TableError(
                f"{table.source}, row {table.row(row)}: {name!r} must be a whole number of voxels, "
                f"{least} or more, but is {table.texts(name)[row]!r}."
            )
        numbers.append(values.astype(int))
    rows = zip(table.texts(column), *np.stack(numbers).tolist(), strict=True)
    return [
        Place(cell, (z, y, x), (depth, high, wide)) for cell, z, y, x, depth, high, wide in rows
    ]


def window_of(*boxes: Raw, how: str | None = None) -> tuple[float, float]:
    """The values that become 0 and 1 in boxes: see `Intensity.each_box`; None is percentiles."""
    step = max(1, round((sum(each.size for each in boxes) / LOOKED_AT) ** (1 / 3)))
    seen = np.concatenate([each[::step, ::step, ::step].ravel() for each in boxes])
    if how == "deviations":
        low, high = seen.mean() + np.multiply(DEVIATIONS, seen.std())
    else:
        low, high = np.percentile(seen, PERCENTILES)
    if not high > low:
        raise ContentError(
            f"The voxels of a box lie between {low:g} and {high:g}: there is nothing to see."
        )
    return float(low), float(high)


def measure_intensity(dataset: TileDataset, asked: Intensity) -> Intensity:
    """What the recipe leaves open of how tiles are normalised, measured on these tiles."""
    window = asked.window
    if window is None and not asked.each_box:
        boxes = dataset.boxes
        bytes_alone = all(box.dtype == np.uint8 for box in boxes)
        window = (0.0, 255.0) if bytes_alone else window_of(*boxes)
    found = asked.model_copy(update={"window": window})
    if asked.mean is not None and asked.std is not None:
        return found
    sums = np.zeros(3)
    for tile in range(len(dataset)):
        levels = dataset.levels(tile, found).astype(np.float64)
        sums += levels.size, levels.sum(), (levels**2).sum()
    mean = float(sums[1] / sums[0])
    spread = float(np.sqrt(max(0.0, sums[2] / sums[0] - mean**2)))
    return found.model_copy(update={"mean": round(mean, 6), "std": round(spread, 6) or 1.0})


def scaled(voxels: Raw, intensity: Intensity, whole: Raw) -> Float:
    """Voxels (z, y, x) with their window at 0 and 1; `whole` is the box that they are from."""
    low, high = intensity.window or window_of(whole, how=intensity.each_box)
    levels: Float = (voxels.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    return levels.clip(0, 1)


def normalised(levels: Float, intensity: Intensity) -> Float:
    """Levels in [0, 1] as a network sees them."""
    mean, std = np.float32(intensity.mean or 0), np.float32(intensity.std or 1)
    found: Float = (levels - mean) / std
    return found

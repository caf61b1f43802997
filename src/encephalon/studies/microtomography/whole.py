# SPDX-License-Identifier: Apache-2.0
"""Whole volumes of any size: the structure of each voxel, or the region of each tile."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from glob import escape
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import InputError, OutputError
from encephalon.inference.blocks import (
    Labeller,
    TileGrid,
    digest,
    label_blocks,
    largest,
    read_box,
)
from encephalon.inference.workers import Workers
from encephalon.io.atomic import json_text, locked, remove
from encephalon.io.volumes.ome_zarr import Label
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.volume import (
    Box,
    Size,
    Spacing,
    Volume,
    box_at,
    box_size,
    box_slices,
    shifted,
)
from encephalon.io.volumes.writing import CHUNKS, OmeZarrWriter, fill_ome_zarr
from encephalon.reports.label_maps import class_colour
from encephalon.studies.microtomography.data import normalised, scaled, window_of
from encephalon.studies.microtomography.settings import Intensity, PredictOptions
from encephalon.studies.microtomography.uncertainty import disagreement, in_bytes

__all__ = [
    "Labelled",
    "Teller",
    "label_volume",
    "make_grid",
    "map_tile",
    "warn_of_another_kind",
    "with_window",
]

Float = NDArray[np.float32]
_log = logging.getLogger(__name__)

#: Voxels along y and x whose structures one pass through a network decides, its margin, and the
#: stride: 64 is what a U-Net of four levels sees around a pixel. Of networks of slices, of volumes.
TILES: Mapping[bool, tuple[int, int, int]] = {True: (640, 64, 32), False: (128, 16, 16)}
#: Voxels that are worked on at once: whole tiles, and whole chunks of what is written.
BLOCKS: Mapping[bool, Size] = {True: (64, 640, 640), False: (64, 128, 128)}
#: Tiles of a model of regions that are worked on at once.
REGION_BLOCKS: Mapping[bool, Size] = {True: (64, 8, 8), False: (4, 4, 4)}
#: Side of a tile whose region is told where nothing says how large those were that were learnt.
SIDE = 64
#: Boxes along each axis, and voxels of each, by which the window of a large volume is measured.
LOOKS, LOOK = 4, (16, 64, 64)
#: Edges of voxels that differ by no more are the same size.
SAME_SIZE = 0.1
#: A volume is too dark or too bright for a model where its levels in [0, 1] have a deviation
#: below this (tiles of brains have 0.05 to 0.25), or where more than this share of them is white.
FLAT, FULL = 0.01, 0.5


class Teller(Protocol):
    """What of a model of tiles is needed to label a volume."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Of tiles or voxels."""
        ...

    @property
    def depth(self) -> int:
        """Slices that it learnt from at once; 0 if it sees single ones."""
        ...

    @property
    def options(self) -> PredictOptions:
        """What was asked of it."""
        ...

    @property
    def workers(self) -> Workers:
        """Who labels the blocks."""
        ...

    def tell(self, tiles: Float) -> Float:
        """The logits of tiles (B, 1, [Z,] Y, X)."""
        ...


@dataclass(frozen=True)
class Labelled:
    """A volume that was labelled: the finished OME-Zarr, and the percent of each class."""

    folder: Path
    percent: Mapping[str, float]


@dataclass(frozen=True)
class _Whole:
    """How a volume is labelled: the grid of the output, and what it stands for."""

    shape: Size
    block: Size
    chunks: Size
    scale: Size
    labels: Mapping[int, Label]


def make_grid(shape: Size, depth: int, blend: bool = False, wider: int = 1) -> TileGrid:
    """The tiles in which a network that learnt from `depth` slices at once is shown a volume.

    It sees as many, of which the middle half counts. Of eight slices a U-Net of four levels leaves
    one, so that its deepest kernels have never met a neighbour, and of more slices make nonsense.
    Tiles are `wider` times as wide as usual.
    """
    tile, halo, multiple = TILES[depth == 0]
    tile *= wider
    seen = max(1, depth)
    margin = seen // 4 if seen < shape[0] else 0
    return TileGrid(
        shape,
        (seen - 2 * margin, tile, tile),
        (margin, halo, halo),
        (1 if margin else seen, multiple, multiple),
        blend,
    )


def with_window(intensity: Intensity, volume: Volume) -> Intensity:
    """The intensity with its window, measured where the model has none of its own.

    By evenly spaced boxes, so that neither memory nor the blocks have a say in it.
    """
    if intensity.window is not None:
        return intensity
    return intensity.model_copy(
        update={"window": window_of(*_looked_at(volume), how=intensity.each_box)}
    )


def _looked_at(volume: Volume) -> Iterator[NDArray[Any]]:
    sizes = [min(n, look) for n, look in zip(volume.shape, LOOK, strict=True)]
    starts = (
        sorted({round(at) for at in np.linspace(0, n - size, LOOKS)})
        for n, size in zip(volume.shape, sizes, strict=True)
    )
    for start in product(*starts):
        yield volume.read(shifted(box_at(start, sizes), volume.origin), complete=True)


@lru_cache(maxsize=64)
def warn_of_another_kind(path: Path, intensity: Intensity, spacing: Spacing | None) -> None:
    """Say, once a volume, that its voxels have another size or brightness than a model's."""
    volume = open_volume(path)
    known = spacing is not None and volume.spacing is not None
    if known and not np.allclose(volume.spacing, spacing, rtol=SAME_SIZE):  # type: ignore[arg-type]
        _log.warning(
            "%s: its voxels have edges of %s µm (z, y, x), but the model learnt from %s: resample "
            "it to these.",
            *(path, volume.spacing, spacing),
        )
    if intensity.window is None:
        return
    with suppress(InputError):  # which is said where it is read
        levels = np.concatenate(
            [scaled(each, intensity, each).ravel() for each in _looked_at(volume)]
        )
        if levels.std() < FLAT or (levels == 1).mean() > FULL:
            _log.warning(
                "%s: the model sees little in it, for it learnt from voxels between %g and %g, but "
                "these are of the type %s: scale them as those that it learnt from.",
                *(path, *intensity.window, volume.dtype),
            )


def label_volume(
    again: Callable[[], Teller],
    teller: Teller,
    volume: Volume,
    address: Path,
    intensity: Intensity,
    about: Mapping[str, Any],
    final: Path,
    structures: bool,
    shown: str = "",
) -> Labelled:
    """Label a volume in a folder beside `final`, where it continues if it was begun there.

    With `shown`, that map of doubt, see `uncertainty`, stands in place of the labels. `about` is
    what beside the volume the result depends on; `again` opens the model in each worker. What
    another model or option had begun for the same place is removed once it is finished.
    """
    whole = _plan(teller, volume, structures, shown)
    facts = {**about, "shape": volume.shape, "type": str(volume.dtype), "origin": volume.origin}
    facts["intensity"] = intensity.model_dump()
    facts |= {"map": shown} if shown else {}
    key = hashlib.sha256(json_text(facts).encode()).hexdigest()[:16]
    folder = final.parent / f".{final.name}-{key}.unfinished"
    made = folder / "labels.ome.zarr"
    opens = again if teller.workers.elsewhere else lambda: teller
    start = partial(_start, opens, str(address), intensity, structures, shown)
    writer = _writer(made, final, whole, volume)
    counts = label_blocks(
        start,
        writer,
        folder,
        key,
        shape=whole.shape,
        block=whole.block,
        classes=max(whole.labels, default=255) + 1,
        origin=_coarse(volume.origin, whole.scale),
        workers=teller.workers,
    )
    writer.finish()
    for other in final.parent.glob(f".{escape(final.name)}-*.unfinished"):
        with suppress(OutputError), locked(other / "run", timeout=0):
            if other != folder:
                remove(other)
    percent = {
        label.name: round(100 * counts[number] / math.prod(whole.shape), 3)
        for number, label in whole.labels.items()
    }
    return Labelled(made, percent)


def _wider(teller: Teller) -> int:
    """How many times as wide as usual tiles are, so that none is smaller than what taught it."""
    usual = TILES[teller.depth == 0][0]
    return max(1, -(-(teller.options.tile or 0) // usual))


def _plan(teller: Teller, volume: Volume, structures: bool, shown: str) -> _Whole:
    flat = teller.depth == 0
    if shown or structures:
        z, y, x = BLOCKS[flat]
        block = (z, y * _wider(teller), x * _wider(teller))
        named = {n: Label(name, class_colour(n)) for n, name in enumerate(teller.classes)}
        return _Whole(volume.shape, block, CHUNKS, (1, 1, 1), {} if shown else named)
    scale = _scale(teller)
    shape = _coarse(volume.shape, scale)
    if min(shape) < 1:
        raise InputError(
            f"{volume.name}: {volume.shape} voxels hold no tile of {scale}: give a larger volume, "
            "or a smaller --tile."
        )
    # 0 is left for what lies in no tile, as viewers do not draw it.
    labels = {n: Label(name) for n, name in enumerate(teller.classes, 1)}
    return _Whole(shape, REGION_BLOCKS[flat], REGION_BLOCKS[flat], scale, labels)


def _scale(teller: Teller) -> Size:
    """Voxels of a tile whose region is told: as deep as those that were learnt from."""
    side = teller.options.tile or SIDE
    return max(1, teller.depth), side, side


def _writer(made: Path, final: Path, whole: _Whole, volume: Volume) -> OmeZarrWriter:
    spacing, origin = volume.spacing, _coarse(volume.origin, whole.scale)
    z, y, x = (
        (at + (size - 1) / 2) / size - first
        for at, size, first in zip(volume.origin, whole.scale, origin, strict=True)
    )
    if spacing is not None:
        spacing = (
            spacing[0] * whole.scale[0],
            spacing[1] * whole.scale[1],
            spacing[2] * whole.scale[2],
        )
    return fill_ome_zarr(
        made,
        whole.shape,
        np.uint8,
        path=final,
        chunks=whole.chunks,
        spacing=spacing,
        origin=origin,
        offset=(z, y, x),
        kind="labels" if whole.labels else "image",
        values=whole.labels,
    )


def _coarse(voxels: Size, scale: Size) -> Size:
    z, y, x = (n // size for n, size in zip(voxels, scale, strict=True))
    return z, y, x


def _start(
    again: Callable[[], Teller], address: str, intensity: Intensity, structures: bool, shown: str
) -> Labeller:
    """What labels boxes, in one worker."""
    teller, volume = again(), open_volume(address)

    def read(box: Box) -> NDArray[Any]:
        return volume.read(shifted(box, volume.origin), complete=True)

    def prepare(voxels: NDArray[Any]) -> Float:
        return normalised(scaled(voxels, intensity, voxels), intensity)

    if structures:
        grid = make_grid(volume.shape, teller.depth, teller.options.blend, _wider(teller))
        predict, decide = _asked(teller, shown)
        return partial(read_box, read, prepare, predict, grid, decide=decide)
    return partial(_regions, teller, read, prepare)


def map_tile(teller: Teller, image: Float, shown: str = "") -> NDArray[np.uint8]:
    """The number of the class of each voxel of a tile (z, y, x), or the map `shown`."""
    z, y, x = image.shape
    grid = make_grid((z, y, x), teller.depth, teller.options.blend, _wider(teller))
    predict, decide = _asked(teller, shown)
    box: Box = ((0, z), (0, y), (0, x))
    _, made = read_box(lambda one: image[box_slices(one)], np.asarray, predict, grid, box, decide)
    return made()


def _asked(
    teller: Teller, shown: str
) -> tuple[Callable[[Float], Float], Callable[[Float], NDArray[np.uint8]]]:
    """What is computed of a tile, and what its numbers become."""
    logits = partial(logits_of, teller)
    return (partial(disagreement, logits, shown), in_bytes) if shown else (logits, largest)


def logits_of(teller: Teller, tile: Float) -> Float:
    """The logits (C, z, y, x) of a tile (z, y, x)."""
    told = _told(teller, tile)
    return told if teller.depth else told[:, None]


def _told(teller: Teller, tile: Float) -> Float:
    told: Float = teller.tell(tile[None, None] if teller.depth else tile[None])[0]
    return told


def _regions(
    teller: Teller, read: Callable[[Box], NDArray[Any]], prepare: Callable[[Any], Float], box: Box
) -> tuple[str, Callable[[], NDArray[np.uint8]]]:
    """As `read_box`, of tiles that are one voxel of the output each."""
    scale = _scale(teller)
    z, y, x = ((a * n, b * n) for (a, b), n in zip(box, scale, strict=True))
    voxels = read((z, y, x))

    def label() -> NDArray[np.uint8]:
        labels = np.zeros(box_size(box), np.uint8)
        for place in np.ndindex(labels.shape):
            spans = (slice(at * n, (at + 1) * n) for at, n in zip(place, scale, strict=True))
            found = _told(teller, prepare(voxels[tuple(spans)]))
            labels[place] = 1 + found[len(found) - len(teller.classes) :].argmax()
        return labels

    return digest(voxels), label

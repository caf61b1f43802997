# SPDX-License-Identifier: Apache-2.0
"""The steps of the published path around its network, as its programs did them.

Sources: `brainy/cli.py` and `ams/cli.py` 0.1.0; `nobrainer/cli/main.py`, `prediction.py`,
`transform.py` and `volume.py` of Nobrainer up to 1.2; FreeSurfer's `mri_convert --conform`, which
the apps call, in the reading of FastSurfer's `conform.py`. Their defects are kept on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.geometry.affine import Grid
from encephalon.inference.tiles import plan_tiles, run_tiled
from encephalon.io.image import Image
from encephalon.studies.extraction.published.settings import STRIDE, Rule
from encephalon.transforms.conform import conform

__all__ = [
    "CONFORMED",
    "REACH",
    "ROTATION",
    "blocks",
    "conformed",
    "crossing",
    "resized",
    "rotated_blocks",
    "rotation",
    "to_bytes",
    "z_score",
]

Data = NDArray[Any]
Float = NDArray[np.float32]
Network = Callable[[Float], Float]
"""Maps blocks (B, 1, I, J, K) to answers (B, C, I, J, K)."""
Edges = Sequence[int]
"""The three edges of a block, voxels."""

BLOCK: Edges = (128, 128, 128)
CONFORMED = (256, 256, 256)
"""A scan of this shape is taken as conformed whatever its voxel size: a defect of the apps."""
ROTATION = (np.pi / 4, np.pi / 4, 0.0)
"""Angles about i, j and k, radians, of the second pass of `--rotate-and-predict`."""
REACH = 56
"""Halo, voxels, with which blocks give exactly what the network says of the whole volume: its
reach of 51, rounded up to its stride of 8."""

_BINS = 1000
_SATURATED = 0.001


def conformed(image: Image, rule: Rule = "published", grid: Grid | None = None) -> Image:
    """Return the scan as the network wants it: 256 voxels of 1 mm a side, LIA, whole 0 to 255.

    Or on another `grid`. By the rule "published" a scan that has as many voxels is returned as it
    is, whatever its voxel size and orientation: so did the published apps.
    """
    shape = grid.shape if grid else CONFORMED
    if rule == "never" or (rule == "published" and image.shape == shape):
        return image
    # FreeSurfer turns intensities to bytes before it resamples, and again after.
    resampled = conform(replace(image, data=to_bytes(image.data)), grid)
    return replace(resampled, data=np.rint(resampled.data))


def resized(data: Data, shape: Sequence[int], order: int) -> Data:
    """`data` (I, J, K) in as many voxels as `shape` says, as `nobrainer predict` makes it fit.

    Of the `order` 1 (scans) or 0 (masks), without a filter against aliasing, whatever the voxels'
    size and axes, 0 beyond the volume: `resize` of scikit-image, which calls the same function.
    """
    from scipy import ndimage

    if data.shape == tuple(shape):
        return data
    factors = np.divide(shape, data.shape)
    values = data.astype(np.float64 if order else data.dtype)
    found: Data = ndimage.zoom(values, factors, order=order, mode="grid-constant", grid_mode=True)
    return found.astype(np.float32) if order else found


def to_bytes(data: Data) -> NDArray[np.uint8]:
    """Map intensities to 0 to 255 as `mri_convert` does when its output is bytes.

    The smallest value becomes 0; the brightest 0.1 % of the voxels that are not zero saturate,
    found in a histogram of 1000 bins. Bytes stay as they are.
    """
    if data.dtype == np.uint8:
        return data
    low, high = float(data.min()), float(data.max())
    if not high > low:
        return np.zeros(data.shape, np.uint8)
    counts, _ = np.histogram(data, _BINS, (low, high))
    beyond = int(_SATURATED * np.count_nonzero(data))
    filled = np.flatnonzero(np.cumsum(counts) >= data.size - beyond)
    bins = int(filled[0]) + 1 if filled.size else _BINS
    scale = 255.0 / (bins * (high - low) / _BINS)
    result = np.empty(data.shape, np.uint8)
    for plane, values in zip(result, data, strict=True):  # never a copy of the scan in floats
        plane[...] = np.clip(np.rint((values - low) * scale), 0, 255)
    return result


def z_score(data: Data, name: str) -> Float:
    """Return (x - mean) / deviation over the whole volume, background included, in float32.

    Raises ContentError, naming the image, when all voxels are equal or one is not finite.
    """
    values = np.asarray(data, np.float32)
    mean, deviation = values.mean(), values.std()
    if not np.isfinite(deviation) or deviation == 0:
        found = "all voxels are equal" if deviation == 0 else "some voxels are not finite"
        raise ContentError(
            f"{name}: the scan cannot be standardised because {found}: check the file."
        )
    scored: Float = (values - mean) / deviation
    return scored


def blocks(
    network: Network, scored: Float, block: Edges = BLOCK, halo: int = 0, batch_size: int = 1
) -> Float:
    """Return the answer (C, I, J, K) to a standardised scan, predicted in blocks.

    Without `halo` the blocks do not overlap, as published: the result is the plain reassembly of
    the blocks. With it each block is seen with that many voxels more on each side, so that seams
    shrink; from 56 (`REACH`) on there are none. Any shape works: beyond it lies the mean, 0.
    """
    tile = [edge + 2 * halo for edge in block]
    whole = run_tiled(network, scored[None], tile, halo, batch_size=batch_size, multiple=STRIDE)
    return np.asarray(whole, np.float32)


def crossing(
    network: Network, scored: Float, block: Edges, halo: int
) -> tuple[tuple[slice, ...], Float]:
    """What the network says of the whole volume where blocks meet nearest to its middle.

    Returns the box of those voxels and the answer (C, i, j, k) there: a tile of the volume around
    the place is so large that each voxel of the box has the network's whole reach around it.
    """
    tiles = plan_tiles(scored.shape, [edge + 2 * halo for edge in block], halo, STRIDE)
    seen, kept = [], []
    for axis, size in enumerate(scored.shape):
        cuts = {tile.write[axis].start for tile in tiles}
        cut = min(cuts, key=lambda place: abs(place - size // 2))
        # Starts on the network's own grid; the volume is padded to its end, as for the blocks.
        padded = -(-size // STRIDE) * STRIDE
        edge = min(padded, 2 * REACH + 2 * STRIDE)
        start = (
            int(np.clip(cut // STRIDE * STRIDE - edge // 2, 0, padded - edge)) // STRIDE * STRIDE
        )
        first = start + (REACH if start else 0)
        last = start + edge - (REACH if start + edge < padded else 0)
        seen.append(slice(start, start + edge))
        kept.append(slice(first, min(last, size)))
    tile = np.zeros([box.stop - box.start for box in seen], np.float32)
    inside = scored[tuple(seen)]
    tile[tuple(map(slice, inside.shape))] = inside
    within = [slice(k.start - s.start, k.stop - s.start) for k, s in zip(kept, seen, strict=True)]
    return tuple(kept), network(tile[None, None])[0][(slice(None), *within)]


def rotated_blocks(
    network: Network,
    scored: Float,
    name: str,
    block: Edges = BLOCK,
    halo: int = 0,
    batch_size: int = 1,
) -> Float:
    """Return the probabilities (I, J, K) predicted on the scan turned by `ROTATION`, turned back.

    The turned scan (trilinear, its edge continued) is standardised again; the answer is turned
    back by nearest neighbours, 0 where the turned scan did not reach.
    """
    from scipy import ndimage

    turn = rotation(scored.shape, ROTATION)
    turned = ndimage.affine_transform(
        scored, turn[:3, :3], turn[:3, 3], output=np.float32, order=1, mode="nearest"
    )
    answer = blocks(network, z_score(turned, name), block, halo, batch_size)[0]
    return _nearest(answer, np.linalg.inv(turn).astype(np.float64))


def rotation(shape: tuple[int, ...], angles: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return the map (4, 4) of voxels that turns about i, then j, then k around the middle.

    `angles` in radians; the middle of n voxels is n / 2 - 1 / 2.
    """
    matrix = np.eye(4)
    for axis, angle in enumerate(angles):
        first, second = [(1, 2), (2, 0), (0, 1)][axis]
        turn = np.eye(4)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    middle = np.asarray(shape) / 2 - 0.5
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle
    return matrix


def _nearest(volume: Float, matrix: NDArray[np.float64]) -> Float:
    """Sample `volume` (I, J, K) at `matrix` times each voxel: nearest, 0 outside, slab by slab."""
    sizes = np.asarray(volume.shape)
    steps = np.asarray([sizes[1] * sizes[2], sizes[2], 1])
    flat, result = volume.ravel(), np.zeros_like(volume)
    plane = np.stack(np.meshgrid(np.arange(sizes[1]), np.arange(sizes[2]), indexing="ij"), -1)
    within = plane @ matrix[:3, 1:3].T + matrix[:3, 3]
    for i in range(sizes[0]):
        # Whole planes lie half-way between two voxels: up, whatever the last digit is here.
        points = np.floor(within + i * matrix[:3, 0] + (0.5 + 1e-6))
        # A point one past the end counts as inside and reads the next row: so it was published.
        outside = ((points < 0) | (points > sizes)).any(axis=-1)
        places = np.clip(points @ steps, 0, flat.size - 1).astype(np.int64)
        result[i] = np.where(outside, np.float32(0), flat[places])
    return result

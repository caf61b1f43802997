# SPDX-License-Identifier: Apache-2.0
"""Heads, brains and other masks: found in a scan, made solid, measured from their border.

Registration looks at coarser copies of a scan and at the head in them. Label values are those of
FreeSurfer's colour table (FreeSurferColorLUT) inside the brain; 502-530 are clusters of
extra-cerebral tissue as found in head label maps made for synthetic training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.resample import resample_aligned
from encephalon.io.image import Image

Mask = NDArray[np.bool_]

#: Share of Otsu's threshold that separates a head from air: fat and bright fluid draw the threshold
#: itself up, into the darker tissues.
AIR_SHARE = 0.5
#: A coarser copy is made only along axes whose voxels are this much finer than asked for.
WORTHWHILE = 1.15

#: Which voxels are of one piece: those that share a corner, 26 around each, or a face, 6.
CORNERS, FACES = 3, 1

WHITE_MATTER = (2, 7, 16, 28, 41, 46, 60, 85, 251, 252, 253, 254, 255)
CORTEX = (3, 8, 42, 47)
DEEP_GREY = (10, 11, 12, 13, 17, 18, 26, 49, 50, 51, 52, 53, 54, 58)
VENTRICLES = (4, 5, 14, 15, 43, 44, 72)
CSF = (24,)
EYES = (508,)
SPINAL_CORD = (502, 512)
#: Clusters that lie mostly between CSF and scalp: bone, dark in every contrast.
SKULL = (514, 515, 516)
#: Values from here on are outside the brain.
LARGEST_BRAIN_LABEL = 500
#: Number of values that a table of tissue properties must hold.
LABEL_COUNT = 600
#: Longest edge below which a field of view holds no part of a human head worth working on, mm.
#: Micrometres or metres taken for millimetres are a thousand times off.
SMALLEST_VIEW = 15.0


def reduced(image: Image, spacing: float) -> Image:
    """`image` with voxels of about `spacing` mm along every axis that is finer, float32.

    Axes that are coarser already, such as that of thick slices, keep their voxels; the field of
    view stays. Voxels are averaged, not skipped.
    """
    sizes, edges = np.asarray(image.shape), np.asarray(image.spacing)
    fine = edges * WORTHWHILE < spacing
    counts = np.where(fine, np.maximum(1, np.round(sizes * edges / spacing)), sizes).astype(int)
    coarse = sizes * edges / counts
    origin = image.affine.apply((coarse / edges - 1) / 2)
    affine = Affine.from_parts(image.affine.direction, coarse, origin)
    i, j, k = (int(n) for n in counts)
    return Image(resample_aligned(image.data, image.affine, Grid((i, j, k), affine)), affine)


def foreground(image: Image) -> Mask:
    """The head, or the brain of a scan without skull, (I, J, K): one piece without holes.

    Nothing is set where nothing stands out. Meant for copies of about 3 mm.
    """
    from scipy import ndimage

    data = image.data
    bright = data > data.min() + AIR_SHARE * (otsu_threshold(data) - data.min())
    # Opening cuts noise off, along axes that have enough voxels to lose some.
    shape = tuple(3 if n >= 8 else 1 for n in data.shape)
    largest = largest_piece(ndimage.binary_opening(bright, np.ones(shape)), FACES)
    filled: Mask = largest.copy()
    # Slice by slice: nostrils and cut necks open a head to the air in 3-D.
    for axis in range(3):
        for index in range(data.shape[axis]):
            cut = (slice(None),) * axis + (index,)
            filled[cut] |= ndimage.binary_fill_holes(largest[cut])
    return filled


def near(mask: Mask, affine: Affine, reach: float) -> Mask:
    """Voxels within `reach` mm of `mask` (I, J, K), and the mask itself."""
    from scipy import ndimage

    away = ndimage.distance_transform_edt(~mask, affine.spacing)
    return np.asarray(away <= reach)


def otsu_threshold(values: NDArray[Any], bins: int = 256) -> float:
    """The value that best parts `values` into dark and bright (Otsu 1979); extremes count less.

    The lowest value where all are equal.
    """
    flat = np.asarray(values, dtype=np.float32).ravel()
    low, high = np.percentile(flat, (0.1, 99.5))
    if not high > low:
        return float(flat.min())
    counts, edges = np.histogram(np.clip(flat, low, high), bins, (float(low), float(high)))
    middles = (edges[1:] + edges[:-1]) / 2
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * middles)[:-1]
    above = flat.size - below
    total = float((counts * middles).sum())
    parted = (total * below / flat.size - sums) ** 2 / np.maximum(below * above, 1)
    return float(edges[1 + int(np.argmax(parted))])


def require_head_size(image: Image) -> Image:
    """The same image; raises GeometryError, naming the voxel size, for one too small for a head."""
    if max(image.grid.extent) >= SMALLEST_VIEW:
        return image
    edges = " x ".join(f"{np.round(edge, 6):g}" for edge in image.spacing)
    extent = " x ".join(f"{edge:.3g}" for edge in image.grid.extent)
    raise GeometryError(
        f"{image.name}: with voxels of {edges} mm the volume is {extent} mm, too small for a head; "
        "mend the voxel size or its unit."
    )


def piece_sizes(
    mask: Mask, connectivity: int = CORNERS
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Labels (I, J, K), 0 outside, and the voxels of each connected piece, in label order."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, ndimage.generate_binary_structure(3, connectivity))
    return labels, np.bincount(labels.ravel())[1:]


def largest_piece(mask: Mask, connectivity: int = CORNERS) -> Mask:
    """The largest piece of `mask` (I, J, K), whose voxels touch at `CORNERS` or at `FACES`."""
    labels, sizes = piece_sizes(mask, connectivity)
    return mask if len(sizes) < 2 else labels == 1 + int(sizes.argmax())


def second_share(mask: Mask) -> float:
    """Size of the second largest piece as a share of the largest; 0 for one piece or none."""
    sizes = np.sort(piece_sizes(mask)[1])
    return float(sizes[-2] / sizes[-1]) if len(sizes) > 1 else 0.0


def fill_holes(mask: Mask) -> Mask:
    """`mask` with every enclosed cavity filled."""
    from scipy import ndimage

    filled: Mask = ndimage.binary_fill_holes(mask)
    return filled


def signed_distance(mask: Mask) -> NDArray[np.float64]:
    """Distance (I, J, K), voxels, to the border of `mask`, positive inside.

    The border lies half way between an inner and an outer voxel, hence the half voxel.
    """
    from scipy import ndimage

    inside, outside = (ndimage.distance_transform_edt(part) for part in (mask, ~mask))
    return np.where(mask, inside - 0.5, 0.5 - outside)


def fill_and_keep_largest(
    distance: NDArray[np.float32], border: float = 0.0
) -> NDArray[np.float32]:
    """A signed distance (I, J, K) whose inside, beyond `-border`, is one piece without holes.

    Voxels of other pieces are put just outside, enclosed cavities just inside, by half a voxel, so
    that the map can still be interpolated.
    """
    inside = distance > -border
    solid = fill_holes(largest_piece(inside))
    result = np.where(inside & ~solid, -border - 0.5, distance)
    return np.where(solid & ~inside, 0.5 - border, result).astype(np.float32)

# SPDX-License-Identifier: Apache-2.0
"""What the network learns: signed distances (mm) to borders, from a label map or a mask.

A brain has two: `brain` encloses it with the fluid in its sulci (what most masks mean), and
`tissue` leaves the outer fluid away (`--no-csf`). A lesion has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.transforms.labels import CSF, LARGEST_BRAIN_LABEL, SPINAL_CORD

#: Millimetres beyond which a distance says no more than "far": 6 working voxels of 2 mm.
FAR = 12.7
#: Radius (mm) of the closing that bridges sulci. Gyral crowns are up to about 15 mm apart across
#: the great fissures; 8 mm follows the outer surface as published brain masks do.
SULCUS_RADIUS = 8.0
#: Margin (mm) around the brain within which distances are computed.
MARGIN = 16


@dataclass(frozen=True)
class Head:
    """A head ready for training: RAS axes, 1 mm voxels.

    Attributes
    ----------
    labels
        (I, J, K) int16 label map, or None for a real scan.
    image
        (I, J, K) float32 intensities, or None for a label map.
    distances
        (borders, A, B, C) int8, signed distance to the brain and tissue borders, or to that of
        the lesion, in tenths of a mm, positive inside, clipped at ±12.7 mm; a window of the
        volume, beyond which all is far.
    corner
        Voxel of the volume at which the window of `distances` begins, (3,).
    box
        First and last brain voxel on each axis, (3, 2).
    """

    labels: NDArray[np.int16] | None
    image: NDArray[np.float32] | None
    distances: NDArray[np.int8]
    corner: NDArray[np.int64]
    box: NDArray[np.int64]


def head_from_labels(labels: NDArray[np.int16]) -> Head:
    """Prepare a RAS, 1 mm label map (I, J, K); raises ValueError when it holds no brain."""
    tissue = (labels > 0) & (labels < LARGEST_BRAIN_LABEL) & ~np.isin(labels, CSF)
    _require_brain(tissue)
    brain = enclose(tissue, (labels < LARGEST_BRAIN_LABEL) & ~np.isin(labels, SPINAL_CORD))
    return _brain_head(labels, None, brain, _solid(tissue))


def head_from_mask(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> Head:
    """Prepare a RAS, 1 mm scan and its brain mask; the tissue border is unknown and set to it."""
    return _brain_head(None, image, mask, mask)


def head_from_lesion(
    image: NDArray[np.float32], mask: NDArray[np.bool_], box: NDArray[np.int64]
) -> Head:
    """Prepare a RAS, 1 mm scan, a lesion's mask, which may be empty, and the brain's `box`."""
    # Two voxels of a window that is all far can be interpolated; one could not.
    window = _window(mask, MARGIN) if mask.any() else (slice(0, 2),) * 3
    return _head(None, image, [mask], window, box)


def _brain_head(
    labels: NDArray[np.int16] | None,
    image: NDArray[np.float32] | None,
    brain: NDArray[np.bool_],
    tissue: NDArray[np.bool_],
) -> Head:
    _require_brain(brain)
    return _head(labels, image, [brain, tissue], _window(brain, MARGIN), _box(brain))


def _require_brain(mask: NDArray[np.bool_]) -> None:
    if not mask.any():
        raise ValueError("holds no brain voxel")


def _head(
    labels: NDArray[np.int16] | None,
    image: NDArray[np.float32] | None,
    masks: Sequence[NDArray[np.bool_]],
    window: tuple[slice, ...],
    box: NDArray[np.int64],
) -> Head:
    corner = np.array([part.start for part in window], np.int64)
    borders = [signed_distance(mask[window]) for mask in masks]
    tenths = np.round(np.stack(borders) * 10).astype(np.int8)
    return Head(labels, image, tenths, corner, box)


def enclose(tissue: NDArray[np.bool_], allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Close the sulci of `tissue` (1 mm voxels) as far as `allowed` goes, and fill its holes."""
    from scipy import ndimage

    window = _window(tissue, MARGIN)
    inner = tissue[window]
    grown = ndimage.distance_transform_edt(~inner) <= SULCUS_RADIUS
    closed = ndimage.distance_transform_edt(grown) > SULCUS_RADIUS
    whole = _solid((closed & allowed[window]) | inner)
    result = np.zeros_like(tissue)
    result[window] = whole
    return result


def _solid(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece of `mask`, without holes."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask)
    if count > 1:
        mask = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(mask)
    return filled


def signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Signed distance (mm at 1 mm voxels) to the border of `mask`, positive inside, ±12.7 at most.

    The border lies half way between an inner and an outer voxel, hence the half voxel.
    """
    from scipy import ndimage

    if not mask.any():  # there is no border to be near to
        return np.full(mask.shape, -FAR, np.float32)
    inside = ndimage.distance_transform_edt(mask)
    outside = ndimage.distance_transform_edt(~mask)
    signed = ndimage.gaussian_filter(np.where(mask, inside - 0.5, 0.5 - outside), 0.6)
    clipped: NDArray[np.float32] = np.clip(signed, -FAR, FAR).astype(np.float32)
    return clipped


def _box(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    bounds = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        bounds.append((hit[0], hit[-1]))
    return np.array(bounds, np.int64)


def _window(mask: NDArray[np.bool_], margin: int) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, first - margin), last + 1 + margin) for first, last in _box(mask).tolist()
    )

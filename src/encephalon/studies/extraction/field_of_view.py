# SPDX-License-Identifier: Apache-2.0
"""Where the field of view cuts the brain: how much of it lies on each face.

A network that sees nothing beyond a face rounds the brain off inside it, so the mask alone hides
the cut: the more it loses, the less of it touches the face. So the network is asked once more, with
the scan continued beyond its faces by its mirror image. A brain that ends within the field of view
ends there still, skull and scalp between it and its image; one that is cut goes on across the face.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine, Grid, bounding_box
from encephalon.studies.extraction.localise import Found, Network
from encephalon.studies.extraction.pieces import largest_piece

__all__ = ["areas_across", "areas_on_faces", "larger_areas"]

#: Side of the body by the letter of an anatomical direction.
SIDES = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "top", "I": "bottom"}
_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


def areas_across(found: Found, network: Network) -> dict[str, float]:
    """Area (cm²) of brain across each face of the field of view once the scan is continued.

    By the name of the side; sides without any are left out, and so are faces that the coarse grid,
    which leaves room around the brain, does not reach.
    """
    view = found.view
    field = bounding_box(view.inside)
    sizes = view.image.shape
    room = [(part.start, size - part.stop) for part, size in zip(field, sizes, strict=True)]
    if not (np.any(room) and found.mask.any()):
        return {}
    continued = np.pad(view.image[field], room, mode="symmetric")
    brain = largest_piece(network(continued)[0] > 0)
    areas = {}
    for axis, part in enumerate(field):
        for side, inner, outer in _faces(view.grid.affine, axis, (part.start, part.stop - 1)):
            if 0 <= outer < sizes[axis]:
                # The face lies between the last plane inside and the first one outside.
                voxels = np.count_nonzero(brain.take([inner, outer], axis)) / 2
                areas[side] = voxels * _pixel(view.grid.affine, axis)
    return {side: area for side, area in areas.items() if area}


def areas_on_faces(mask: NDArray[np.bool_], grid: Grid) -> dict[str, float]:
    """Area (cm²) of `mask` (I, J, K) on each face of the field of view that it touches, by side."""
    areas = {}
    for axis in range(3):
        for side, inner, _ in _faces(grid.affine, axis, (0, mask.shape[axis] - 1)):
            voxels = np.count_nonzero(mask.take(inner, axis))
            areas[side] = voxels * _pixel(grid.affine, axis)
    return {side: area for side, area in areas.items() if area}


def larger_areas(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """The larger of the two areas of each side."""
    sides = [side for side in SIDES.values() if side in first or side in second]
    return {side: max(first.get(side, 0.0), second.get(side, 0.0)) for side in sides}


def _faces(affine: Affine, axis: int, ends: tuple[int, int]) -> tuple[tuple[str, int, int], ...]:
    """Both faces across `axis`: side, and the planes on its inner and its outer side."""
    letter = affine.codes[axis]
    first, last = ends
    return (SIDES[_OPPOSITE[letter]], first, first - 1), (SIDES[letter], last, last + 1)


def _pixel(affine: Affine, axis: int) -> float:
    """Area (cm²) of a voxel's face across `axis`; right for leaning axes too."""
    edges = np.delete(affine.matrix[:3, :3], axis, axis=1)
    return float(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]))) / 100

# SPDX-License-Identifier: Apache-2.0
"""Draw the borders of the brain on the fine grid, measure how well that went, and lead back.

A network that knows heads looks for the brain some millimetres below the surface. Where the skull
was taken away before, the surface is the brain's own and that would shave it, but there the border
needs no network: such scans are told, and what is left is outlined. The way back to the scan's own
grid goes a slab at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Grid, bounding_box
from encephalon.geometry.resample import resample, resample_aligned
from encephalon.inference.predictor import stage
from encephalon.io.image import Image
from encephalon.metrics.segmentation import dice
from encephalon.studies.extraction.segmentation.localisation import (
    BrainLocation,
    Network,
    View,
    areas_across,
    find_brain,
    grid_around,
    view_on,
)
from encephalon.studies.extraction.segmentation.orientation import (
    STORED_ORIENTATION,
    Orientation,
    likely_orientations,
)
from encephalon.studies.extraction.settings import ExtractionSettings, Size
from encephalon.transforms.grey_levels import NORMALISING_PERCENTILES
from encephalon.transforms.masks import fill_holes, largest_piece, second_share, signed_distance

Float = NDArray[np.float32]

#: Slope error from which on other orientations are tried, and the factor by which the doubt must
#: shrink for one to be believed.
DOUBTFUL_SLOPE, LESS_DOUBT = 0.28, 0.8
#: What a volume that no human brain has adds to the doubt.
IMPLAUSIBLE = 0.5
#: Degrees by which the scan is turned, about the left-right axis, to see whether the mask follows.
TURN = 10.0

#: Brain volumes (mL) inside the outer border that a human can have, from a preterm infant to a
#: large adult man, and the wider range beyond which the mask must be wrong.
PLAUSIBLE_ML, POSSIBLE_ML = (300.0, 2000.0), (120.0, 2600.0)
#: Share of empty voxels in the shell outside the border, where every head has bone or scalp, above
#: which a brain is bare. Of 42 development scans, 17 whole heads reach 0.72 at the most and 25
#: stripped ones, three infants among them, 0.989 at the least.
SKULL_STRIPPED = 0.95
#: Distances outside the border between which the shell lies, voxels of the fine grid, which is as
#: large as the brain: 8 to 15 mm in an adult. In mm the shell of a newborn would lie beyond what
#: the network can tell.
SHELL = (5.0, 9.0)
#: Share of the intensity range up to which a voxel is empty: resampling leaves ripples.
EMPTY = 0.02
#: Voxels of the scan that are handled at once: 64 MiB of float32.
SLAB_VOXELS = 2**24
#: Distance (mm) written where the working grid does not reach.
BEYOND = -100.0


@dataclass(frozen=True)
class Boundary:
    """Distances (mm) on the fine grid, and the evidence that came with them.

    found         The brain on the coarse grid.
    view          The fine grid and what the network saw.
    distances     (borders, I, J, K), mm, positive inside.
    mirror, turn  Dice with the prediction for the mirrored scan, and for the scan turned by some
                  degrees; None where these were not made.
    slope_error   Mean departure of the distance's slope from 1 near the border.
    second_piece  Size of the second largest piece relative to the largest.
    bare          Share of empty voxels around the brain; see `stripped_share`.
    across        Area (cm²) of brain across the faces of the field of view; not for a bare brain,
                  which has nothing between it and its mirror image.
    orientation   How the head lies in the scan's axes, once these are sorted to RAS.
    """

    found: BrainLocation
    view: View
    distances: Float
    mirror: float | None
    turn: float | None
    slope_error: float
    second_piece: float
    bare: float = 0.0
    across: Mapping[str, float] = field(default_factory=dict)
    orientation: Orientation = STORED_ORIENTATION

    @property
    def reoriented(self) -> bool:
        """Whether the head lies otherwise than the header says."""
        return self.orientation != STORED_ORIENTATION

    @property
    def plausible(self) -> bool:
        """Whether a human brain can have the volume inside the first border."""
        volume = np.count_nonzero(self.distances[0] > 0) * self.view.spacing**3 / 1000
        return bool(PLAUSIBLE_ML[0] <= volume <= PLAUSIBLE_ML[1])

    @property
    def doubt(self) -> float:
        """How little the network agrees with itself: 0 for a true distance, seen from all sides."""
        told = (one for one in (self.mirror, self.turn) if one is not None)
        disagreement = self.slope_error + sum(1 - one for one in told)
        return disagreement + (0.0 if self.plausible else IMPLAUSIBLE)

    @property
    def doubtful(self) -> bool:
        """Whether to look for another orientation of the head."""
        return self.bare <= SKULL_STRIPPED and (
            self.slope_error > DOUBTFUL_SLOPE or not self.plausible
        )


def predict_boundary(
    image: Image,
    settings: ExtractionSettings,
    network: Network,
    locator: Network,
    *,
    fast: bool = False,
) -> Boundary:
    """Find the brain in `image`, draw its borders on the fine grid, and gather the evidence.

    When the border is doubtful, the head may lie otherwise than the header says: the orientations
    that its symmetry leaves are tried, and the best is kept if its border is clearly cleaner. A
    scan in which nothing is found yields distances that are negative everywhere. With `fast` the
    scan is looked at once, and neither mirrored nor turned.
    """
    look = partial(_boundary_in, fast=fast)
    stored = look(STORED_ORIENTATION, image, settings, network, locator)
    if settings.target != "brain" or not stored.doubtful:
        return stored
    tried = (
        look(one, image, settings, network, locator)
        for one in likely_orientations(stored.found.view, locator)
        if one != STORED_ORIENTATION
    )
    best = min(tried, key=lambda borders: borders.doubt)
    return best if best.doubt < LESS_DOUBT * stored.doubt else stored


def _boundary_in(
    orientation: Orientation,
    image: Image,
    settings: ExtractionSettings,
    network: Network,
    locator: Network,
    fast: bool,
) -> Boundary:
    """The borders for a head that lies in `orientation` to the axes of the scan."""
    network, locator = orientation.network(network), orientation.network(locator)
    grids = orientation.grids(settings.grids)
    stage("finding the brain")
    found = find_brain(image, grids, locator)
    if not found.mask.any():
        nowhere = np.full((settings.borders, *found.view.grid.shape), -1.0, np.float32)
        return Boundary(found, found.view, nowhere, 0.0, 0.0, 1.0, 0.0, orientation=orientation)
    view = view_on(image, grid_around(found, grids.fine, grids.margin), network.unseen)
    left_right = orientation.order[0]
    stage("drawing its border")
    upright = mean = network(view.image)
    mirror = turn = None
    if not fast:
        mirrored = np.flip(network(np.flip(view.image, left_right)), left_right + 1)
        mean = (upright + mirrored) / np.float32(2)
        mirror = dice(upright[0] > 0, mirrored[0] > 0)
        stage("looking again")
        turn = _turned_agreement(view, mean[0], grids.coarse, network, left_right)
    organ = settings.target == "brain"
    bare = stripped_share(view, mean[0]) if organ else 0.0
    distances = mean * np.float32(view.spacing)
    distances[0] += np.float32(settings.rim)
    if bare > SKULL_STRIPPED:
        distances[:] = outline(image, view.grid) * np.float32(view.spacing)
    return Boundary(
        found,
        view,
        distances,
        mirror=mirror,
        turn=turn,
        slope_error=slope_error(mean[0]),
        second_piece=second_share(mean[0] > 0),
        bare=bare,
        across=areas_across(found, locator) if organ and bare <= SKULL_STRIPPED else {},
        orientation=orientation,
    )


def _turned_agreement(
    view: View, distance: Float, shape: Size, network: Network, left_right: int
) -> float:
    """Dice between the mask and that of the scan turned by `TURN` about the left-right axis."""
    from scipy import ndimage

    angle = np.deg2rad(TURN)
    turn = np.eye(3)
    plane = np.ix_(*[[axis for axis in range(3) if axis != left_right]] * 2)
    turn[plane] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    zoom = float((np.array(view.image.shape) / np.array(shape)).max()) * 1.25
    matrix = turn * zoom
    offset = (np.array(view.image.shape) - 1) / 2 - matrix @ ((np.array(shape) - 1) / 2)
    turned = partial(
        ndimage.affine_transform, matrix=matrix, offset=offset, output_shape=shape, order=1
    )
    image = turned(ndimage.uniform_filter(np.maximum(view.image, 0), max(1, round(zoom))))
    seen = turned(view.inside.astype(np.float32)) > 0.5
    given = np.where(seen, image, np.float32(network.unseen)).astype(np.float32)
    return dice(turned(distance, cval=-1.0) > 0, largest_piece(network(given)[0] > 0))


def stripped_share(view: View, distance: Float) -> float:
    """Share of voxels of value 0 where `distance` (voxels) lies in the shell, as far as seen."""
    near, far = SHELL
    shell = (distance < -near) & (distance > -far) & view.inside
    return float((view.image[shell] == 0).mean()) if shell.any() else 0.0


def outline(image: Image, grid: Grid) -> Float:
    """Signed distance (I, J, K), voxels of `grid`, to the border of all that is not empty."""
    low, high = np.percentile(image.data[::2, ::2, ::2], NORMALISING_PERCENTILES)
    full = image.data > low + EMPTY * (high - low)
    share = resample_aligned(full, image.affine, grid)
    return signed_distance(fill_holes(largest_piece(share > 0.5))).astype(np.float32)


def resampled_slabs(
    distance: Float, source: Grid, target: Grid, outside: float = BEYOND
) -> Iterator[tuple[slice, Float]]:
    """`distance` (I, J, K, mm) on the grid `target`, in slabs along its first axis.

    Slabs that the source does not reach are left out.
    """
    planes = target.affine.inverse.apply(source.corners)[:, 0]
    first = int(np.clip(np.floor(planes.min()), 0, target.shape[0]))
    last = int(np.clip(np.ceil(planes.max()) + 1, first, target.shape[0]))
    depth = max(1, SLAB_VOXELS // (target.shape[1] * target.shape[2]))
    for start in range(first, last, depth):
        stop = min(start + depth, last)
        part = Grid((stop - start, *target.shape[1:]), target.affine.shifted((start, 0, 0)))
        yield slice(start, stop), resample(distance, source.affine, part, outside=outside)


def resampled_mask(distance: Float, source: Grid, target: Grid, border: float) -> NDArray[np.uint8]:
    """The mask (I, J, K) of voxels of `target` whose distance is above `-border` mm: one piece."""
    mask = np.zeros(target.shape, np.uint8)
    for part, values in resampled_slabs(distance, source, target):
        mask[part] = values > -border
    box = bounding_box(mask)
    if mask[box].size:
        mask[box] = fill_holes(largest_piece(mask[box].astype(bool)))
    return mask


def resampled_map(distance: Float, source: Grid, target: Grid, outside: float = BEYOND) -> Float:
    """`distance`, or another map, on `target` as a whole; beyond its grid it is `outside`."""
    result = np.full(target.shape, outside, np.float32)
    for part, values in resampled_slabs(distance, source, target, outside):
        result[part] = values
    return result


def slope_error(distance: Float) -> float:
    """Mean departure from 1 of the slope of `distance` (voxels) within 1.5 voxels of its border."""
    near = np.abs(distance) < 1.5
    if not near.any():
        return 1.0
    slopes = np.gradient(distance)
    length = np.sqrt(sum(slope[near] ** 2 for slope in slopes))
    return float(np.abs(length - 1).mean())

# SPDX-License-Identifier: Apache-2.0
"""Draw the borders of the brain on the fine grid, and gather evidence of how well that went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from encephalon.io import Image
from encephalon.studies.extraction.bare import BARE, bare_share, outline
from encephalon.studies.extraction.field_of_view import areas_across
from encephalon.studies.extraction.localise import (
    Found,
    Network,
    View,
    find_brain,
    grid_around,
    view_on,
)
from encephalon.studies.extraction.options import ExtractionSettings, Size
from encephalon.studies.extraction.pieces import largest_piece, second_share
from encephalon.studies.extraction.quality import PLAUSIBLE_ML, dice_of, slope_error
from encephalon.studies.extraction.uprighting import AS_STORED, Orientation, likely_orientations

Float = NDArray[np.float32]

#: Slope error from which on other orientations are tried, and the factor by which the doubt must
#: shrink for one to be believed.
DOUBTFUL_SLOPE, LESS_DOUBT = 0.28, 0.8
#: What a volume that no human brain has adds to the doubt.
IMPLAUSIBLE = 0.5
#: Degrees by which the scan is turned, about the left-right axis, to see whether the mask follows.
TURN = 10.0


@dataclass(frozen=True)
class Borders:
    """Distances (mm) on the fine grid, and the evidence that came with them.

    Attributes
    ----------
    found
        The brain on the coarse grid.
    view
        The fine grid and what the network saw.
    distances
        (borders, I, J, K), mm, positive inside.
    mirror, turn, slope_error, second_piece, bare
        See `encephalon.studies.extraction.quality.Evidence`.
    across
        Area (cm²) of brain across the faces of the field of view; not for a bare brain, which has
        nothing between it and its mirror image.
    orientation
        How the head lies in the scan's axes, once these are sorted to RAS.
    """

    found: Found
    view: View
    distances: Float
    mirror: float
    turn: float
    slope_error: float
    second_piece: float
    bare: float = 0.0
    across: Mapping[str, float] = field(default_factory=dict)
    orientation: Orientation = AS_STORED

    @property
    def plausible(self) -> bool:
        """Whether a human brain can have the volume inside the first border."""
        volume = np.count_nonzero(self.distances[0] > 0) * self.view.spacing**3 / 1000
        return bool(PLAUSIBLE_ML[0] <= volume <= PLAUSIBLE_ML[1])

    @property
    def doubt(self) -> float:
        """How little the network agrees with itself: 0 for a true distance, seen from all sides."""
        disagreement = self.slope_error + (1 - self.mirror) + (1 - self.turn)
        return disagreement + (0.0 if self.plausible else IMPLAUSIBLE)

    @property
    def doubtful(self) -> bool:
        """Whether to look for another orientation of the head."""
        return self.bare <= BARE and (self.slope_error > DOUBTFUL_SLOPE or not self.plausible)


def find_borders(
    image: Image, settings: ExtractionSettings, network: Network, locator: Network
) -> Borders:
    """Find the brain in `image`, draw its borders on the fine grid, and gather the evidence.

    When the border is doubtful, the head may lie otherwise than the header says: the orientations
    that its symmetry leaves are tried, and the best is kept if its border is clearly cleaner. A
    scan in which nothing is found yields distances that are negative everywhere.
    """
    stored = _borders_in(AS_STORED, image, settings, network, locator)
    if settings.target != "brain" or not stored.doubtful:
        return stored
    others = [one for one in likely_orientations(stored.found.view, locator) if one != AS_STORED]
    tried = (_borders_in(one, image, settings, network, locator) for one in others)
    best = min(tried, key=lambda borders: borders.doubt)
    return best if best.doubt < LESS_DOUBT * stored.doubt else stored


def _borders_in(
    orientation: Orientation,
    image: Image,
    settings: ExtractionSettings,
    network: Network,
    locator: Network,
) -> Borders:
    """The borders for a head that lies in `orientation` to the axes of the scan."""
    network, locator = orientation.network(network), orientation.network(locator)
    grids = orientation.grids(settings.grids)
    found = find_brain(image, grids, locator)
    if not found.mask.any():
        return _nothing(found, settings.borders, orientation)
    view = view_on(image, grid_around(found, grids.fine, grids.margin))
    left_right = orientation.order[0]
    upright = network(view.image)
    mirrored = np.flip(network(np.flip(view.image, left_right)), left_right + 1)
    mean: Float = (upright + mirrored) / np.float32(2)
    organ = settings.target == "brain"
    bare = bare_share(view.image, mean[0] * view.spacing) if organ else 0.0
    distances = mean * np.float32(view.spacing)
    distances[0] += np.float32(settings.rim)
    if bare > BARE:
        distances[:] = outline(image, view.grid) * np.float32(view.spacing)
    return Borders(
        found,
        view,
        distances,
        mirror=dice_of(upright[0] > 0, mirrored[0] > 0),
        turn=_turned_agreement(view, mean[0], grids.coarse, network, left_right),
        slope_error=slope_error(mean[0]),
        second_piece=second_share(mean[0] > 0),
        bare=bare,
        across=areas_across(found, locator) if organ and bare <= BARE else {},
        orientation=orientation,
    )


def _nothing(found: Found, borders: int, orientation: Orientation) -> Borders:
    nowhere = np.full((borders, *found.view.grid.shape), -1.0, np.float32)
    return Borders(found, found.view, nowhere, 0.0, 0.0, 1.0, 0.0, orientation=orientation)


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
    blurred = ndimage.uniform_filter(view.image, max(1, round(zoom)))
    image = ndimage.affine_transform(blurred, matrix, offset, shape, order=1)
    mine = ndimage.affine_transform(distance, matrix, offset, shape, order=1, cval=-1.0) > 0
    return dice_of(mine, largest_piece(network(image.astype(np.float32))[0] > 0))

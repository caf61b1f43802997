# SPDX-License-Identifier: Apache-2.0
"""Scans whose header tells the wrong orientation: find how the head really lies.

Arrays without an affine and files from careless converters say "RAS" whatever they hold. A network
that knows heads draws its cleanest border when the head stands upright. So when a mask is doubtful,
the axis of symmetry is found on the coarse grid and the eight orientations that it leaves are
tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np

from encephalon.studies.extraction.segmentation.localisation import Float, Network, View
from encephalon.studies.extraction.settings import Grids, Size

#: A coarse mask smaller than this share of its grid is no head to judge an orientation by.
SMALLEST_SHARE = 0.01
#: Voxels on both sides of the border where a head and its mirror are compared.
NEAR = 2.0


@dataclass(frozen=True)
class Orientation:
    """How stored axes become upright ones: their order, then the direction of each."""

    order: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[int, int, int] = (1, 1, 1)

    def apply(self, volume: Float) -> Float:
        """The upright version of a stored (..., I, J, K) array."""
        lead = tuple(range(volume.ndim - 3))
        turned = volume.transpose(*lead, *(len(lead) + axis for axis in self.order))
        return np.ascontiguousarray(turned[(..., *self._steps())])

    def undo(self, volume: Float) -> Float:
        """The stored version of an upright (..., I, J, K) array."""
        lead = tuple(range(volume.ndim - 3))
        back = (len(lead) + int(axis) for axis in np.argsort(self.order))
        return np.ascontiguousarray(volume[(..., *self._steps())].transpose(*lead, *back))

    def network(self, network: Network) -> Network:
        """`network` for stored images: it sees them upright and answers as they are stored."""
        if self == STORED_ORIENTATION:
            return network
        return replace(network, distances=lambda image: self.undo(network(self.apply(image))))

    def grids(self, grids: Grids) -> Grids:
        """Grids whose stored axes are long where the upright head is."""
        return grids.model_copy(
            update={"coarse": self._stored(grids.coarse), "fine": self._stored(grids.fine)}
        )

    def _stored(self, size: Size) -> Size:
        back = [int(axis) for axis in np.argsort(self.order)]
        return size[back[0]], size[back[1]], size[back[2]]

    def _steps(self) -> tuple[slice, slice, slice]:
        first, second, third = (slice(None, None, flip) for flip in self.flips)
        return first, second, third


STORED_ORIENTATION = Orientation()
#: All orientations but for the mirror of left and right, which a head hardly tells apart.
ALL = tuple(
    Orientation((first, second, third), (1, forward, up))
    for first, second, third in permutations(range(3))
    for forward, up in product((1, -1), repeat=2)
)


def likely_orientations(view: View, network: Network) -> tuple[Orientation, ...]:
    """The eight orientations whose left-right axis is that along which the head is symmetric.

    A head and its mirror image get the same border when the mirror is that of left and right.
    """
    best = min(ALL, key=lambda one: _asymmetry(one.apply(view.image), network))
    return tuple(one for one in ALL if one.order[0] == best.order[0])


def _asymmetry(upright: Float, network: Network) -> float:
    """Mean difference (voxels) near the border between the distances of a head and its mirror."""
    plain = network(upright)[0]
    mirrored = network(np.ascontiguousarray(upright[::-1]))[0, ::-1]
    near = np.abs(plain) < NEAR
    if np.count_nonzero(plain > 0) < SMALLEST_SHARE * plain.size:
        return np.inf
    return float(np.abs(plain - mirrored)[near].mean())

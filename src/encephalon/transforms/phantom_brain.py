# SPDX-License-Identifier: Apache-2.0
"""The brain of the head phantom: hemispheres with folded cortex, ventricles, cerebellum, stem.

Sulci are the places where a random field vanishes. The field is read at the nearest point of the
surface, so that sulci run inwards from it; cortex is what lies within 3 mm of fluid.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from encephalon.transforms.phantom_shapes import (
    Ellipsoid,
    Float,
    Mask,
    Space,
    Tube,
    inside,
    soft_union,
    waves,
)

__all__ = ["Brain", "Mask", "Tissue", "make_brain"]

# Millimetres. Cortex of adults is 2 to 4 thick; sulci reach 10 to 30 deep, a millimetre wide.
_CORTEX = 2.3
_SULCUS = 0.65
_SULCUS_DEPTH = 18.0
_FOLD_WAVELENGTH = 28.0
_LOWEST = -82.0  # the foramen magnum, where brain becomes spinal cord

_HEMISPHERES = Ellipsoid((0, -15, 29), (62, 80, 45))
_OCCIPITAL = Ellipsoid((0, -62, 14), (50, 38, 34))
_FRONTAL = Ellipsoid((0, 26, 8), (45, 38, 29))
_TEMPORAL = Ellipsoid((42, -13, -17), (22, 42, 22), both=True)
_CEREBELLUM = Ellipsoid((19, -62, -37), (31, 31, 24), both=True)
_STEM = Tube([(0, -20, -2), (0, -24, -28), (0, -36, -62), (0, -44, -90)], [12, 14, 9, 6])
_VENTRICLES = (
    Tube(
        [(9, 30, 6), (10, 16, 13), (11, -8, 21), (17, -32, 18), (24, -42, 10)],
        [3, 5, 4, 5, 6],
        True,
    ),
    Tube([(24, -42, 10), (30, -30, -8), (31, -12, -16)], [5, 2.5, 2], both=True),
    Tube([(24, -42, 10), (21, -62, 8)], [5, 2], both=True),
    Ellipsoid((0, -10, 0), (1.8, 15, 10)),
    Ellipsoid((0, -46, -33), (6, 5, 11)),
    Tube([(0, -24, -4), (0, -41, -24)], [1.2, 1.2]),
)
_DEEP = (
    Ellipsoid((10, -18, 8), (8.5, 14, 9), both=True),  # thalamus
    Ellipsoid((15, 14, 8), (4.5, 10, 9), both=True),  # head of the caudate
    Ellipsoid((27, 2, 3), (6, 17, 11), both=True),  # putamen
)


class Tissue(IntEnum):
    """The labels of the head phantom."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    BONE = 4
    MARROW = 5
    CSF = 6
    CORTEX = 7
    WHITE = 8
    VENTRICLE = 9
    DEEP = 10
    CEREBELLAR_CORTEX = 11
    CEREBELLAR_WHITE = 12
    STEM = 13
    CORD = 14
    DURA = 15
    EYE = 16
    LENS = 17
    VESSEL = 18


@dataclass(frozen=True, eq=False)
class Brain:
    """Labels (I, J, K) on a space, 0 where there is no brain.

    `inside` is all within the brain's surface, sulci and ventricles included; `cavity` is the
    signed distance to the inner skull in mm.
    """

    labels: NDArray[np.uint8]
    inside: Mask
    cavity: Float


def make_brain(space: Space, generator: np.random.Generator) -> Brain:
    """Paint a brain of about 1.4 litres; the generator draws its shape and its folds."""
    wobble = waves(space, 60.0, generator)
    cerebrum = _cerebrum(space) + 1.2 * wobble
    cerebellum = _CEREBELLUM.distance(space) + 1.2 * wobble
    stem = _STEM.distance(space)
    _, _, z = space.axes()
    within = (soft_union(cerebrum, cerebellum, stem, blend=5.0) < 0) & (z > _LOWEST)
    labels = np.where(within, np.uint8(Tissue.STEM), np.uint8(Tissue.AIR))
    _paint_cerebellum(space, labels, within & (cerebellum < 0), cerebellum, generator)
    _paint_cerebrum(space, labels, (cerebrum < 0) & within, wobble, generator)
    labels[(stem < 0) & within & ((cerebrum >= 0) | (z < 0))] = Tissue.STEM
    tentorium = within & (np.abs(cerebrum - cerebellum) < 1.1) & (stem > 0)
    labels[tentorium] = Tissue.CSF
    labels[within & inside(space, *_VENTRICLES)] = Tissue.VENTRICLE
    return Brain(labels, within, _cavity(space))


def _cerebrum(space: Space) -> Float:
    upper = (each.distance(space) for each in (_HEMISPHERES, _OCCIPITAL, _FRONTAL))
    return soft_union(soft_union(*upper, blend=12.0), _TEMPORAL.distance(space), blend=5.0)


def _cavity(space: Space) -> Float:
    fossa = Ellipsoid((0, -54, -37), (48, 36, 26))
    parts = (_HEMISPHERES, _OCCIPITAL, _FRONTAL, _TEMPORAL, fossa)
    cavity = soft_union(*(each.distance(space) for each in parts), blend=9.0) - 2.5
    sphenoid = Ellipsoid((0, 16, -34), (19, 18, 17)).distance(space)  # the bone between the lobes
    return np.asarray(np.maximum(cavity, -sphenoid))


def _paint_cerebrum(
    space: Space,
    labels: NDArray[np.uint8],
    cerebrum: Mask,
    wobble: Float,
    generator: np.random.Generator,
) -> None:
    from scipy.ndimage import distance_transform_edt

    x, y, z = space.axes()
    core = ((y + 8) / 40) ** 2 + ((z - 6) / 21) ** 2 < 1
    midline = cerebrum & (np.abs(x + 1.2 * wobble) < 1.1) & ~core & (z > -32)
    sulci = midline | (cerebrum & _sylvian(space))
    bridge = core & (np.abs(x) < 16)  # the corpus callosum and what lies below it has no cortex
    sulci |= _folds(space, cerebrum & ~sulci, generator) & ~bridge
    from_fluid = distance_transform_edt(cerebrum & ~sulci, sampling=space.detail)
    from_fluid -= space.detail / 2  # the fluid begins half a voxel before its first centre
    thickness = _CORTEX + 0.3 * waves(space, 30.0, generator)
    cortex = cerebrum & ~sulci & (from_fluid < thickness) & ~bridge
    labels[cerebrum] = Tissue.WHITE
    labels[cortex] = Tissue.CORTEX
    labels[sulci] = Tissue.CSF
    labels[midline & (np.abs(x + 1.2 * wobble) < 0.6)] = Tissue.DURA
    deep = inside(space, *_DEEP)
    inner = ((y + 8) / 34) ** 2 + ((z - 6) / 15) ** 2 < 1
    deep |= inner & (np.abs(x) < 9) & (z < 5)
    labels[cerebrum & deep & ~cortex & ~sulci] = Tissue.DEEP


def _sylvian(space: Space) -> Mask:
    """The cleft between the temporal lobe and what lies above it."""
    x, y, _ = space.axes()
    upper = np.minimum(_HEMISPHERES.distance(space), _FRONTAL.distance(space))
    temporal = _TEMPORAL.distance(space)
    cleft = np.abs(upper - temporal) < 1.8
    return cleft & (np.abs(x) > 27) & (y > -46) & (y < 30)


def _folds(space: Space, cortical: Mask, generator: np.random.Generator) -> Mask:
    from scipy.ndimage import distance_transform_edt, map_coordinates

    field = waves(space, _FOLD_WAVELENGTH, generator)
    field += 0.25 * waves(space, 14.0, generator)
    reach = _SULCUS_DEPTH + 3.5 * waves(space, 40.0, generator)
    reach *= np.clip(np.abs(space.axes()[0]) / 24.0, 0.55, 1.0)  # shallower between the halves
    depth, nearest = distance_transform_edt(cortical, sampling=space.detail, return_indices=True)
    band = np.nonzero(cortical & (depth < reach))
    # Mostly the field at the surface, a little of the field here: sulci bend on their way in.
    places = [0.8 * nearest[axis][band] + 0.2 * band[axis] for axis in range(3)]
    slope = np.sqrt(sum(part**2 for part in np.gradient(field, space.detail)))
    level = map_coordinates(field, places, order=1, output=np.float32)
    steep = map_coordinates(slope, places, order=1, output=np.float32)
    shallow = np.clip(1.0 - depth[band] / 8.0, 0.0, 1.0)
    width = _SULCUS + 0.4 * shallow + 0.1 * space.detail
    folds = np.zeros(space.shape, dtype=bool)
    folds[band] = np.abs(level) < width * np.maximum(steep, 0.03)
    return folds


def _paint_cerebellum(
    space: Space,
    labels: NDArray[np.uint8],
    within: Mask,
    distance: Float,
    generator: np.random.Generator,
) -> None:
    x, y, z = space.axes()
    ripple = 0.9 * waves(space, 12.0, generator)
    leaves = np.sin((np.hypot(y + 48, z + 36) + ripple + 0.12 * np.abs(x)) * (2 * np.pi / 6.0))
    core = inside(space, Ellipsoid((17, -56, -38), (13, 12, 7), both=True))
    labels[within] = Tissue.CEREBELLAR_CORTEX
    labels[within & (leaves < -0.8) & (distance > -9)] = Tissue.CSF
    labels[within & (core | ((leaves > 0.55) & (distance < -3)))] = Tissue.CEREBELLAR_WHITE

# SPDX-License-Identifier: Apache-2.0
"""The anatomy of the head phantom: its brain, and skull, scalp, eyes, nose, throat, jaw and neck.

The brain has hemispheres with folded cortex, ventricles, cerebellum and stem. Sulci are the places
where a random field vanishes. The field is read at the nearest point of the surface, so that sulci
run inwards from it; cortex is what lies within 3 mm of fluid.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from encephalon.synthetic.shapes import (
    Ellipsoid,
    Float,
    Mask,
    Point,
    Solid,
    Space,
    Tube,
    inside,
    soft_union,
    waves,
)

__all__ = ["Tissue", "make_head"]

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

Labels = NDArray[np.uint8]
# The corners of the head, RAS+ mm; the origin is near the anterior commissure.
_LOW: Point = (-94.0, -122.0, -138.0)
_HIGH: Point = (94.0, 118.0, 96.0)
_BRAIN_LOW: Point = (-76.0, -110.0, -94.0)
_BRAIN_HIGH: Point = (76.0, 78.0, 84.0)
# Millimetres, after the usual figures for adults.
_BONE = 6.5
_SKIN = 2.0
_AIR = (
    Ellipsoid((27, 56, -54), (12, 14, 13), both=True),  # maxillary sinuses
    Ellipsoid((7, 26, -34), (6, 10, 8), both=True),  # sphenoid sinus
    Ellipsoid((9, 71, -4), (9, 4, 8), both=True),  # frontal sinus
    Tube([(0, 44, -62), (0, 8, -62), (0, -2, -80), (0, 6, -150)], [4, 7, 6, 8]),  # throat
    Tube([(8, 96, -60), (7, 84, -56)], [3, 3.5], both=True),  # nostrils
)
_EYE = Ellipsoid((31, 63, -27), (12, 12, 12), both=True)


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


@lru_cache(maxsize=2)
def make_head(detail: float, seed: int) -> tuple[Space, Labels, Mask]:
    """Draw the tissues of a head on voxels of `detail` mm.

    Returns the space, the labels (I, J, K) and the brain mask: all within the brain's surface
    down to the foramen magnum, sulci and ventricles included, the fluid around it excluded. Both
    are kept for the next call, and read-only.
    """
    generator = np.random.default_rng(seed)
    space = Space(_LOW, _HIGH, detail)
    box, within = space.part(_BRAIN_LOW, _BRAIN_HIGH)
    brain, surface, inner_skull = _draw_brain(within, generator)
    labels, depth = _soft_tissue(space, generator)
    _paint_face(space, labels, depth, generator)
    cavity = np.full(space.shape, 99.0, dtype=np.float32)
    cavity[box] = inner_skull
    _paint_skull(space, labels, cavity, depth, generator)
    _paint_neck(space, labels, depth)
    mask = np.zeros(space.shape, dtype=bool)
    mask[box] = surface
    labels[mask] = brain[surface]
    for each in (labels, mask):
        each.setflags(write=False)
    return space, labels, mask


def _draw_brain(space: Space, generator: np.random.Generator) -> tuple[Labels, Mask, Float]:
    """Draw a brain of about 1.4 litres; the generator draws its shape and its folds.

    Returns its labels (I, J, K), 0 where there is none; all within its surface, sulci and
    ventricles included; and the signed distance to the inner skull in mm.
    """
    wobble = waves(space, 60.0, generator)
    upper = [each.distance(space) for each in (_HEMISPHERES, _OCCIPITAL, _FRONTAL)]
    temporal = _TEMPORAL.distance(space)
    cerebrum = soft_union(soft_union(*upper, blend=12.0), temporal, blend=5.0) + 1.2 * wobble
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
    fossa = Ellipsoid((0, -54, -37), (48, 36, 26)).distance(space)
    cavity = soft_union(*upper, temporal, fossa, blend=9.0) - 2.5
    sphenoid = Ellipsoid((0, 16, -34), (19, 18, 17)).distance(space)  # the bone between the lobes
    return labels, within, np.maximum(cavity, -sphenoid)


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
    # The cleft between the temporal lobe and what lies above it.
    upper = np.minimum(_HEMISPHERES.distance(space), _FRONTAL.distance(space))
    sylvian = np.abs(upper - _TEMPORAL.distance(space)) < 1.8
    sylvian &= (np.abs(x) > 27) & (y > -46) & (y < 30)
    sulci = midline | (cerebrum & sylvian)
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


def _soft_tissue(space: Space, generator: np.random.Generator) -> tuple[Labels, Float]:
    """Fill the outline of the head with skin, fat and muscle; also return the depth in mm."""
    cranium = soft_union(
        Ellipsoid((0, -16, 22), (77, 95, 68)).distance(space),
        Ellipsoid((0, -50, -30), (64, 54, 48)).distance(space),
        blend=20.0,
    )
    face = soft_union(
        Ellipsoid((0, 34, -46), (61, 51, 56)).distance(space),
        Ellipsoid((0, 8, -62), (64, 60, 46)).distance(space),
        Ellipsoid((0, 56, -98), (34, 34, 24)).distance(space),
        blend=20.0,
    )
    nose = Tube([(0, 80, -22), (0, 97, -50), (0, 88, -60)], [5, 9, 8]).distance(space)
    ears = Tube([(68, -18, -14), (78, -27, -30), (68, -18, -48)], [4, 5, 4], True).distance(space)
    neck = Ellipsoid((0, -38, -130), (57, 54, 110)).distance(space)
    head = soft_union(soft_union(cranium, face, neck, blend=16.0), nose, ears, blend=7.0)
    depth = -head
    labels = np.zeros(space.shape, dtype=np.uint8)
    septa = np.abs(waves(space, 30.0, generator)) < 0.16
    muscular = soft_union(face, neck, blend=16.0) < -5.0
    labels[depth > 0] = Tissue.FAT
    labels[(depth > 6) & muscular & ~septa] = Tissue.MUSCLE
    temporalis = Ellipsoid((66, 20, -12), (14, 28, 34), both=True).distance(space) < 0
    labels[(depth > 4.5) & temporalis] = Tissue.MUSCLE
    labels[(depth > 0) & (depth < _SKIN)] = Tissue.SKIN
    return labels, depth


def _paint_skull(
    space: Space,
    labels: Labels,
    cavity: Float,
    depth: Float,
    generator: np.random.Generator,
) -> None:
    x, y, z = space.axes()
    thickness = _BONE + 0.9 * waves(space, 45.0, generator)
    opening = (z < -58) & (np.hypot(x, y + 42) < 14)
    bone = (cavity >= 0) & (cavity < thickness) & ~opening & (depth > _SKIN)
    labels[bone] = Tissue.BONE
    labels[bone & (cavity > 2) & (cavity < thickness - 1.8) & (z > -15)] = Tissue.MARROW
    labels[cavity < 0] = Tissue.CSF
    sinus = Tube(
        [(0, 40, 72), (0, 0, 80), (0, -50, 70), (0, -88, 40), (0, -98, 8)], [1.5, 2.5, 3, 4, 4]
    )
    _fill(space, labels, Tissue.VESSEL, sinus, only=(cavity > -3.0) & (cavity < 1.5))


def _paint_face(space: Space, labels: Labels, depth: Float, generator: np.random.Generator) -> None:
    deep = depth > 3
    _fill(space, labels, Tissue.MARROW, Ellipsoid((0, 50, -66), (36, 28, 14)), deep)
    x, y, z = space.axes()
    jaw = np.abs(np.hypot(x / 40, (y - 34) / 46) - 1) * 42
    labels[(jaw < 4) & (z < -78) & (z > -108) & (y > 6) & deep] = Tissue.MARROW
    labels[(np.abs(jaw - 4) < 1.2) & (z < -78) & (z > -108) & (y > 6) & deep] = Tissue.BONE
    teeth = np.abs(np.hypot(x / 27, (y - 42) / 36) - 1) * 30
    labels[(teeth < 4) & (np.abs(z + 82) < 8) & (y > 44) & deep] = Tissue.BONE
    _fill(space, labels, Tissue.MUSCLE, Ellipsoid((0, 42, -86), (20, 28, 13)), deep)
    for solid in _AIR:
        _fill(space, labels, Tissue.AIR, solid, deep)
    turbinates = np.abs(waves(space, 18.0, generator)) > 0.45
    _fill(space, labels, Tissue.AIR, Ellipsoid((7, 62, -44), (6, 30, 18), True), deep & turbinates)
    cells = waves(space, 8.0, generator) > 0
    _fill(space, labels, Tissue.AIR, Ellipsoid((52, -34, -48), (9, 13, 13), True), deep & cells)
    _paint_orbits(space, labels, depth)


def _paint_orbits(space: Space, labels: Labels, depth: Float) -> None:
    deep = depth > 2
    _fill(space, labels, Tissue.FAT, Tube([(31, 60, -27), (14, 28, -22)], [17, 5], True), deep)
    for side, up in ((0, 9), (0, -9), (9, 0), (-9, 0)):
        muscle = Tube([(31 + side, 60, -27 + up), (15, 30, -23)], [2.2, 1.8], both=True)
        _fill(space, labels, Tissue.MUSCLE, muscle, deep)
    _fill(space, labels, Tissue.CORD, Tube([(30, 52, -27), (10, 22, -18)], [2, 2], True), deep)
    _fill(space, labels, Tissue.MUSCLE, Ellipsoid(_EYE.centre, (13, 13, 13), both=True))
    _fill(space, labels, Tissue.EYE, _EYE)
    _fill(space, labels, Tissue.LENS, Ellipsoid((31, 72, -27), (4.5, 2.3, 4.5), both=True))


def _paint_neck(space: Space, labels: Labels, depth: Float) -> None:
    x, y, z = space.axes()
    deep, below = depth > 3, z < -84
    body = np.hypot(x, y + 22)
    disc = np.abs((z + 100) % 19 - 9.5) > 7.5
    labels[(body < 12) & below & deep] = Tissue.MARROW
    labels[(body < 12) & below & deep & disc] = Tissue.MUSCLE
    labels[(np.abs(body - 12) < 1.2) & below & deep] = Tissue.BONE
    canal = np.hypot(x, y + 44)
    arch = (np.abs(canal - 12) < 2) & (y < -38) & below & ~disc
    labels[arch & deep] = Tissue.BONE
    labels[(canal < 10) & (z < -60) & deep] = Tissue.CSF
    labels[(canal < 5.5) & (z < -80) & deep] = Tissue.CORD


def _fill(
    space: Space, labels: Labels, tissue: Tissue, solid: Solid, only: Mask | None = None
) -> None:
    """Draw a solid, or the part of it that lies in `only`."""
    chosen = inside(space, solid)
    labels[chosen if only is None else chosen & only] = tissue

# SPDX-License-Identifier: Apache-2.0
"""The head around the phantom's brain: skull, scalp, eyes, nose and throat, jaw, neck."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encephalon.transforms.phantom_brain import Tissue, make_brain
from encephalon.transforms.phantom_shapes import (
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

__all__ = ["HIGH", "LOW", "make_head"]

Labels = NDArray[np.uint8]

# The corners of the painted head, RAS+ mm; the origin is near the anterior commissure.
LOW: Point = (-94.0, -122.0, -138.0)
HIGH: Point = (94.0, 118.0, 96.0)
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


def make_head(detail: float, seed: int) -> tuple[Space, Labels, Mask]:
    """Paint the tissues of a head on voxels of `detail` mm.

    Returns the space, the labels (I, J, K) and the brain mask: all within the brain's surface
    down to the foramen magnum, sulci and ventricles included, the fluid around it excluded.
    """
    generator = np.random.default_rng(seed)
    space = Space(LOW, HIGH, detail)
    box, within = space.part(_BRAIN_LOW, _BRAIN_HIGH)
    brain = make_brain(within, generator)
    labels, depth = _soft_tissue(space, generator)
    _paint_face(space, labels, depth, generator)
    cavity = np.full(space.shape, 99.0, dtype=np.float32)
    cavity[box] = brain.cavity
    _paint_skull(space, labels, cavity, depth, generator)
    _paint_neck(space, labels, depth)
    mask = np.zeros(space.shape, dtype=bool)
    mask[box] = brain.inside
    labels[mask] = brain.labels[brain.inside]
    return space, labels, mask


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
    """Paint a solid, or the part of it that lies in `only`."""
    chosen = inside(space, solid)
    labels[chosen if only is None else chosen & only] = tissue

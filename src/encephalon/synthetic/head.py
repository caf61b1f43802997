# SPDX-License-Identifier: Apache-2.0
"""A head scan that is nobody's, with the truth about it: for demos and for tests.

The anatomy (see `head_anatomy`) is drawn from ellipsoids, tubes and random folds, so it needs no
template, no download and nothing beyond the base install. It looks like a head and is not one: use
it to see that everything works, never to measure accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UsageError
from encephalon.geometry.affine import Affine, Grid, orient
from encephalon.geometry.resample import resample, resample_aligned
from encephalon.io.image import Image
from encephalon.synthetic.head_anatomy import Tissue, make_head
from encephalon.synthetic.shapes import Float, Space, waves

__all__ = ["CENTRE", "CONTRASTS", "Phantom", "Tissue", "head_phantom"]

#: The middle of the head, RAS+ mm: where the scan's field of view is centred.
CENTRE = (0.0, -8.0, -14.0)
# Intensity of white matter in T1w, in scanner units.
_SCALE = 800.0

# Relative intensities as they look in clinical scans; air is 0. In the first half year white matter
# is not myelinated, and swaps its order with grey matter in T1w and T2w (Dubois et al. 2021).
CONTRASTS: Mapping[str, Mapping[str, float]] = {
    "t1": {
        "SKIN": 0.50, "FAT": 0.95, "MUSCLE": 0.38, "BONE": 0.07, "MARROW": 0.55, "CSF": 0.17,
        "CORTEX": 0.52, "WHITE": 0.78, "VENTRICLE": 0.14, "DEEP": 0.60, "CEREBELLAR_CORTEX": 0.50,
        "CEREBELLAR_WHITE": 0.74, "STEM": 0.70, "CORD": 0.64, "DURA": 0.24, "EYE": 0.15,
        "LENS": 0.36, "VESSEL": 0.30,
    },
    "t2": {
        "SKIN": 0.35, "FAT": 0.62, "MUSCLE": 0.22, "BONE": 0.05, "MARROW": 0.40, "CSF": 0.96,
        "CORTEX": 0.56, "WHITE": 0.40, "VENTRICLE": 1.00, "DEEP": 0.45, "CEREBELLAR_CORTEX": 0.54,
        "CEREBELLAR_WHITE": 0.42, "STEM": 0.42, "CORD": 0.44, "DURA": 0.20, "EYE": 1.00,
        "LENS": 0.25, "VESSEL": 0.12,
    },
    "flair": {
        "SKIN": 0.40, "FAT": 0.75, "MUSCLE": 0.30, "BONE": 0.05, "MARROW": 0.42, "CSF": 0.12,
        "CORTEX": 0.70, "WHITE": 0.55, "VENTRICLE": 0.08, "DEEP": 0.58, "CEREBELLAR_CORTEX": 0.66,
        "CEREBELLAR_WHITE": 0.55, "STEM": 0.56, "CORD": 0.56, "DURA": 0.25, "EYE": 0.12,
        "LENS": 0.35, "VESSEL": 0.15,
    },
    "infant-t1": {
        "SKIN": 0.50, "FAT": 0.95, "MUSCLE": 0.38, "BONE": 0.07, "MARROW": 0.45, "CSF": 0.18,
        "CORTEX": 0.62, "WHITE": 0.48, "VENTRICLE": 0.16, "DEEP": 0.66, "CEREBELLAR_CORTEX": 0.60,
        "CEREBELLAR_WHITE": 0.66, "STEM": 0.68, "CORD": 0.66, "DURA": 0.24, "EYE": 0.15,
        "LENS": 0.36, "VESSEL": 0.30,
    },
    "infant-t2": {
        "SKIN": 0.35, "FAT": 0.62, "MUSCLE": 0.22, "BONE": 0.05, "MARROW": 0.40, "CSF": 0.97,
        "CORTEX": 0.50, "WHITE": 0.70, "VENTRICLE": 1.00, "DEEP": 0.48, "CEREBELLAR_CORTEX": 0.54,
        "CEREBELLAR_WHITE": 0.46, "STEM": 0.46, "CORD": 0.46, "DURA": 0.20, "EYE": 1.00,
        "LENS": 0.25, "VESSEL": 0.12,
    },
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic scan and the truth about it, all on one grid.

    `mask` (I, J, K) uint8 is 1 within the brain's surface (sulci and ventricles included, the
    fluid around the brain not); `labels` (I, J, K) uint8 holds values of `Tissue`.
    """

    image: Image
    mask: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def head_phantom(
    shape: Sequence[int] = (192, 240, 240),
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    codes: str = "RAS",
    contrast: str = "t1",
    seed: int = 0,
    noise: float = 0.02,
    bias: float = 0.15,
    detail: float = 1.25,
    pose: Affine | None = None,
    take: int = 1,
) -> Phantom:
    """Scan the phantom head.

    `shape` and `spacing` (mm) are given along right, anterior and superior; `codes` then turns the
    voxel axes, so "LIA" gives the same scan in another order. Thick slices average over their
    thickness, and a small field of view cuts the head off. `contrast` is one of CONTRASTS, or
    random. `noise` is the Rician noise and `bias` the field's unevenness, both relative to white
    matter. `seed` draws folds, shape, intensities and noise, and another `take` the last two alone:
    a further scan of the same head. `detail` is the voxel edge (mm) of the anatomy: 2 or 3
    make small test scans in a fraction of a second. `pose` maps the head to where it lies
    in the scanner, mm to mm, about which the field of view does not care; with it, voxels are
    points.

    Raises UsageError for an unknown contrast and GeometryError for a shape or codes that make no
    sense.
    """
    space, labels, brain = make_head(detail, seed)
    generator = np.random.default_rng([seed, take])
    levels = _intensities(contrast, generator)
    i, j, k = map(int, shape)
    origin = np.array(CENTRE) - (np.array([i, j, k]) - 1) / 2 * np.array(spacing, float)
    grid = Grid((i, j, k), Affine.from_spacing(spacing, origin))
    signal = _shaded(space, levels[labels], bias, generator)
    scan = _seen(signal, space, grid, pose)
    scan = np.hypot(
        scan + noise * generator.standard_normal(scan.shape, dtype=np.float32),
        noise * generator.standard_normal(scan.shape, dtype=np.float32),
    )
    mask = _seen(brain.astype(np.uint8), space, grid, pose) >= 0.5
    place = space.affine if pose is None else pose @ space.affine
    tissue = resample(labels, place, grid, order=0, outside=int(Tissue.AIR))
    turned, affine = orient(scan * np.float32(_SCALE), grid.affine, codes)
    image = Image(np.ascontiguousarray(turned, dtype=np.float32), affine)
    return Phantom(image, _turned(mask, grid, codes), _turned(tissue, grid, codes))


def _seen(values: NDArray[Any], space: Space, grid: Grid, pose: Affine | None) -> Float:
    if pose is None:
        return resample_aligned(values, space.affine, grid)
    drawn = values.astype(np.float32, copy=False)
    return np.asarray(resample(drawn, pose @ space.affine, grid), dtype=np.float32)


def _intensities(contrast: str, generator: np.random.Generator) -> Float:
    levels = np.zeros(len(Tissue), dtype=np.float32)
    if contrast == "random":
        levels[1:] = generator.uniform(0.05, 1.0, len(Tissue) - 1)
        return levels
    if contrast not in CONTRASTS:
        known = ", ".join([*CONTRASTS, "random"])
        raise UsageError(
            f"Unknown contrast {contrast!r} of the head phantom; choose one of: {known}."
        )
    for name, level in CONTRASTS[contrast].items():
        levels[Tissue[name]] = level * generator.uniform(0.96, 1.04)
    return levels


def _shaded(space: Space, signal: Float, bias: float, generator: np.random.Generator) -> Float:
    """Blur over the edges of tissues, and make the signal uneven as a coil does."""
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(signal, 0.5)
    field = waves(space, 240.0, generator)
    blurred *= np.exp(bias * field / max(float(np.abs(field).max()), 1e-6))
    return np.asarray(blurred, dtype=np.float32)


def _turned(data: NDArray[Any], grid: Grid, codes: str) -> NDArray[np.uint8]:
    turned, _ = orient(data, grid.affine, codes)
    return np.ascontiguousarray(turned, dtype=np.uint8)

# SPDX-License-Identifier: Apache-2.0
"""One climb to the most mutual information, by SimpleITK; another library would go in here.

Mattes' mutual information, regular steps. SimpleITK's world is left, posterior, superior; here it
is turned into ours (right, anterior, superior) and back, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Affine
from encephalon.io.image import Image

#: From SimpleITK's world to ours, and back.
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
#: Bins of the joint histogram: as many as most work on T1w and T2w uses.
BINS = 32
#: Length that a radian counts for, mm: about what it moves the cortex by.
RADIUS = 60.0
#: And a unit of the matrix of an affine map, of which a turn changes two numbers.
MATRIX_RADIUS = RADIUS / 2**0.5
#: Seed of the random samples; any number does, but it must never change.
SEED = 7


@dataclass(frozen=True)
class Level:
    """One resolution.

    fixed, moving  Voxels that finer ones of either scan are averaged into, mm.
    first, last    The first and the last step of the optimiser, mm.
    samples        Places at which the scans are compared, at most.
    steps          Steps of the optimiser, at most.
    kind           Of the map: "rigid" has 6 degrees of freedom, "affine" 12.
    """

    fixed: float
    moving: float
    first: float
    last: float
    samples: int
    steps: int
    kind: Literal["rigid", "affine"] = "rigid"


# Shrinking never touches an axis that is coarser than the level, such as that of the slices. The
# moving scan is finer than the fixed one: smoothing it biases outlines (up to 1.5 mm at 6 mm).
COARSE = Level(6.0, 3.6, first=3.6, last=0.1, samples=60_000, steps=60)
MIDDLE = Level(3.0, 1.8, first=1.8, last=0.03, samples=60_000, steps=40)
FINE = Level(1.0, 1.0, first=1.0, last=0.02, samples=100_000, steps=30)
#: What follows the rigid search where heads differ in size and form. Finer voxels move a brain by
#: 0.4 mm more, and take as long again.
AFFINE = tuple(replace(level, kind="affine", steps=100) for level in (COARSE, MIDDLE))


def climb(fixed: Image, moving: Image, mask: Image, start: Affine, level: Level) -> Affine:
    """The map of most information that is reached from `start`, on one thread.

    `fixed` and `moving` are as coarse, and the map is of the kind, that `level` says; `mask` (any
    grid) tells where in `fixed` to sample. Maps go from fixed world RAS mm to moving world RAS mm.
    `start` itself, where the scans hardly meet there, or where an affine map would turn one of them
    inside out.
    """
    import SimpleITK

    centre = mask.affine.apply(np.argwhere(mask.data)).mean(axis=0)
    transform, scales = _transform(level, start, centre)
    method: Any = SimpleITK.ImageRegistrationMethod  # it ships no types
    method = method()
    # Sums of several threads come in any order; those of one differ by 1e-15, see `_world`.
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(BINS)
    # Central differences where samples lie: quicker than filtering all, and less biased.
    method.SetMetricUseFixedImageGradientFilter(False)
    method.SetMetricUseMovingImageGradientFilter(False)
    method.SetMetricFixedMask(_itk(Image(mask.data.astype(np.uint8), mask.affine)))
    share = level.samples * fixed.affine.voxel_volume / mask.affine.voxel_volume / mask.data.sum()
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, float(share)), seed=SEED)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        level.first, level.last, level.steps, gradientMagnitudeTolerance=1e-9
    )
    method.SetOptimizerScales(scales)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(_itk(fixed), _itk(moving))
    except RuntimeError:  # all that SimpleITK raises: most samples lie outside the moving scan
        return start
    found = _world(transform)
    return found if np.linalg.det(found.matrix) > 0 else start


def _itk(image: Image) -> Any:
    """A SimpleITK image of the same voxels in the same place."""
    import SimpleITK

    made: Any = SimpleITK.GetImageFromArray(np.ascontiguousarray(image.data.transpose(2, 1, 0)))
    affine = Affine(LPS @ image.affine.matrix)
    made.SetSpacing(affine.spacing)
    made.SetOrigin(affine.origin.tolist())
    made.SetDirection(affine.direction.ravel().tolist())
    return made


def _transform(
    level: Level, placed: Affine, centre: NDArray[np.float64]
) -> tuple[Any, list[float]]:
    """A map of our world as SimpleITK's transform, turning about `centre` (3,) mm, and its scales.

    The scales say how far a change of each of its numbers moves the cortex, squared.
    """
    import SimpleITK

    kind: Any = SimpleITK.Euler3DTransform
    transform, scales = kind(), [RADIUS**2] * 3
    tolerance: tuple[float, ...] = (1e-6,)
    if level.kind == "affine":
        kind = SimpleITK.AffineTransform
        transform, scales, tolerance = kind(3), [MATRIX_RADIUS**2] * 9, ()
    matrix = LPS @ placed.matrix @ LPS
    middle = LPS[:3, :3] @ centre
    transform.SetCenter(middle.tolist())
    transform.SetMatrix(matrix[:3, :3].ravel().tolist(), *tolerance)
    transform.SetTranslation((matrix[:3, 3] + matrix[:3, :3] @ middle - middle).tolist())
    return transform, [*scales, 1.0, 1.0, 1.0]


def _world(transform: Any) -> Affine:
    """SimpleITK's transform as a map of our world, to a millionth of a millimetre.

    On the same input SimpleITK repeats itself to 1e-15 only; rounded, it does so to the last bit,
    but for the odd number that lies within 1e-15 of where it is rounded.
    """
    turn = np.reshape(transform.GetMatrix(), (3, 3))
    centre = np.asarray(transform.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = np.asarray(transform.GetTranslation()) + centre - turn @ centre
    world = LPS @ matrix @ LPS
    world[:3, :3] = np.round(world[:3, :3], 8)  # times 100 mm
    world[:3, 3] = np.round(world[:3, 3], 6)
    return Affine(world + 0.0)


def mutual_information(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Mutual information of paired values (N,), nats, in equal bins up to the 99.5th percentile."""
    tops = [float(np.percentile(values, 99.5)) + 1e-6 for values in (first, second)]
    here, there = np.minimum(first, tops[0]), np.minimum(second, tops[1])
    ranges = [(float(first.min()), tops[0]), (float(second.min()), tops[1])]
    joint = np.histogram2d(here, there, bins=BINS, range=ranges)[0] / len(first)
    apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    filled = joint > 0
    return float((joint[filled] * np.log(joint[filled] / apart[filled])).sum())

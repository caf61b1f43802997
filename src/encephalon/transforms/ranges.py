# SPDX-License-Identifier: Apache-2.0
"""How far random transforms may go: plain numbers that recipes set, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class SpatialRanges:
    """How far `encephalon.transforms.spatial.draw_placement` may go.

    Attributes
    ----------
    rotation
        Largest rotation about each axis, degrees.
    scaling
        Largest relative change of each axis on its own.
    shear
        Largest off-diagonal term.
    warp
        Largest standard deviation of the smooth displacement, in units of the image's voxels.
    flip
        Probability of a left-right mirror.
    any_orientation
        Probability of one of the 48 axis permutations and mirrors, for scans whose header lies.
    """

    # Recipes are read through pydantic, which finds here that unknown keys are refused.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    rotation: float = 20.0
    scaling: float = 0.12
    shear: float = 0.08
    warp: float = 3.0
    flip: float = 0.5
    any_orientation: float = 0.1


@dataclass(frozen=True)
class SynthesisRanges:
    """How often and how strongly each effect is drawn; probabilities in [0, 1].

    Lengths are in working-grid voxels, `bias` is the standard deviation of the log field, `noise`
    is relative to the brightest tissue.
    """

    # Recipes are read through pydantic, which finds here that unknown keys are refused.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    familiar: float = 0.5
    texture: float = 0.08
    lesion: float = 0.2
    strip: float = 0.05
    deface: float = 0.2
    crop: float = 0.4
    thick: float = 0.35
    thickness: float = 4.0
    blur: float = 0.9
    bias: float = 0.5
    noise: float = 0.08
    gamma: float = 0.3

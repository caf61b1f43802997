# SPDX-License-Identifier: Apache-2.0
"""Explanation: where a network looked, whether the map can be trusted, and what else it used.

Names are loaded when they are first used: only the maps and their sanity check need torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encephalon._lazy import lazy

if TYPE_CHECKING:
    from encephalon.explanation.gradcam import grad_cam
    from encephalon.explanation.importance import permutation_importance
    from encephalon.explanation.location import (
        box_cover,
        centre_prior,
        points_inside,
        share_inside,
    )
    from encephalon.explanation.sanity import randomised_weights, rank_similarity
    from encephalon.explanation.scaling import scale_map

__all__ = [
    "box_cover",
    "centre_prior",
    "grad_cam",
    "permutation_importance",
    "points_inside",
    "randomised_weights",
    "rank_similarity",
    "scale_map",
    "share_inside",
]

__getattr__ = lazy(
    __name__,
    {
        "gradcam": ("grad_cam",),
        "importance": ("permutation_importance",),
        "location": ("box_cover", "centre_prior", "points_inside", "share_inside"),
        "sanity": ("randomised_weights", "rank_similarity"),
        "scaling": ("scale_map",),
    },
)

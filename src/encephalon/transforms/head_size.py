# SPDX-License-Identifier: Apache-2.0
"""Whether a volume is large enough to hold a head."""

from __future__ import annotations

import numpy as np

from encephalon.errors import GeometryError
from encephalon.io import Image

__all__ = ["require_head_size"]

#: Longest edge below which a field of view holds no part of a human head worth working on, mm.
#: Micrometres or metres taken for millimetres are a thousand times off.
SMALLEST_VIEW = 15.0


def require_head_size(image: Image) -> Image:
    """The same image; raises GeometryError, naming the voxel size, for one too small for a head."""
    if max(image.grid.extent) >= SMALLEST_VIEW:
        return image
    edges = " x ".join(f"{np.round(edge, 6):g}" for edge in image.spacing)
    extent = " x ".join(f"{edge:.3g}" for edge in image.grid.extent)
    raise GeometryError(
        f"{image.name}: with voxels of {edges} mm the volume is {extent} mm, too small for a head; "
        "mend the voxel size or its unit."
    )

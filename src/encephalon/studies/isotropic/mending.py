# SPDX-License-Identifier: Apache-2.0
"""What is said of the voxels of a scan before it is used, and what is no scan."""

from __future__ import annotations

from encephalon.errors import ContentError
from encephalon.io import Image

__all__ = ["looked_at"]


def looked_at(image: Image) -> tuple[str, ...]:
    """Notes on the voxels (I, J, K) of a scan; raises ContentError for a mask."""
    low, high = image.data.min(), image.data.max()
    if bool(((image.data == low) | (image.data == high)).all()):
        raise ContentError(
            f"{image.name}: every voxel is {low:g} or {high:g}, as in a mask, but a scan is "
            "needed; give the scan."
        )
    if low < 0:
        return (f"{image.name}: it has negative values, down to {low:.4g}, which were kept.",)
    return ()

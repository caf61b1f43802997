# SPDX-License-Identifier: Apache-2.0
"""The scan that `demo` and `bench` work on when the user gives none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_phantom(
    path: Path, *, shape: Sequence[int] = (192, 240, 240), overwrite: bool = False
) -> Path:
    """Write the head phantom, `shape` voxels of 1 mm, as a float32 image; returns `path`."""
    from encephalon.io import refuse_existing, write_image
    from encephalon.transforms.phantom import head_phantom

    refuse_existing(path, overwrite)
    # Axes as many scanners store them, so that orientation is put to the test.
    scan = head_phantom(shape, codes="LIA").image
    return write_image(scan.data, path, scan, overwrite)

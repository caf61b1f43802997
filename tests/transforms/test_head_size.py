# SPDX-License-Identifier: Apache-2.0
"""A volume that cannot hold a head is refused by its voxel size."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import GeometryError
from encephalon.geometry import Affine
from encephalon.io.image import Image
from encephalon.transforms.masks import require_head_size


def test_micrometres_are_no_head(head: Image) -> None:
    """The sentence has the voxel size, which shows what is wrong; a head passes."""
    assert require_head_size(head) is head
    small = Image(head.data, Affine(head.affine.matrix @ np.diag([1e-3, 1e-3, 1e-3, 1])))
    with pytest.raises(GeometryError, match=r"0\.002 x 0\.0015 x 0\.0025 mm the volume is 0\.048"):
        require_head_size(small)

# SPDX-License-Identifier: Apache-2.0
"""What is said of the voxels of a scan, and what is no scan."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import ContentError
from encephalon.studies.isotropic.acquisition.inputs import voxel_notes
from tests.studies.isotropic.scans import head, scan


def test_of_a_good_scan_nothing_is_said() -> None:
    """Positive values of many sizes."""
    assert voxel_notes(scan()) == ()


def test_negative_values_are_noted() -> None:
    """Filters and resampling make them; they mean no harm."""
    assert "negative values, down to -" in voxel_notes(scan(data=head() - 100))[0]


def test_a_mask_is_no_scan() -> None:
    """Two values are an outline, whatever the file is called."""
    with pytest.raises(ContentError, match="every voxel is 0 or 1, as in a mask"):
        voxel_notes(scan(data=(head() > 100).astype(np.uint8)))

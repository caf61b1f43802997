# SPDX-License-Identifier: Apache-2.0
"""What is said of the voxels of a scan, and what is no scan."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import ContentError
from encephalon.studies.isotropic.mending import looked_at
from tests.studies.isotropic.scans import head, scan


def test_of_a_good_scan_nothing_is_said() -> None:
    """Positive values of many sizes."""
    assert looked_at(scan()) == ()


def test_negative_values_are_noted() -> None:
    """Filters and resampling make them; they mean no harm."""
    assert "negative values, down to -" in looked_at(scan(data=head() - 100))[0]


def test_a_mask_is_no_scan() -> None:
    """Two values are an outline, whatever the file is called."""
    with pytest.raises(ContentError, match="every voxel is 0 or 1, as in a mask"):
        looked_at(scan(data=(head() > 100).astype(np.uint8)))

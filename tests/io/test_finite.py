# SPDX-License-Identifier: Apache-2.0
"""One policy for voxels that are no number: few or air become 0 and a doubt, more are refused."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import ContentError
from encephalon.io.image import Image
from encephalon.io.reading import read_image, with_finite_voxels


def test_a_good_image_is_left_alone(head: Image) -> None:
    """The very same image comes back, and nothing is said."""
    assert with_finite_voxels(head) is head


def test_nan_around_a_head_is_air(head: Image, caplog: pytest.LogCaptureFixture) -> None:
    """Programs that cut a brain out write it so; one voxel is infinite as well."""
    data = head.data.copy()
    data[data < 50] = np.nan
    data[0, 0, 0] = np.inf
    image = read_image(Image(data, head.affine))
    assert image.data.min() == 0
    assert np.array_equal(image.data[np.isfinite(data)], data[np.isfinite(data)])
    assert len(image.doubts) == len(image.warnings) == 1
    assert image.doubts[0].startswith("voxels were NaN or infinite and are now 0: ")
    assert "of the air" in caplog.text
    assert np.isnan(data).any(), "the caller's array is not changed"


def test_a_few_nan_in_a_head_are_mended(head: Image) -> None:
    """One failed voxel costs no scan."""
    data = head.data.copy()
    data[12, 10, 9] = np.nan
    image = with_finite_voxels(Image(data, head.affine))
    assert image.data[12, 10, 9] == 0
    assert "now 0: 1 amid the others" in image.doubts[0]


def test_many_nan_are_refused(head: Image) -> None:
    """What was there is gone: amid the head, or nearly everywhere."""
    data = head.data.copy()
    data[4:20, 4:24, 4:16] = np.nan
    with pytest.raises(ContentError, match=r"3,840 of 13,440 voxels .* amid the others, too many"):
        with_finite_voxels(Image(data, head.affine))
    data[:] = np.nan
    with pytest.raises(ContentError, match="all voxels are NaN or infinite, too many"):
        with_finite_voxels(Image(data, head.affine))
    data[12, 12, 12] = 1
    with pytest.raises(ContentError, match="too many to be mended"):
        with_finite_voxels(Image(data, head.affine))


def test_what_is_constant_beside_nan_is_refused() -> None:
    """There is nothing to see in it."""
    data = np.zeros((8, 8, 8), np.float32)
    data[0] = np.nan
    with pytest.raises(ContentError, match="the image is empty"):
        read_image(data)

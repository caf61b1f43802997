# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import ContentError
from encephalon.studies.isotropic.mending import mend
from tests.studies.isotropic.scans import head, scan


def test_a_good_scan_is_left_alone() -> None:
    """The very same image comes back, and nothing is said."""
    image = scan()
    assert mend(image) == (image, (), ())


def test_nan_around_a_head_is_air() -> None:
    """Programs that cut a brain out write it so."""
    data = head()
    data[data < 50] = np.nan
    data[0, 0, 0] = np.inf
    mended, notes, warnings = mend(scan(data=data))
    assert mended.data.min() == 0
    np.testing.assert_array_equal(mended.data[np.isfinite(data)], data[np.isfinite(data)])
    assert "voxels of its air were NaN or infinite, now 0" in notes[0]
    assert warnings == ()


def test_a_few_nan_in_a_head_are_mended_with_a_warning() -> None:
    """One failed voxel costs no scan."""
    data = head()
    data[12, 10, 5] = np.nan
    mended, notes, warnings = mend(scan(data=data))
    assert mended.data[12, 10, 5] == 0
    assert notes == ()
    assert "1 voxels inside the head" in warnings[0]


def test_many_nan_in_a_head_are_refused() -> None:
    """What was there is gone, and no reconstruction brings it back."""
    data = head()
    data[8:14, 8:12, 3:7] = np.nan
    with pytest.raises(ContentError, match=r"96 of 4,800 voxels .* amid the others, too many"):
        mend(scan(data=data))
    with pytest.raises(ContentError, match="too many to be mended"):
        mend(scan(data=np.full((9, 9, 9), np.nan, np.float32)))


def test_negative_values_are_kept_and_noted() -> None:
    """Filters and resampling make them; they mean no harm."""
    data = head() - 100
    mended, notes, _ = mend(scan(data=data))
    assert mended.data is data
    assert "negative values, down to -" in notes[0]


@pytest.mark.parametrize(
    ("value", "words"), [(0, "the image is empty"), (7, "the image is constant")]
)
def test_nothing_to_see_is_refused(value: int, words: str) -> None:
    """Empty and constant images, and those that are so beside NaN."""
    data = np.full((8, 8, 8), value, np.float32)
    with pytest.raises(ContentError, match=words):
        mend(scan(data=data))
    if value == 0:
        data[0] = np.nan
        with pytest.raises(ContentError, match=words):
            mend(scan(data=data))


def test_a_mask_is_no_scan() -> None:
    """Two values are an outline, whatever the file is called."""
    with pytest.raises(ContentError, match="every voxel is 0 or 1, as in a mask"):
        mend(scan(data=(head() > 100).astype(np.uint8)))

# SPDX-License-Identifier: Apache-2.0
"""A drawn tumour is bright, in one piece, on the surface of the brain, and of a known mask."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from encephalon.io.image import Image
from encephalon.synthetic.tumour import RADIUS_MM, add_tumour


def test_a_tumour_lies_on_the_border_of_the_brain_and_is_brighter(
    head: Image, brain: np.ndarray
) -> None:
    """Whoever draws it; nothing else of the scan changes."""
    for seed in range(4):
        drawn, mask = add_tumour(np.random.default_rng(seed), head, brain)
        assert mask.any()
        assert not (mask & ~brain).any()
        assert (mask & ~ndimage.binary_erosion(brain)).any()
        largest = 4 / 3 * np.pi * (RADIUS_MM[1] * 1.5) ** 3 / 1000
        assert mask.sum() * head.volume_ml_per_voxel < largest
        assert drawn.data[mask].mean() > np.percentile(head.data[brain], 90)
        far = ~ndimage.binary_dilation(mask, iterations=3)
        np.testing.assert_allclose(drawn.data[far], head.data[far], rtol=1e-4)


def test_the_same_seed_draws_the_same_tumour(head: Image, brain: np.ndarray) -> None:
    """So that a table of tumours can be made again."""
    one, other = (add_tumour(np.random.default_rng(3), head, brain)[1] for _ in range(2))
    assert np.array_equal(one, other)

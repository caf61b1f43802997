# SPDX-License-Identifier: Apache-2.0
"""What raises and what lowers an answer, drawn and listed."""

from __future__ import annotations

import numpy as np

from encephalon.reports.signed_maps import slices_picture, strongest


def test_the_strongest_edges_come_first_whatever_their_sign() -> None:
    """Each pair of regions once."""
    edges = np.array([[9.0, 1.0, -3.0], [1.0, 0.0, 2.0], [-3.0, 2.0, 0.0]])
    found = [(one["region_a"], one["region_b"], one["adds"]) for one in strongest(edges, 2)]
    assert found == [(0, 2, -3.0), (1, 2, 2.0)]


def test_slices_run_through_the_extreme_of_the_map() -> None:
    """Left is left, and up is up: three planes side by side."""
    values = np.zeros((16, 16, 16), np.float32)
    values[2, 7, 12] = -1.0
    picture, at = slices_picture(np.random.default_rng(0).random((16, 16, 16)), values, "a map")
    assert at == (2, 7, 12)
    raised, lowered = (layer.rgba[..., 3] for layer in picture.layers)
    assert raised.max() == 0 < lowered.max()
    row, column = np.unravel_index(lowered[:, 220:440].argmax(), (220, 220))
    assert (row < 110, column < 110) == (True, True)

# SPDX-License-Identifier: Apache-2.0
"""Intensities of tissues: both orders, familiar or random."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.transforms.masks import CSF, WHITE_MATTER
from encephalon.transforms.parameters import SynthesisRanges
from encephalon.transforms.synthesis import draw_tissue_table

PLAIN = SynthesisRanges(texture=0)


def test_contrasts_cover_both_orders_of_tissue() -> None:
    """White matter is now brighter, now darker than fluid."""
    tables = [draw_tissue_table(np.random.default_rng(s), PLAIN)[0] for s in range(60)]
    brighter = [table[WHITE_MATTER[0]] > table[CSF[0]] for table in tables]
    assert 10 < sum(brighter) < 50


def test_without_familiar_contrasts_all_are_random() -> None:
    """The share of familiar ones is the recipe's."""
    ranges = SynthesisRanges(familiar=0.0)
    whites = [draw_tissue_table(np.random.default_rng(s), ranges)[0][2] for s in range(300)]
    assert np.quantile(whites, [0.1, 0.9]) == pytest.approx([0.15, 0.9], abs=0.12)

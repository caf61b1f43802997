# SPDX-License-Identifier: Apache-2.0
"""What recipes may ask of random transforms: each number in its range, or refused by its key."""

from __future__ import annotations

from typing import Any

import pytest

from encephalon.errors import RecipeError
from encephalon.recipes.validation import make_settings
from encephalon.studies.extraction.published.settings import PublishedSettings
from encephalon.studies.extraction.settings import ExtractionSettings
from encephalon.studies.isotropic.settings import IsotropicSettings
from encephalon.studies.legibility.settings import LegibilitySettings


@pytest.mark.parametrize(
    ("schema", "given", "words"),
    [
        (ExtractionSettings, {"synthesis": {"thick": 5}}, "less than or equal to 1"),
        (ExtractionSettings, {"synthesis": {"scalp": [0, 20]}}, "greater than 0"),
        (ExtractionSettings, {"synthesis": {"scalp": [20, 4]}}, "the least first"),
        (ExtractionSettings, {"synthesis": {"scalp": [4, 1e308]}}, "less than or equal to 100"),
        (ExtractionSettings, {"synthesis": {"thickness": [7, 2]}}, "the least first"),
        (ExtractionSettings, {"synthesis": {"fluid": [2, 12]}}, "less than or equal to 11"),
        (ExtractionSettings, {"synthesis": {"blur": 0}}, "greater than or equal to 0.2"),
        (ExtractionSettings, {"synthesis": {"cut": 1}}, "less than or equal to 0.45"),
        (ExtractionSettings, {"synthesis": {"bias": 1e4}}, "less than or equal to 1"),
        (ExtractionSettings, {"synthesis": {"gamma": 1000}}, "less than or equal to 1"),
        (ExtractionSettings, {"synthesis": {"noise": -1}}, "greater than or equal to 0"),
        (ExtractionSettings, {"synthesis": {"noise": 1e39}}, "less than or equal to 2"),
        (ExtractionSettings, {"synthesis": {"gap": 1e308}}, "less than or equal to 10"),
        (ExtractionSettings, {"synthesis": {"thickness": [2, 4000]}}, "less than or equal to 50"),
        (ExtractionSettings, {"synthesis": {"blur": float("inf")}}, "finite"),
        (ExtractionSettings, {"placement": {"flip": 7}}, "less than or equal to 1"),
        (ExtractionSettings, {"placement": {"scaling": 1000}}, "less than or equal to 1"),
        (ExtractionSettings, {"placement": {"warp": 1e39}}, "less than or equal to 100"),
        (IsotropicSettings, {"scanner": {"ratio": [0.5, 6]}}, "greater than or equal to 1"),
        (IsotropicSettings, {"scanner": {"ratio": [2, 48]}}, "less than or equal to 32"),
        (IsotropicSettings, {"scanner": {"guide_noise": 1e39}}, "less than or equal to 2"),
        (IsotropicSettings, {"scanner": {"missing": 4}}, "less than or equal to 1"),
        (PublishedSettings, {"augmentation": {"probability": 2}}, "less than or equal to 1"),
        (LegibilitySettings, {"augmentation": {"control_points": [6, 3]}}, "the least first"),
        (LegibilitySettings, {"augmentation": {"control_points": [1, 3]}}, "greater than or"),
        (LegibilitySettings, {"augmentation": {"elastic": [5, 3]}}, "the least first"),
        (LegibilitySettings, {"augmentation": {"smoothness": [0, 3]}}, "greater than 0"),
        (LegibilitySettings, {"augmentation": {"smoothness": [1, 30]}}, "less than or equal to 10"),
        (LegibilitySettings, {"augmentation": {"control_points": [2, 10**12]}}, "equal to 100"),
    ],
)
def test_what_cannot_be_drawn_is_refused(schema: Any, given: dict[str, Any], words: str) -> None:
    """A depth of 0 would make points that are no numbers, a probability of 5 means nothing."""
    ((section, ranges),) = given.items()
    (key,) = ranges
    with pytest.raises(RecipeError, match=words) as refused:
        make_settings(schema, given, "my.toml")
    assert f"[study.{section}" in str(refused.value)
    assert key in str(refused.value)


def test_ends_of_the_ranges_are_taken() -> None:
    """Nothing at all, and always."""
    never = {
        "synthesis": {"thick": 0, "noise": 0, "cut": 0},
        "placement": {"flip": 1, "warp": 0},
    }
    found = make_settings(ExtractionSettings, never, "my.toml")
    assert (found.synthesis.thick, found.synthesis.cut, found.placement.flip) == (0, 0, 1)

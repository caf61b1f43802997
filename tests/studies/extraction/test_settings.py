# SPDX-License-Identifier: Apache-2.0
"""What may be asked of a model of default mode, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from encephalon.errors import UsageError
from encephalon.recipes.schema import ask
from encephalon.studies.extraction.settings import PredictOptions


def test_what_is_not_asked_has_its_default() -> None:
    """A mask with its fluid, its border where the network draws it."""
    asked = ask(PredictOptions, {"border": 2}, "brain-extraction")
    assert asked == PredictOptions(border=2.0, csf=True, save=("mask",))


@pytest.mark.parametrize(
    ("save", "images"),
    [("brain", ("brain",)), ("mask, distance", ("mask", "distance")), (["mask"], ("mask",))],
)
def test_images_are_named_by_a_list_or_a_text(save: Any, images: tuple[str, ...]) -> None:
    """`save="brain"` in Python and `--option save=mask,brain` are what people write."""
    assert ask(PredictOptions, {"save": save}, "brain-extraction").save == images


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"threshold": 0.3}, "unknown key 'threshold'; the keys are border, csf, fast"),
        ({"bordr": 1}, r"did you mean 'border'\?$"),
        ({"border": 11}, "'border' should be less than or equal to 10, but is 11"),
        ({"save": ["mask", "skull"]}, "'skull'"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(given: dict[str, Any], words: str) -> None:
    """The sentence names the model, the option, and what would do."""
    with pytest.raises(UsageError, match=f"'brain-extraction'.*{words}"):
        ask(PredictOptions, given, "the model 'brain-extraction'")

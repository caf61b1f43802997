# SPDX-License-Identifier: Apache-2.0
"""What the built-in recipes say, against what was published of them."""

from __future__ import annotations

import pytest

from encephalon.recipes.loading import load_recipe


def test_brain_extraction_as_published() -> None:
    """Jaccard loss, batches of two blocks of 128 voxels, 5 epochs, threshold 0.3, p = 0.5."""
    recipe = load_recipe("brain-extraction-published")
    settings = recipe.study.settings
    assert recipe.network.name == "keras-unet"
    assert [loss.name for loss in recipe.training.losses] == ["jaccard"]
    assert (recipe.training.batch_size, recipe.training.epochs) == (2, 5)
    assert settings["block"] == [128, 128, 128]
    assert settings["threshold"] == 0.3
    assert settings["augmentation"]["probability"] == 0.5
    assert recipe.table.labels == "nonzero"


def test_meningioma_as_published_is_transferred_at_a_low_rate() -> None:
    """The published guide: Adam at 1e-5 from the brain's weights."""
    recipe = load_recipe("meningioma-published")
    assert recipe.training.start_from == "brainy"
    assert recipe.training.learning_rate == 1e-5


def test_sound_meningioma_freezes_and_holds_what_it_starts_from() -> None:
    """Transfer means a frozen part, a low rate and a penalty that is really there."""
    training = load_recipe("meningioma").training
    assert training.start_from == "brain-extraction"
    assert training.freeze
    assert training.learning_rate == 1e-5
    assert training.l2_to_start > 0


@pytest.mark.parametrize("name", ["meningioma", "meningioma-published"])
def test_meningioma_recipes_say_that_they_are_for_research(name: str) -> None:
    """A tumour mask must not pass for a diagnosis."""
    assert "research only" in load_recipe(name).description


def test_a_head_without_a_scan_can_train_brain_extraction() -> None:
    """Label maps alone are enough: the scan is synthesised from them."""
    table = load_recipe("brain-extraction").table
    assert table.optional == ("image",)
    assert table.target_kind == "labels"

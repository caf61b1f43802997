# SPDX-License-Identifier: Apache-2.0
"""A card has every section, filled or "unknown"."""

from __future__ import annotations

from encephalon.models.description import CARD_SECTIONS, ModelDescription, render_card
from encephalon.models.folder import ModelFolder


def test_an_empty_description_gives_a_card_of_unknowns() -> None:
    """No heading is left out and none is left empty."""
    card = render_card(ModelDescription("m", "1", "extraction", "segmentation"))
    parts = card.split("\n## ")
    assert len(parts) == 1 + len(CARD_SECTIONS) + 7
    assert all(part.split("\n", 1)[1].strip() == "unknown" for part in parts[1:])
    assert "| Licence | unknown |" in card


def test_the_card_of_a_model_says_what_it_was_told(model: ModelFolder) -> None:
    """Title, prose, nested figures and the sha256 of the weights are in the README."""
    card = (model.path / "README.md").read_text()
    assert card.startswith("# A tiny model\n")
    assert "## Caveats and known failures\n\nNever trained." in card
    assert "| training.epochs | 3 |" in card
    assert "| training.patience | unknown |" in card
    assert f"| weights.safetensors | {model.description.files['weights.safetensors']} |" in card


def test_a_cell_cannot_break_the_table() -> None:
    """Bars, line ends and empty values keep to their cell; figures have four digits."""
    made = ModelDescription(
        "m", "1", "s", "t", scores={"a|b": "one\ntwo", "list": [0.123456, ()], "none": {}}
    )
    card = render_card(made)
    assert "| a\\|b | one two |" in card
    assert "| list | 0.1235, unknown |" in card
    assert "| none | unknown |" in card

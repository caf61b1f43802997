# SPDX-License-Identifier: Apache-2.0
"""The card of a model on a page of predictions."""

from __future__ import annotations

from encephalon.reports.model_card import model_card


def test_a_card_has_its_texts_its_figures_and_what_it_leaves_out() -> None:
    """Folded, in the order given; markup in a text stays text."""
    figure = {"name": "Dice", "value": 0.97, "low": 0.91, "high": 0.98, "interval": "range", "n": 0}
    html = str(model_card({"Intended use": "<b>Research</b>"}, [figure], ["Licence"]))
    assert html.startswith("<details><summary>")
    assert "<h3>Intended use</h3><p>&lt;b&gt;Research" in html
    assert "0.9100" in html
    assert '<th scope="col">Cases' not in html  # of which nobody has said how many
    assert "The card leaves out: licence." in html


def test_a_card_of_words_alone_has_no_empty_table() -> None:
    """Nor a sentence on what is missing."""
    html = str(model_card({"Licence": "MIT"}, [], []))
    assert "table" not in html
    assert "leaves out" not in html

# SPDX-License-Identifier: Apache-2.0
"""A card has every section, filled or "unknown", figures with intervals, and the Hub's fields."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from encephalon.errors import ModelError, OutputExistsError, UnreadableFileError
from encephalon.models.card import (
    CARD_SECTIONS,
    NEEDED,
    Figure,
    figures_of,
    front_matter,
    gaps,
    read_figures,
    render_card,
)
from encephalon.models.description import ModelDescription
from encephalon.models.files import packaged_folder
from encephalon.models.folder import DESCRIPTION, ModelFolder, open_model

CARDS = Path(__file__).parents[2] / "tools" / "cards"


def test_an_empty_description_gives_a_card_of_unknowns() -> None:
    """No heading is left out and none is left empty."""
    card = render_card(ModelDescription("m", "1", "extraction", "segmentation"))
    parts = card.split("\n## ")
    assert len(parts) == 1 + len(CARD_SECTIONS) + 1 + 7
    assert all(part.split("\n", 1)[1].strip() == "unknown" for part in parts[1:])
    assert "| Licence | unknown |" in card


def test_the_card_of_a_model_says_what_it_was_told(model: ModelFolder) -> None:
    """Title, prose, nested figures and the sha256 of the weights are in the README."""
    card = (model.path / "README.md").read_text()
    assert "\n---\n\n# A tiny model\n" in card
    assert "## Known failures and caveats\n\nNever trained." in card
    assert "| dice | 0.5 |" in card
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


def test_scores_of_every_form_become_figures() -> None:
    """Numbers, NumPy's too; summaries with an interval or a range; figures with low and high."""
    spread = {"n": 3, "median": 0.95, "mean": 0.94, "minimum": 0.9, "maximum": 0.97}
    sure = {**spread, "median_interval": {"value": 0.95, "low": 0.91, "high": 0.96}}
    found = figures_of(
        {
            "val_loss": np.float32(0.5),
            "dice": spread,
            "jaccard": sure,
            "axon": {"f1": 0.86, "low": 0.84, "high": 0.87, "iou": 0.75},
            "hd95_mm": {"n": 2, "median": float("inf"), "mean": float("nan")},
            "nothing": float("nan"),
            "words": "none",
        }
    )
    assert found == (
        Figure("dice", 0.95, "median", 0.9, 0.97, "range", 3),
        Figure("jaccard", 0.95, "median", 0.91, 0.96, "95 %", 3),
        Figure("axon f1", 0.86, low=0.84, high=0.87, interval="95 %"),
        Figure("val loss", 0.5),
        Figure("axon iou", 0.75),
    )
    assert str(found[0]) == "dice 0.95 (median, range 0.9 to 0.97, n = 3)"
    assert str(Figure("MAE", 2.048, n=2381, unit="years")) == "MAE 2.048 years (n = 2,381)"


@pytest.mark.parametrize(
    ("figure", "sentence"),
    [
        ({"name": "Dice"}, "a name and a value"),
        ({"name": "Dice", "value": "0.9"}, "made of numbers"),
        ({"name": "Dice", "value": float("nan")}, "made of numbers"),
        ({"name": "Dice", "value": 0.9, "low": 0.8}, "give both"),
        ({"name": "Dice", "value": 0.9, "low": 0.9, "high": 0.8}, "between 0.9 and 0.8"),
        ({"name": "Dice", "value": 0.9, "n": -1}, "of -1 cases"),
        ({"name": "Dice", "value": 0.9, "intervall": "sd"}, "did you mean 'interval'"),
    ],
)
def test_a_figure_that_makes_no_sense_is_refused(figure: dict[str, object], sentence: str) -> None:
    """Before anybody reads it."""
    with pytest.raises(ModelError, match=sentence):
        read_figures([figure])


def test_a_card_says_what_it_leaves_out() -> None:
    """Text that says "unknown" is a gap like no text at all."""
    full = dict.fromkeys(NEEDED, "said")
    assert gaps(full, [Figure("Dice", 1.0)], "MIT") == []
    assert gaps({**full, "caveats": " unknown "}, [], "unknown") == [
        *("Known failures and caveats", "Figures", "Licence")
    ]


def test_a_card_begins_with_the_fields_of_the_hub() -> None:
    """YAML that a reader of YAML reads: licence by the Hub's own names, task, tags, figures."""
    made = ModelDescription(
        *("m", "1", "extraction", "segmentation"),
        licence="Apache-2.0",
        scores={"dice": {"n": 3, "median": 0.95, "minimum": 0.9, "maximum": 0.97}},
        files={"weights.safetensors": "0" * 64},
    )
    empty, text, after = front_matter(made).split("---\n")
    fields = yaml.safe_load(text)
    assert (empty, after) == ("", "")
    assert fields["license"] == "apache-2.0"
    assert fields["pipeline_tag"] == "image-segmentation"
    assert fields["tags"] == ["encephalon", "extraction", "segmentation", "default", "safetensors"]
    (result,) = fields["model-index"][0]["results"]
    assert result["metrics"] == [
        {
            "type": "dice",
            "name": "dice",
            "value": 0.95,
            "args": {"low": 0.9, "high": 0.97, "interval": "range"},
        }
    ]
    told = yaml.safe_load(
        front_matter(ModelDescription("m", "1", "s", "t", licence="For: friends"))[4:-4]
    )
    assert (told["license"], told["license_name"]) == ("other", "for-friends")
    assert not {"pipeline_tag", "model-index"} & set(told)


@pytest.mark.parametrize("name", ["axon-myelin", "brain-extraction", "isotropic"])
def test_the_words_for_a_model_that_ships_leave_nothing_out(name: str) -> None:
    """What `tools/package_model.py` puts into its card."""
    words = tomllib.loads((CARDS / f"{name}.toml").read_text(encoding="utf-8"))
    assert gaps(words["card"], [Figure("Dice", 1.0)], words["licence"]) == []


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`package` of tools/package_model.py, for which what ships lies elsewhere."""
    monkeypatch.syspath_prepend(str(CARDS.parent))
    tool = importlib.import_module("package_model")
    monkeypatch.setattr(tool, "packaged_folder", lambda: tmp_path / "packaged")
    return tool.package


def test_a_model_of_ones_own_is_packaged_into_a_folder_of_its_own(
    package: Any, tmp_path: Path
) -> None:
    """With what the calibration sets, and again over itself; the model that ships is as before."""
    shipped = packaged_folder() / "brain-extraction"
    before = (shipped / DESCRIPTION).read_bytes()
    fit = tmp_path / "errors.toml"
    fit.write_text("[study]\nborder_spread = 0.7\n", encoding="utf-8")
    mine = tmp_path / "mine"
    for _ in range(2):
        assert package(shipped, CARDS / "brain-extraction.toml", None, fit, mine) == mine
    assert open_model(mine).description.recipe["study"]["border_spread"] == 0.7
    assert (shipped / DESCRIPTION).read_bytes() == before
    assert not (tmp_path / "packaged").exists()


def test_a_model_is_not_packaged_over_other_data(package: Any, tmp_path: Path) -> None:
    """Nothing in the folder is lost."""
    (tmp_path / "results.csv").write_text("a\n1\n", encoding="utf-8")
    shipped, card = packaged_folder() / "brain-extraction", CARDS / "brain-extraction.toml"
    with pytest.raises(OutputExistsError, match="model"):
        package(shipped, card, output=tmp_path)
    assert (tmp_path / "results.csv").read_text(encoding="utf-8") == "a\n1\n"


def test_a_card_that_lacks_something_is_refused(package: Any, tmp_path: Path) -> None:
    """By what it lacks; one that is no TOML by its file."""
    card = tmp_path / "card.toml"
    card.write_text('version = "1"\nlicence = "MIT"\n', encoding="utf-8")
    with pytest.raises(ModelError, match=r"card\.toml: lacks citation, card: a card has version"):
        package(packaged_folder() / "brain-extraction", card, output=tmp_path / "mine")
    card.write_text("version = ", encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=r"card\.toml"):
        package(packaged_folder() / "brain-extraction", card, output=tmp_path / "mine")
    assert not (tmp_path / "mine").exists()

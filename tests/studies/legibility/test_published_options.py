# SPDX-License-Identifier: Apache-2.0
"""The table of the original command line in the documentation agrees with what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from encephalon.cli.main import build
from encephalon.recipes.loading import load_recipe
from encephalon.studies.legibility.published.settings import PublishedSettings, published_settings
from encephalon.transforms.parameters import VolumeRanges

PAGE = Path(__file__).parents[3] / "docs" / "legibility.md"
#: What the released `train.py` takes.
ORIGINAL = (
    "target inputs metadata_blocks device inpath outpath epochs restore batch_size num_workers "
    "resize veto_transformations augs_probability diagnostic data_size multi_gpu n_gpus lr "
    "patience cache_val_set hello_world"
)


def equivalents() -> dict[str, tuple[str, Any]]:
    """Of each original option what it is here, and the default of that."""
    text = PAGE.read_text(encoding="utf-8").partition("| Original |")[2].partition("\n\n")[0]
    found = {}
    for line in text.splitlines()[2:]:
        original, _, ours, default = (cell.strip() for cell in line.strip("|").split(" | "))
        said = re.match("`(.*?)`", default)
        value = json.loads(said[1]) if said else None
        found[original.strip("`- ")] = ours.strip("`"), value
    return found


def test_every_option_of_the_original_has_an_equivalent() -> None:
    """No more and no fewer."""
    assert list(equivalents()) == ORIGINAL.split()


@pytest.mark.parametrize("original", ORIGINAL.split())
def test_the_equivalent_is_there_with_its_default(original: str) -> None:
    """A key of the recipe, or a flag of `encephalon train`."""
    ours, default = equivalents()[original]
    if ours.startswith("--"):
        command: Any = typer.main.get_command(build(["train"]))
        (flag,) = (one for one in command.commands["train"].params if ours in one.opts)
        assert flag.default == default
        return
    section, *keys = ours.split(".")
    recipe = load_recipe("legibility-published")
    settings = published_settings(recipe)
    if keys == ["augmentation", "probability"]:
        varied = PublishedSettings.model_validate({"augmentation": {"probability": 0.125}})
        assert varied.augmentation == VolumeRanges(probability=0.125)
        found: Any = VolumeRanges().probability
    else:
        found = getattr({"study": settings, "training": recipe.training}[section], keys[0])
    assert (list(found) if isinstance(found, tuple) else found) == default

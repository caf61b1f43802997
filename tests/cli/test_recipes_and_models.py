# SPDX-License-Identifier: Apache-2.0
"""`recipes list | show | check` and `models list | info | get | verify | import | export`."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from encephalon.models.description import ModelDescription
from encephalon.models.folder import save_model
from tests.cli.conftest import Run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model folder."""
    about = ModelDescription(
        name="tiny", version="1.2.3", study="extraction", task="segmentation", title="A tiny one"
    )
    save_model(tmp_path / "tiny", about, {"weight": np.zeros(3, np.float32)}, None, None)
    return tmp_path / "tiny"


def test_recipes_are_listed(run: Run) -> None:
    """Every built-in recipe has a line, and an entry in JSON."""
    names = {entry["name"] for entry in json.loads(run("recipes", "list", "--json").out)}
    assert {"brain-extraction", "brain-extraction-published"} <= names
    text = run("recipes", "list").out
    assert all(name in text for name in names)


def test_show_prints_a_recipe_that_checks(run: Run, tmp_path: Path) -> None:
    """`recipes show NAME > mine.toml` starts your own."""
    text = run("recipes", "show", "brain-extraction").out
    assert tomllib.loads(text)["name"] == "brain-extraction"
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    result = run("recipes", "check", mine)
    assert result.code == 0, result.err
    assert "valid" in result.out


def test_check_names_the_nearest_key(run: Run) -> None:
    """An unknown key is refused with what was meant."""
    result = run("recipes", "check", "brain-extraction", "--set", "training.epohcs=3")
    assert result.code == 1
    assert "did you mean 'epochs'?" in result.err


def test_check_reaches_the_settings_of_the_study(run: Run) -> None:
    """[study] is checked by the study itself."""
    result = run("recipes", "check", "brain-extraction", "--set", "study.coarse_stepz=3")
    assert result.code == 1
    assert "coarse_stepz" in result.err


def test_check_reaches_the_network(run: Run) -> None:
    """A slip in its name is found before a run is begun, without torch."""
    result = run("recipes", "check", "brain-extraction", "--set", "network.name=distnace-unet")
    assert result.code == 1
    assert "Unknown network 'distnace-unet'; did you mean 'distance-unet'?" in result.err


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ('[{name="dize"}]', "the loss 'dize', which does not exist: choose from"),
        ('[{name="distance", options={far="six"}}]', "'far' should be a valid number"),
    ],
)
def test_check_reaches_the_losses(run: Run, losses: str, words: str) -> None:
    """Their names and their options, which no study knows."""
    pytest.importorskip("torch")
    result = run("recipes", "check", "brain-extraction", "--set", f"training.losses={losses}")
    assert result.code == 1
    assert words in result.err


def test_a_list_that_is_too_short_says_so(run: Run) -> None:
    """A grid has three axes."""
    result = run("recipes", "check", "brain-extraction", "--set", "study.grids.coarse=[16,16]")
    assert result.code == 1
    assert "a value is missing in [study.grids.coarse]: there are only 2" in result.err


def test_dump_writes_every_default(run: Run) -> None:
    """--dump shows what is used where a recipe is silent, with --set applied."""
    words = ("recipes", "check", "brain-extraction", "--dump", "--set", "training.epochs=3")
    training = tomllib.loads(run(*words).out)["training"]
    assert training["epochs"] == 3
    assert "checkpoint_every" in training


def test_set_needs_a_value(run: Run) -> None:
    """--set without = is a wrong argument."""
    assert run("recipes", "check", "brain-extraction", "--set", "training.epochs").code == 2


def test_models_are_listed_with_where_they_are(run: Run) -> None:
    """Published weights are to be had, and said to be of that mode."""
    found = {entry["name"]: entry for entry in json.loads(run("models", "list", "--json").out)}
    assert found["brainy"]["mode"] == "published"
    assert found["brainy"]["where"] == "remote"
    assert "brainy" in run("models", "list").out
    assert "kwyk" in run("models", "list").out
    usable = run("models", "list", "--usable").out
    assert "baby-ai" in usable
    assert "kwyk" not in usable


def test_info_says_the_sha256(run: Run) -> None:
    """What is known of a model needs no download."""
    digest = "17d946f977134b70cb48ce3960d634517d9e0c6f09ca40fb7de5b86faeb94eb9"
    short, full = (run("models", "info", "brainy", *more) for more in ((), ("--full",)))
    assert short.code == full.code == 0
    assert f"sha256: {digest}" in full.out
    assert f"{digest} (published)" in short.out


def test_the_short_card_says_what_one_asks_first(run: Run) -> None:
    """Figures with their interval, failures, where it is hosted and how to get it: a screenful."""
    lines = run("models", "info", "brainy").out.splitlines()
    assert len(lines) <= 20
    told = {line[2:18].strip(): line[18:] for line in lines[1:]}
    assert told["figures"].startswith("Dice 0.97 (median, range 0.91 to 0.98, n = 99)")
    assert told["mode published"].startswith("Predicts as its program does")
    assert told["hosted"].startswith("GitHub release")
    assert told["here"] == "no: encephalon models get brainy"
    listed = run("models", "info", "deepcsr").out
    assert "cannot be used here" in listed
    assert "size" not in listed


def test_get_offline_is_a_sentence(run: Run) -> None:
    """--offline never touches the network; the sentence says how to go on."""
    result = run("models", "get", "brainy", "--offline")
    assert result.code == 1
    assert "models import" in result.err


def test_a_model_travels_as_one_file(run: Run, folder: Path, tmp_path: Path) -> None:
    """Exported, imported and verified, a model is found by its name."""
    out = tmp_path / "tiny.zip"
    assert run("models", "export", folder, "-o", out).code == 0
    assert run("models", "info", "tiny").code == 1
    assert run("models", "import", out).code == 0
    verified = run("models", "verify", "tiny").out
    assert "tiny: every file is whole (sha256 in" in verified
    assert "its card leaves out: what it does, intended use, inputs" in verified
    info = json.loads(run("models", "info", "tiny", "--json").out)
    assert info["version"] == "1.2.3"


@pytest.mark.parametrize("kind", ["hub", "monai"])
def test_a_model_travels_as_a_folder_that_others_read(
    run: Run, folder: Path, tmp_path: Path, kind: str
) -> None:
    """Exported for the Hub or for MONAI, and taken back under its name."""
    out = tmp_path / "out"
    assert run("models", "export", folder, "-o", out, "--format", kind).code == 0
    assert (out / "configs" / "metadata.json").is_file()
    assert run("models", "import", out).code == 0
    assert run("models", "verify", "tiny").code == 0


def test_verify_finds_a_changed_file(run: Run, folder: Path) -> None:
    """One flipped byte is an error that names the file."""
    weights = folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    result = run("models", "verify", folder)
    assert result.code == 1
    assert "weights.safetensors" in result.err

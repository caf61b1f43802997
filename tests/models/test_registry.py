# SPDX-License-Identifier: Apache-2.0
"""A name or a path means one model, and asking is quick."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
import torch

from encephalon.errors import MissingFileError, ModelError
from encephalon.io.atomic import sha256
from encephalon.io.home import HOME_VARIABLE, encephalon_home
from encephalon.models import files
from encephalon.models.card import gaps
from encephalon.models.catalogue import find_model, list_models, model_info, verify_model
from encephalon.models.description import ModelDescription
from encephalon.models.download import get_model
from encephalon.models.exchange import import_model
from encephalon.models.folder import ModelFolder, save_model
from encephalon.models.published import PublishedFile, open_published
from encephalon.models.registry import (
    RegistryEntry,
    parse_registry,
    published_path,
    registry_entries,
    shipped_entries,
)

#: By the card of the small model, which has figures and one section.
_LEFT_OUT = [
    *("What it does", "Intended use", "Inputs", "Training data", "Evaluation data"),
    "Licence",
]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that passes for brainy: the registry is given its sha256."""
    path = tmp_path / "copy-of-brainy.h5"
    path.write_bytes(b"\x89HDF weights")
    entry = replace(registry_entries()["brainy"], sha256=sha256(path), size=12)
    monkeypatch.setitem(shipped_entries(), "brainy", entry)  # type: ignore[arg-type]
    return path


def test_asking_for_models_loads_nothing_heavy() -> None:
    """Listing and describing get by without torch, NumPy, pandas, pydantic and h5py."""
    code = (
        "import sys; from encephalon.models.catalogue import model_info; "
        "from encephalon.models.catalogue import list_models; list_models(); "
        "model_info('brainy'); "
        "heavy = {'torch', 'numpy', 'pandas', 'pydantic', 'h5py', 'requests'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_published_models_are_registered_by_hash() -> None:
    """brainy, ams and 3BTRON are known with the sizes and digests that were published."""
    entries = registry_entries()
    assert (entries["brainy"].size, entries["ams"].size) == (19_169_888, 57_400_024)
    assert entries["3btron"].size == 98_571_096
    assert entries["3btron"].sha256.startswith("760cfc8c04fe65bb")
    assert entries["brainy"].sha256.startswith("17d946f977134b70")
    assert entries["ams"].sha256.startswith("1c76ac1d0c99458d")
    assert all(len(entry.sha256) in {0, 64} and entry.obtain for entry in entries.values())


def test_every_published_model_of_the_five_systems_is_listed() -> None:
    """13 of the Nobrainer repository, 20 of MTNeuro, 25 of legibility, and the two others."""
    studies = Counter(entry.study for entry in registry_entries().values())
    assert studies == {
        **{"extraction": 2, "none": 11, "micrographs": 1, "isotropic": 1},
        **{"microtomography": 20, "legibility": 25},
    }
    listed = {entry.study for entry in registry_entries().values() if entry.kind == "listed"}
    assert listed == {"none", "legibility"}


def test_every_registered_model_says_what_it_takes_who_hosts_it_and_what_is_done_with_it() -> None:
    """Nothing is left out but figures that were never published."""
    left_out = {}
    for entry in registry_entries().values():
        assert all((entry.source, entry.published_mode, entry.citation)), entry.name
        left_out[entry.name] = gaps(entry.card, entry.figures, entry.licence)
    assert {gap for missing in left_out.values() for gap in missing} == {"Figures"}
    studied = {entry.name for entry in registry_entries().values() if entry.study != "none"}
    assert {name for name in studied if left_out[name]} == {"baby-ai"}


def test_what_is_said_once_of_many_models_holds_for_each_that_says_nothing_else() -> None:
    """Also in the card, section by section."""
    text = (
        '[shared]\nkind = "listed"\nversion = "1"\nstudy = "x"\ntask = "t"\nmode = "published"\n'
        'file = ""\nsize = 0\nsha256 = ""\nlicence = "MIT"\n[shared.card]\ninputs = "a"\n'
        'caveats = "b"\n[[model]]\nname = "one"\ntitle = "One"\n[[model]]\nname = "two"\n'
        'title = "Two"\nlicence = "CC0-1.0"\ncard = { caveats = "c" }\n'
    )
    one, two = parse_registry(text, "here").values()
    assert (one.licence, dict(one.card)) == ("MIT", {"inputs": "a", "caveats": "b"})
    assert (two.licence, dict(two.card)) == ("CC0-1.0", {"inputs": "a", "caveats": "c"})


def test_a_model_that_cannot_be_used_is_listed_and_says_why() -> None:
    """The 50 classes of kwyk, whose weights are a program of TensorFlow."""
    found = {one.name: one for one in list_models()}["kwyk"]
    assert found.where == "listed"
    assert "nothing here reads" in found.title
    for asked in (get_model, find_model):
        with pytest.raises(ModelError, match=r"cannot be used here\. .* TensorFlow SavedModel"):
            asked("kwyk")


def test_weights_whose_sha256_nobody_published_are_used_by_their_path(tmp_path: Path) -> None:
    """BABY-AI's: described, with an address, and known by their layout until they are fetched."""
    entry = registry_entries()["baby-ai"]
    assert (entry.sha256, entry.sha256_is) == ("", "unknown until the first fetch")
    assert entry.url.startswith("https://huggingface.co/almalennartsson/baby-ai/")
    assert "not stated" in model_info("baby-ai")["licence"]
    path = tmp_path / entry.file
    torch.save({"model.0.conv.unit0.conv.weight": torch.ones(2)}, path)
    with pytest.raises(ModelError, match=r"not to be used: .* give its path"):
        get_model("baby-ai", offline=True)
    found = find_model(path)
    assert isinstance(found, PublishedFile)
    assert (found.name, found.entry) == ("pretrained_weights", None)
    assert (found.study, found.recipe) == ("isotropic", entry.recipe)
    with pytest.raises(ModelError, match="nothing to compare"):
        verify_model(path)
    published_path(entry).parent.mkdir(parents=True)
    path.rename(published_path(entry))
    placed = get_model("baby-ai")
    assert isinstance(placed, PublishedFile)
    assert (placed.entry, placed.describe()["sha256"]) == (entry, found.sha256)
    with pytest.raises(ModelError, match="nothing to compare"):
        verify_model("baby-ai")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("colour = 1", "unknown keys"),
        ('url = "http://x"', "not https"),
        ('mirrors = ["https://x", "ftp://x"]', "not https"),
        ('card = { colour = "red" }', "unknown sections"),
        ('figures = [{ name = "Dice", value = "high" }]', "made of numbers"),
        ("", "size"),
    ],
)
def test_a_registry_is_taken_by_the_letter(change: str, sentence: str) -> None:
    """An unknown key, an address without https and a missing field are refused."""
    text = f'[[model]]\nname = "x"\n{change}\n'
    with pytest.raises(ModelError, match=sentence):
        parse_registry(text, "registry.toml")


def test_a_listing_has_local_and_remote_models(
    home: Path, description: ModelDescription, state: dict[str, object]
) -> None:
    """Each is there once, what is here first; a packaged model hides an installed one."""
    save_model(home / "tiny", description, state)
    save_model(home / "other", replace(description, name="other"), state)
    save_model(files.packaged_folder() / "tiny", replace(description, version="9"), state)
    found = {summary.name: summary for summary in list_models()}
    names, places = list(found), [one.where for one in found.values()]
    assert names[:6] == ["tiny", "other", "3btron", "ams", "baby-ai", "brainy"]
    assert [place for place, _ in groupby(places)] == ["packaged", "installed", "remote", "listed"]
    assert len(found) == 2 + len(registry_entries())
    assert (found["tiny"].where, found["tiny"].version) == ("packaged", "9")
    assert (found["other"].where, found["other"].title) == ("installed", "A tiny model")
    assert (found["brainy"].where, found["brainy"].path) == ("remote", None)


def test_a_broken_model_does_not_break_the_listing(home: Path) -> None:
    """It is listed as broken, with the reason."""
    (home / "bad").mkdir(parents=True)
    (home / "bad" / "model.toml").write_text("name = ")
    (bad,) = [summary for summary in list_models() if summary.name == "bad"]
    assert bad.where == "broken"
    assert "not valid TOML" in bad.title


def test_an_installed_published_file_is_listed_as_such(published: Path) -> None:
    """Once its file is in the home folder, brainy is no longer remote."""
    import_model(published)
    (brainy,) = [summary for summary in list_models() if summary.name == "brainy"]
    assert brainy.where == "installed"
    assert brainy.path == published_path(registry_entries()["brainy"])


def test_a_model_is_found_by_name_and_by_every_path(
    home: Path, description: ModelDescription, state: dict[str, object], tmp_path: Path
) -> None:
    """Name, folder, model.toml and the run that holds it all mean the same model."""
    save_model(home / "tiny", description, state)
    save_model(tmp_path / "run" / "model", description, state)
    ways: list[str | Path] = ["tiny", home / "tiny", str(home / "tiny" / "model.toml")]
    found = [find_model(way) for way in [*ways, tmp_path / "run"]]
    assert all(isinstance(model, ModelFolder) for model in found)
    assert len({model.sha256 for model in found}) == 1


def test_a_name_wins_over_a_folder_of_that_name(
    home: Path,
    description: ModelDescription,
    state: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The working directory cannot shadow a model; ./name reaches the folder."""
    monkeypatch.chdir(tmp_path)
    save_model(home / "tiny", description, state)
    save_model(tmp_path / "tiny", replace(description, version="0.1"), state)
    save_model(tmp_path / "local", replace(description, version="0.2"), state)
    versions = [find_model(way).describe()["version"] for way in ("tiny", "./tiny", "local")]
    assert versions == ["1.2.0", "0.1", "0.2"]


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("brayny", ModelError, "Unknown model 'brayny'; did you mean 'brainy'"),
        ("zzz", ModelError, "known models: 3btron, ams, baby-ai, brainy"),
        ("..", MissingFileError, r"has no model\.toml"),
        ("ams", ModelError, "not on this machine: run  encephalon models get ams"),
        ("no/such/folder", MissingFileError, "no such file or folder"),
        ("no-such.h5", MissingFileError, "no such file"),
        ("no-such.pt", MissingFileError, "no such file"),
        ("m.zip", ModelError, "encephalon models import"),
    ],
)
def test_what_is_not_found_says_what_to_do(
    name: str, error: type[Exception], sentence: str
) -> None:
    """Slips are corrected, known models are to be fetched, paths are to be checked."""
    with pytest.raises(error, match=sentence):
        find_model(name)


@pytest.mark.parametrize("suffix", [".ckpt", ".pkl", ".keras", ".onnx", ""])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, suffix: str) -> None:
    """Pickles and bare graphs are never opened."""
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"PK")
    with pytest.raises(ModelError, match="nothing else is ever unpickled"):
        find_model(path)


def test_a_published_file_is_known_by_its_content(published: Path) -> None:
    """Under whatever name, the sha256 tells that it is brainy."""
    found = find_model(published)
    assert isinstance(found, PublishedFile)
    assert (found.name, found.study, found.network) == ("brainy", "extraction", "keras-unet")
    about = found.describe()
    assert (about["mode"], about["version"], about["sha256"]) == (
        "published",
        "0.1.0",
        found.sha256,
    )


def test_own_weights_of_the_published_layout_are_welcome(tmp_path: Path) -> None:
    """An unlisted .h5 is used under its own name; verifying it says there is nothing to compare."""
    path = tmp_path / "mine.h5"
    path.write_bytes(b"\x89HDF mine")
    found = open_published(path)
    assert (found.name, found.entry, found.study) == ("mine", None, "extraction")
    assert found.describe()["version"] == "unknown"
    assert model_info(path)["network"] == "keras-unet"
    with pytest.raises(ModelError, match="not that of any published file"):
        verify_model(path)
    with pytest.raises(ModelError, match="it is not HDF5"):
        found.layers([])


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PT"])
def test_own_weights_of_torch_are_welcome_too(tmp_path: Path, suffix: str) -> None:
    """Read as tensors alone, under their names in the file, for the classifier of micrographs."""
    path = tmp_path / f"mine{suffix}"
    torch.save({"a.weight": torch.arange(3.0)}, path)
    found = find_model(path)
    assert isinstance(found, PublishedFile)
    assert (found.name, found.study, found.network) == ("mine", "micrographs", "image-classifier")
    assert (found.recipe, found.describe()["task"]) == ("micrographs-published", "classification")
    assert found.tensors()["a.weight"].tolist() == [0, 1, 2]


def test_a_pointer_in_the_place_of_3btron_says_how_to_fetch_it(tmp_path: Path) -> None:
    """What a clone without Git LFS leaves."""
    path = tmp_path / "3BTRON.pt"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:760c\n")
    with pytest.raises(ModelError, match=r"3BTRON\.pt.*git lfs pull"):
        find_model(path)
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(ModelError, match=r"'3btron' \(98,571,096 bytes.*rename it"):
        find_model(path)


def test_3btron_brings_the_recipe_that_its_table_and_labels_go_by() -> None:
    """Its entry names the built-in recipe, the labels in the order of the logits, the licence."""
    entry = registry_entries()["3btron"]
    assert (entry.recipe, entry.mode, entry.licence) == (
        "micrographs-published",
        "published",
        "CC0-1.0",
    )
    assert entry.labels == {0: "Young", 1: "Aged"}
    assert "doi:10.1038/s42003-025-08453-6" in entry.citation


def test_a_published_name_with_other_content_is_refused(tmp_path: Path) -> None:
    """A truncated download of brainy is told by size and sha256, not taken for own weights."""
    path = tmp_path / registry_entries()["brainy"].file
    path.write_bytes(b"\x89HDF half")
    with pytest.raises(ModelError, match=r"'brainy' \(19,169,888 bytes.*it has 9 bytes.*rename it"):
        find_model(path)


def test_info_has_every_field_filled_or_unknown(model: ModelFolder, published: Path) -> None:
    """Local, registered and downloaded models are described alike, gaps as "unknown"."""
    remote, local, folder = model_info("ams"), model_info(published), model_info(model.path)
    assert (remote["path"], remote["mirrors"]) == (None, "unknown")
    assert remote["figures"][0] | {"low": 0} == {
        **{"name": "Dice", "value": 0.882, "statistic": "median", "low": 0, "high": None},
        **{"interval": "", "n": 0, "unit": ""},
    }
    assert (remote["missing"], folder["missing"]) == ([], _LEFT_OUT)
    assert remote["card"]["ethics"] == "unknown"
    assert (local["path"], local["name"]) == (published, "brainy")
    assert (folder["licence"], folder["preprocessing"]) == ("unknown", "unknown")
    assert folder["card"]["caveats"] == "Never trained."


def test_info_of_an_installed_model_needs_no_path(
    home: Path, description: ModelDescription, state: dict[str, object]
) -> None:
    """By name, the folder's own description is given."""
    save_model(home / "tiny", description, state)
    assert model_info("tiny")["path"] == home / "tiny"


def test_verifying_reads_every_file(model: ModelFolder, published: Path) -> None:
    """The digests come back; tensors that do not parse are found although their hash agrees."""
    assert verify_model(model.path) == model.description.files
    assert list(verify_model(published)) == [published.name]
    weights = model.path / "weights.safetensors"
    weights.write_bytes(b"not tensors")
    text = (model.path / "model.toml").read_text()
    old = model.description.files[weights.name]
    (model.path / "model.toml").write_text(text.replace(old, sha256(weights)))
    with pytest.raises(ModelError, match="expected safetensors"):
        verify_model(model.path)


def test_the_home_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ENCEPHALON_HOME decides; without it the platform's cache folder does."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "x"))
    assert files.installed_folder() == tmp_path / "x" / "models"
    monkeypatch.delenv(HOME_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "encephalon" in encephalon_home().parts


def test_an_entry_is_plain_data() -> None:
    """Entries cannot be changed by whoever holds one."""
    with pytest.raises(AttributeError):
        registry_entries()["brainy"].sha256 = "0"  # type: ignore[misc]
    assert isinstance(registry_entries()["brainy"], RegistryEntry)

# SPDX-License-Identifier: Apache-2.0
"""A model folder gives back what was put in, or says which file is not what it should be."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import MissingFileError, ModelError, OutputExistsError
from encephalon.io.atomic import sha256
from encephalon.models.description import ModelDescription, dump_description, parse_description
from encephalon.models.folder import ModelFolder, check_state, open_model, save_model
from tests.models.conftest import A_GRAPH

State = dict[str, np.ndarray]


def _rewrite(model: ModelFolder, old: str, new: str) -> None:
    path = model.path / "model.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_saved_model_opens_with_the_same_weights(model: ModelFolder, state: State) -> None:
    """Names, values, kinds and shapes survive, also of a scalar and a transposed view."""
    opened = open_model(str(model.path))
    tensors = opened.tensors()
    assert set(tensors) == set(state)
    for name, array in state.items():
        assert tensors[name].dtype == array.dtype
        assert tensors[name].shape == array.shape
        np.testing.assert_array_equal(tensors[name], array)


def test_a_folder_holds_exactly_its_four_files(model: ModelFolder) -> None:
    """Description, tensors, graph and card, the last three listed with their sha256."""
    names = {path.name for path in model.path.iterdir()}
    assert names == {"model.toml", "weights.safetensors", "graph.onnx", "README.md"}
    for name, digest in model.description.files.items():
        assert sha256(model.path / name) == digest
    assert model.graph is not None
    assert model.graph.read() == A_GRAPH


def test_the_same_model_is_the_same_bytes(
    tmp_path: Path, description: ModelDescription, state: State
) -> None:
    """Saved twice, in whatever order of names, the identifying sha256 is one."""
    first = save_model(tmp_path / "a", description, state)
    second = save_model(tmp_path / "b", description, dict(reversed(state.items())))
    assert first.sha256 == second.sha256


def test_a_sidecar_gets_the_identity_of_the_model(model: ModelFolder) -> None:
    """Name, version and the sha256 of model.toml, which fixes every other file."""
    about = model.describe()
    assert (about["name"], about["version"], about["mode"]) == ("tiny", "1.2.0", "default")
    assert about["sha256"] == sha256(model.path / "model.toml")


def test_a_model_without_tensors_still_predicts(
    tmp_path: Path, description: ModelDescription
) -> None:
    """A graph alone is a model; asking it for tensors is answered in a sentence."""
    graph = tmp_path / "exported.onnx"
    graph.write_bytes(A_GRAPH)
    model = save_model(tmp_path / "m", description, None, graph, card="# Mine\n")
    assert model.weights is None
    assert (model.path / "README.md").read_text() == "# Mine\n"
    with pytest.raises(ModelError, match="use it to predict only"):
        model.tensors()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_diverged_weights_are_not_saved(
    tmp_path: Path, description: ModelDescription, state: State, value: float
) -> None:
    """Weights that are not finite are refused, and no folder is left behind."""
    state["first.weight"][1] = value
    with pytest.raises(ModelError, match=r"'first\.weight' are not finite"):
        save_model(tmp_path / "m", description, state)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_no_model(tmp_path: Path, description: ModelDescription) -> None:
    """Neither weights nor graph, or an empty state, is refused."""
    with pytest.raises(ModelError, match="neither"):
        save_model(tmp_path / "m", description, None)
    with pytest.raises(ModelError, match="the state is empty"):
        save_model(tmp_path / "m", description, {})


def test_a_model_is_overwritten_only_when_asked(
    model: ModelFolder, description: ModelDescription, state: State
) -> None:
    """The first attempt changes nothing, the second replaces the whole folder."""
    (model.path / "notes.txt").write_text("mine")
    newer = replace(description, version="2.0")
    with pytest.raises(OutputExistsError):
        save_model(model.path, newer, state)
    assert open_model(model.path).description.version == "1.2.0"
    save_model(model.path, newer, state, overwrite=True)
    assert open_model(model.path).description.version == "2.0"
    assert not (model.path / "notes.txt").exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "graph.onnx", "README.md"])
def test_a_changed_file_is_refused(model: ModelFolder, name: str) -> None:
    """One byte is enough; the error names the file and both digests."""
    path = model.path / name
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelError, match=rf"{name}: expected sha256 .* but it is"):
        open_model(model.path)


def test_a_missing_or_unfetched_file_is_named(model: ModelFolder) -> None:
    """A listed file that is absent, or only a git-LFS pointer, says so before any hash."""
    weights = model.path / "weights.safetensors"
    weights.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match="git lfs pull"):
        open_model(model.path)
    weights.unlink()
    with pytest.raises(MissingFileError, match=r"weights\.safetensors"):
        open_model(model.path)


def test_files_that_are_not_listed_are_never_touched(model: ModelFolder) -> None:
    """A stray pickle beside the model changes nothing."""
    (model.path / "weights.pt").write_bytes(b"anything")
    assert "weights.pt" not in open_model(model.path).description.files


def test_a_pickle_in_the_place_of_tensors_is_not_run(model: ModelFolder, tmp_path: Path) -> None:
    """Even with a matching sha256 the content is parsed as tensors, so its code stays asleep."""
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(marker),)

    old = sha256(model.path / "weights.safetensors")
    (model.path / "weights.safetensors").write_bytes(pickle.dumps(Trap()))
    _rewrite(model, old, sha256(model.path / "weights.safetensors"))
    with pytest.raises(ModelError, match="expected safetensors"):
        open_model(model.path).tensors()
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "a/b", "a\\\\b", "..", ".hidden", "C:x", "model.toml", ""],
)
def test_a_file_name_that_leaves_the_folder_is_refused(model: ModelFolder, name: str) -> None:
    """Only plain names are taken, whatever the content of the file they lead to."""
    _rewrite(model, '"graph.onnx"', f'"{name}"')
    with pytest.raises(ModelError, match="not a plain file name inside the folder"):
        open_model(model.path)


def test_a_model_of_an_earlier_version_is_read(model: ModelFolder) -> None:
    """Its words for the mode, at the top and in its recipe, stand for those of today."""
    _rewrite(model, 'mode = "default"', 'mode = "sound"')
    _rewrite(
        model, "[recipe.", '[recipe]\nname = "micrographs-legacy"\nmode = "legacy"\n\n[recipe.'
    )
    about = open_model(model.path).description
    assert (about.mode, about.recipe["mode"]) == ("default", "published")
    assert about.recipe["name"] == "micrographs-published"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("mode =", "mood =", "unknown key 'mood'; did you mean 'mode'"),
        ('title = "A tiny model"', 'zzz = "x"', "unknown key 'zzz'; known keys: name, version"),
        ("format_version = 1", "format_version = 2", "format 2 is newer .* update encephalon"),
        ("format_version = 1", "format_version = 0", "'format_version' must be 1, not 0"),
        ("format_version = 1", "", "the key 'format_version' is missing"),
        ('name = "tiny"', 'name = "../tiny"', "lower-case letters.*'../tiny'"),
        ('name = "tiny"', "name = 3", "'name' must be text, but got 3"),
        ('version = "1.2.0"', 'version = "a b"', "'version' must look like '1.0.0'"),
        ('mode = "default"', 'mode = "loud"', "'mode' must be one of .*'loud'"),
        ("caveats =", "caveat =", "'card' holds text under"),
        ("[labels]\n1 =", "[labels]\none =", "invalid literal.*'one'"),
        ("[labels]", "[labels", "not valid TOML"),
    ],
)
def test_a_description_is_taken_by_the_letter(
    model: ModelFolder, old: str, new: str, sentence: str
) -> None:
    """Unknown keys, wrong kinds and newer formats are refused, with file and remedy."""
    _rewrite(model, old, new)
    with pytest.raises(ModelError, match=rf"(?s)model\.toml: .*{sentence}"):
        open_model(model.path)


def test_a_digest_must_be_a_digest(model: ModelFolder) -> None:
    """An empty sha256 does not switch the comparison off."""
    _rewrite(model, model.description.files["graph.onnx"], "")
    with pytest.raises(ModelError, match=r"no sha256 for 'graph\.onnx'"):
        open_model(model.path)


def test_a_model_must_list_something_to_run(model: ModelFolder) -> None:
    """A description that lists the card only is no model."""
    for name in ("weights.safetensors", "graph.onnx"):
        _rewrite(model, f'"{name}" = "{model.description.files[name]}"\n', "")
    with pytest.raises(ModelError, match="lists neither"):
        open_model(model.path)


def test_what_is_no_model_folder_says_so(tmp_path: Path, model: ModelFolder) -> None:
    """A folder without model.toml, one with bytes instead of text, one far too long."""
    with pytest.raises(MissingFileError, match=r"has no model\.toml"):
        open_model(tmp_path)
    (model.path / "model.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match="in UTF-8"):
        open_model(model.path)
    (model.path / "model.toml").write_bytes(b"#" * (4 * 1024**2 + 1))
    with pytest.raises(ModelError, match="at most 4,194,304 bytes"):
        open_model(model.path)


def test_text_that_looks_like_code_stays_text(
    tmp_path: Path, description: ModelDescription, state: State
) -> None:
    """A description is data: nothing in it is ever evaluated."""
    text = "__import__('os').system('false') {0} $HOME"
    made = replace(description, recipe={"command": text}, title=text)
    opened = save_model(tmp_path / "m", made, state)
    assert opened.description.recipe["command"] == text
    assert opened.description.title == text


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_plain = _texts | st.integers(-(2**60), 2**60) | st.booleans() | st.floats(allow_nan=False)
_values = st.recursive(
    _plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)


@given(
    values=st.dictionaries(_texts, _values, max_size=4),
    labels=st.dictionaries(st.integers(0, 99), _texts),
)
def test_every_description_survives_its_text(
    values: dict[str, object], labels: dict[int, str]
) -> None:
    """Any names, numbers, nested tables and lists come back from TOML as they went in."""
    made = ModelDescription("m", "1", "s", "t", recipe=values, scores=values, labels=labels)
    assert parse_description(dump_description(made), "text") == made


def test_figures_of_numpy_become_plain(model: ModelFolder) -> None:
    """Scores straight out of NumPy are written as numbers, a None is left out."""
    opened = open_model(model.path).description
    assert opened.scores == {"dice": 0.5, "per_head": [1, 2]}
    assert opened.recipe["training"] == {"epochs": 3, "rate": 1e-4}


def test_a_state_is_compared_by_name_and_shape(state: State) -> None:
    """Missing, unexpected and mis-shaped weights are all told at once."""
    shapes = {name: array.shape for name, array in state.items()}
    check_state(state, shapes, "tiny")
    with pytest.raises(
        ModelError,
        match=r"tiny: .*missing 'x'; unexpected 'first\.weight'; 'second\.weight' is \(3, 2\) "
        r"instead of \(3, 3\)",
    ):
        check_state(state, {"second.weight": (3, 3), "first.steps": (), "x": (1,)}, "tiny")
    with pytest.raises(ModelError, match="and 4 more"):
        check_state({}, {str(number): (1,) for number in range(9)}, "tiny")

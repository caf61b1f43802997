# SPDX-License-Identifier: Apache-2.0
"""Models travel as plain files, and a file cannot reach beyond its own folder."""

from __future__ import annotations

import errno
import stat
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import (
    MissingFileError,
    ModelError,
    OutputError,
    OutputExistsError,
    UsageError,
)
from encephalon.io.atomic import sha256
from encephalon.models import exchange, files
from encephalon.models.catalogue import find_model
from encephalon.models.description import ModelDescription
from encephalon.models.exchange import export_model, import_model
from encephalon.models.folder import ModelFolder, open_model, save_model
from encephalon.models.published import PublishedFile
from encephalon.models.registry import registry_entries, shipped_entries

State = dict[str, np.ndarray]


def _files(model: ModelFolder) -> list[Path]:
    return sorted(model.path.iterdir())


def _zip(path: Path, files: list[Path], prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, f"{prefix}{file.name}")
    return path


def test_an_exported_model_comes_back_whole(model: ModelFolder, tmp_path: Path, home: Path) -> None:
    """Zip, import, find by name: the same sha256, and the weights still verify."""
    path = export_model(model.path, tmp_path)
    assert path == tmp_path / "tiny-1.2.0.zip"
    imported = import_model(path)
    assert isinstance(imported, ModelFolder)
    assert imported.path == home / "tiny"
    assert imported.sha256 == model.sha256
    assert set(find_model("tiny").tensors()) == set(model.tensors())


def test_a_full_disk_is_said_of_the_place_that_is_full(
    model: ModelFolder, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of the file that was read, which the system names first."""

    path = export_model(model.path, tmp_path)
    usual = Path.open

    def full(self: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if mode == "wb":
            raise OSError(errno.ENOSPC, "No space left on device")
        return usual(self, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", full)
    for source in (model.path, path):
        with pytest.raises(OutputError, match="the disk is full") as caught:
            import_model(source)
        assert str(home) in str(caught.value)
        assert str(source) not in str(caught.value)


def test_the_same_model_is_the_same_zip(model: ModelFolder, tmp_path: Path) -> None:
    """No date and no order of the file system gets into the file."""
    first = export_model(model.path, tmp_path / "a.zip")
    (model.path / "README.md").touch()
    second = export_model(model.path, tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()


def test_an_export_keeps_what_is_there(model: ModelFolder, tmp_path: Path) -> None:
    """An existing file is replaced only when asked, and must bear the right suffix."""
    path = tmp_path / "model.zip"
    path.write_text("mine")
    with pytest.raises(OutputExistsError):
        export_model(model.path, path)
    assert path.read_text() == "mine"
    assert zipfile.is_zipfile(export_model(model.path, path, overwrite=True))
    with pytest.raises(UsageError, match=r"ends in \.zip"):
        export_model(model.path, tmp_path / "model.tar")


@pytest.mark.parametrize("prefix", ["", "tiny/", "any-name/"])
def test_a_zip_may_hold_the_files_or_one_folder(
    model: ModelFolder, tmp_path: Path, prefix: str
) -> None:
    """Both ways of zipping a model by hand are taken."""
    path = _zip(tmp_path / "m.zip", _files(model), prefix)
    assert import_model(path).sha256 == model.sha256


def test_importing_twice_changes_nothing(model: ModelFolder, home: Path) -> None:
    """The second time the installed folder is left as it is."""
    import_model(model.path)
    before = {path: path.stat().st_mtime_ns for path in (home / "tiny").iterdir()}
    import_model(str(model.path))
    assert {path: path.stat().st_mtime_ns for path in (home / "tiny").iterdir()} == before


def test_another_model_of_the_name_is_kept(
    model: ModelFolder, tmp_path: Path, description: ModelDescription, state: State
) -> None:
    """A newer version takes the place of an older one only when asked."""
    import_model(model.path)
    newer = save_model(tmp_path / "newer", replace(description, version="2"), state)
    with pytest.raises(OutputExistsError):
        import_model(newer.path)
    assert find_model("tiny").sha256 == model.sha256
    import_model(newer.path, overwrite=True)
    assert find_model("tiny").sha256 == newer.sha256


def test_only_listed_files_are_imported(model: ModelFolder, home: Path) -> None:
    """Whatever else lies in the folder stays there."""
    (model.path / "weights.pkl").write_bytes(b"stray")
    import_model(model.path)
    assert {path.name for path in (home / "tiny").iterdir()} == {
        "model.toml",
        *model.description.files,
    }


@pytest.mark.parametrize("name", ["brainy", "shipped"])
def test_a_known_name_cannot_be_taken_over(
    tmp_path: Path, description: ModelDescription, state: State, name: str
) -> None:
    """Neither a registered nor a packaged model is replaced by an import."""
    (files.packaged_folder() / "shipped").mkdir(parents=True)
    made = save_model(tmp_path / "m", replace(description, name=name), state)
    with pytest.raises(ModelError, match=f"{name!r} belongs to a model that Encephalon knows"):
        import_model(made.path, overwrite=True)


@pytest.mark.parametrize(
    "name",
    ["../evil", "../../evil", "/evil", "a/../../evil", "..", "a\\..\\evil", "C:evil", "x/y/z"],
)
def test_a_zip_cannot_write_outside_its_folder(
    model: ModelFolder, tmp_path: Path, home: Path, name: str
) -> None:
    """One straying name is enough: nothing at all is unpacked."""
    path = _zip(tmp_path / "m.zip", _files(model))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "evil")
    with pytest.raises(ModelError, match="not a plain file of one model folder"):
        import_model(path)
    assert not list(tmp_path.rglob("evil"))
    assert list(home.iterdir()) == []


def test_a_link_in_a_zip_is_refused(model: ModelFolder, tmp_path: Path) -> None:
    """A symbolic link could point anywhere."""
    path = _zip(tmp_path / "m.zip", _files(model))
    item = zipfile.ZipInfo("link")
    item.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(item, "/etc/passwd")
    with pytest.raises(ModelError, match="'link'"):
        import_model(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_in_a_zip_is_refused(model: ModelFolder, tmp_path: Path) -> None:
    """Which of the two was verified would be anyone's guess."""
    path = _zip(tmp_path / "m.zip", [*_files(model), model.path / "README.md"])
    with pytest.raises(ModelError, match=r"'README\.md'"):
        import_model(path)


def test_a_zip_bomb_is_refused(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size that it says it unpacks to is bounded."""
    monkeypatch.setattr(exchange, "_LARGEST_MODEL", 100)
    with pytest.raises(ModelError, match=r"bytes that unpack to [0-9,]+ are not a model"):
        import_model(_zip(tmp_path / "m.zip", _files(model)))


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_a_damaged_zip_leaves_nothing(
    model: ModelFolder, tmp_path: Path, home: Path, damage: str
) -> None:
    """Truncated, flipped or no zip at all: one sentence, and no folder stays."""
    path = export_model(model.path, tmp_path / "m.zip")
    whole = bytearray(path.read_bytes())
    if damage == "cut":
        whole = whole[: len(whole) // 2]
    elif damage == "flip":
        whole[len(whole) // 3] ^= 0xFF
    else:
        whole = bytearray(b"not a zip")
    path.write_bytes(whole)
    with pytest.raises(ModelError, match=r"m\.zip"):
        import_model(path)
    assert list(home.iterdir()) == []


def test_a_fault_inside_a_zip_names_the_zip(model: ModelFolder, tmp_path: Path) -> None:
    """The reader sees the file that they gave, not the folder it was unpacked to."""
    (model.path / "graph.onnx").write_bytes(b"changed")
    path = _zip(tmp_path / "m.zip", _files(model))
    with pytest.raises(ModelError, match=r"m\.zip/graph\.onnx: expected sha256") as caught:
        import_model(path)
    assert ".import-" not in str(caught.value)
    path = _zip(tmp_path / "other.zip", [model.path / "README.md"])
    with pytest.raises(ModelError, match=r"other\.zip: .* has no model\.toml"):
        import_model(path)


@pytest.mark.parametrize("name", ["brainy", "3btron"])
def test_published_weights_are_imported_and_exported_by_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of brainy goes to its place once, and comes out under its published file name."""
    entry = registry_entries()[name]
    path = (tmp_path / "download (1)").with_suffix(Path(entry.file).suffix)
    path.write_bytes(b"\x89HDF weights")
    entry = replace(entry, sha256=sha256(path))
    monkeypatch.setitem(shipped_entries(), name, entry)  # type: ignore[arg-type]

    imported = import_model(path)
    assert isinstance(imported, PublishedFile)
    assert imported.path.name == entry.file
    assert find_model(name) == imported == import_model(path)
    assert export_model(name, tmp_path) == tmp_path / entry.file


def test_unlisted_weights_are_used_by_path(tmp_path: Path) -> None:
    """They have no name to be imported under."""
    path = tmp_path / "mine.h5"
    path.write_bytes(b"\x89HDF mine")
    with pytest.raises(ModelError, match="not among the published ones"):
        import_model(path)


def test_importing_nothing_says_so(tmp_path: Path) -> None:
    """A path to nothing and a folder that is no model are told apart."""
    with pytest.raises(MissingFileError, match="no such file"):
        import_model(tmp_path / "none.zip")
    with pytest.raises(MissingFileError, match=r"has no model\.toml"):
        import_model(tmp_path)


def test_a_verified_folder_is_what_is_installed(
    model: ModelFolder, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changes between checking and copying is noticed before it is in place."""

    def copy_badly(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes() + (b"" if source.suffix == ".toml" else b"x"))

    monkeypatch.setattr(exchange, "_copy", copy_badly)
    with pytest.raises(ModelError, match="expected sha256"):
        import_model(model.path)
    assert not (home / "tiny").exists()
    assert open_model(model.path).name == "tiny"


def test_a_folder_that_is_not_there_yet_is_made(model: ModelFolder, tmp_path: Path) -> None:
    """`-o stick/` is a folder, whether the stick has it or not; a foreign suffix is none."""
    made = export_model(model.path, tmp_path / "stick")
    assert made == tmp_path / "stick" / "tiny-1.2.0.zip"
    assert export_model(model.path, tmp_path / "stick", overwrite=True) == made
    with pytest.raises(UsageError, match=r"expected a name that ends in \.zip"):
        export_model(model.path, tmp_path / "m.tar")

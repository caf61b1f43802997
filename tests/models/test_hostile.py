# SPDX-License-Identifier: Apache-2.0
"""Models of unknown origin: every fault is a ModelError in one sentence, and costs no memory."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from encephalon.errors import EncephalonError, ModelError, RecipeError
from encephalon.models.catalogue import find_model
from encephalon.models.description import parse_description
from encephalon.models.exchange import export_model, import_model
from encephalon.models.folder import ModelFolder, open_model, read_tensors
from encephalon.recipes.loading import load_recipe

DEEP = "a = " + "[" * 5000 + "]" * 5000
DIGITS = "a = " + "9" * 5000
DOTTED = ".".join(["a"] * 50_000) + " = 1"
SECTIONS = "\n".join(f"[a{n}]" for n in range(50_000))
KEYS = "\n".join(f"key{n} = 1" for n in range(30_000))


@pytest.mark.parametrize(
    "text", [DEEP, DIGITS, DOTTED, SECTIONS, KEYS], ids=["deep", "digits", "dotted", "many", "keys"]
)
def test_toml_that_costs_more_than_it_says_is_one_sentence(text: str, tmp_path: Path) -> None:
    """As the description of a model, as a recipe, and as the value of a key."""
    with pytest.raises(ModelError) as raised:
        parse_description(text, "model.toml")
    assert "\n" not in str(raised.value)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        load_recipe(tmp_path / "mine.toml")
    assert len(str(refused.value)) < 5000


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000, "{a=" * 2000])
def test_values_of_the_command_line_are_as_bounded(value: str) -> None:
    """What is no TOML is text, and then of the wrong kind."""
    with pytest.raises(RecipeError) as raised:
        load_recipe("micrographs", {"training.epochs": value})
    assert len(str(raised.value)) < 500


def test_a_recipe_is_a_regular_file_of_toml(tmp_path: Path) -> None:
    """No pipe is waited for, no other text is shown, and a name too long is an unknown one."""
    from encephalon.recipes.loading import show_recipe

    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(RecipeError, match="a pipe"):
        load_recipe(tmp_path / "pipe.toml")
    (tmp_path / "shadow").write_text("root:x:1\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="not valid TOML"):
        show_recipe(str(tmp_path / "shadow"))
    for name in ("x" * 300, "~nobody-has-this-name/r.toml", "a\0b"):
        with pytest.raises(RecipeError, match="There is no recipe"):
            load_recipe(name)


def safetensors(header: dict[str, object] | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: str, shape: list[int], size: int) -> dict[str, object]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}


@pytest.mark.parametrize(
    "content",
    [
        safetensors(tensor("F8_E4M3", [4], 4), bytes(4)),
        safetensors(tensor("F8_E5M2", [4], 4), bytes(4)),
        safetensors(tensor("F8_E8M0", [4], 4), bytes(4)),
        safetensors(tensor("F32", [0, 2**62], 0)),
        safetensors(tensor("F32", [2**63, 0], 0)),
        safetensors(tensor("F32", [1] * 200, 4), bytes(4)),
        safetensors(tensor("F32", [2**40], 2**42), bytes(8)),
        safetensors(b"[" * 100_000),
        b"\xff" * 8,
        b"x",
    ],
)
def test_tensors_that_cannot_be_used_are_one_sentence(content: bytes, tmp_path: Path) -> None:
    """Types that NumPy lacks, shapes beyond it, headers that lie."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.safetensors: expected safetensors") as raised:
        read_tensors(path)
    assert "\n" not in str(raised.value)


def test_weights_that_fill_the_memory_are_known_by_their_size(tmp_path: Path) -> None:
    """3 GiB, of which the disk holds nothing."""
    with (tmp_path / "w.safetensors").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(ModelError, match="of at most 838,860,800 bytes"):
        read_tensors(tmp_path / "w.safetensors")


def test_a_pipe_in_a_model_folder_is_not_waited_for(model: ModelFolder) -> None:
    """As weights, as description, as graph."""
    for name in ("weights.safetensors", "graph.onnx", "model.toml"):
        (model.path / name).unlink()
        os.mkfifo(model.path / name)
        with pytest.raises(EncephalonError, match="a pipe"):
            open_model(model.path)


def test_weights_that_change_after_they_were_compared_are_not_loaded(model: ModelFolder) -> None:
    """What was compared is what is used."""
    opened = open_model(model.path)
    path = model.path / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="was changed"):
        opened.tensors()


def packed(folder: Path, kind: int, change: Callable[[bytearray], None] | None = None) -> Path:
    path = folder / "model.zip"
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("m/model.toml", "name = 1\n" * 50)
        archive.writestr("m/weights.safetensors", bytes(range(256)) * 40)
    content = bytearray(path.read_bytes())
    if change is not None:
        change(content)
    path.write_bytes(content)
    return path


def damage(content: bytearray) -> None:
    """Bytes of the second member, behind its header."""
    start = content.index(b"weights.safetensors") + 30
    content[start : start + 20] = b"\xff" * 20


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_one_sentence(kind: int, tmp_path: Path) -> None:
    """Each way of packing has errors of its own."""
    with pytest.raises(ModelError, match=r"model\.zip: expected a zipped model") as raised:
        import_model(packed(tmp_path, kind, damage))
    assert "\n" not in str(raised.value)


def test_members_without_name_or_with_too_long_ones_are_refused(tmp_path: Path) -> None:
    """Nothing of them is written."""
    for name in ("", "x" * 300, "é" * 100, "m/" + "x" * 300):
        with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
            archive.writestr(zipfile.ZipInfo(name), b"x")
        with pytest.raises(ModelError):
            import_model(tmp_path / "m.zip")


def test_bytes_moved_within_a_zip_are_one_sentence(tmp_path: Path) -> None:
    """Wherever 7 bytes are put in or taken out."""
    whole = packed(tmp_path, zipfile.ZIP_DEFLATED).read_bytes()
    for place in range(0, len(whole), 37):
        for content in (
            whole[:place] + bytes(7) + whole[place:],
            whole[:place] + whole[place + 7 :],
        ):
            (tmp_path / "m.zip").write_bytes(content)
            with pytest.raises(EncephalonError):
                import_model(tmp_path / "m.zip")


def test_a_zip_of_air_is_not_unpacked(tmp_path: Path) -> None:
    """300 MB of zeros in 300 kB: weights do not shrink so."""
    with zipfile.ZipFile(tmp_path / "m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/weights.safetensors", bytes(300_000_000))
    with pytest.raises(ModelError, match="bytes that unpack to 300,000,000 are not a model"):
        import_model(tmp_path / "m.zip")


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_state_dictionaries_of_strange_tensors_are_one_sentence(tmp_path: Path) -> None:
    """Types, layouts and devices that hold no plain numbers; names that are none."""
    torch = pytest.importorskip("torch")
    from encephalon.models.weights import read_state_dict

    strange = {
        "float8": torch.zeros(4).to(torch.float8_e4m3fn),
        "meta": torch.zeros(4, device="meta"),
        "sparse": torch.eye(3).to_sparse(),
        "csr": torch.eye(3).to_sparse_csr(),
        "number": 3,
        "list": [torch.zeros(2)],
    }
    for name, value in strange.items():
        path = tmp_path / f"{name}.pt"
        torch.save({"w": value}, path)
        with pytest.raises(ModelError, match=rf"{name}\.pt"):
            read_state_dict(path)
    torch.save({1: torch.zeros(2), "1": torch.ones(2)}, tmp_path / "names.pt")
    with pytest.raises(ModelError, match="expected names of tensors, but 1 is none"):
        read_state_dict(tmp_path / "names.pt")


def test_conjugated_weights_keep_their_values(tmp_path: Path) -> None:
    """A view that torch resolves only when it is read."""
    torch = pytest.importorskip("torch")
    from encephalon.models.weights import read_state_dict

    torch.save({"w": torch.tensor([1 + 2j]).conj().imag}, tmp_path / "w.pt")
    assert read_state_dict(tmp_path / "w.pt")["w"].tolist() == [-2.0]


def test_packed_weights_of_torch_are_refused(tmp_path: Path) -> None:
    """3 GiB of zeros would be 3 MB; torch.save packs nothing."""
    torch = pytest.importorskip("torch")
    from encephalon.models.weights import read_state_dict

    torch.save({"w": torch.zeros(1000)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as old,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for item in old.infolist():
            new.writestr(item.filename, old.read(item))
    assert read_state_dict(tmp_path / "plain.pt")["w"].shape == (1000,)
    with pytest.raises(ModelError, match=r"torch\.save packs nothing"):
        read_state_dict(tmp_path / "packed.pt")


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".h5", "x" * 300 + ".zip", "a/" * 3000])
def test_a_name_that_no_file_can_have_is_one_sentence(name: str) -> None:
    """As a model to load, to import and to export."""
    for use in (find_model, import_model, lambda one: export_model(one, "out")):
        with pytest.raises(EncephalonError):
            use(name)


def test_views_of_one_storage_are_counted_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand turned views of a megabyte would be a gigabyte of arrays."""
    torch = pytest.importorskip("torch")
    from encephalon.models import weights as state_dict

    one = torch.zeros(64, 64)
    torch.save({str(number): one.t() for number in range(100)}, tmp_path / "w.pt")
    assert len(state_dict.read_state_dict(tmp_path / "w.pt")) == 100
    monkeypatch.setattr(state_dict, "_LARGEST", 1_000_000)
    with pytest.raises(ModelError, match="more than 1,000,000 bytes in all"):
        state_dict.read_state_dict(tmp_path / "w.pt")

# SPDX-License-Identifier: Apache-2.0
"""What others read: a folder for the Hugging Face Hub and a bundle of MONAI, and both come back."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import encephalon
from encephalon.errors import MissingExtraError, ModelError, OutputExistsError, UsageError
from encephalon.models.bundle import metadata
from encephalon.models.catalogue import find_model, list_models, model_info, verify_model
from encephalon.models.description import dump_description
from encephalon.models.exchange import export_model, import_model
from encephalon.models.folder import ModelFolder, open_model, save_model
from encephalon.models.registry import registry_entries, shipped_entries

#: The keys that MONAI's schema of 2024-07-25 requires, and what each must be.
REQUIRED: dict[str, type] = {
    **dict.fromkeys(("schema", "version", "monai_version", "pytorch_version"), str),
    **dict.fromkeys(("numpy_version", "task", "description", "authors", "copyright"), str),
    **dict.fromkeys(("required_packages_version", "network_data_format"), dict),
}
OPTIONAL: dict[str, type] = {
    **dict.fromkeys(("changelog", "eval_metrics", "supported_apps"), dict),
    **dict.fromkeys(("data_source", "data_type", "image_classes", "label_classes"), str),
    **{"pred_classes": str, "intended_use": str, "references": list},
}
#: Of each tensor that goes in or comes out.
TENSOR: dict[str, type] = {
    **{"type": str, "format": str, "num_channels": int, "spatial_shape": list},
    **{"dtype": str, "value_range": list},
}


def check_by_the_schema(about: dict[str, Any]) -> None:
    """Fail unless `about` is what MONAI's schema wants."""
    assert {key: type(about.get(key)) for key in REQUIRED} == REQUIRED
    assert all(isinstance(about[key], kind) for key, kind in OPTIONAL.items() if key in about)
    for side in ("inputs", "outputs"):
        tensors = about["network_data_format"][side]
        assert tensors
        for tensor in tensors.values():
            assert {key: type(tensor.get(key)) for key in TENSOR} == TENSOR
            assert all(isinstance(size, int | str) for size in tensor["spatial_shape"])
            assert isinstance(tensor.get("is_patch_data", True), bool)
            assert isinstance(tensor.get("channel_def", {}), dict)


def _metadata(folder: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((folder / "configs" / "metadata.json").read_text())
    return about


def test_a_folder_for_the_hub_is_a_model_folder_and_comes_back_whole(
    model: ModelFolder, tmp_path: Path, home: Path
) -> None:
    """Its files byte for byte, the card with the Hub's fields first, and metadata by MONAI."""
    folder = export_model(model.path, tmp_path / "hub", format="hub")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {"model.toml", *model.description.files, "configs/metadata.json"}
    assert (folder / "README.md").read_text().startswith("---\nlicense: ")
    check_by_the_schema(_metadata(folder))
    assert open_model(folder).sha256 == model.sha256
    imported = import_model(folder)
    assert isinstance(imported, ModelFolder)
    assert (imported.path, imported.sha256) == (home / "tiny", model.sha256)


def test_a_folder_of_data_is_never_replaced_by_a_model(model: ModelFolder, tmp_path: Path) -> None:
    """Whatever is allowed; a model, and a folder without anything in it, are."""
    scan = tmp_path / "scans" / "scan.nii.gz"
    scan.parent.mkdir()
    for _ in range(2):
        export_model(model.path, scan.parent, format="hub", overwrite=True)
    shutil.rmtree(scan.parent)
    scan.parent.mkdir()
    scan.write_text("data")
    for place in (scan.parent, scan):
        with pytest.raises(OutputExistsError, match="holds no model"):
            export_model(model.path, place, format="hub", overwrite=True)
    assert scan.read_text() == "data"


def test_a_card_of_an_earlier_version_is_made_anew_for_the_hub(
    model: ModelFolder, tmp_path: Path
) -> None:
    """The weights stay what they are; the description lists the new card."""
    card = model.path / "README.md"
    card.write_text("# A tiny model\n")
    from encephalon.io.atomic import sha256

    files = {**model.description.files, "README.md": sha256(card)}
    old = replace(model.description, files=files)
    (model.path / "model.toml").write_text(dump_description(old))
    folder = export_model(model.path, tmp_path / "hub", format="hub")
    assert (folder / "README.md").read_text().startswith("---\n")
    weights = "weights.safetensors"
    assert open_model(folder).description.files[weights] == model.description.files[weights]


@pytest.mark.parametrize("packed", ["folder", "zip", "zip of its inside"])
def test_a_bundle_of_monai_comes_back_whole(
    model: ModelFolder, tmp_path: Path, home: Path, packed: str
) -> None:
    """The layout of MONAI's specification, tensors that torch loads, and the same model again."""
    folder = export_model(model.path, tmp_path / "tiny", format="monai")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {
        *("configs/metadata.json", "configs/model.toml", "configs/inference.json"),
        *("models/model.pt", "models/model.onnx", "docs/README.md"),
    }
    check_by_the_schema(_metadata(folder))
    state = torch.load(folder / "models" / "model.pt", weights_only=True)
    tensors = model.tensors()
    assert {name: value.numpy().dtype for name, value in state.items()} == {
        name: array.dtype for name, array in tensors.items()
    }
    source = folder
    if packed != "folder":
        source = tmp_path / "tiny.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for name in names:
                top = "" if packed == "zip of its inside" else "tiny/"
                archive.write(folder / name, f"{top}{name}")
    imported = import_model(source)
    assert isinstance(imported, ModelFolder)
    assert (imported.path, imported.sha256) == (home / "tiny", model.sha256)
    back = imported.tensors()
    assert list(back) == list(tensors)
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)


def test_a_bundle_that_was_changed_or_is_of_another_program_is_refused(
    model: ModelFolder, tmp_path: Path, home: Path
) -> None:
    """Every file has its sha256; a bundle of others is made of code."""
    folder = export_model(model.path, tmp_path / "tiny", format="monai")
    state = folder / "models" / "model.pt"
    torch.save({"first.weight": torch.zeros(2)}, state)
    with pytest.raises(ModelError, match=r"model\.pt: expected sha256"):
        import_model(folder)
    about = _metadata(folder)
    del about["encephalon_files"]
    (folder / "configs" / "metadata.json").write_text(json.dumps(about))
    with pytest.raises(ModelError, match=r"another program wrote.* never run here"):
        import_model(folder)
    (folder / "configs" / "metadata.json").write_text("{")
    with pytest.raises(ModelError, match=r"metadata\.json"):
        import_model(folder)
    assert not (home / "tiny").exists()


def test_metadata_tell_what_goes_into_a_graph_and_comes_out(tmp_path: Path) -> None:
    """Of the model that ships: one grey channel in, a score of each structure out."""
    shipped = Path(encephalon.__file__).parent / "models" / "packaged" / "axon-myelin"
    about = metadata(open_model(shutil.copytree(shipped, tmp_path / "axon-myelin")))
    check_by_the_schema(about)
    (image,) = about["network_data_format"]["inputs"].values()
    assert (image["type"], image["num_channels"], image["dtype"]) == ("image", 1, "float32")
    (logits,) = about["network_data_format"]["outputs"].values()
    assert (logits["format"], len(logits["spatial_shape"])) == ("labels", 2)
    assert logits["channel_def"] == {"0": "background", "1": "axon", "2": "myelin"}
    assert about["eval_metrics"]["axon_f1"] == 0.857
    assert about["copyright"] == "Apache-2.0"


def test_channels_that_a_graph_leaves_open_are_those_that_come_out(tmp_path: Path) -> None:
    """The two borders of brain extraction."""
    shipped = Path(encephalon.__file__).parent / "models" / "packaged" / "brain-extraction"
    about = metadata(open_model(shutil.copytree(shipped, tmp_path / "brain-extraction")))
    check_by_the_schema(about)
    (distances,) = about["network_data_format"]["outputs"].values()
    assert (distances["format"], distances["num_channels"]) == ("magnitude", 2)


def test_what_cannot_be_exported_as_a_folder_says_so(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published weights, a name that ends in .zip, a folder that is there, no torch."""
    with pytest.raises(UsageError, match=r"makes a folder: give a name without \.zip"):
        export_model(model.path, tmp_path / "a.zip", format="hub")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("")
    with pytest.raises(OutputExistsError):
        export_model(model.path, tmp_path / "there", format="hub")
    path = tmp_path / "weights.h5"
    path.write_bytes(b"\x89HDF weights")
    with pytest.raises(UsageError, match="leave --format out"):
        export_model(path, tmp_path / "b", format="monai")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"encephalon\[train\]"):
        export_model(model.path, tmp_path / "c", format="monai")


def test_no_registered_model_has_the_name_of_a_small_one() -> None:
    """The tests above import under a name that nobody else has."""
    assert "tiny" not in {*registry_entries(), *shipped_entries()}


def packaged(name: str, folder: Path) -> Path:
    """A model that ships, as a bundle of MONAI."""
    shipped = Path(encephalon.__file__).parent / "models" / "packaged" / name
    shutil.copytree(shipped, folder / name)
    return export_model(folder / name, folder / f"{name}-monai", format="monai")


def workflow(bundle: Path, **given: Any) -> Any:
    """What MONAI makes of the configuration of a bundle."""
    from monai.bundle import ConfigWorkflow

    configs = bundle / "configs"
    made = ConfigWorkflow(
        str(configs / "inference.json"),
        str(configs / "metadata.json"),
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(bundle),
        **given,
    )
    made.initialize()
    return made


def micrograph(path: Path) -> Path:
    """A grey picture of 96 x 80 pixels."""
    levels = np.random.default_rng(0).integers(0, 255, (96, 80), dtype=np.uint8)
    Image.fromarray(levels).save(path)
    return path


def test_monai_runs_a_bundle_as_predict_does(tmp_path: Path) -> None:
    """Its labels are those of the model itself, and its network is in MONAI's hands."""
    bundle = packaged("axon-myelin", tmp_path)
    picture = micrograph(tmp_path / "one.png")
    made = workflow(
        bundle, dataset_dir=str(picture), output_dir=str(tmp_path / "monai"), device="cpu"
    )
    made.run()
    encephalon.predict(tmp_path / "axon-myelin", picture, tmp_path / "own", device="cpu")
    (theirs,), (ours,) = (sorted((tmp_path / n).rglob("*.png")) for n in ("monai", "own"))
    assert theirs.read_bytes() == ours.read_bytes()
    network = made.parser.get_parsed_content("network_def")
    about = _metadata(bundle)["network_data_format"]["outputs"]
    (classes,) = (tensor["num_channels"] for tensor in about.values())
    with torch.inference_mode():
        assert network(torch.rand(1, 1, 64, 64)).shape == (1, classes, 64, 64)


def test_what_fails_in_monai_is_said(tmp_path: Path) -> None:
    """A picture that is none ends the run, with its name."""
    bundle = packaged("axon-myelin", tmp_path)
    (tmp_path / "none.png").write_text("no picture")
    given = {"dataset_dir": str(tmp_path / "none.png"), "output_dir": str(tmp_path / "out")}
    with pytest.raises(RuntimeError) as caught:
        workflow(bundle, device="cpu", **given).run()
    assert "none.png" in str(caught.value.__cause__)


@pytest.mark.parametrize("name", ["brain-extraction", "isotropic"])
def test_monai_is_given_the_network_of_every_model_that_ships(name: str, tmp_path: Path) -> None:
    network = workflow(packaged(name, tmp_path)).parser.get_parsed_content("network_def")
    tensors = open_model(tmp_path / name).tensors()
    assert network.state_dict().keys() == tensors.keys()


def test_a_bundle_is_a_model_by_its_path(model: ModelFolder, tmp_path: Path, home: Path) -> None:
    """It is unpacked once; a file of it that was changed later is refused, and so is another's."""
    folder = export_model(model.path, tmp_path / "tiny", format="monai")
    found = find_model(folder)
    assert isinstance(found, ModelFolder)
    assert found.sha256 == model.sha256
    assert find_model(folder) == found
    assert [path.name for path in home.iterdir() if path.is_dir()] == [found.path.name]
    assert not [one for one in list_models() if one.name == "tiny"]
    (folder / "models" / "model.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"model\.onnx: expected sha256"):
        find_model(folder)
    about = _metadata(folder)
    del about["encephalon_files"]
    (folder / "configs" / "metadata.json").write_text(json.dumps(about))
    with pytest.raises(ModelError, match="another program wrote"):
        find_model(folder)


def test_a_bundle_is_told_by_where_it_lies(model: ModelFolder, tmp_path: Path, home: Path) -> None:
    """Not by the folder that was made of it."""
    folder = export_model(model.path, tmp_path / "tiny", format="monai")
    assert model_info(folder)["path"] == folder
    assert home in find_model(folder).path.parents


def test_what_was_made_of_a_bundle_is_removed_when_nobody_uses_it(
    model: ModelFolder, tmp_path: Path, home: Path
) -> None:
    """After 30 days, when another bundle is used; what was used since stays, as does all else."""
    kept = []
    for name, days in (("unused", 31), ("used", 29)):
        about = replace(model.description, name=name)
        made = save_model(tmp_path / f"{name}-model", about, model.tensors())
        bundle = export_model(made.path, tmp_path / name, format="monai")
        kept.append(find_model(bundle).path)
        then = kept[-1].stat().st_mtime - days * 24 * 3600
        os.utime(kept[-1], (then, then))
    import_model(model.path)
    os.utime(home / "tiny", (0, 0))
    last = find_model(export_model(model.path, tmp_path / "last", format="monai")).path
    assert {path for path in home.iterdir() if path.is_dir()} == {kept[1], last, home / "tiny"}
    assert find_model(tmp_path / "unused").path == kept[0]  # made once more


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("device", "cuda", """'device' is "cuda" instead of "auto"\\)"""),
        ("run", None, r"missing 'run'\)"),
        ("more", "$print(1)", r"unexpected 'more'\)"),
        ("device", "x" * 900, """'device' is "x{79} \\.\\.\\. instead of "auto"\\)"""),
    ],
)
def test_what_monai_would_run_is_compared(
    model: ModelFolder, tmp_path: Path, home: Path, key: str, value: str | None, said: str
) -> None:
    """The sentence says what is not as an export writes it; a file that is none is told too."""
    folder = export_model(model.path, tmp_path / "tiny", format="monai")
    assert verify_model(folder) == model.description.files
    path = folder / "configs" / "inference.json"
    about = json.loads(path.read_text())
    about = (
        {**about, key: value} if value is not None else {k: v for k, v in about.items() if k != key}
    )
    path.write_text(json.dumps(about))
    with pytest.raises(ModelError, match=rf"inference\.json: .*{said}"):
        verify_model(folder)
    path.write_text("[1, 2]")
    with pytest.raises(ModelError, match=r"expected settings by name, got \[1, 2\]"):
        verify_model(folder)
    path.write_text("{")
    with pytest.raises(ModelError, match=r"inference\.json"):
        verify_model(folder)

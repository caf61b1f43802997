# SPDX-License-Identifier: Apache-2.0
"""Names of outputs: known, and every clash found, before any work begins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encephalon.errors import OutputError, UsageError
from encephalon.inference.outputs import OutputLayout, choose_layout
from encephalon.inference.predictor import OutputKind
from encephalon.io.bids import index_bids
from encephalon.tables.samples import Sample, collect_samples
from tests.inference.conftest import predict_all

KINDS = {"mask": OutputKind("mask", "brain"), "brain": OutputKind("T1w", "brain")}


def sample(name: str = "a", path: str = "in/a.nii.gz") -> Sample:
    return Sample(name, {"image": Path(path)})


def test_a_folder_gets_plain_names(tmp_path: Path) -> None:
    """The key names the file, and the sidecar loses the whole image suffix."""
    plan = choose_layout(tmp_path, [sample()], KINDS).plan([sample()], KINDS)[0]
    assert plan.images == {
        "mask": tmp_path / "a_mask.nii.gz",
        "brain": tmp_path / "a_brain.nii.gz",
    }
    assert plan.sidecars["mask"] == tmp_path / "a_mask.json"
    assert plan.problem is None


def test_a_single_file_is_named_exactly_and_the_others_beside_it(tmp_path: Path) -> None:
    """The main image gets the name that was asked for, whatever its suffix."""
    layout = choose_layout(tmp_path / "x_mask.nii", [sample()], KINDS)
    plan = layout.plan([sample()], KINDS)[0]
    assert [path.name for path in plan.images.values()] == ["x_mask.nii", "x_brain.nii"]
    assert [path.name for path in plan.sidecars.values()] == ["x_mask.json", "x_brain.json"]
    assert layout.table is None
    layout = choose_layout(tmp_path / "out.MGZ", [sample()], KINDS)
    names = [path.name for path in layout.plan([sample()], KINDS)[0].images.values()]
    assert names == ["out.MGZ", "out_brain.MGZ"]


def test_a_single_file_for_several_inputs_is_refused(tmp_path: Path) -> None:
    """Two scans cannot become one file: a usage error, before any work."""
    with pytest.raises(UsageError, match=r"one file, but there are 2 inputs"):
        choose_layout(tmp_path / "x.nii.gz", [sample("a"), sample("b")], KINDS)


@pytest.mark.parametrize("name", ["x.nhdr", "x.png", "x.csv", "x.gz", "x.dcm", "X.JSON"])
def test_an_ending_that_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    """A name that is meant as a file is not made a folder; the sentence lists what can be."""
    with pytest.raises(UsageError, match=r"\.nii\.gz"):
        choose_layout(tmp_path / name, [sample()], KINDS)


def test_an_existing_file_is_no_folder(tmp_path: Path) -> None:
    """A file in the place of the output folder is a usage error."""
    (tmp_path / "taken").touch()
    with pytest.raises(UsageError, match="is a file"):
        choose_layout(tmp_path / "taken", [sample()], KINDS)


def test_a_dotted_name_is_a_folder_and_so_is_a_folder_with_an_image_name(tmp_path: Path) -> None:
    """Only endings of files make a file; what is a folder already stays one."""
    assert choose_layout(tmp_path / "out.v2", [sample()], KINDS).file is None
    (tmp_path / "odd.nii.gz").mkdir()
    assert choose_layout(tmp_path / "odd.nii.gz", [sample()], KINDS).file is None


def test_rows_can_go_to_one_named_table(bright: Any, samples: Any, tmp_path: Path) -> None:
    """A predictor without images takes a .csv; one with images does not, nor an image name."""
    path = tmp_path / "scores.csv"
    predict_all(bright(outputs={}), samples("a"), choose_layout(path, [sample()], {}))
    assert path.read_text("utf-8").startswith("id,model,source,volume_ml,")
    with pytest.raises(UsageError, match="writes none"):
        choose_layout(tmp_path / "x.nii.gz", [sample()], {})


def test_images_that_are_on_no_grid_bring_their_own_ending_and_writer(tmp_path: Path) -> None:
    """2-D studies plan their files the same way."""
    kinds = {"map": OutputKind("map", extension=".ome.tif")}
    plan = choose_layout(tmp_path / "o", [sample()], kinds).plan([sample()], kinds)[0]
    assert plan.images["map"].name == "a_map.ome.tif"
    assert plan.sidecars["map"].name == "a_map.json"
    assert choose_layout(tmp_path / "x.ome.tif", [sample()], kinds).file is not None


def test_an_input_is_never_replaced(tmp_path: Path) -> None:
    """Not even with overwrite, and not through a link."""
    scan = tmp_path / "a_mask.nii.gz"
    scan.touch()
    (tmp_path / "link").symlink_to(tmp_path)
    one = Sample("a", {"image": scan})
    plan = OutputLayout(tmp_path / "link").plan([one], KINDS)[0]
    assert "is an input" in str(plan.problem)


@pytest.mark.parametrize(("first", "second"), [("a", "a"), ("a", "A"), ("\u00e9", "e\u0301")])
def test_two_samples_never_share_a_file(first: str, second: str, tmp_path: Path) -> None:
    """The second of two equal ids is refused, also where only case or accents differ."""
    plans = OutputLayout(tmp_path).plan([sample(first), sample(second)], KINDS)
    assert plans[0].problem is None
    assert "ids differ" in str(plans[1].problem)


@pytest.mark.parametrize("name", ["", "..", "../a", "a/b", "/etc/a", "a\0b"])
def test_an_id_cannot_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    """An id that is no plain file name is refused."""
    plan = OutputLayout(tmp_path).plan([sample(name)], KINDS)[0]
    assert isinstance(plan.problem, OutputError)
    assert plan.images == {}


def test_bids_in_gives_bids_derivatives_out(
    bright: Any, scan: Callable[..., Path], tmp_path: Path
) -> None:
    """Names, folders, description and Sources are those of a BIDS derivative."""
    root = tmp_path / "ds"
    scan("sub-01_T1w.nii.gz", folder=root / "sub-01" / "anat")
    scan("sub-01_T2w.nii.gz", folder=root / "sub-01" / "anat")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    batch = collect_samples([root])
    out = tmp_path / "out"
    layout = choose_layout(out, batch, bright().outputs)
    assert layout.bids
    assert predict_all(bright(), batch, layout).exit_code == 0
    mask = out / "sub-01" / "anat" / "sub-01_desc-brain_mask.nii.gz"
    assert mask.exists()
    brains = sorted(path.name for path in out.rglob("*_desc-brain_T?w.nii.gz"))
    assert brains == ["sub-01_desc-brain_T1w.nii.gz", "sub-01_desc-brain_T2w.nii.gz"]
    record = json.loads(mask.with_name("sub-01_desc-brain_mask.json").read_text("utf-8"))
    assert record["Sources"] == ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"]
    about = json.loads((out / "dataset_description.json").read_text("utf-8"))
    assert about["DatasetType"] == "derivative"
    assert [maker["Name"] for maker in about["GeneratedBy"]] == ["Encephalon", "bright"]
    assert about["DatasetLinks"] == {"raw": "../ds"}
    assert len(list(out.rglob("*_mask.nii.gz"))) == 2


def test_predictions_are_not_mixed_into_a_raw_dataset(
    bright: Any, scan: Callable[..., Path], tmp_path: Path
) -> None:
    """The dataset that was read is refused as the place of its derivatives."""
    scan("sub-01_T1w.nii.gz", folder=tmp_path / "sub-01" / "anat")
    (tmp_path / "dataset_description.json").write_text('{"BIDSVersion": "1.10.0"}')
    found = index_bids(tmp_path)
    files = [Sample(file.path.name, {"image": file.path}, bids=file) for file in found]
    with pytest.raises(OutputError, match="raw BIDS dataset"):
        predict_all(bright(), files, choose_layout(tmp_path, files, bright().outputs))

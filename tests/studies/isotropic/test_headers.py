# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import UnreadableFileError
from encephalon.io.dicom_header import read_header
from encephalon.studies.isotropic.acquisition.slices import (
    acquisition_metadata,
    subject_and_session,
)


def put(path: Path, **facts: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts), encoding="utf-8")
    return path


def test_a_sidecar_tells(tmp_path: Path) -> None:
    """The file beside the scan, by its name."""
    (tmp_path / "a_T2w.nii.gz").touch()
    put(tmp_path / "a_T2w.json", SliceThickness=3.5)
    put(tmp_path / "b_T2w.json", SliceThickness=9)
    assert acquisition_metadata(tmp_path / "a_T2w.nii.gz") == {"SliceThickness": 3.5}


def test_sidecars_of_a_dataset_are_inherited(tmp_path: Path) -> None:
    """The nearest one wins, those of other runs and kinds do not count."""
    put(tmp_path / "dataset_description.json", BIDSVersion="1.10.0", SliceThickness=1)
    put(tmp_path / "T2w.json", SliceThickness=5, SpacingBetweenSlices=6)
    put(tmp_path / "T1w.json", SliceThickness=7)
    put(tmp_path / "acq-x_T2w.json", SliceThickness=8)
    put(tmp_path / "sub-1" / "sub-1_T2w.json", SliceThickness=4)
    path = tmp_path / "sub-1" / "anat" / "sub-1_run-2_T2w.nii"
    path.parent.mkdir()
    path.touch()
    assert acquisition_metadata(path) == {"SliceThickness": 4, "SpacingBetweenSlices": 6}


@pytest.mark.parametrize("text", ["{", "\udcff"])
def test_a_sidecar_that_cannot_be_read_is_not_an_absent_one(tmp_path: Path, text: str) -> None:
    """What it would say of the slices drives the result."""
    (tmp_path / "a.nii").touch()
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UnreadableFileError, match=r"a\.json"):
        acquisition_metadata(tmp_path / "a.nii")


def test_what_is_not_there_or_no_record_says_nothing(tmp_path: Path) -> None:
    """No sidecar, no scan, and a list."""
    (tmp_path / "a.nii").touch()
    assert acquisition_metadata(tmp_path / "a.nii") == {}
    assert acquisition_metadata(None) == acquisition_metadata(tmp_path / "gone.nii") == {}
    (tmp_path / "a.json").write_text("[1]", encoding="utf-8")
    assert acquisition_metadata(tmp_path / "a.nii") == {}


def test_a_dicom_series_tells(tmp_path: Path) -> None:
    """Thickness and distance stand in the header of every slice."""
    sitk = pytest.importorskip("SimpleITK")
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    image = sitk.GetImageFromArray(np.zeros((1, 4, 4), np.uint16))
    image.SetSpacing((1.0, 1.0, 4.0))  # what the writer may put in the place of the tag
    image.SetMetaData("0018|0050", "3.5")
    image.SetMetaData("0018|0088", "4.0")
    writer.SetFileName(str(tmp_path / "1.dcm"))
    writer.Execute(image)
    facts = acquisition_metadata(tmp_path, read_header(tmp_path / "1.dcm"))
    assert float(facts["SliceThickness"]) == 3.5
    assert float(facts["SpacingBetweenSlices"]) == 4.0


def test_names_tell_whose_scan_it_is() -> None:
    """As BIDS writes them; other names tell nothing."""
    assert subject_and_session(Path("x/sub-01_ses-b_T2w.nii.gz")) == ("sub-01", "ses-b")
    assert subject_and_session(Path("sub-01_T2w.nii")) == ("sub-01", "")
    assert subject_and_session(Path("T2.nii")) == subject_and_session(None) == ("", "")

# SPDX-License-Identifier: Apache-2.0
"""What is written of BIDS datasets is BIDS, as the official validator judges it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import encephalon
from encephalon.io.bids import index_bids
from encephalon.studies.isotropic.acquisition.inputs import find_scans
from encephalon.studies.isotropic.simulate import SimulationConfig, write_thick_slices
from encephalon.studies.isotropic.synthetic import write_heads

VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")


def faults(dataset: Path) -> list[tuple[str, str, str]]:
    """Severity, code and place of everything the validator says; it needs no network."""
    if not VALIDATOR.exists():
        pytest.skip("needs bids-validator-deno, which the extra `dev` brings")
    ran = subprocess.run(
        [VALIDATOR, "--format", "json", dataset], check=False, capture_output=True, text=True
    )
    found = json.loads(ran.stdout)["issues"]["issues"]
    return [(one["severity"], one["code"], one.get("location", "")) for one in found]


def errors(dataset: Path) -> list[tuple[str, str, str]]:
    return [one for one in faults(dataset) if one[0] == "error"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic head as T1w, T2w, FLAIR and inplaneT2, in a session and with entities."""
    root = tmp_path_factory.mktemp("bids") / "study"
    write_heads(root, subjects=1)
    anat = root / "sub-01" / "anat"
    for name in ("FLAIR", "acq-fast_run-2_FLAIR", "inplaneT2"):
        shutil.copy(anat / "sub-01_T1w.nii.gz", anat / f"sub-01_{name}.nii.gz")
    later = root / "sub-02" / "ses-b" / "anat"
    later.mkdir(parents=True)
    shutil.copy(anat / "sub-01_T2w.nii.gz", later / "sub-02_ses-b_T2w.nii.gz")
    shutil.copy(anat / "sub-01_T2w.json", later / "sub-02_ses-b_T2w.json")
    with (root / "participants.tsv").open("a") as table:
        table.write("sub-02\tadult\n")
    return root


def test_synthetic_heads_and_their_truth_are_valid(study: Path) -> None:
    """Both datasets, the second within the first."""
    assert errors(study) == []
    assert errors(study / "derivatives" / "truth") == []


def test_masks_of_every_contrast_are_valid_derivatives(study: Path, tmp_path: Path) -> None:
    """Mask, brain, distance and probability of each; none replaces another; nothing to add."""
    out = tmp_path / "derivatives"
    keys = ("mask", "brain", "distance", "probability")
    result = encephalon.predict("brain-extraction", study, output=out, save=keys)
    assert result.failures == []
    images = index_bids(study)
    written = {path.name for path in out.rglob("*.nii.gz")}
    assert len(written) == len(keys) * len(images) == len(keys) * 6
    assert "sub-01_acq-fast_run-2_desc-brainFLAIR_mask.nii.gz" in written
    assert {(code, place) for _, code, place in faults(out)} == {
        # Only their owner knows the authors.
        ("TOO_FEW_AUTHORS", "/dataset_description.json")
    }


def test_isotropic_scans_are_valid_derivatives(study: Path, tmp_path: Path) -> None:
    """No question for a T2w finds the standard deviations: their suffix is another."""
    out = tmp_path / "derivatives"
    asked = {"participants": ["01"], "save": ("t2w", "uncertainty", "t1w")}
    encephalon.predict("isotropic", study, output=out, suffixes=("T2w",), **asked)
    assert errors(out) == []
    found = [path.name for path in out.rglob("*_T2w.nii.gz")]
    assert found == ["sub-01_desc-isotropic_T2w.nii.gz"]
    assert [path.name for path in out.rglob("*T2wstd.nii.gz")] == [
        "sub-01_desc-isotropic_T2wstd.nii.gz"
    ]


def test_simulated_thick_slices_are_valid_derivatives(study: Path, tmp_path: Path) -> None:
    """Their table has no name in BIDS and is listed as such."""
    scans = find_scans([study / "sub-02" / "ses-b" / "anat" / "sub-02_ses-b_T2w.nii.gz"])
    write_thick_slices(scans, tmp_path / "thick", SimulationConfig(thicknesses=(8.0,)))
    assert errors(tmp_path / "thick") == []

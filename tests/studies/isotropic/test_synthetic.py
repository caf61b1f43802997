# SPDX-License-Identifier: Apache-2.0
"""Two scans of a synthetic head show one head, in the contrasts and the places that they should."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import OutputExistsError
from encephalon.geometry.affine import Affine
from encephalon.geometry.resample import resample
from encephalon.io.bids import index_bids, is_bids
from encephalon.io.reading import read_image
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_slices
from encephalon.studies.isotropic.synthetic import HeadPair, draw_motion, head_pair, write_heads
from encephalon.synthetic.head import Tissue

SMALL: dict[str, Any] = {"shape": (44, 54, 44), "spacing": 3.0, "detail": 3.0}


def mean_of(pair: HeadPair, data: np.ndarray, *tissues: Tissue) -> float:
    """Mean intensity of tissues in a volume on the T2w's voxels."""
    return float(data[np.isin(pair.labels, tissues)].mean())


def test_both_scans_lie_on_the_same_voxels_unless_they_are_moved() -> None:
    """With the same codes and no motion, the T1w shows each voxel's tissue at its place."""
    pair = head_pair(**SMALL, t1w_codes="RAS", noise=0.0)
    assert pair.t1w.affine == pair.t2w.affine
    assert pair.t2w.data.dtype == pair.t1w.data.dtype == np.float32
    assert mean_of(pair, pair.t1w.data, Tissue.WHITE) > mean_of(pair, pair.t1w.data, Tissue.CORTEX)
    t2w = pair.t2w.data
    assert mean_of(pair, t2w, Tissue.VENTRICLE) > mean_of(pair, t2w, Tissue.CORTEX)
    assert mean_of(pair, t2w, Tissue.CORTEX) > mean_of(pair, t2w, Tissue.WHITE)
    assert 0.1 < pair.mask.mean() < 0.4
    assert not pair.mask[:, :, -1].any()


def test_infants_have_dark_white_matter_in_t1w() -> None:
    """Before myelination grey and white matter swap their order in both contrasts."""
    pair = head_pair(**SMALL, t1w_codes="RAS", noise=0.0, infant=True)
    t1w, t2w = pair.t1w.data, pair.t2w.data
    # Cortex this small is half fluid at this size of voxels; the nuclei are grey matter as well.
    assert mean_of(pair, t1w, Tissue.WHITE) < 0.85 * mean_of(pair, t1w, Tissue.DEEP)
    assert mean_of(pair, t2w, Tissue.WHITE) > 1.15 * mean_of(pair, t2w, Tissue.DEEP)


def test_the_motion_maps_the_t2w_to_the_t1w() -> None:
    """Undone, a moved and turned T1w on another grid is the one that was never moved."""
    motion = draw_motion(np.random.default_rng(5), shift=4.0, turn=6.0)
    still = head_pair(**SMALL, t1w_codes="RAS", noise=0.0)
    moved = head_pair(
        **SMALL, noise=0.0, motion=motion, t1w_shape=(64, 72, 60), t1w_spacing=(2.0, 2.5, 2.5)
    )
    assert moved.t1w.affine.codes == "LIA"
    assert sorted(moved.t1w.spacing) == pytest.approx([2.0, 2.5, 2.5])
    np.testing.assert_array_equal(moved.t2w.data, still.t2w.data)
    back = resample(moved.t1w.data, motion.inverse @ moved.t1w.affine, still.t2w.grid)
    there = resample(moved.t1w.data, moved.t1w.affine, still.t2w.grid)
    brain = still.mask > 0
    good, bad = (np.corrcoef(one[brain], still.t1w.data[brain])[0, 1] for one in (back, there))
    assert good > 0.95
    assert bad < good - 0.1


def test_noise_is_drawn_for_each_scan() -> None:
    """Only the T1w has noise; another seed is another head, the same seed the same."""
    pair, again = head_pair(**SMALL), head_pair(**SMALL)
    np.testing.assert_array_equal(pair.t1w.data, again.t1w.data)
    other = head_pair(**SMALL, seed=1)
    assert not np.array_equal(other.labels, pair.labels)
    assert (pair.t2w.data[pair.labels == Tissue.AIR] == 0).mean() > 0.5
    assert pair.t1w.data.min() > 0


def test_a_motion_is_rigid(rng: np.random.Generator) -> None:
    """It keeps distances and angles, and without shifts and turns moves nothing."""
    motion = draw_motion(rng)
    rotation = motion.matrix[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    still = draw_motion(rng, shift=0.0, turn=0.0)
    assert still.is_close(Affine(np.eye(4)), 1e-9)


def test_a_dataset_of_heads_is_whole(tmp_path: Path) -> None:
    """Thick T2w, T1w, truth and table belong together, and the slices are the truth's."""
    told: list[tuple[int, int, str]] = []
    table = write_heads(
        tmp_path / "heads", subjects=2, axis="coronal", thickness=6.0, **SMALL,
        progress=lambda *words: told.append(words),
    )  # fmt: skip
    assert told == [(1, 2, "sub-01"), (2, 2, "sub-02")]
    assert is_bids(table.parent)
    assert len(index_bids(table.parent)) == 4
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["group"] for row in rows] == ["sub-01", "sub-02"]
    truth, t2w = (read_image(table.parent / rows[1][role]) for role in ("reference", "t2w"))
    thick = simulate_slices(truth, SliceSettings("coronal", 6.0))
    assert t2w.affine.is_close(thick.affine)
    assert np.corrcoef(thick.data.ravel(), t2w.data.ravel())[0, 1] > 0.99
    facts = json.loads((table.parent / "sub-02/anat/sub-02_T2w.json").read_text("utf-8"))
    assert facts == {
        "SliceThickness": 6.0, "SpacingBetweenSlices": 6.0, "SliceEncodingDirection": "j",
    }  # fmt: skip
    beside = table.parent / rows[1]["reference"].replace(".nii.gz", ".json")
    assert np.shape(json.loads(beside.read_text("utf-8"))["TrueMotion"]) == (4, 4)
    people = (table.parent / "participants.tsv").read_text("utf-8").splitlines()
    assert people == ["participant_id\tcontrast", "sub-01\tadult", "sub-02\tadult"]
    with pytest.raises(OutputExistsError, match=r"table\.csv"):
        write_heads(table.parent, **SMALL)


@pytest.mark.parametrize(
    "name",
    [
        *("README", "participants.tsv", "dataset_description.json", "table.csv"),
        *("derivatives/truth/dataset_description.json", "sub-02/anat/sub-02_T1w.nii.gz"),
        *("sub-02/anat/sub-02_T2w.nii.gz", "sub-01/anat/sub-01_T2w.json"),
        "derivatives/truth/sub-02/anat/sub-02_desc-isotropic_T2w.json",
        "derivatives/truth/sub-02/anat/sub-02_desc-isotropic_T2w.nii.gz",
    ],
)
def test_no_file_of_somebody_else_is_replaced(tmp_path: Path, name: str) -> None:
    """Whatever the dataset would write over is named before anything is written."""
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputExistsError, match=Path(name).name):
        write_heads(tmp_path, subjects=2, **SMALL)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == "mine"

# SPDX-License-Identifier: Apache-2.0
"""Evaluation scores what it should, counts failures against the model, and writes three files."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import ContentError, OutputError, OutputExistsError, TableError
from encephalon.evaluation.run import EvaluationResult, evaluate
from encephalon.geometry.affine import Affine
from encephalon.inference.predictor import OutputImage, OutputKind, Prediction, Quality
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from encephalon.statistics.summary import GroupedSummary
from encephalon.studies.extraction.evaluation import MaskEvaluation, score_mask
from encephalon.studies.extraction.report import volumes_compared
from encephalon.synthetic.head import head_phantom
from encephalon.tables.samples import Sample
from encephalon.tables.schema import Columns

EDGES = Affine.from_spacing((2.0, 1.5, 2.5))
Answer = Callable[[Image], Prediction]


@dataclass
class Stub:
    """A predictor whose answer is a function of the scan."""

    answer: Answer
    name: str = "stub"
    outputs: dict[str, OutputKind] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return {"model": {"name": "stub", "version": "1.0.0", "sha256": "0" * 64}, "device": "cpu"}

    def read(self, sample: Sample) -> Image:
        return read_image(sample.inputs["image"])

    def predict(self, loaded: Image) -> Prediction:
        return self.answer(loaded)


@dataclass
class Loaded:
    """What is scored: a loaded model."""

    predictor: Stub
    columns: Columns = field(default_factory=Columns)


def thresholded(scan: Image) -> Prediction:
    """The brain of the test head is all that is brighter than 600."""
    mask = OutputImage((scan.data > 600).astype(np.uint8), scan, "brain", "mask")
    return Prediction({"mask": mask}, {}, Quality("ok"))


def nothing(scan: Image) -> Prediction:
    """An empty mask."""
    mask = OutputImage(np.zeros(scan.shape, np.uint8), scan, "brain", "mask")
    return Prediction({"mask": mask}, {}, Quality("fail", ("the mask is empty",)))


def broken(scan: Image) -> Prediction:
    """A predictor that gives up."""
    raise ContentError(f"{scan.name}: cannot be understood.")


@pytest.fixture
def table(tmp_path: Path, head: Image, brain: np.ndarray) -> Path:
    """Four scans of two people in two contrasts; the reference of one is 10 % too small."""
    rows = [["id", "image", "mask", "group", "contrast", "note"]]
    for place, contrast in enumerate(["T1w", "T2w", "T1w", "T2w"]):
        scan, mask = tmp_path / f"scan{place}.nii.gz", tmp_path / f"mask{place}.nii.gz"
        write_image(head.data, scan, like=head)
        truth = brain.copy()
        truth[:, :13] &= place != 3
        write_image(truth.astype(np.uint8), mask, like=head)
        rows.append([f"s{place}", scan.name, mask.name, f"p{place // 2}", contrast, "same"])
    return write_table(tmp_path / "heads.csv", rows)


def write_table(path: Path, rows: list[list[str]]) -> Path:
    """Write rows as CSV."""
    path.write_text("\n".join(",".join(row) for row in rows) + "\n", encoding="utf-8")
    return path


Result = EvaluationResult[GroupedSummary]


def evaluated(
    table: Path,
    answer: Answer = thresholded,
    columns: Columns | None = None,
    out: str = "out",
    **options: Any,
) -> Result:
    """Evaluate a stub, writing next to the table."""
    study = MaskEvaluation(Loaded(Stub(answer), columns or Columns()), table)
    return evaluate(study, table.parent / out, **options)


def scores(table: Path) -> dict[str, dict[str, str]]:
    """The rows of scores.csv by id."""
    with (table.parent / "out" / "scores.csv").open(newline="") as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


def test_a_perfect_mask_scores_one_and_no_distance(brain: np.ndarray) -> None:
    """All overlaps are 1, all distances and errors 0."""
    found = score_mask(brain, brain, EDGES)
    assert [found[key] for key in ("dice", "jaccard", "sensitivity", "precision")] == [1.0] * 4
    assert [found[key] for key in ("hd95_mm", "assd_mm", "volume_error_percent")] == [0.0] * 3


def test_scores_are_measured_in_millimetres(brain: np.ndarray) -> None:
    """A shift by one voxel of 1.5 mm is a distance of 1.5 mm at the most."""
    found = score_mask(np.roll(brain, 1, axis=1), brain, EDGES)
    assert found["hd95_mm"] == pytest.approx(1.5)
    assert found["volume_ml"] == pytest.approx(brain.sum() * 7.5 / 1000)


def test_leaning_axes_are_scored_in_true_millimetres(brain: np.ndarray) -> None:
    """A shift by one slice of a tilted gantry is as long as the step between slices is."""
    matrix = EDGES.matrix.copy()
    matrix[1, 2] = 2.5
    found = score_mask(np.roll(brain, 1, axis=2), brain, Affine(matrix))
    assert found["hd95_mm"] <= 2.5 * 2**0.5 + 1e-9
    assert found["volume_ml"] == pytest.approx(brain.sum() * 7.5 / 1000)
    lone, other = np.zeros((2, 4, 4, 4), bool)
    lone[1, 1, 1] = other[1, 1, 2] = True
    assert score_mask(lone, other, Affine(matrix))["hd95_mm"] == pytest.approx(2.5 * 2**0.5)


def test_every_scan_has_its_row(table: Path) -> None:
    """scores.csv keeps the table's own columns and the scores with them."""
    evaluated(table)
    rows = scores(table)
    assert list(rows) == ["s0", "s1", "s2", "s3"]
    assert rows["s0"]["contrast"] == "T1w"
    assert [float(rows[name]["dice"]) for name in ("s0", "s1", "s2")] == [1.0, 1.0, 1.0]
    assert 0.5 < float(rows["s3"]["dice"]) < 0.9
    assert float(rows["s3"]["volume_error_percent"]) > 10
    assert rows["s0"]["quality"] == "ok"


def test_the_summary_is_strict_json_with_intervals_over_people(table: Path) -> None:
    """Two people are two units, whatever the number of scans; subgroups say how many they hold."""
    result = evaluated(table)
    text = (table.parent / "out" / "summary.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    summary = json.loads(text)
    dice = summary["overall"]["dice"]
    assert (dice["n"], dice["median"], dice["median_interval"]["units"]) == (4, 1.0, 2)
    assert summary["drawn_by"] == "group"
    assert summary["model"]["model"]["sha256"] == "0" * 64
    parts = {(part["column"], part["value"]): part for part in summary["strata"]}
    assert parts["contrast", "T2w"]["n"] == 2
    assert parts["contrast", "T2w"]["metrics"]["dice"]["minimum"] == dice["minimum"]
    assert ("note", "same") not in parts
    assert "Dice: median 1.000" in str(result)


def test_the_page_shows_the_worst_scan_first(table: Path) -> None:
    """All scans are pictured with both outlines, in the order of their Dice."""
    evaluated(table)
    page = (table.parent / "out" / "report.html").read_text(encoding="utf-8")
    assert page.index(">s3</h3>") < page.index(">s0</h3>")
    assert page.count("layer layer-prediction") == page.count("layer layer-reference") == 8
    assert "http" not in page.replace("http-equiv", "")


def test_volumes_agree_as_far_as_bland_and_altman_compute_by_hand(table: Path) -> None:
    """Three masks have their reference's volume, one d mL more: bias d/4, sd d/2, limits so far.

    The deviations from the bias are three times -d/4 and once 3d/4: their squares sum to 3d²/4, a
    third of which is the variance.
    """
    evaluated(table)
    row = scores(table)["s3"]
    more = float(row["volume_ml"]) - float(row["reference_ml"])
    assert more > 1
    page = (table.parent / "out" / "report.html").read_text(encoding="utf-8")
    found = re.search(r"n = 4: bias (\S+) mL.*limits of agreement (\S+) to (\S+) mL", page)
    assert found is not None
    told = [float(each.replace("−", "-")) for each in found.groups()]
    expected = [more / 4, more / 4 - 0.98 * more, more / 4 + 0.98 * more]
    assert told == pytest.approx(expected, abs=0.06)
    assert f"s3: mean {float(row['reference_ml']) + more / 2:.1f}, difference {more:.1f}" in page


def test_a_volume_that_is_not_known_is_not_compared(table: Path) -> None:
    """Nor is the scan's name taken for that of another."""
    result = evaluated(table)
    rows = [row | ({"volume_ml": float("nan")} if row["id"] == "s0" else {}) for row in result.rows]
    page = str(volumes_compared(rows, result.summary.overall, ""))
    assert "Without a mask and left out: 1." in page
    assert "s0: mean" not in page


def test_a_scan_without_a_mask_has_no_volume_to_compare(table: Path) -> None:
    evaluated(table, nothing)
    page = (table.parent / "out" / "report.html").read_text(encoding="utf-8")
    assert "There are no pairs to compare. Without a mask and left out: 4." in page


@pytest.mark.parametrize("answer", [nothing, broken])
def test_a_scan_without_a_mask_counts_as_zero(table: Path, answer: Answer) -> None:
    """Leaving failures out would flatter the model."""
    result = evaluated(table, answer)
    assert result.summary.overall["dice"].mean == 0.0
    assert result.summary.overall["dice"].n == 4
    assert [each["id"] for each in result.failures] == ["s0", "s1", "s2", "s3"]
    assert scores(table)["s0"]["hd95_mm"] == "inf"
    assert result.rows[0]["hd95_mm"] == np.inf


def test_a_scan_that_cannot_be_read_is_listed_and_not_scored(table: Path) -> None:
    """The others are done, and the sentence names the file."""
    (table.parent / "scan1.nii.gz").write_text("not an image", encoding="utf-8")
    result = evaluated(table)
    assert result.summary.overall["dice"].n == 3
    assert [each["id"] for each in result.failures] == ["s1"]
    assert "scan1.nii.gz" in result.failures[0]["message"]
    assert scores(table)["s1"]["dice"] == ""


def test_a_reference_on_another_grid_is_not_scored(table: Path, head: Image) -> None:
    """Voxels of the same shape at another place are another grid."""
    moved = Image(head.data, Affine.from_spacing(head.spacing, (50, 0, 0)))
    path = table.parent / "mask0.nii.gz"
    write_image((head.data > 600).astype(np.uint8), path, like=moved, overwrite=True)
    result = evaluated(table)
    assert [each["id"] for each in result.failures] == ["s0"]
    assert "another grid" in result.failures[0]["message"]


def test_a_label_image_is_not_taken_for_a_mask(table: Path, head: Image) -> None:
    """Which of several labels are brain is not guessed."""
    labels = np.clip(head.data // 200, 0, 4).astype(np.uint8)
    write_image(labels, table.parent / "mask0.nii.gz", like=head, overwrite=True)
    assert "labels" in evaluated(table).failures[0]["message"]


def test_nothing_is_replaced_unasked(table: Path) -> None:
    """An existing result stops the work before it begins, unless told otherwise."""
    evaluated(table)
    calls: list[str] = []
    with pytest.raises(OutputExistsError):
        evaluated(table, progress=lambda *_: calls.append("called"))
    assert not calls
    evaluated(table, overwrite=True, progress=lambda *told: calls.append(told[2]))
    assert calls == ["s0", "s1", "s2", "s3"]


def test_a_table_without_reference_masks_is_refused(tmp_path: Path) -> None:
    """The message names the columns that would do."""
    path = write_table(tmp_path / "heads.csv", [["id", "image"], ["a", "a.nii.gz"]])
    with pytest.raises(TableError, match=r"'mask' or 'labels'"):
        evaluated(path, nothing, Columns(target="labels"))


def test_missing_files_are_named_by_row(table: Path) -> None:
    """The table is checked before any work starts."""
    (table.parent / "mask2.nii.gz").unlink()
    with pytest.raises(TableError, match=r"row 4.*mask2"):
        evaluated(table)
    assert not (table.parent / "out").exists()


def test_the_recipe_s_own_target_column_will_do(table: Path) -> None:
    """A table made for training can be evaluated as it is, split column or not."""
    table.write_text(table.read_text(encoding="utf-8").replace(",mask,", ",labels,"))
    columns = Columns(target="labels", optional=("image",), group="group", split="split")
    result = evaluated(table, columns=columns)
    assert result.summary.overall["dice"].n == 4


def test_what_was_learnt_from_is_not_scored(table: Path) -> None:
    """Of a table that was split, only the part "test" counts; faults of other rows do not."""
    lines = table.read_text(encoding="utf-8").splitlines()
    parts = ["split", "train", "test", "validation", "test"]
    table.write_text("\n".join(map(",".join, zip(lines, parts, strict=True))) + "\n")
    (table.parent / "mask0.nii.gz").unlink()
    columns = Columns(group="group", split="split")
    result = evaluated(table, columns=columns)
    assert [row["id"] for row in result.rows] == ["s1", "s3"]
    table.write_text(table.read_text(encoding="utf-8").replace(",test", ",train"))
    with pytest.raises(TableError, match="no row whose 'split' is 'test'"):
        evaluated(table, columns=columns, out="again")


@pytest.fixture(params=["phantom", pytest.param("real", marks=pytest.mark.data)])
def scans(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    """Three scans with anisotropic voxels and their masks, by contrast."""
    if request.param == "phantom":
        return {name: written(tmp_path, name) for name in ("t1", "t2", "flair")}
    folder: Path = request.getfixturevalue("data") / "heads" / "openms-patient01"
    return {
        name: (folder / f"study1_{name}.nii.gz", folder / f"derived_brainmask_{name}.nii.gz")
        for name in ("T1W", "T2W", "FLAIR")
    }


def written(folder: Path, contrast: str) -> tuple[Path, Path]:
    """A phantom's scan and mask, as files."""
    phantom = head_phantom((140, 180, 36), (1.2, 1.2, 5.0), contrast=contrast, detail=3.0)
    paths = folder / f"{contrast}.nii.gz", folder / f"{contrast}_brain.nii.gz"
    write_image(phantom.image.data, paths[0], phantom.image)
    write_image((phantom.mask > 0).astype(np.uint8), paths[1], phantom.image)
    return paths


def test_whole_masks_score_one_against_themselves(
    scans: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    """Reference against reference, then moved by 2 voxels."""
    truths = {str(scan): mask for scan, mask in scans.values()}
    rows = [["id", "image", "mask", "contrast"]]
    rows += [[name, *map(str, paths), name] for name, paths in scans.items()]

    def known(shift: int) -> Answer:
        def answer(scan: Image) -> Prediction:
            mask = np.roll(read_image(truths[str(scan.source)]).data, shift, axis=0)
            image = OutputImage(mask.astype(np.uint8), scan, "brain", "mask")
            return Prediction({"mask": image})

        return answer

    table = write_table(tmp_path / "heads.csv", rows)
    exact = evaluated(table, known(0), out="exact")
    moved = evaluated(table, known(2), out="moved")
    assert exact.summary.overall["dice"].minimum == 1.0
    assert exact.summary.overall["hd95_mm"].maximum == 0.0
    assert 0.95 < moved.summary.overall["dice"].minimum < 0.995
    assert 0.5 < moved.summary.overall["hd95_mm"].maximum < 2.5


def test_a_model_without_masks_cannot_be_scored(table: Path) -> None:
    """A classifier's answer is no mask: every scan is listed, with Dice 0."""
    result = evaluated(table, lambda _: Prediction({}, {"age": 30.0}))
    assert "makes no mask" in result.failures[0]["message"]
    assert result.summary.overall["dice"].maximum == 0.0


def test_intervals_over_many_people_are_on_the_page(tmp_path: Path, head: Image) -> None:
    """With several people the tables have intervals, and the page says over what they are."""
    rows = [["id", "image", "mask"]]
    write_image(head.data, tmp_path / "scan.nii.gz", like=head)
    for place in range(4):
        truth = (head.data > 600).astype(np.uint8)
        truth[:, : 8 + place] = 0
        write_image(truth, tmp_path / f"mask{place}.nii.gz", like=head)
        rows.append([f"s{place}", "scan.nii.gz", f"mask{place}.nii.gz"])
    result = evaluated(write_table(tmp_path / "heads.csv", rows))
    interval = result.summary.overall["dice"].median_interval
    assert 0 < interval.low < interval.value < interval.high <= 1
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "95 % interval of the median" in page
    assert "bootstrap intervals over scans" in page


def test_a_place_that_cannot_be_written_is_found_before_the_work(table: Path) -> None:
    """Hours of scoring do not end at a locked door."""

    def never(scan: Image) -> Prediction:
        pytest.fail(f"{scan.name} was predicted")

    with pytest.raises(OutputError, match=r"scan0\.nii\.gz.*could not be written"):
        evaluated(table, never, out="scan0.nii.gz/out")

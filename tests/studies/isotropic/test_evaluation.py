# SPDX-License-Identifier: Apache-2.0
"""An evaluation scores every method on every case, keeps what is finished, and says how sure."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from encephalon.errors import ContentError, OutputExistsError, TableError, UsageError
from encephalon.evaluation.run import EvaluationResult, evaluate
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.studies.isotropic.evaluation.run import ReconstructionEvaluation
from encephalon.studies.isotropic.evaluation.summary import ReconstructionSummary
from encephalon.studies.isotropic.published.settings import PublishedOptions
from encephalon.studies.isotropic.reconstruction.interpolation import METHODS
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Method, Problem
from encephalon.studies.isotropic.settings import EvaluationOptions, PredictOptions
from encephalon.tables.schema import Columns

SHAPE = (30, 26, 28)
COLUMNS = Columns(
    inputs={"t2w": "t2w", "t1w": "t1w"}, optional=("t1w",), group="group", split="split"
)


@dataclass
class Stub:
    """A predictor whose network is a function of the problem."""

    method: Method
    evaluation: EvaluationOptions
    options: PredictOptions = field(default_factory=PredictOptions)

    def reconstruct(self, problem: Problem) -> Estimate:
        return self.method(problem)

    def describe(self) -> dict[str, Any]:
        return {"model": {"name": "stub", "version": "1.0.0", "sha256": "0" * 64}, "device": "cpu"}


@dataclass
class Loaded:
    """What is scored: a loaded model."""

    predictor: Stub
    columns: Columns = COLUMNS


def head(seed: int) -> tuple[Image, Image]:
    """A T2w and a T1w of one head of smooth structures on an oblique-free 1 mm grid."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.8
    waves = sum(
        np.sin(rng.uniform(3, 9) * axes[rng.integers(3)] + rng.uniform(0, 6)) for _ in range(6)
    )
    tissue = np.where(inside, 500 + 60 * waves, 4)
    affine = Affine.from_spacing(1.0, (-15, -13, -14))
    scan = (tissue + rng.normal(0, 3, SHAPE)).astype(np.float32)
    return Image(scan, affine), Image((1000 - scan).astype(np.float32), affine)


def sharpened(problem: Problem) -> Estimate:
    """A network that is a little better than cubic with a T1w, and cubic without."""
    cubic = METHODS["cubic"](problem).image
    if problem.guide is not None:
        cubic = cubic + 0.2 * (1000 - problem.guide - cubic)
    return Estimate(np.asarray(cubic, np.float32), np.full(cubic.shape, 30, np.float32))


def blank(problem: Problem) -> Estimate:
    """A guided method that says the same as linear."""
    return METHODS["linear"](problem)


def broken(problem: Problem) -> Estimate:
    """A network that gives up."""
    raise ContentError("the network has lost its weights.")


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guided method, replaced by a quick one."""
    module = ModuleType("encephalon.studies.isotropic.reconstruction.guided")
    module.guided = blank  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two people with a T2w and a T1w each, and a column to cut by."""
    rows = ["id,t2w,t1w,group,age,split"]
    for place, age in enumerate(["young", "old"]):
        for name, image in zip(("t2w", "t1w"), head(place), strict=True):
            write_image(image.data, tmp_path / f"{name}{place}.nii.gz", like=image)
        rows.append(f"s{place},t2w{place}.nii.gz,t1w{place}.nii.gz,p{place},{age},test")
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def evaluated(
    table: Path, method: Method = sharpened, overwrite: bool = False, **options: Any
) -> EvaluationResult[ReconstructionSummary]:
    """Evaluate a stub on axial slices of 4 mm, or as the options say."""
    asked = EvaluationOptions(**{"axes": "axial", "thicknesses": 4, "bare": True, **options})
    model = Loaded(Stub(method, asked))
    return evaluate(
        ReconstructionEvaluation(model, table), table.parent / "out", overwrite=overwrite
    )


def scores(table: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """The rows of scores.csv by id, condition and method."""
    with (table.parent / "out" / "scores.csv").open(newline="", encoding="utf-8") as stream:
        return {(row["id"], row["condition"], row["method"]): row for row in csv.DictReader(stream)}


def counted(method: Method) -> tuple[Method, list[Problem]]:
    """The method, and the list of problems that it has been given so far."""
    seen: list[Problem] = []

    def watched(problem: Problem) -> Estimate:
        seen.append(problem)
        return method(problem)

    return watched, seen


def test_every_method_is_scored_on_every_case(table: Path) -> None:
    """Two scans, one cut, six methods: twelve rows, with their figures in every region."""
    result = evaluated(table)
    rows = scores(table)
    methods = ["network", "T2w only", "guided", "linear", "cubic", "zoom"]
    assert [key[2] for key in rows if key[0] == "s0"] == methods
    row = rows["s0", "normal", "network"]
    assert (row["group"], row["age"], row["axis"], row["thickness"]) == (
        "p0",
        "young",
        "axial",
        "4",
    )
    for region in ("published", "foreground", "acquired", "missing"):
        for figure in ("psnr", "ssim", "nrmse", "mse"):
            assert float(row[f"{figure}_{region}"]) > 0
    assert float(row["psnr_foreground"]) > float(rows["s0", "normal", "cubic"]["psnr_foreground"])
    assert (
        rows["s0", "normal", "T2w only"]["psnr_foreground"]
        == (rows["s0", "normal", "cubic"]["psnr_foreground"])
    )
    assert float(row["coverage_95"]) >= float(row["coverage_68"]) > 0
    assert row["deviation_correlation"] == ""
    assert rows["s0", "normal", "cubic"]["coverage_95"] == ""
    assert "network: PSNR" in str(result)


def test_every_axis_and_thickness_is_summarised(table: Path) -> None:
    """Three axes, two thicknesses: each pair, and each total, has its summary."""
    result = evaluated(table, axes="axial,coronal,sagittal", thicknesses="2,4")
    cells = {(each.axis, each.thickness) for each in result.summary.methods}
    assert len(cells) == 12
    assert ("all", "all") in cells
    assert ("coronal", "2") in cells
    with (table.parent / "out" / "summary.csv").open(newline="", encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == 12 * 6


def test_the_summary_says_how_much_better_and_how_sure(table: Path) -> None:
    """Means with intervals over persons, and paired differences to cubic and guided."""
    evaluated(table)
    text = (table.parent / "out" / "summary.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    summary = json.loads(text)
    network = summary["overall"][0]
    assert (network["method"], network["n"], network["units"]) == ("network", 2, 2)
    figure = network["metrics"]["psnr_foreground"]
    assert figure["interval"][0] <= figure["mean"] <= figure["interval"][1]
    gains = {(each["other"], each["metric"]): each for each in network["differences"]}
    cubic = gains["cubic", "psnr_foreground"]["comparison"]
    rows = scores(table)
    by_hand = [
        float(rows[name, "normal", "network"]["psnr_foreground"])
        - float(rows[name, "normal", "cubic"]["psnr_foreground"])
        for name in ("s0", "s1")
    ]
    assert cubic["mean_difference"]["value"] == pytest.approx(np.mean(by_hand), rel=1e-6)
    assert (cubic["first_better"], cubic["p_value"]) == (2, 0.5)
    assert ("guided", "psnr_foreground") in gains
    parts = {(each["column"], each["value"], each["method"]) for each in summary["strata"]}
    assert ("age", "old", "network") in parts


def test_one_person_has_no_intervals(table: Path) -> None:
    """Two scans of one person are one unit, and the summary says so."""
    table.write_text(table.read_text(encoding="utf-8").replace("p1", "p0"), encoding="utf-8")
    evaluated(table)
    summary = json.loads((table.parent / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["overall"][0]["metrics"]["psnr_foreground"]["interval"] == [None, None]
    assert summary["overall"][0]["differences"][0]["comparison"]["p_value"] is None
    assert "one person" in summary["remark"]
    page = (table.parent / "out" / "report.html").read_text(encoding="utf-8")
    assert "neither intervals nor p values" in page


def test_the_page_shows_one_case_and_needs_no_network(table: Path) -> None:
    """A chart for each axis, and a picture of cubic, network, truth, error and uncertainty."""
    evaluated(table, axes="axial,sagittal", thicknesses="2,4")
    page = (table.parent / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<polyline") == 3 * 6
    assert page.count('alt="Before, after, truth, error, uncertainty"') == 2
    assert "s0_axial-4mm_normal" in page
    assert "http" not in page.replace("http-equiv", "")


def test_what_is_finished_is_not_run_twice(table: Path) -> None:
    """The cases of a run that was broken off are there; to overwrite is to begin anew."""
    first = evaluated(table)
    network, seen = counted(sharpened)
    with pytest.raises(OutputExistsError):
        evaluated(table, network)
    for name in ("scores.csv", "summary.csv", "summary.json", "report.html"):
        (table.parent / "out" / name).unlink()
    again = evaluated(table, network)
    assert not seen
    assert repr(again.rows) == repr(first.rows)
    page = (table.parent / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count('alt="Before, after, truth, error, uncertainty"') == 1
    evaluated(table, network, overwrite=True)
    assert len(seen) == 2 * 2


def test_another_file_or_option_is_another_case(table: Path) -> None:
    """A finished case counts only for the files and the options that it was made from."""
    evaluated(table)
    out = table.parent / "out"
    for path in out.glob("*.*"):
        path.unlink()
    image, _ = head(7)
    write_image(image.data, table.parent / "t2w0.nii.gz", like=image, overwrite=True)
    network, seen = counted(sharpened)
    evaluated(table, network)
    assert len(seen) == 2
    for path in out.glob("*.*"):
        path.unlink()
    evaluated(table, network, noise=0.01)
    assert len(seen) == 2 + 4


def test_a_row_that_cannot_be_read_fails_alone(table: Path) -> None:
    """It is listed with its file, and the other row is scored."""
    (table.parent / "t2w0.nii.gz").write_text("no image", encoding="utf-8")
    result = evaluated(table)
    assert [each["id"] for each in result.failures] == ["s0"]
    assert "t2w0" in result.failures[0]["message"]
    assert {row["id"] for row in result.rows} == {"s1"}


def test_a_method_that_fails_is_listed_and_tried_again(table: Path) -> None:
    """The others are scored; what failed is no finished case."""
    result = evaluated(table, broken)
    assert "lost its weights" in result.failures[0]["message"]
    assert scores(table)["s0", "normal", "cubic"]["psnr_foreground"]
    assert "lost its weights" in scores(table)["s0", "normal", "network"]["error"]
    assert not list((table.parent / "out").glob("cells/*"))


def test_a_published_model_is_refused(table: Path) -> None:
    """It takes nothing but its atlas grid, and a page without it must not bear its name."""
    model = Loaded(SimpleNamespace(name="baby-ai", options=PublishedOptions()))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'baby-ai' works on its atlas grid alone"):
        ReconstructionEvaluation(model, table)
    assert not (table.parent / "out").exists()


def test_nothing_scored_is_an_error(table: Path) -> None:
    """A table of thick slices without references has nothing to be scored."""
    for place in range(2):
        image = Image(np.ones((8, 8, 8)) + np.eye(8), Affine.from_spacing((1, 1, 4)))
        write_image(image.data, table.parent / f"t2w{place}.nii.gz", like=image, overwrite=True)
    with pytest.raises(TableError, match=r"None of the 2 rows.*column 'reference'"):
        evaluated(table)


def test_what_was_learnt_from_is_not_scored(table: Path) -> None:
    """Of a table that was split only the part "test" counts."""
    text = table.read_text(encoding="utf-8").replace("young,test", "young,train")
    table.write_text(text, encoding="utf-8")
    assert {row["id"] for row in evaluated(table).rows} == {"s1"}
    table.write_text(text.replace(",test", ",validation"), encoding="utf-8")
    with pytest.raises(TableError, match="no row whose 'split' is 'test'"):
        evaluated(table, overwrite=True)


def test_stress_is_compared_with_the_normal_case(table: Path) -> None:
    """Only what looks at the T1w runs again; without it the network is what it is alone."""
    result = evaluated(table, stress="wrong,misaligned,missing,lesion")
    rows = scores(table)
    conditions = ["normal", "wrong T1w", "misaligned T1w", "no T1w", "lesion"]
    assert list(dict.fromkeys(key[1] for key in rows)) == conditions
    assert [key[2] for key in rows if key[:2] == ("s0", "wrong T1w")] == ["network", "guided"]
    psnr = {key[1:]: float(row["psnr_foreground"]) for key, row in rows.items() if key[0] == "s0"}
    assert psnr["no T1w", "network"] == psnr["normal", "T2w only"]
    assert psnr["wrong T1w", "network"] < psnr["normal", "network"]
    assert psnr["misaligned T1w", "network"] < psnr["normal", "network"]
    wrong = next(
        each
        for each in result.summary.methods
        if (each.condition, each.method) == ("wrong T1w", "network")
    )
    assert wrong.difference("itself, normal").comparison.mean_difference.value < 0
    assert wrong.difference("cubic") is not None
    assert wrong.difference("T2w only").comparison.second_better == 2
    kept = float(rows["s0", "lesion", "cubic"]["lesion_kept"])
    assert 0.5 < kept < 1.1
    page = (table.parent / "out" / "report.html").read_text(encoding="utf-8")
    assert "When something is wrong" in page


def test_a_scan_with_a_reference_is_reconstructed_as_it_is(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thick T2w, and a brighter truth on another grid: the scale is found from the slices."""
    from encephalon.studies.isotropic.simulation import SliceSettings, simulate_slices

    truth, _ = head(0)
    thick = simulate_slices(truth, SliceSettings("axial", 4.0))
    write_image(thick.data, table.parent / "thick.nii.gz", like=thick)
    brighter = Image((3 * truth.data[3:, ::-1] + 100).astype(np.float32), _flipped(truth.affine))
    write_image(brighter.data, table.parent / "truth.nii.gz", like=brighter)
    lines = ["id,t2w,reference", "s0,thick.nii.gz,truth.nii.gz"]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = evaluated(table)
    found = {row["method"]: row for row in result.rows}
    assert found["cubic"]["axis"] == "axial"
    assert found["cubic"]["thickness"] == 4.0
    simulated = _cubic_alone(truth)
    assert found["cubic"]["psnr_foreground"] == pytest.approx(simulated, abs=1.0)


def _flipped(affine: Affine) -> Affine:
    """The affine of the data[3:, ::-1] of a volume of the shape SHAPE."""
    matrix = affine.shifted((3, SHAPE[1] - 1, 0)).matrix.copy()
    matrix[:3, 1] *= -1
    return Affine(matrix)


def _cubic_alone(truth: Image) -> float:
    """PSNR of cubic on the simulated case of a scan."""
    from encephalon.metrics.image_quality import foreground, foreground_similarities
    from encephalon.studies.isotropic.simulation import SliceSettings, simulate_problem

    problem, known = simulate_problem(truth, None, SliceSettings("axial", 4.0))
    image = METHODS["cubic"](problem).image
    return foreground_similarities(known, image, {"": foreground(known)})[""].psnr


Progress = Callable[[int, int, str], None]


def test_progress_counts_cases(table: Path) -> None:
    """Each case is told, with how many there are."""
    told: list[tuple[int, int, str]] = []
    model = Loaded(
        Stub(sharpened, EvaluationOptions(axes="axial", thicknesses=(3.0, 4.0), bare=True))
    )
    study = ReconstructionEvaluation(model, table)
    evaluate(study, table.parent / "out", progress=lambda *each: told.append(each))
    assert told[0] == (1, 4, "s0_axial-3mm_normal")
    assert told[-1] == (4, 4, "s1_axial-4mm_normal")


def test_a_perfect_network_has_a_hundred_decibels(table: Path) -> None:
    """Equal images have no mean PSNR; 100 dB stand for them."""

    def oracle(problem: Problem) -> Estimate:
        guide = problem.guide
        truth = METHODS["cubic"](problem).image if guide is None else 1000 - guide
        return Estimate(np.asarray(truth, np.float32), np.abs(truth))

    result = evaluated(table, oracle)
    best = result.summary.methods[0]
    assert best.method == "network"
    assert best.metrics["psnr_foreground"].mean == 100.0
    assert best.metrics["ssim_foreground"].mean == pytest.approx(1)
    assert best.metrics["psnr_published"].mean == 100.0
    assert best.metrics["consistency"].mean < 1e-6

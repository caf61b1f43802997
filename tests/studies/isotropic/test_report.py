# SPDX-License-Identifier: Apache-2.0
"""A batch of reconstructions has a page, and every scan has one of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import OutputExistsError
from encephalon.geometry.affine import Affine, Grid
from encephalon.io.reading import read_image
from encephalon.reports import drawn as drawing
from encephalon.reports import slices
from encephalon.reports.batch import BatchReport
from encephalon.studies.isotropic.images import ScanFigures
from encephalon.studies.isotropic.quality import check_quality, measure_quality, values
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Problem, Stack
from encephalon.studies.isotropic.report import (
    acquisition_facts,
    batch_report,
    plane_of,
    scan_page,
)
from encephalon.synthetic.head import head_phantom
from encephalon.transforms.slices import SliceOperator, SliceProfile
from tests.studies.isotropic.thick_head import estimate, problem

ABOUT = {
    "model": {"name": "isotropic", "version": "1.0.0", "sha256": "ab" * 32, "mode": "default"},
    "runtime": "onnxruntime",
    "device": "cpu",
    "method": "network",
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head of 4 cm needs no large pictures."""
    monkeypatch.setattr(slices, "WIDTH", 450)


def scan(one: Problem | None = None, **more: Any) -> ScanFigures:
    """What is drawn of a small head."""
    one = one or problem()
    result = estimate(one)
    known = {"trained": (1.6, 6.5), "trusted": True} | more
    facts = {"Profile": "box"}
    moved = {"Moved by": "3.2 mm"}
    return ScanFigures(one, result, measure_quality(one, result, **known), None, facts, moved)


def row(name: str, shown: ScanFigures, **more: Any) -> dict[str, Any]:
    """A row as a batch makes it."""
    quality = check_quality(shown.metrics)
    cells = {"id": name, "source": f"/scans/{name}_T2w.nii.gz; /scans/{name}_T1w.nii.gz"}
    told = {"quality": quality.status, "reasons": "; ".join(quality.reasons)}
    files = {"t2w": f"{name}_t2w.nii.gz", "seconds": 12.34}
    return {**cells, **values(shown.metrics), **told, **files, **more}


def drawn(report: BatchReport, folder: Path, name: str, shown: ScanFigures, **more: Any) -> None:
    """Draw a scan into `folder`/report and add it to the page, as a batch does."""
    one = row(name, shown, **more)
    (folder / "report").mkdir(exist_ok=True)
    kept = report.draw(one, shown, folder / "report")
    report.add(one, lambda: kept)


def test_every_scan_has_a_page_of_its_own(tmp_path: Path) -> None:
    """Beside the page of the batch, which links to it; strange ids are quoted."""
    report, shown = batch_report(ABOUT), scan()
    for name in ("a", "b 1#"):
        drawn(report, tmp_path, name, shown)
    path = report.page(folder=tmp_path / "report").write(tmp_path / "report.html")
    assert sorted(each.name for each in (tmp_path / "report").iterdir()) == ["a.html", "b 1#.html"]
    links = re.findall(r'href="([^"]+)"', path.read_text(encoding="utf-8"))
    files = {"a_t2w.nii.gz", "b%201%23_t2w.nii.gz"}
    assert {"report/a.html", "report/b%201%23.html"} | files == set(links)


def test_a_page_holds_everything_it_needs(tmp_path: Path) -> None:
    """No page loads anything, and each is small."""
    report, shown = batch_report(ABOUT), scan()
    drawn(report, tmp_path, "a", shown)
    report.page(folder=tmp_path / "report").write(tmp_path / "report.html")
    pages = sorted(tmp_path.rglob("*.html"))
    assert [path.name for path in pages] == ["a.html", "report.html"]
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert all(source.startswith("data:") for source in re.findall(r'src="([^"]+)"', text))
        assert "http:" not in text
        assert "https:" not in text
        assert not re.search(r"<script[^>]+src", text)
        assert path.stat().st_size < 1_500_000


def test_the_page_of_a_scan_tells_all_that_is_known() -> None:
    """Findings, pictures, acquisition, registration, origin, and that it is an estimate."""
    shown = scan(warnings=("2 slices are empty",))
    page = scan_page(ABOUT, row("a", shown), shown).render()
    for words in (
        "an estimate and no measurement",
        "not for diagnosis",
        "2 slices are empty.",
        "Before: the measured slices",
        "Cubic interpolation",
        "After: the reconstruction",
        "Uncertainty",
        "What the slices contradict",
        "T1w under the edges of the T2w",
        "9 axial",
        "4 voxels a slice",
        "26 × 30 × 36",
        "Profile",
        "Moved by",
        "isotropic 1.0.0",
        "ab" * 32,
        "a_T1w.nii.gz",
        "a_t2w.nii.gz",
    ):
        assert words in page
    assert "/scans/" not in page
    assert page.count("<h2>") == 8
    assert page.count('name="viewer-image"') == 4  # before, after, uncertainty, T1w
    alts = re.findall(r'alt="([^"]*)" width', page)
    assert len(alts) == 6
    assert all(alts)


def test_a_scan_without_t1w_says_so() -> None:
    """No picture and no switch of edges."""
    shown = scan(problem(guided=False), trusted=None)
    page = scan_page(ABOUT, row("a", shown), shown).render()
    assert "rests on the T2w alone" in page
    assert "show-edges" not in page


def test_what_to_look_at_comes_first(tmp_path: Path) -> None:
    """Doubtful scans stand before the others, and failures before all."""
    report, good, doubtful = batch_report(ABOUT), scan(), scan(trusted=False)
    drawn(report, tmp_path, "fine", good)
    drawn(report, tmp_path, "odd", doubtful, status="skipped")
    page = report.page([("gone", "gone.nii.gz: the file is truncated.")]).render()
    assert page.index(">gone</td>") < page.index(">odd</h3>") < page.index(">fine</h3>")
    assert "the file is truncated." in page
    assert "3 scans, isotropic 1.0.0." in page
    assert page.count("skipped") == 2  # among the counts, and in the row of the scan


def test_rows_without_pictures_have_no_page(tmp_path: Path) -> None:
    """The published model has nothing to draw from."""
    report = batch_report(
        {"model": {"name": "old", "mode": "published"}, "notice": "As published."}
    )
    report.add({"id": "a", "quality": None, "t2w": "a_t2w.nii.gz", "seconds": ""})
    path = report.page(folder=tmp_path / "report").write(tmp_path / "report.html")
    assert not (tmp_path / "report").exists()
    text = path.read_text(encoding="utf-8")
    assert "As published." in text
    assert "a_t2w.nii.gz" in text


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    """Neither an earlier page of a batch, nor what stands in the place of that of a scan."""
    report, shown = batch_report(ABOUT), scan()
    earlier = tmp_path / "report" / "a.html"
    earlier.parent.mkdir()
    earlier.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputExistsError, match=r"a\.html"):
        drawn(report, tmp_path, "a", shown)
    assert earlier.read_text(encoding="utf-8") == "mine"
    drawn(report, tmp_path, "b", shown)
    drawn(report, tmp_path, "b", shown)
    report.page(folder=tmp_path / "report").write(tmp_path / "report.html")
    with pytest.raises(OutputExistsError, match=r"report\.html"):
        report.page(folder=tmp_path / "report").write(tmp_path / "report.html")


def test_a_large_batch_keeps_the_pictures_that_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the budget, unremarkable scans have theirs on their own page only."""
    monkeypatch.setattr(drawing, "PICTURE_BUDGET", 4)
    report, good, doubtful = batch_report(ABOUT), scan(), scan(trusted=False)
    for name, shown in (("a", good), ("b", good), ("c", doubtful)):
        drawn(report, tmp_path, name, shown)
    page = report.page((), tmp_path / "report").render()
    assert page.count("data:image/png") == 4
    assert "2 of 3 are shown" in page


def test_acquisitions_are_told_in_words() -> None:
    """Gaps, overlap, and slices that lie across the body."""
    assert acquisition_facts(problem(thickness=3))["Gap"] == "1 mm"
    assert acquisition_facts(problem(thickness=5))["Gap"] == "none, slices overlap by 1 mm"
    assert acquisition_facts(problem())["Scans of thick slices"] is None
    turn = np.deg2rad(20)
    tilted = [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
    assert plane_of(Affine.from_parts(tilted, 1.0, (0, 0, 0))) == "axial, 20° oblique"
    assert plane_of(Affine.from_parts(np.eye(3)[:, [0, 2, 1]], 1.0, (0, 0, 0))) == "coronal"


@pytest.mark.parametrize("source", ["phantom", pytest.param("real", marks=pytest.mark.data)])
def test_the_pages_of_a_whole_scan_are_small(
    source: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A noisy head with skull and neck, at full size."""
    monkeypatch.undo()
    if source == "real":
        heads = request.getfixturevalue("data") / "heads"
        image = read_image(heads / "ds000011/sub-01/anat/sub-01_inplaneT2.nii.gz")
    else:
        size, edges = (160, 192, 30), (1.25, 1.25, 5.0)
        image = head_phantom(size, edges, contrast="t2", noise=0.05, detail=2.0).image
    operator = SliceOperator.of(SliceProfile("box"), 5.0, np.arange(30) * 5 + 1.875, 120, 1.25)
    place = np.diag([1, 1, 0.25, 1])
    place[2, 3] = -0.375
    grid = Grid((*image.shape[:2], 120), image.affine @ Affine(place))
    one = Problem((Stack(image.data.astype(np.float32), grid, operator),), 2)
    volume = operator.interpolate(one.stack.slices)
    result = Estimate(volume, np.abs(np.gradient(volume, axis=2)).astype(np.float32))
    shown = ScanFigures(one, result, measure_quality(one, result, other=volume))
    report = batch_report(ABOUT)
    drawn(report, tmp_path, "sub-01", shown)
    report.page(folder=tmp_path / "report").write(tmp_path / "report.html")
    assert (tmp_path / "report" / "sub-01.html").stat().st_size < 4_500_000

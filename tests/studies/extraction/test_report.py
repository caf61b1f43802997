# SPDX-License-Identifier: Apache-2.0
"""The page of a batch shows what to look at first, and every scan that was tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import OutputExistsError
from encephalon.io.image import Image
from encephalon.reports import drawn as drawing
from encephalon.reports.batch import model_name, reasons_of
from encephalon.reports.drawn import Drawn
from encephalon.studies.extraction.images import ShownScan
from encephalon.studies.extraction.report import batch_report

ABOUT = {
    "model": {
        "name": "brain-extraction",
        "version": "1.0.0",
        "sha256": "ab" * 32,
        "mode": "default",
    },
    "runtime": "onnxruntime",
    "device": "cpu",
}


def row(name: str, quality: str = "ok", **more: Any) -> dict[str, Any]:
    """A row as a batch makes it."""
    known = {"id": name, "source": f"/scans/{name}.nii.gz", "mask": f"{name}_mask.nii.gz"}
    return {**known, "volume_ml": 1400.4, "seconds": 1.93, "quality": quality, **more}


@pytest.fixture
def shown(head: Image, brain: np.ndarray) -> ShownScan:
    """A scan and its mask."""
    return ShownScan(head.data, head.affine, brain)


@pytest.fixture
def drawn(shown: ShownScan, tmp_path: Path) -> Callable[[], Drawn]:
    """What returns what was drawn of a scan, as a batch reads it."""
    markup = batch_report(ABOUT).draw(row("a"), shown, tmp_path)
    return lambda: markup


def test_what_to_look_at_comes_first(drawn: Callable[[], Drawn]) -> None:
    """Failed scans stand before doubtful ones, and those before the rest."""
    report = batch_report(ABOUT)
    for name, quality in (("a", "ok"), ("b", "check"), ("c", "fail")):
        report.add(row(name, quality), drawn)
    page = report.page().render()
    assert page.index(">c</h3>") < page.index(">b</h3>") < page.index(">a</h3>")


def test_a_scan_is_shown_with_all_that_is_known(drawn: Callable[[], Drawn]) -> None:
    """Pictures, volume, seconds, reasons, files, model and hash stand on the page."""
    report = batch_report(ABOUT)
    report.add(row("a", "check", reasons="touches the upper edge; two large pieces"), drawn)
    page = report.page().render()
    for words in (
        "1400.4 mL",
        "1.9 s",
        "Touches the upper edge.",
        "Two large pieces.",
        "a.nii.gz",
        "a_mask.nii.gz",
        "brain-extraction 1.0.0",
        "ab" * 32,
    ):
        assert words in page
    assert "/scans/" not in page
    assert page.count("layer layer-prediction") == 2


def test_scans_without_a_mask_are_named_with_their_reason() -> None:
    """A file that could not be read is on the page, and counts as failed."""
    page = batch_report(ABOUT).page([("b", "b.nii.gz: the file is truncated.")]).render()
    assert "b.nii.gz: the file is truncated." in page
    assert "1 scan, " in page


def test_pictures_are_drawn_when_the_page_asks_for_them(shown: ShownScan, tmp_path: Path) -> None:
    """What draws them is called; nothing is shown as nothing."""
    report = batch_report(ABOUT)
    drawn = [report.draw(row("a"), each, tmp_path) for each in (shown, None)]
    assert ["".join(each.pictures).count("data:image/png") for each in drawn] == [4, 0]
    assert [each.thumbnail is None for each in drawn] == [False, True]


def test_a_large_batch_leads_to_pictures_beside_it(
    shown: ShownScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the budget a scan has its row and its own page; doubtful ones have their own budget."""
    monkeypatch.setattr(drawing, "PICTURE_BUDGET", 4)
    report, folder = batch_report(ABOUT), tmp_path / "report"
    for name, quality in (("a", "ok"), ("b", "ok"), ("c", "check"), ("d", "check")):
        one = row(name, quality)
        made = report.draw(one, shown, folder)
        report.add(one, lambda made=made: made)
    page = report.page(folder=folder).render()
    assert page.count("layer layer-prediction") == 4
    assert page.count("<article") == 2
    assert "2 of 4 are shown" in page
    for name in "abcd":
        assert f'<a href="report/{name}.html">{name}</a>' in page


def test_a_thousand_scans_stay_below_15_mb(shown: ShownScan, tmp_path: Path) -> None:
    """Each has its thumbnail, its dot, its rating and its links."""
    report, folder = batch_report(ABOUT), tmp_path / "report"
    made = report.draw(row("a"), shown, folder)
    for number in range(1000):
        report.add(row(f"sub-{number:04}", volume_ml=1200.0 + number), lambda: made)
    page = report.page(folder=folder).render()
    assert len(page) < 15_000_000
    assert page.count('<span class="rate"') == page.count("<circle") == 1000


def test_the_page_of_a_scan_leads_to_its_files_and_back(shown: ShownScan, tmp_path: Path) -> None:
    """It has a viewer of all slices, and where a file was read from is nobody's business."""
    folder = tmp_path / "report"
    batch_report(ABOUT).draw(row("a", "check", reasons="it is small"), shown, folder)
    page = (folder / "a.html").read_text(encoding="utf-8")
    assert page.count('class="viewer"') == 1
    assert '<a href="../a_mask.nii.gz"><code>a_mask.nii.gz</code></a>' in page
    assert 'href="../report.html"' in page
    assert "It is small." in page
    assert "/scans/" not in page


def test_a_research_notice_is_passed_on() -> None:
    """The notice of a model of tumours stands above its masks, which are called by their name."""
    report = batch_report({**ABOUT, "notice": "For research only: planted."})
    report.add(row("a"))
    assert "For research only: planted." in report.page().render()
    assert "Tumour masks" in report.page().render()


def test_an_existing_page_is_kept(drawn: Callable[[], Drawn], tmp_path: Path) -> None:
    """The page is one file, and is not replaced unasked."""
    report = batch_report(ABOUT)
    report.add(row("a"), drawn)
    path = report.page(folder=tmp_path / "report").write(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8").count("layer layer-prediction") == 2
    with pytest.raises(OutputExistsError):
        report.page(folder=tmp_path / "report").write(path)


def test_models_are_named_whatever_they_say_of_themselves() -> None:
    """A plain name, a nested description and none at all."""
    assert model_name(ABOUT) == "brain-extraction 1.0.0"
    assert model_name({"model": "mine", "version": "2"}) == "mine 2"
    assert model_name({}) == "unknown model"


def test_reasons_become_sentences() -> None:
    """Words from a table cell are parted and given capitals and full stops."""
    assert reasons_of({"reasons": "small; cut off."}) == ["Small.", "Cut off."]
    assert reasons_of({"reasons": ("one",)}) == ["One."]
    assert reasons_of({}) == []

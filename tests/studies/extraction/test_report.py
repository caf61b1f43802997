# SPDX-License-Identifier: Apache-2.0
"""The page of a batch shows what to look at first, and every scan that was tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import OutputExistsError
from encephalon.io.image import Image
from encephalon.reports import batch
from encephalon.reports.batch import model_name, reasons_of
from encephalon.reports.format import Html
from encephalon.reports.images import Picture
from encephalon.studies.extraction.report import batch_report, scan_pictures

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
def pictures(head: Image, brain: np.ndarray) -> tuple[Picture, ...]:
    """The pictures of a scan and its mask."""
    return scan_pictures(head.data, head.affine, brain)


@pytest.fixture
def drawn(pictures: tuple[Picture, ...], tmp_path: Path) -> Callable[[], Sequence[Html]]:
    """What returns what was drawn of a scan, as a batch reads it."""
    markup = batch_report(ABOUT).draw(row("a"), lambda: pictures, tmp_path)
    return lambda: markup


def test_what_to_look_at_comes_first(drawn: Callable[[], Sequence[Html]]) -> None:
    """Failed scans stand before doubtful ones, and those before the rest."""
    report = batch_report(ABOUT)
    for name, quality in (("a", "ok"), ("b", "check"), ("c", "fail")):
        report.add(row(name, quality), drawn)
    page = report.page().render()
    assert page.index(">c</h3>") < page.index(">b</h3>") < page.index(">a</h3>")


def test_a_scan_is_shown_with_all_that_is_known(drawn: Callable[[], Sequence[Html]]) -> None:
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


def test_pictures_are_drawn_when_the_page_asks_for_them(
    pictures: tuple[Picture, ...], tmp_path: Path
) -> None:
    """What draws them is called; nothing is shown as nothing."""
    report = batch_report(ABOUT)
    drawn = [report.draw(row("a"), shown, tmp_path) for shown in (lambda: pictures, None)]
    assert ["".join(each).count("data:image/png") for each in drawn] == [4, 0]


def test_a_large_batch_keeps_the_pictures_that_matter(
    drawn: Callable[[], Sequence[Html]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the budget, unremarkable scans lose their pictures and doubtful ones keep them."""
    monkeypatch.setattr(batch, "PICTURE_BUDGET", 1)
    report = batch_report(ABOUT)
    report.add(row("a"), drawn)
    report.add(row("b"), drawn)
    report.add(row("c", "check"), drawn)
    page = report.page().render()
    assert page.count("layer layer-prediction") == 4
    assert page.count("left out to keep this page small") == 1


def test_a_research_notice_is_passed_on() -> None:
    """The notice of a model of tumours stands above its masks, which are called by their name."""
    report = batch_report({**ABOUT, "notice": "For research only: planted."})
    report.add(row("a"))
    assert "For research only: planted." in report.page().render()
    assert "Tumour masks" in report.page().render()


def test_an_existing_page_is_kept(drawn: Callable[[], Sequence[Html]], tmp_path: Path) -> None:
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

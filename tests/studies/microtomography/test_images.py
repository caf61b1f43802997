# SPDX-License-Identifier: Apache-2.0
"""A volume and its structures are scrolled through on a page of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from encephalon.io.volumes.opening import open_volume
from encephalon.reports.images import Picture
from encephalon.studies.microtomography import images
from encephalon.studies.microtomography.images import ShownVolume, middle
from encephalon.studies.microtomography.report import batch_report
from tests.reports.accessibility import violations
from tests.reports.browser import Browser

CLASSES = ["background", "vessel", "cell"]
ABOUT: dict[str, Any] = {
    "model": {"name": "microstructure", "version": "1.0"},
    "classes": CLASSES,
    "target": "structure",
}
SHAPE = (6, 20, 30)


def voxels() -> np.ndarray[Any, Any]:
    """Brighter from slice to slice."""
    rng = np.random.default_rng(0)
    slices = np.arange(SHAPE[0])[:, None, None]
    return (100 + 10 * slices + rng.integers(0, 5, SHAPE)).astype(np.uint8)


def labels() -> np.ndarray[Any, Any]:
    """A vessel in the upper left corner of all slices, a cell in the middle of one."""
    found = np.zeros(SHAPE, np.uint8)
    found[:, :5, :5] = 1
    found[3, 8:12, 12:18] = 2
    return found


def shown(**more: Any) -> ShownVolume:
    def picture() -> Picture:
        return Picture(np.zeros((4, 4), np.uint8), "slice")

    return ShownVolume(picture, voxels(), labels(), **more)


def facts(markup: str) -> dict[str, Any]:
    """What the script of the viewer is told."""
    start = markup.index('class="viewer-facts">') + len('class="viewer-facts">')
    return dict(json.loads(markup[start : markup.index("</script>", start)]))


@pytest.mark.parametrize("spacing", [None, (2.0, 0.5, 0.25)])
def test_places_are_those_of_the_whole_volume_and_rows_run_downwards(spacing: Any) -> None:
    """The first voxel, at the upper left, is told with the place that it has in the volume."""
    first = (7, 100, 200)
    told = facts(shown(spacing=spacing, first=first).viewer(CLASSES))
    x, y, z = told["shape"]
    assert (z, y, x) == SHAPE
    place = np.array(told["affine"]) @ [0, y - 1, 0, 1]
    edges = spacing or (1.0, 1.0, 1.0)
    np.testing.assert_allclose(place[::-1], np.multiply(first, edges))
    below = np.array(told["affine"]) @ [0, y - 2, 0, 1]
    assert below[1] - place[1] == pytest.approx(edges[1])
    assert told["unit"] == ("voxels" if spacing is None else "µm")


def test_classes_are_told_by_their_names() -> None:
    told = facts(shown().viewer(CLASSES))
    assert [each["name"] for each in told["labels"]] == ["vessel", "cell"]
    assert told["outside"] == "background"
    bare = ShownVolume(lambda: Picture(np.zeros((1, 1), np.uint8), ""), voxels(), None)
    assert facts(bare.viewer([]))["labels"] == []


def test_of_a_large_volume_its_middle_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "SHOWN", (2, 10, 10))
    monkeypatch.setattr(images, "PICTURED", (1, 20, 12))
    tifffile.imwrite(tmp_path / "image.tif", voxels())
    volume = open_volume(tmp_path / "image.tif")
    assert middle(volume, (2, 10, 10)) == ((2, 4), (5, 15), (10, 20))
    found = ShownVolume.of_volume("one", volume, None)
    np.testing.assert_array_equal(found.voxels, voxels()[2:4, 5:15, 10:20])
    assert found.first == (2, 5, 10)
    width, height = found().size
    assert height / width == pytest.approx(20 / 12, rel=0.01)


def test_a_volume_has_a_page_and_a_picture_of_one_slice_has_none(tmp_path: Path) -> None:
    report = batch_report(ABOUT)
    (tmp_path / "report").mkdir()
    flat = ShownVolume(shown().picture, voxels()[:1], labels()[:1])
    for name, one in (("deep", shown()), ("flat", flat)):
        row = {"id": name, "source": f"/x/{name}.tif", "structures": f"{name}_dseg.ome.zarr"}
        row |= {"percent_vessel": 5.0, "percent_cell": 1.0, "seconds": 0.1}
        kept = report.draw(row, one, tmp_path / "report")
        report.add(row, lambda kept=kept: kept)
    page = report.page(folder=tmp_path / "report").render()
    assert [each.name for each in (tmp_path / "report").iterdir()] == ["deep.html"]
    assert 'href="report/deep.html"' in page
    own = (tmp_path / "report" / "deep.html").read_text(encoding="utf-8")
    assert 'href="../deep_dseg.ome.zarr"' in own
    assert "the middle 6 slices of 20 × 30 pixels" in own
    assert "/x/" not in own


def test_the_page_of_a_volume_is_explored_without_a_network(
    browser: Browser, tmp_path: Path
) -> None:
    """Slices are scrolled, places are told in µm, and nobody is kept out."""
    row = {"id": "deep", "source": "deep.tif", "percent_vessel": 5.0}
    one = shown(spacing=(2.0, 0.5, 0.5))
    batch_report(ABOUT).draw(row, one, tmp_path)
    browser.requests.clear()
    browser.errors.clear()
    browser.size(1200, 900)
    address = (tmp_path / "deep.html").as_uri()
    browser.open(address)
    said = browser.wait("document.querySelector('.viewer-said').textContent")
    assert " µm · about " in said
    browser.run("document.querySelectorAll('canvas')[2].focus()")
    slices = "document.querySelectorAll('.viewer-slice')[2].nextElementSibling.textContent"
    before = browser.run(slices)
    browser.press("PageUp")
    assert browser.run(slices) != before
    assert violations(browser) == []
    assert browser.requests == [address]
    assert browser.errors == []

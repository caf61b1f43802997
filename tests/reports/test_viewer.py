# SPDX-License-Identifier: Apache-2.0
"""A volume is looked at slice by slice in a real browser, which asks nobody for anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine
from encephalon.reports import viewer
from encephalon.reports.images import AMBER
from encephalon.reports.page import Page
from encephalon.reports.viewer import ViewedImage, ViewedLabel, volume_viewer
from tests.reports.accessibility import violations
from tests.reports.browser import Browser

# Columns to the left, rows to the back: the viewer must turn them round.
AFFINE = Affine(np.diag([-1.5, -1.0, 2.0, 1.0]))
SHAPE = (30, 40, 20)
LABELS = [ViewedLabel(1, "brain", AMBER)]
SAID = "document.querySelector('.viewer-said').textContent"


def volume() -> np.ndarray[Any, Any]:
    """Bright everywhere, and brighter to the right, to the front and to the top."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    right, front = SHAPE[0] - 1 - x, SHAPE[1] - 1 - y
    return (200.0 + 4 * right + 2 * front + 8 * z).astype(np.float32)


def mask() -> np.ndarray[Any, Any]:
    found = np.zeros(SHAPE, np.uint8)
    found[10:20, 10:30, 5:15] = 1
    return found


def facts(markup: str) -> dict[str, Any]:
    """What the script is told."""
    start = markup.index('class="viewer-facts">') + len('class="viewer-facts">')
    return dict(json.loads(markup[start : markup.index("</script>", start)]))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thick slices, what was made of them, and a mask."""
    whole, places = volume(), np.repeat(np.arange(5), 4)
    images = [ViewedImage("Before", whole[..., 2::4], places), ViewedImage("After", whole)]
    shown = volume_viewer(images, AFFINE, mask(), LABELS)
    path = tmp_path_factory.mktemp("page") / "scan.html"
    return Page("Scan").section("Slices", shown).write(path)


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Browser]:
    """The page; whatever is done with it, nothing is asked for and nothing goes wrong."""
    browser.requests.clear()
    browser.errors.clear()
    browser.size(1200, 900)
    browser.open(page.as_uri())
    yield browser
    assert browser.requests == [page.as_uri()]
    assert browser.errors == []


def test_places_are_told_in_the_millimetres_of_the_scanner() -> None:
    """The first voxel of the viewer is the left, rear, lower one."""
    told = facts(volume_viewer([ViewedImage("Scan", volume())], AFFINE, mask(), LABELS))
    assert told["shape"] == list(SHAPE)
    corner = np.array(told["affine"]) @ [0, 0, 0, 1]
    np.testing.assert_allclose(corner, [-1.5 * 29, -39, 0])
    np.testing.assert_allclose(np.array(told["affine"])[:, :3], np.diag([1.5, 1.0, 2.0]))


def test_large_volumes_are_shown_by_means_of_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no page is too large; places stay true."""
    monkeypatch.setattr(viewer, "MOST_VOXELS", 4000)
    told = facts(volume_viewer([ViewedImage("Scan", volume())], AFFINE, mask(), LABELS))
    assert np.prod(told["shape"]) <= 4000
    steps = np.diag(np.array(told["affine"])[:, :3]) / [1.5, 1.0, 2.0]
    first = np.array([-1.5 * 29, -39, 0]) + np.array([1.5, 1, 2]) * (steps - 1) / 2
    np.testing.assert_allclose(np.array(told["affine"])[:, 3], first)


def test_what_is_on_another_grid_is_refused() -> None:
    with pytest.raises(GeometryError, match="mask"):
        volume_viewer([ViewedImage("Scan", volume())], AFFINE, mask()[1:], LABELS)


@pytest.mark.parametrize("odd", [np.zeros(SHAPE), np.full(SHAPE, np.nan), np.ones((1, 1, 1))])
def test_volumes_with_nothing_in_them_have_a_viewer(odd: np.ndarray[Any, Any]) -> None:
    """Nothing, nothing finite, and a single voxel."""
    told = facts(volume_viewer([ViewedImage("Scan", odd)], AFFINE))
    assert min(told["shape"]) >= 1


def test_the_voxel_under_the_crosshair_is_told(opened: Browser) -> None:
    """Where it is, how bright, and whether it is in the mask: the middle of the mask at first."""
    said = opened.wait(SAID)
    assert "brain" in said
    x, y, z = (float(part.split()[1]) for part in said.split(" · ")[0].split(", "))
    i, j, k = np.rint(np.linalg.inv(AFFINE.matrix) @ [x, y, z, 1])[:3].astype(int)
    assert mask()[i, j, k] == 1
    value = float(said.split("about ")[1].split(" ")[0])
    assert value == pytest.approx(volume()[i, j, k], abs=6)


def test_keys_move_scroll_zoom_and_change_the_image(opened: Browser) -> None:
    """All that a mouse does is done with the keyboard too."""
    opened.run("document.querySelectorAll('canvas')[2].focus()")
    slider = "Number(document.querySelectorAll('.viewer-slice')[{}].value)"
    at = [opened.run(slider.format(axis)) for axis in range(3)]
    for key in ("ArrowRight", "ArrowUp", "PageUp", "+"):
        opened.press(key)
    moved = [opened.run(slider.format(axis)) for axis in range(3)]
    assert moved == [each + 1 for each in at]
    assert float(opened.run("document.querySelector('[data-control=\"zoom\"]').value")) == 1.25
    opened.press("f")
    assert opened.run("document.querySelector('[data-image=\"1\"]').checked")
    opened.press("0")
    assert [opened.run(slider.format(axis)) for axis in range(3)] == at


def test_a_click_moves_the_other_planes_there(opened: Browser) -> None:
    before = opened.run("document.querySelectorAll('.viewer-slice')[2].value")
    opened.click("canvas[data-of='0']")
    x, y = opened.middle("canvas[data-of='0']")
    opened.mouse("mousePressed", x, y - 40)
    opened.mouse("mouseReleased", x, y - 40)
    assert opened.run("document.querySelectorAll('.viewer-slice')[2].value") != before


def test_the_mask_is_laid_over_as_strongly_as_is_asked(opened: Browser) -> None:
    """Without it pixels are grey, with it they have its colour."""
    middle = """new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
        const plane = document.querySelectorAll('canvas')[2];
        const one = document.createElement('canvas');
        const pen = one.getContext('2d', { willReadFrequently: true });
        pen.drawImage(plane, 12 - plane.width / 2, 12 - plane.height / 2);
        done([...pen.getImageData(0, 0, 1, 1).data].slice(0, 3)); })))"""

    def colour(opacity: int) -> list[int]:
        opened.choose("[data-control='opacity']", str(opacity))
        return list(opened.run(middle))

    grey, pure = colour(0), colour(100)
    assert max(grey) - min(grey) <= 2
    assert np.abs(np.subtract(pure, AMBER)).max() <= 2


def test_before_and_after_flicker(opened: Browser) -> None:
    """They change by turns until it is pressed again."""
    checked = "document.querySelector('[data-image]:checked').dataset.image"
    opened.run(f"window.seen = ''; setInterval(() => (seen += {checked}), 50)")
    opened.click("[data-control='flicker']")
    opened.wait("/1+0+1/.test(seen)")
    opened.click("[data-control='flicker']")
    assert opened.run("document.querySelector('[aria-pressed=true]') === null")


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_everybody_can_use_it(opened: Browser, width: int, scheme: str) -> None:
    """On a screen and on a phone; nothing is wider than the window."""
    opened.size(width, 800, scheme)
    assert violations(opened) == []
    assert opened.run("document.documentElement.scrollWidth") <= width


def test_left_and_right_change_places_where_the_reader_wants_it(opened: Browser) -> None:
    """In the planes that have both: what is clicked and what an arrow key does follow."""
    slider = "Number(document.querySelectorAll('.viewer-slice')[{}].value)"

    def moved(plane: int, axis: int) -> int:
        before = opened.run(slider.format(axis))
        opened.run(f"document.querySelectorAll('canvas')[{plane}].focus()")
        opened.press("ArrowRight")
        return int(opened.run(slider.format(axis)) - before)

    def clicked() -> int:
        x, y = opened.middle("canvas[data-of='2']")
        opened.mouse("mousePressed", x + 60, y)
        opened.mouse("mouseReleased", x + 60, y)
        return int(opened.run(slider.format(0)))

    assert (moved(0, 1), moved(1, 0), moved(2, 0)) == (1, 1, 1)
    right = clicked()
    opened.click("[data-control='mirror']")
    assert (moved(0, 1), moved(1, 0), moved(2, 0)) == (1, -1, -1)
    assert abs(SHAPE[0] - 1 - right - clicked()) <= 1
    opened.click("[data-control='reset']")
    assert not opened.run("document.querySelector('[data-control=mirror]').checked")


def test_it_is_on_paper(opened: Browser) -> None:
    """What was shown last is printed as pictures, and what is clicked is not."""
    display = "getComputedStyle(document.querySelector('{}')).display"
    opened.wait("document.querySelector('.viewer').dataset.kept")
    assert opened.run(display.format(".viewer-printed")) == "none"
    opened.call("Emulation.setEmulatedMedia", media="print")
    assert opened.run(display.format(".viewer-controls")) == "none"
    assert opened.run(display.format(".viewer canvas")) == "none"
    assert opened.run(display.format(".viewer-printed")) == "block"
    drawn = "[...document.querySelectorAll('.viewer-printed')].map((one) => one.naturalWidth)"
    assert min(opened.run(drawn)) > 100
    # Before anything is shown there is no black box.
    opened.run("delete document.querySelector('.viewer').dataset.kept")
    assert opened.run("getComputedStyle(document.querySelector('section')).display") == "none"
    assert opened.call("Page.printToPDF", printBackground=False)["data"]
    opened.call("Emulation.setEmulatedMedia", media="")

# SPDX-License-Identifier: Apache-2.0
"""Tables are sorted, filtered and rated in a real browser, which asks nobody for anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from encephalon.io.text import read_records
from encephalon.reports.blocks import badge, confusion_table, table
from encephalon.reports.format import Html
from encephalon.reports.images import Picture
from encephalon.reports.own_pages import rating, rating_bar, thumbnail
from encephalon.reports.page import Page
from encephalon.reports.strips import StripPoint, strip_chart
from tests.reports.accessibility import violations
from tests.reports.browser import Browser

VOLUMES = [1203.5, -2.5, 980.0, 1e-5, 12.0, 1500.0, None, 7.0, 11.0]
SHOWN = "[...document.querySelectorAll('.sortable tbody tr')].filter((row) => !row.hidden)"
NAMES = f"{SHOWN}.map((row) => row.cells[0].textContent)"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "id": f"sub-{place}",
            "volume": volume,
            "quality": badge("check" if place % 3 else "ok"),
            "why": "The field of view cuts the brain at the top." if place % 3 else None,
            "rating": rating(f"sub-{place}"),
        }
        for place, volume in enumerate(VOLUMES)
    ]
    named = {
        "id": "Scan",
        "volume": "Volume",
        "quality": "Quality",
        "why": "Why",
        "rating": "Rating",
    }
    strip = {"ok": [StripPoint(1.0, "sub-1: 1 mL", "#a")], "check": [StripPoint(2.0, "sub-2")]}
    page = Page("Scans").section("All", strip_chart(strip, "volume, mL"))
    matrix = confusion_table(["sham", "stroke"], [[29, 7], [6, 30]])
    return page.add(rating_bar(), table(named, rows), matrix).write(
        tmp_path_factory.mktemp("page") / "report.html"
    )


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Browser]:
    """The page; whatever is done with it, nothing is asked for and nothing goes wrong."""
    browser.requests.clear()
    browser.errors.clear()
    browser.size(1200, 900)
    browser.open(page.as_uri())
    yield browser
    assert set(browser.requests) == {page.as_uri()}
    assert browser.errors == []


def test_numbers_are_sorted_as_numbers(opened: Browser) -> None:
    """Also below 0, with powers of ten and both ways; what is missing is last."""
    rising = ["sub-1", "sub-3", "sub-7", "sub-8", "sub-4", "sub-2", "sub-0", "sub-5", "sub-6"]
    opened.click("th:nth-child(2) button")
    assert opened.run(NAMES) == rising
    opened.click("th:nth-child(2) button")
    assert opened.run(NAMES) == [*rising[-2::-1], "sub-6"]
    assert opened.run("document.querySelector('[aria-sort]').ariaSort") == "descending"


def test_rows_are_filtered_by_words_and_by_quality(opened: Browser) -> None:
    opened.run("document.querySelector('.table-tools input').focus()")
    opened.type(".table-tools input", "FIELD sub-4")
    assert opened.run(NAMES) == ["sub-4"]
    assert opened.run("document.querySelector('.table-tools output').textContent") == "1 of 9 rows"
    opened.type(".table-tools input", " ")
    opened.choose(".table-tools select", "ok")
    assert opened.run(NAMES) == ["sub-0", "sub-3", "sub-6"]


def test_ratings_are_kept_and_saved_as_a_table(opened: Browser, page: Path) -> None:
    """After the page was closed as well; a second press takes a rating back."""
    opened.click("[data-rate='sub-2'] button:nth-child(2)")
    opened.click("[data-rate='sub-4'] button:nth-child(1)")
    opened.click("[data-rate='sub-5'] button:nth-child(1)")
    opened.click("[data-rate='sub-5'] button:nth-child(1)")
    opened.run("document.querySelector('[data-rate=sub-2] input').focus()")
    opened.type("[data-rate='sub-2'] input", "neck\tis left")
    opened.run("document.activeElement.blur()")
    opened.open(page.as_uri())
    opened.run("document.querySelector('.rating-bar input').focus()")
    opened.type(".rating-bar input", "AB")
    opened.run("document.activeElement.blur()")
    assert "2 of 9 rated" in opened.run("document.querySelector('.rating-bar output').textContent")
    opened.click(".rating-bar button")
    lines = opened.downloaded("ratings.tsv").decode().splitlines()
    assert [line.split("\t")[:4] for line in lines] == [
        ["id", "rating", "comment", "rater"],
        ["sub-2", "bad", "neck is left", "AB"],
        ["sub-4", "good", "n/a", "AB"],
    ]


def test_ratings_are_read_back_as_they_were_written(
    opened: Browser, page: Path, tmp_path: Path
) -> None:
    """Quotes part no cells and hide no rows, no spreadsheet computes a comment, and what was typed
    last is there although the page was closed before its field was left."""
    comments = ["=1+2", '"neck" is left', '-ears, "', "@both\u2028lines", "-1", "'=x", "last"]
    for place, words in enumerate(comments):
        opened.run(f"document.querySelector('[data-rate=sub-{place}] input').focus()")
        opened.type(f"[data-rate='sub-{place}'] input", words)
    opened.open(page.as_uri())
    (opened.folder / "ratings.tsv").unlink(missing_ok=True)
    opened.click(".rating-bar button")
    path = tmp_path / "ratings.tsv"
    path.write_bytes(opened.downloaded("ratings.tsv"))
    _, rows = read_records(path)
    kept = [words.replace("\u2028", " ") for words in comments]
    assert [row["comment"] for row in rows if row["comment"] != "n/a"] == kept
    shown = pd.read_csv(path, sep="\t", keep_default_na=False).set_index("id")["comment"]
    assert list(shown)[:3] == ["'=1+2", '"neck" is left', "'-ears, \""]


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")])
def test_everybody_can_use_it(opened: Browser, width: int, scheme: str) -> None:
    """On a screen, a dark one and a phone; nothing is wider than the window."""
    opened.size(width, 800, scheme)
    opened.click("th:nth-child(1) button")
    opened.click("[data-rate='sub-1'] button")
    assert violations(opened) == []
    assert opened.run("document.documentElement.scrollWidth") <= width


def test_a_name_of_200_letters_is_no_wider_than_the_window(
    browser: Browser, tmp_path: Path
) -> None:
    """It is broken where it must be, as a title and in a table."""
    name = "n" * 200
    rows = [{"id": name, "rating": rating(name)}]
    shown = Page(name).add(rating_bar(), table({"id": "Scan", "rating": "Rating"}, rows))
    browser.size(390, 900)
    browser.open(shown.write(tmp_path / "long.html").as_uri())
    assert browser.run("document.querySelector('h1').scrollWidth") <= 390
    assert browser.run("document.documentElement.scrollWidth") <= 390


def test_a_table_with_ratings_fits_a_window_of_1200_pixels(
    browser: Browser, tmp_path: Path
) -> None:
    """With a thumbnail, six numbers and reasons that take several lines."""
    picture = thumbnail(Picture(np.zeros((88, 190), np.uint8), ""))
    numbers = {str(n): 4.25 for n in range(6)}
    heads = (
        "Slices,\xa0mm",
        "Ratio",
        "Off the slices,\xa0%",
        "Uncertain,\xa0%",
        "Time,\xa0s",
        "mL",
    )
    named = {
        "look": "Picture",
        "id": "Scan",
        "quality": "Quality",
        **dict(zip(numbers, heads, strict=False)),
    }
    row = {
        "look": Html(f'<a class="thumbnail" href="#a">{picture}</a>'),
        "id": "sub-001_ses-01_T2w",
        "quality": badge("check"),
        "why": "Nothing says how thick its slices are, so they were taken as 5 mm without a gap.",
        **numbers,
    }
    rows = [{**row, "rating": rating(f"sub-{n}")} for n in range(9)]
    shown = Page("Scans").add(table({**named, "why": "Reasons", "rating": "Rating"}, rows))
    browser.size(1200, 900)
    browser.open(shown.write(tmp_path / "wide.html").as_uri())
    browser.wait("document.querySelector('.rate button') !== null")
    wide = "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)"
    assert browser.run(f"{wide}(document.querySelector('.scroll'))") <= 0


def test_ratings_of_many_rows_are_there_when_they_are_seen(
    browser: Browser, tmp_path: Path
) -> None:
    """A page of a thousand scans opens without three thousand buttons."""
    rows = [{"id": f"sub-{n}", "rating": rating(f"sub-{n}")} for n in range(300)]
    shown = Page("Scans").add(rating_bar(), table({"id": "Scan", "rating": "Rating"}, rows))
    browser.size(1200, 900)
    browser.open(shown.write(tmp_path / "many.html").as_uri())
    browser.wait("document.querySelector('[data-rate=sub-0] button') !== null")
    assert browser.run("document.querySelectorAll('.rate button').length") < 300
    browser.run("document.querySelector('[data-rate=sub-299]').scrollIntoView()")
    browser.wait("document.querySelector('[data-rate=sub-299] button') !== null")
    browser.click("[data-rate='sub-299'] button")
    assert "1 of 300" in browser.run("document.querySelector('.rating-bar output').textContent")

# SPDX-License-Identifier: Apache-2.0
"""Pages are whole, well-formed and closed: nothing is fetched, and no text becomes markup."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from encephalon.errors import OutputExistsError
from encephalon.reports.blocks import (
    StatCard,
    badge,
    card,
    chosen_grid,
    confusion_table,
    details,
    facts,
    figure,
    gallery,
    grid,
    heat_key,
    note,
    paragraph,
    stat_cards,
    table,
)
from encephalon.reports.format import (
    Html,
    capitalised,
    format_number,
    format_sentence,
    join,
    tag,
    text,
)
from encephalon.reports.images import AMBER
from encephalon.reports.page import Legend, Page

HOSTILE = '<script>alert("1")</script> & more'
VOID = {"br", "hr", "img", "input", "meta"}


class Balance(HTMLParser):
    """Counts elements, and notes a closing tag that does not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def parsed(page: str) -> Balance:
    """The page as the parser sees it."""
    parser = Balance()
    parser.feed(page)
    return parser


@pytest.fixture
def page() -> Page:
    """A page with one of every block, and hostile text in each."""
    page = Page(HOSTILE, kicker=HOSTILE, lead=HOSTILE, legend=[Legend("mask", HOSTILE, AMBER)])
    page.add(stat_cards([StatCard(3, HOSTILE, HOSTILE, "fail"), StatCard("1 mL", "volume")]))
    page.section(HOSTILE, paragraph(HOSTILE), note(HOSTILE, "check"))
    page.section("Table", table(["id", "dice"], [{"id": HOSTILE, "dice": 0.5}], caption=HOSTILE))
    page.section("Card", card(HOSTILE, facts({HOSTILE: HOSTILE}), details(HOSTILE), status="ok"))
    page.section("Counts", confusion_table([HOSTILE, "b"], [[1, 2], [3, 4]]))
    page.add(gallery(figure(tag("svg"), HOSTILE), wide=True))
    return page.add(grid(figure(tag("svg"), HOSTILE)), badge("ok"))


def test_every_element_is_closed(page: Page) -> None:
    """Tags are balanced, and the page is one document with one heading."""
    seen = parsed(page.render())
    assert not seen.faults
    assert not seen.open
    assert seen.seen.count("h1") == seen.seen.count("html") == 1


def test_text_never_becomes_markup(page: Page) -> None:
    """A file name or a message with tags in it is shown as it is."""
    assert "script" not in parsed(page.render()).seen
    assert "&lt;script&gt;" in page.render()


def test_nothing_is_fetched(page: Page) -> None:
    """There is no address in the page, and its policy forbids the browser to open one."""
    rendered = page.render()
    assert not re.search(r"https?://|//[a-z]|url\(|@import|<script|<link", rendered)
    assert "default-src 'none'" in unescape(rendered)


def test_pages_know_the_dark_and_paper(page: Page) -> None:
    """The style has rules for a dark screen and for print."""
    rendered = page.render()
    assert "prefers-color-scheme: dark" in rendered
    assert "@media print" in rendered


def test_layers_can_be_hidden_without_a_script(page: Page) -> None:
    """A tick box governs the layer of its name by style alone."""
    rendered = page.render()
    assert 'id="show-mask"' in rendered
    assert "body:has(#show-mask:not(:checked)) .layer-mask" in rendered


def test_a_page_says_what_it_is_for(page: Page) -> None:
    """The research-only notice and the version stand on every page."""
    assert "For research only" in page.render()
    assert re.search(r"Encephalon \d+\.\d+", page.render())


def test_a_page_replaces_nothing_unasked(page: Page, tmp_path: Path) -> None:
    """Writing twice needs `overwrite`."""
    path = page.write(tmp_path / "out" / "report.html")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(OutputExistsError):
        page.write(path)
    page.write(path, overwrite=True)


def test_counts_have_their_share_of_their_row() -> None:
    """Each cell says how much of its row it is, and a row without any is no error."""
    rendered = confusion_table(["a", "b"], [[3, 1], [0, 0]])
    assert re.findall(r'class="share">(\d+) %', rendered) == ["75", "25", "0", "0"]
    assert re.findall(r'<td class="number">(\d+)</td>', rendered) == ["4", "0"]


def test_numbers_stand_at_the_end_of_their_cells() -> None:
    """A column of numbers is aligned as one, words are not; each has the decimals asked for."""
    rows = [{"id": "a", "n": 1, "x": -2.5}, {"id": "b", "n": 2.5, "x": float("nan")}]
    rendered = table({"id": "Scan", "n": "Count", "x": "Off"}, rows, decimals={"x": 2})
    assert rendered.count('class="number"') == 6
    for cell in ("1", "2.500", "−2.50", "–"):
        assert f">{cell}</td>" in rendered


def test_a_missing_value_is_a_dash_and_a_column_of_none_is_left_out() -> None:
    """Nobody reads a column that says nothing."""
    rows = [{"id": "a", "n": None, "x": None}, {"id": "b", "n": 2.5, "x": ""}]
    rendered = table({"id": "Scan", "n": "Count", "x": "None"}, rows)
    assert rendered.count("–") == 1
    assert "None" not in rendered
    assert "None" in table({"id": "Scan", "x": "None"}, [])


def test_statuses_have_a_shape_beside_their_colour() -> None:
    """Who sees no colours still tells ok, check and fail apart."""
    shapes = {re.sub(r"<[^>]+>", "", badge(status))[0] for status in ("ok", "check", "fail")}
    assert len(shapes) == 3
    assert "badge-" not in badge("other")


def test_missing_facts_and_attributes_are_left_out() -> None:
    """None neither makes an entry nor an attribute."""
    assert "second" not in facts({"first": 1, "second": None})
    assert tag("p", None, "a", class_=None, hidden=True, open=False) == "<p hidden>a</p>"
    assert tag("td", "x", data_key='"') == '<td data-key="&quot;">x</td>'


def test_markup_is_escaped_once() -> None:
    """Markup within markup stays markup; text within it is escaped."""
    inner = tag("b", "a < b")
    assert isinstance(inner, Html)
    assert text(inner) is inner
    assert join(inner, " & ", None) == "<b>a &lt; b</b> &amp; "


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.95321, "0.9532"),
        (1423.62, "1424"),
        (12.3456, "12.35"),
        (-3.25, "−3.250"),
        (0.0, "0"),
        (0.00001234, "1.234e−05"),
        (123456.7, "123457"),
        (float("nan"), "–"),
        (float("-inf"), "−∞"),
    ],
)
def test_numbers_have_four_readable_digits(value: float, written: str) -> None:
    """Dice, millilitres and learning rates are all readable without a format of their own."""
    assert format_number(value) == written


def test_a_sentence_has_a_capital_unless_it_begins_with_a_name() -> None:
    """File names and ids are as they are written, also on a system that tells cases apart."""
    assert format_sentence("the mask is empty") == "The mask is empty."
    assert format_sentence("left-right is unknown!") == "Left-right is unknown!"
    for named in ("sub-01_T2w.nii.gz: why.", "scan.nii: why.", "anna: why.", "2 of 3 are zeros."):
        assert format_sentence(named) == named


def test_names_of_others_keep_their_letters_behind_the_capital() -> None:
    assert [capitalised(name) for name in ("diagnosis", "MMSE", "ADAS-Cog", "")] == [
        "Diagnosis",
        "MMSE",
        "ADAS-Cog",
        "",
    ]


def test_the_reader_chooses_which_blocks_are_shown() -> None:
    """Each kind with its number; where all are of one kind there is nothing to choose."""
    blocks = [(paragraph("a"), ["wrong", "class 1"]), (paragraph("b"), ["right", "class 1"])]
    shown = chosen_grid(blocks, "images")
    labels = re.findall(r"<label><input[^>]*>([^<]+)</label>", shown)
    assert labels == ["all (2)", "class 1 (2)", "right (1)", "wrong (1)"]
    assert '<div class="kind-3 kind-1"><p>a</p></div>' in shown
    assert "#images:has(#images-3:checked) .grid > :not(.kind-3) { display: none; }" in shown
    assert "fieldset" not in chosen_grid([(paragraph("a"), ["one"])], "images")


def test_the_scale_of_a_map_runs_from_black_to_yellow() -> None:
    scale = heat_key("nothing", "most")
    assert "linear-gradient(to right, rgb(0, 0, 4)" in scale
    assert "rgb(252, 255, 164))" in scale


def test_what_is_folded_up_is_as_wide_as_its_words() -> None:
    """Tags do not count: a link to a file is no sentence."""
    link = tag("a", tag("code", "mask.nii.gz"), href="folder/" + "long" * 20)
    assert 'class="wide"' not in facts({"Mask": link})
    assert 'class="wide"' in facts({"Hash": "ab" * 32})

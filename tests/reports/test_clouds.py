# SPDX-License-Identifier: Apache-2.0
"""Clouds say what each point is, and are coloured by what the reader chooses."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from encephalon.reports.clouds import Cloud, cloud_charts

ROWS: list[dict[str, Any]] = [
    {"id": "a", "region": "cortex", "axons": 0.0, "empty": None},
    {"id": "b", "region": "striatum", "axons": 30.0},
    {"id": "c", "region": "", "axons": float("nan")},
    {"id": "d & e", "region": "cortex", "axons": 15.0},
]
COLUMNS = {"region": "Region", "axons": "Axons, %", "empty": "Nothing"}


def drawn(rows: list[dict[str, Any]] = ROWS, columns: dict[str, str] = COLUMNS) -> str:
    """One cloud of these rows."""
    places = [float(n) for n in range(len(rows))]
    cloud = Cloud(places, places, rows, "across", "up", "A cloud.")
    return str(cloud_charts([cloud], columns, "cloud"))


def points(html: str) -> list[tuple[str, str]]:
    """What each point says, and its colours."""
    chart = ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])
    return [
        ((circle.findtext("title") or ""), circle.attrib["style"])
        for circle in chart.iter("circle")
    ]


def test_a_point_says_its_name_and_all_that_is_known_of_it() -> None:
    said = [words for words, _ in points(drawn())]
    assert said[1] == "b\nRegion: striatum\nAxons, %: 30.0"
    assert said[2] == "c"
    assert said[3].startswith("d & e\n")


def test_classes_have_colours_and_numbers_a_scale_between_their_ends() -> None:
    styles = [style for _, style in points(drawn())]
    assert styles[0] == "--c0:var(--series-0);--c1:0%"
    assert styles[1] == "--c0:var(--series-1);--c1:100%"
    assert styles[3] == "--c0:var(--series-0);--c1:50%"


def test_what_is_not_known_of_a_point_gives_it_no_colour() -> None:
    assert points(drawn())[2][1] == ""


def test_the_first_column_is_chosen_and_one_of_nothing_is_no_choice() -> None:
    html = drawn()
    assert html.count('type="radio"') == 2
    assert html.count(" checked") == 1
    assert 'id="cloud-0" checked' in html
    assert "Nothing" not in html


def test_the_seventh_class_does_not_look_like_the_first() -> None:
    rows: list[dict[str, Any]] = [{"id": str(n), "region": f"r{n}"} for n in range(7)]
    styles = [style for _, style in points(drawn(rows))]
    assert len(set(styles)) == 7


def test_points_without_a_place_are_left_out() -> None:
    cloud = Cloud([0.0, float("nan")], [0.0, 1.0], ROWS[:2], "across", "up", "A cloud.")
    assert len(points(str(cloud_charts([cloud], COLUMNS, "cloud")))) == 1

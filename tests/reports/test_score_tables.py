# SPDX-License-Identifier: Apache-2.0
"""Tables of scores: mean ± sd over seeds, the best in bold and first."""

from __future__ import annotations

from encephalon.reports.score_tables import Score, ScoreTable

SCORES = [
    Score(method="pca", measure="f1", values=(0.5,)),
    Score(method="byol", measure="f1", values=(0.7, 0.8, 0.9), published="C1 0.97"),
    Score(method="pca", measure="iou", values=(0.45,)),
    Score(method="byol", measure="iou", values=(0.4, 0.4, 0.4)),
    Score(method="byol", measure="secret", values=(1.0,)),
]


def made(scores: list[Score] = SCORES) -> ScoreTable:
    """A table of two measures."""
    return ScoreTable("Task 1", {"f1": "F1", "none": "None", "iou": "IoU"}, scores)


def test_a_score_is_the_mean_and_the_deviation_over_seeds() -> None:
    assert str(SCORES[1]) == "0.800 ± 0.100"
    assert str(SCORES[0]) == "0.500"
    assert SCORES[0].sd is None
    assert str(Score(method="a", measure="r2", values=(-0.25,))) == "−0.250"


def test_the_best_of_each_measure_is_bold_and_the_best_of_the_first_comes_first() -> None:
    lines = list(made().markdown())
    assert lines[2] == "| Method | F1 | IoU | Seeds | Published |"
    assert lines[4] == "| byol | **0.800 ± 0.100** | 0.400 ± 0.000 | 3 | F1: C1 0.97 |"
    assert lines[5] == "| pca | 0.500 | **0.450** | 1 |  |"
    html = made().html()
    assert html.count("<strong>") == 2
    assert "<strong>0.450</strong>" in html
    assert html.index("byol") < html.index("pca")


def test_one_method_alone_is_not_the_best_and_has_no_column_of_what_nobody_published() -> None:
    table = made([score for score in SCORES if score.method == "pca"])
    assert "<strong>" not in table.html()
    assert "Published" not in table.html()


def test_a_chart_has_a_dot_a_seed_and_a_bar_where_there_are_several() -> None:
    chart = made().chart("f1")
    assert chart.count('class="mark"') == 4
    assert chart.count('class="span"') == 1

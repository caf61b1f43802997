# SPDX-License-Identifier: Apache-2.0
"""Every evaluation has one order of work: refuse, score, keep, list failures, summarise, write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encephalon.errors import OutputError, OutputExistsError, TableError
from encephalon.evaluation.run import evaluate
from tests.evaluation.toy import WordLengths

FILES = ("scores.csv", "summary.json", "report.html")


def cleared(folder: Path) -> Path:
    """The folder without what an evaluation writes at its end."""
    for name in FILES:
        (folder / name).unlink()
    return folder


def test_scores_summary_and_page_are_written(tmp_path: Path) -> None:
    """A row a case, the study's own record, and its page."""
    result = evaluate(WordLengths("one", "three"), tmp_path)
    assert (tmp_path / "scores.csv").read_text(encoding="utf-8").split() == [
        "id,length",
        "one,3",
        "three,5",
    ]
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["mean"] == 4
    assert "Mean 4" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert str(result) == f"mean length: 4\nwritten to {tmp_path}"
    assert result.as_dict()["mean"] == 4


def test_a_case_that_fails_is_listed_and_the_others_go_on(tmp_path: Path) -> None:
    """Its sentence is in the result, the words and on the page."""
    told: list[tuple[int, int, str]] = []
    result = evaluate(WordLengths("a1", "two"), tmp_path, progress=lambda *each: told.append(each))
    assert told == [(1, 2, "a1"), (2, 2, "two")]
    assert result.rows == [{"id": "two", "length": 3}]
    assert result.failures == [{"id": "a1", "message": "a1 is no word."}]
    assert "failed: a1: a1 is no word." in str(result)
    assert "a1: a1 is no word." in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_nothing_scored_is_an_error_that_names_the_first_failure(tmp_path: Path) -> None:
    """Neither a summary nor a page is made of nothing."""
    with pytest.raises(
        TableError, match=r"None of the 2 rows could be scored; first: 1 is no word"
    ):
        evaluate(WordLengths("1", "2"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    """A result that is there, or a place that cannot be written, is found before any work."""
    evaluate(WordLengths("one"), tmp_path)
    study = WordLengths("two")
    with pytest.raises(OutputExistsError):
        evaluate(study, tmp_path)
    with pytest.raises(OutputError):
        evaluate(study, tmp_path / "scores.csv" / "out")
    assert not study.asked
    assert evaluate(study, tmp_path, overwrite=True).summary == 3


def test_kept_results_are_used_again_for_the_same_settings_alone(tmp_path: Path) -> None:
    """What failed is tried again; other settings, and overwriting, begin anew."""
    evaluate(WordLengths("one", "a1", kept_with=["v1"]), tmp_path)
    again = WordLengths("one", "a1", kept_with=["v1"])
    assert evaluate(again, cleared(tmp_path)).summary == 3
    assert again.asked == ["a1"]
    other = WordLengths("one", kept_with=["v2"])
    evaluate(other, cleared(tmp_path))
    assert other.asked == ["one"]
    anew = WordLengths("one", kept_with=["v2"])
    evaluate(anew, tmp_path, overwrite=True)
    assert anew.asked == ["one"]


def test_nothing_is_kept_where_nobody_asks(tmp_path: Path) -> None:
    """Results that take no time leave no files behind."""
    evaluate(WordLengths("one"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def test_a_kept_result_that_is_damaged_is_made_again(tmp_path: Path) -> None:
    """A file that was cut short counts as not there."""
    evaluate(WordLengths("one", kept_with=1), tmp_path)
    (tmp_path / "cells" / "one.json").write_text("{", encoding="utf-8")
    study = WordLengths("one", kept_with=1)
    assert evaluate(study, cleared(tmp_path)).summary == 3
    assert study.asked == ["one"]

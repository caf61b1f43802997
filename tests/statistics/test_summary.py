# SPDX-License-Identifier: Apache-2.0
"""Summaries give the figures of a hand calculation, and failures cannot improve them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from encephalon.io.atomic import json_text
from encephalon.io.text import write_records
from encephalon.statistics.summary import summarise, summarise_rows


def test_the_figures_are_those_of_a_hand_calculation() -> None:
    """Median, mean, spread and extremes of four numbers."""
    summary = summarise([0.9, 0.7, 1.0, 0.8], "dice")
    assert (summary.n, summary.missing) == (4, 0)
    assert (summary.median, summary.mean) == pytest.approx((0.85, 0.85))
    assert (summary.minimum, summary.maximum) == (0.7, 1.0)
    assert summary.sd == pytest.approx(np.std([0.9, 0.7, 1.0, 0.8], ddof=1))
    assert summary.median_interval.low <= 0.85 <= summary.median_interval.high


def test_missing_scores_are_counted_and_left_out() -> None:
    """NaN counts in `missing` and in nothing else, and takes its group with it."""
    summary = summarise([1.0, np.nan, 3.0], "hd95", groups=["a", "b", "c"])
    assert (summary.n, summary.missing, summary.mean) == (2, 1, 2.0)
    assert summary.mean_interval.units == 2


def test_an_infinite_distance_worsens_the_median() -> None:
    """A failed scan cannot be dropped from a distance: the mean is then undefined."""
    summary = summarise([1.0, 2.0, np.inf], "hd95")
    assert summary.median == 2.0
    assert summary.maximum == np.inf
    assert np.isnan(summary.mean)
    assert summarise([1.0, np.inf, np.inf], "hd95").median == np.inf


def test_nothing_gives_an_empty_summary() -> None:
    """A metric that no sample has is all missing."""
    summary = summarise([np.nan], "dice")
    assert (summary.n, summary.missing) == (0, 1)
    assert np.isnan([summary.median, summary.mean, summary.sd, summary.minimum]).all()


def test_a_single_score_has_no_spread() -> None:
    """One value is its own median and has neither deviation nor interval."""
    summary = summarise([0.9], "dice")
    assert summary.median == 0.9
    assert np.isnan(summary.sd)
    assert np.isnan(summary.median_interval.low)


def test_rows_are_summarised_by_column_and_group() -> None:
    """Empty and absent cells are missing; text that is a number counts."""
    rows = [{"dice": 0.9, "who": 1}, {"dice": "0.7", "who": 1}, {"dice": "", "who": 2}, {"who": 3}]
    summary = summarise_rows(rows, ["dice"], group="who")["dice"]
    assert (summary.n, summary.missing, summary.mean) == (2, 2, pytest.approx(0.8))
    assert summary.mean_interval.units == 1


def test_summaries_are_strict_json() -> None:
    """What is not finite becomes null instead of NaN."""
    plain = json.loads(json_text(summarise([1.0, np.inf], "hd95")))
    assert plain["maximum"] is None
    assert plain["mean_interval"]["value"] is None


def test_records_keep_their_digits_and_columns(tmp_path: Path) -> None:
    """Columns come in the order of their first use, and cells without a value are empty."""
    rows = [{"id": "a", "dice": 1 / 3}, {"id": "b", "hd95": np.inf, "dice": float("nan")}]
    path = write_records(rows, tmp_path / "scores.csv")
    with path.open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert list(read[0]) == ["id", "dice", "hd95"]
    assert read == [
        {"id": "a", "dice": "0.3333333333", "hd95": ""},
        {"id": "b", "dice": "", "hd95": "inf"},
    ]

# SPDX-License-Identifier: Apache-2.0
"""Results of models in one table: what is read is what was written, ours and the published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from encephalon.errors import TableError
from encephalon.experiments.results_table import ResultsTable, read_results


def result(inputs: str, score: float, **more: Any) -> dict[str, Any]:
    """How well hearing is told from these inputs; `more` says something else."""
    about = {"target": "hearing", "domain": "senses", "kind": "regression", "inputs": inputs}
    return {**about, "r2": score, **more}


@pytest.fixture
def results() -> ResultsTable:
    """Two models of two targets."""
    told = {"target": "deaf", "kind": "classification", "r2": None, "balanced_accuracy": 0.75}
    rows = [
        result("t1 + flair", 0.25, r2_low=0.125, r2_high=0.5, minutes=30, seed=0),
        result("t1 + flair + blood", 0.5, minutes=60, seed=0),
        result("t1 + flair", 0.0, **told, seed="0", n=12),
    ]
    return ResultsTable.of(rows)


@pytest.fixture(scope="module")
def published(data: Path) -> Path:
    """The published table of 700 models."""
    return data / "published" / "legibility" / "metrics_comparison_test.csv"


def write(folder: Path, text: str) -> Path:
    """A CSV file that says this."""
    path = folder / "results.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_has_its_inputs_and_its_main_score(results: ResultsTable) -> None:
    """The score is R² of numbers and the balanced accuracy of classes."""
    assert results.inputs == ("t1", "flair", "blood")
    assert results.frame["has_blood"].tolist() == [False, True, False]
    assert results.score().tolist() == [0.25, 0.5, 0.75]
    assert results.score("_low").fillna(-1).tolist() == [0.125, -1, -1]
    assert results.metrics == ["r2", "balanced_accuracy"]
    assert results.where(target="deaf").frame["n"].tolist() == [12]


def test_scores_are_shown_by_inputs_and_targets(results: ResultsTable) -> None:
    """The smaller set first, and nothing where there is no such model."""
    found = results.heatmap()
    assert found.index.tolist() == ["t1 + flair", "t1 + flair + blood"]
    assert found["deaf"].fillna(-1).tolist() == [0.75, -1]
    assert found[results.targets[0]].tolist() == [0.25, 0.5]


def test_what_is_always_used_together_is_one_unit(results: ResultsTable) -> None:
    """And what every row has is none: nothing can be told of it."""
    assert results.units() == {"blood": "blood"}
    more = ResultsTable.of([*results.frame.to_dict("records"), result("blood", 0.1)])
    assert more.units() == {"t1": "t1 + flair", "blood": "blood"}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_what_was_written_is_read(results: ResultsTable, tmp_path: Path, suffix: str) -> None:
    """Whatever the file, also where it is read again after a spreadsheet."""
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = results.write(tmp_path / f"results.{suffix}")
    pd.testing.assert_frame_equal(read_results(path).frame, results.frame)


def test_the_published_columns_are_written_and_read(results: ResultsTable, tmp_path: Path) -> None:
    """An input that they do not know is named among the data that is no image."""
    path = results.write(tmp_path / "published.csv", published=True)
    cells = pd.read_csv(path)
    assert cells["Inputs"][1] == "FLAIR + T1 + Non-imaging data (blood)"
    assert (cells["Metadata"][1], cells["T1"][1], cells["DWI"][1]) == ("Yes", "Yes", "No")
    assert cells["r2"].tolist() == [0.25, 0.5, 0.0]
    cells = cells.drop(index=1)
    cells.to_csv(path)  # with an index, as the published one
    found = read_results(path).frame
    assert found["kind"].tolist() == ["regression", "classification"]
    assert found["inputs"].tolist() == ["t1 + flair"] * 2
    assert np.isnan(found["r2"][1])


def test_rows_of_a_run_are_those_of_its_test(results: ResultsTable, tmp_path: Path) -> None:
    """A training writes a validation row too."""
    path = results.write(tmp_path / "published.csv", published=True)
    text = path.read_text(encoding="utf-8").replace("Test,deaf", "Validation,deaf")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match="the same seed, fold and model"):
        read_results(path)  # without blood, which it cannot say, both are the same
    path.write_text(text.replace("Test,hearing,FLAIR", "Validation,hearing,", 1), encoding="utf-8")
    assert len(read_results(path)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("target,r2\nage,0.5\n", r"lacks 'kind', 'inputs'; it has 'target', 'r2'"),
        ("target,kind,inputs\nage,regression,t1\n", "lacks any score"),
        ("target,kind,inputs,r2\nage,regression,t1,good\n", "row 2: 'r2' is 'good'"),
        ("target,kind,inputs,r2\nage,regression,t1,inf\n", "row 2: 'r2' is 'inf', which is no"),
        ("target,kind,inputs,r2\nage,number,t1,0.5\n", "result 1: kind is 'number'"),
        ("target,kind,inputs,r2\n,regression,t1,0.5\n", "result 1: target is empty"),
        (
            "target,kind,inputs,r2\nage,regression,t1,0.5\nage,regression,t1,0.4\n",
            "result 2: 'age' from t1 is there before",
        ),
        (
            "target,kind,inputs,balanced_accuracy\nsex,classification,t1,17\n",
            "result 1: balanced_accuracy is 17, which is not between 0 and 1: correct it",
        ),
        (
            "target,kind,inputs,r2,minutes\nage,regression,t1,-9,-5\n",
            "result 1: minutes is -5, which is not between 0 and inf",
        ),
        ("Target,Inputs,AUC\nage,T1,0.5\n", "lacks 'Domain', 'Balanced accuracy'"),
    ],
)
def test_what_is_no_table_of_results_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """In a sentence that names the file, and what is wrong of it."""
    with pytest.raises(TableError, match=r"results\.csv.*" + said):
        read_results(write(tmp_path, text))


def test_a_used_input_is_yes_or_no(results: ResultsTable, tmp_path: Path) -> None:
    """In the published columns."""
    path = results.write(tmp_path / "published.csv", published=True)
    path.write_text(path.read_text(encoding="utf-8").replace(",Yes", ",Maybe", 1), "utf-8")
    with pytest.raises(TableError, match=r"row 2: 'T1' is 'maybe', neither Yes nor No"):
        read_results(path)


def test_no_rows_are_no_results() -> None:
    """There is nothing to analyse."""
    with pytest.raises(TableError, match="has no rows"):
        ResultsTable.of([])


@pytest.mark.data
def test_the_published_table_comes_back_as_it_was(published: Path, tmp_path: Path) -> None:
    """All 700 models of 25 targets, from 63 sets of inputs, to the last digit."""
    found = read_results(published)
    assert (len(found), len(found.targets), found.frame["inputs"].nunique()) == (700, 25, 63)
    classes = found.where(kind="classification")
    assert (len(classes), len(classes.targets)) == (494, 17)
    path = found.write(tmp_path / "published.csv", published=True)
    pd.testing.assert_frame_equal(pd.read_csv(path), pd.read_csv(published, index_col=0))

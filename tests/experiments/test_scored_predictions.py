# SPDX-License-Identifier: Apache-2.0
"""Files of predictions are scored without a model: the published one, ours, another program's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from encephalon import api
from encephalon.errors import EncephalonError
from tests.cli.conftest import Run, run  # noqa: F401  the fixture
from tests.studies.micrographs.published_scores import AMBER, GREEN, LIKELIHOOD, ROWS, TRUTH
from tests.studies.micrographs.rows import read_rows, write_rows


def published(folder: Path) -> Path:
    """The 35 published rows, with the published columns: no ids, truth and likelihood in one."""
    lights = [("Green", "Amber", "Red")[int(p > GREEN) + int(p > AMBER)] for p in LIKELIHOOD]
    cells = zip(ROWS, lights, TRUTH.tolist(), LIKELIHOOD.tolist(), strict=True)
    rows = [
        {"Traffic Lights": light, "True Labels": truth, "Age Likelihood": likelihood, **row}
        for row, light, truth, likelihood in cells
    ]
    return write_rows(folder / "deep_look.csv", rows)


NAMED = {"classes": "0,1", "target": "True Labels", "prediction": "Age Likelihood"}


@pytest.mark.parametrize("lights", [{"light": "Traffic Lights"}, {"green": 0.25, "amber": 0.75}])
def test_the_published_rows_give_the_published_figures(
    tmp_path: Path, lights: dict[str, Any]
) -> None:
    """Sensitivity 0.7778, specificity 0.8000 and an amber share of 0.4571; area 0.701."""
    file = published(tmp_path)
    result = api.evaluate(
        file, file, tmp_path / "out", **NAMED, **lights, strata="Sex,Brain Region"
    )
    found = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))["assessment"]
    light = found["light"]
    assert light["sensitivity"]["value"] == pytest.approx(7 / 9)
    assert light["specificity"]["value"] == pytest.approx(8 / 10)
    assert light["counts"] == {"Green": 10, "Amber": 16, "Red": 9}
    assert found["figures"]["roc_auc"]["value"] == pytest.approx(0.701, abs=1e-3)
    assert found["figures"]["brier"]["value"] == pytest.approx(0.241, abs=1e-3)
    parts = {(one["column"], one["value"]): one for one in found["strata"]}
    assert parts["Brain Region", "PFC"]["figures"]["roc_auc"]["value"] == pytest.approx(
        0.867, abs=1e-3
    )
    assert "16 Amber (0.4571)" in str(result)
    assert "sensitivity 0.7778, specificity 0.8000" in str(result)
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_command_line_scores_the_published_rows(run: Run, tmp_path: Path) -> None:  # noqa: F811
    """Names of columns with blanks are said behind --option."""
    file = published(tmp_path)
    words = [word for k, v in NAMED.items() for word in ("--option", f"{k}={v}")]
    words += ["--option", "light=Traffic Lights"]
    found = run("evaluate", file, "-t", file, "-o", tmp_path / "out", *words)
    assert found.code == 0
    assert "16 Amber (0.4571)" in found.out


def test_our_own_predictions_are_scored_by_their_ids(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Classes by the names of p_<class>; who is not predicted is told, who has no class is kept."""
    rows = [
        {"id": f"i{n}", "p_Young": 1 - p, "p_Aged": p, "predicted": "x"}
        for n, p in enumerate((0.9, 0.2, 0.4, 0.7))
    ]
    file = write_rows(tmp_path / "predictions.csv", rows)
    truth = {"i3": "Young", "i1": "Young", "i0": "Aged", "i2": "", "other": "Aged"}
    table = write_rows(
        tmp_path / "table.csv",
        [{"id": k, "class": v, "animal": k[-1]} for k, v in truth.items()],
    )
    result = api.evaluate(file, table, tmp_path / "out", group="animal")
    found = result.told["assessment"]
    assert (found["n"], found["unlabelled"], found["units"]) == (3, 1, 3)
    assert found["confusion"] == ((1, 1), (0, 1))
    assert "no prediction of 1 of 5 rows, which are not scored: other" in caplog.text
    written = read_rows(tmp_path / "out" / "predictions.csv")
    assert [(row["id"], row["class"], row["predicted"]) for row in written] == [
        ("i3", "Young", "Aged"),
        ("i1", "Young", "Young"),
        ("i0", "Aged", "Aged"),
        ("i2", "", "Young"),
    ]


def test_only_the_test_part_of_a_split_table_is_scored(tmp_path: Path) -> None:
    """As of a model; class names of another program are as good as probabilities."""
    file = write_rows(
        tmp_path / "theirs.csv", [{"id": n, "class": k} for n, k in enumerate("aabc")]
    )
    rows = [
        {"id": n, "class": k, "split": part}
        for n, (k, part) in enumerate(zip("abbc", ("train", "test", "test", "test"), strict=True))
    ]
    table = write_rows(tmp_path / "table.csv", rows)
    found = api.evaluate(file, table, tmp_path / "out", classes="a,b,c").told["assessment"]
    assert found["n"] == 3
    assert found["figures"]["accuracy"]["value"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "which classes are predicted"),
        ({**NAMED, "target": "Class"}, "has no column 'Class'"),
        ({"classes": "0,1", "target": "True Labels"}, "which of its columns has the predictions"),
        ({**NAMED, "prediction": "Traffic Lights"}, "row 2: 'Traffic Lights' must be 0 or 1"),
        ({**NAMED, "prediction": "Likelihood"}, "has no column 'Likelihood'"),
        ({**NAMED, "green": 0.2}, "has two thresholds"),
        ({**NAMED, "classes": "0,2"}, "must be 0 or 2"),
        ({**NAMED, "classes": "0,0"}, "which classes are predicted"),
        ({**NAMED, "id": "Image"}, "has the column 'Image' of ids"),
        ({**NAMED, "colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_what_is_left_open_is_one_sentence(
    tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    """Nothing is guessed of which class is positive, or of which column predicts."""
    file = published(tmp_path)
    with pytest.raises(EncephalonError, match=sentence) as caught:
        api.evaluate(file, file, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)


def test_rows_without_ids_must_be_as_many_as_those_of_the_table(tmp_path: Path) -> None:
    """They belong together in turn, and nothing else says which is whose."""
    file = published(tmp_path)
    short = write_rows(tmp_path / "short.csv", read_rows(file)[:-1])
    with pytest.raises(EncephalonError, match="has 34 rows, but there are 35 to predict"):
        api.evaluate(short, file, tmp_path / "out", **NAMED)


def test_an_id_of_two_rows_and_what_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    """A prediction would count twice, or count for what nobody said."""
    truth = [{"id": name, "class": "Young"} for name in "aba"]
    table = write_rows(tmp_path / "table.csv", truth)
    for told, sentence in ((0.4, "'a' has 2 rows"), (1.4, "'a' should have .* but has -0.4, 1.4")):
        rows = [{"id": name, "p_Young": 1 - told, "p_Aged": told} for name in "ab"]
        file = write_rows(tmp_path / "predictions.csv", rows)
        with pytest.raises(EncephalonError, match=sentence):
            api.evaluate(file, table, tmp_path / "out")
        write_rows(table, truth[:2])

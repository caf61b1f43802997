# SPDX-License-Identifier: Apache-2.0
"""A whole run of the study: what is refused, what its folds say, and what ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from encephalon import api
from encephalon.api import check_network, load_recipe
from encephalon.errors import RecipeError
from encephalon.io.text import read_records, write_records
from encephalon.models.folder import open_model
from encephalon.studies.legibility.folds import answer_names
from encephalon.studies.legibility.settings import Cohort
from tests.studies.legibility.tiny_people import QUICK, write_people

COHORT = {
    "sources": {"connectivity": {"kind": "connectivity"}},
    "blocks": {"blood": {"columns": {"iron": "number"}}},
    "targets": {
        "sex": {"kind": "binary", "classes": ["F", "M"]},
        "age": {"kind": "continuous"},
        "anaemia": {"kind": "ordinal", "classes": ["none", "mild", "severe"]},
        "site": {"kind": "multiclass", "classes": ["a", "b", "c"]},
    },
}


def test_each_number_of_an_answer_has_a_name() -> None:
    """The set of inputs, the target, and what is said of it."""
    names = answer_names(Cohort.model_validate(COHORT))
    of_each = ["sex=M", "age", "anaemia>none", "anaemia>mild", "site=a", "site=b", "site=c"]
    sets = ["connectivity", "blood", "connectivity+blood"]
    assert names == [f"{some}/{column}" for some in sets for column in of_each]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network.name": "published-legibility"}, "learnt by the network 'masked-fusion'"),
        ({"study.hold_out_sites": "true", "study.folds": "0"}, "needs folds to hold them out in"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes: dict[str, str], sentence: str) -> None:
    """Before a table is read."""
    with pytest.raises(RecipeError, match=sentence):
        load_recipe("legibility", changes)


def test_a_network_that_cannot_be_built_is_refused() -> None:
    """As soon as the cohort is known, before its connectivity is read."""
    recipe = load_recipe("legibility")
    study = type(recipe.study)(name="legibility", cohort=COHORT)
    whole = recipe.model_copy(update={"study": study})
    check_network(whole)
    network = recipe.network.model_copy(update={"options": {"width": -1}})
    with pytest.raises(RecipeError, match="cannot be built"):
        check_network(whole.model_copy(update={"network": network}))


def test_a_person_with_nothing_that_is_used_is_neither_learnt_nor_told(tmp_path: Path) -> None:
    """The run goes on; who has nothing has no answer."""
    pytest.importorskip("lightning")
    table = write_people(tmp_path)
    names, rows = read_records(table)
    for row in rows[:5]:
        row |= {name: "" for name in names if name.startswith(("connectivity", "serology", "haem"))}
    write_records(rows, table)
    run = tmp_path / "run"
    api.train("legibility", table, run, overrides=QUICK, device="cpu", threads=1)
    said = {
        row["id"]: set(row.values()) - {row["id"]}
        for path in [*run.glob("folds/*/scores.csv"), run / "final" / "scores.csv"]
        for row in read_records(path)[1]
    }
    assert all(said[row["id"]] == {""} for row in rows[:5])
    assert all(len(said[row["id"]]) > 1 for row in rows[5:] if row["connectivity"])
    whole = read_records(run / "evaluation" / "scores.csv")[1]
    assert {row["method"] for row in whole} >= {"model", "attention"}
    about = open_model(run / "model").description
    assert set(about.scores) == {"age", "sex"}
    found = api.evaluate(run, table, tmp_path / "scored", device="cpu", threads=1)
    assert not found.failures
    told = {row["id"] for row in found.rows}
    assert found.told["left_out"] == [one["id"] for one in rows if one["id"] not in told]
    assert {row["id"] for row in rows[:5]} <= set(found.told["left_out"])
    page = (tmp_path / "scored" / "report.html").read_text(encoding="utf-8")
    assert "have none of the inputs that are used" in page
    assert found.lines[-1] in page


def test_sites_cannot_be_held_out_where_none_are_known(tmp_path: Path) -> None:
    """Before anything is trained."""
    table = write_people(tmp_path)
    file = table.parent / "cohort.toml"
    text = file.read_text(encoding="utf-8").replace('site = "site"\n', "", 1)
    file.write_text(text, encoding="utf-8")
    changes = QUICK | {"study.hold_out_sites": "true"}
    with pytest.raises(RecipeError, match="the cohort has no `site`"):
        api.train("legibility", table, tmp_path / "run", overrides=changes, device="cpu")
    assert not (tmp_path / "run").exists()

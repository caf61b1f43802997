# SPDX-License-Identifier: Apache-2.0
"""One new person, or a table of them: what is told, from what, and how far to trust it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomlkit

from encephalon import api
from encephalon.errors import EncephalonError, InputError, ModelError, RecipeError, UsageError
from encephalon.experiments.best_inputs import best_inputs
from encephalon.experiments.grid_folder import CellState
from encephalon.experiments.results_table import read_results
from encephalon.experiments.shared_people import shared_people
from encephalon.io.text import read_records, write_records
from encephalon.models.description import dump_description
from encephalon.models.folder import open_model
from encephalon.recipes.loading import dump_recipe
from encephalon.statistics.conformal import EVERYONE
from encephalon.studies.legibility import preprocessing
from encephalon.studies.legibility.fitted import FittedState, Spread
from encephalon.studies.legibility.predictions import WHATEVER
from encephalon.studies.legibility.preprocessing import ImageRow
from encephalon.studies.legibility.results import results_of_people
from encephalon.studies.legibility.settings import Cohort
from encephalon.tables.samples import Sample
from encephalon.training.dataset import Prepared
from tests.studies.legibility.test_task import COHORT, make, make_people

TARGETS = ("age", "sex", "anaemia")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of people, and in `run` a small network of them with what is read of it."""
    folder = tmp_path_factory.mktemp("people")
    make_people(folder, 48)
    (folder / "cohort.toml").write_text(tomlkit.dumps(COHORT), encoding="utf-8")
    (folder / "tiny.toml").write_text(dump_recipe(make(folds=3)), encoding="utf-8")
    plain: dict[str, Any] = {"device": "cpu", "workers": 1, "threads": 1}
    api.train(folder / "tiny.toml", folder / "people.csv", folder / "run", **plain)
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> api.Model:
    """It, loaded."""
    return api.load_model(run / "run", threads=1)


def refused(model: api.Model, **inputs: Any) -> str:
    """The sentence on what cannot be read."""
    with pytest.raises(EncephalonError) as caught:
        model.predict(**inputs)
    return str(caught.value)


def test_whatever_there_is_of_a_person_is_used_and_said(run: Path, model: api.Model) -> None:
    """From one cell to everything, each target from what is not of its own domain."""
    some = model.predict(mood="0.5").values
    assert [some[f"{name}_used"] for name in TARGETS] == ["mind"] * 3
    scans = {"t1": run / "t1-0.npy", "flair": run / "flair-0.npy"}
    whole = model.predict(**scans, connectivity=run / "connectivity-0.npy", iron=101, mood=0.5)
    assert whole.values["age_used"] == "t1 + flair, connectivity, blood, mind"
    assert whole.values["anaemia_used"] == "t1 + flair, connectivity, mind"
    assert some["age"] != whole.values["age"]
    assert whole.values["age_low"] < whole.values["age"] < whole.values["age_high"]
    assert whole.values["sex"] in {"F", "M"}
    assert 0.5 <= whole.values["sex_p"] <= 1
    assert whole.values["sex"] in whole.values["sex_set"].split(" or ")


def test_a_target_whose_only_inputs_are_its_own_domain_has_no_answer(model: api.Model) -> None:
    """And it is said why; the others have theirs."""
    found = model.predict(iron="101").values
    assert found["anaemia"] is None
    assert found["anaemia_used"] == "nothing: blood would tell it from its own domain"
    assert found["age_used"] == "blood"
    assert np.isfinite(found["age"])


def test_what_is_absent_changes_nothing(run: Path, model: api.Model) -> None:
    """An answer from some inputs is that of a model that is told to use those alone."""
    only = api.load_model(run / "run", threads=1, use=("connectivity",))
    given = {"connectivity": run / "connectivity-1.npy", "t1": run / "t1-1.npy", "mood": "1"}
    alone = model.predict(connectivity=run / "connectivity-1.npy").values
    assert only.predict(**given).values == alone
    assert alone["age_used"] == "connectivity"
    with pytest.raises(UsageError, match="no input 'dwi'; it has"):
        api.load_model(run / "run", use=("dwi",))


def test_an_answer_is_that_of_the_network_on_each_set(run: Path, model: api.Model) -> None:
    """The graph that encodes once says of all sets what it says of each alone."""
    predictor: Any = model.predictor
    sample = api.Model.plan(model, [run / "people.csv"], run / "out").samples[2]
    whole = predictor.read(sample)
    answers = predictor.answers(whole)["age"]
    sets = list(predictor.fitted.readings["age"])
    for place, inputs in enumerate(sets):
        part = replace(whole, given={n: one for n, one in whole.given.items() if n in inputs})
        if part.given:
            alone, count = predictor.answers(part)["age"], len(sets)
            for first in (0, count):  # of the network, and of linear models
                asked, same = alone[:, first + count - 1], answers[:, first + place]
                np.testing.assert_allclose(same, asked, rtol=1e-4, atol=1e-4)


def test_a_promise_is_that_of_the_subgroup_where_the_row_tells_it(model: api.Model) -> None:
    """As in the scores of the run; without a word on it, or of another subgroup, everyone's."""
    predictor: Any = model.predictor
    fitted = predictor.fitted
    encoding = replace(
        fitted.encoding,
        cohort=fitted.encoding.cohort.model_copy(update={"subgroups": ("age", "site")}),
    )
    limits = {EVERYONE: 5.0, "north": 1.0}
    ages = {some: replace(one, thresholds=limits) for some, one in fitted.readings["age"].items()}
    readings = {**fitted.readings, "age": ages}
    changed = replace(predictor, fitted=replace(fitted, encoding=encoding, readings=readings))
    for site, far in (("north", 1.0), ("south", 5.0), (None, 5.0)):
        person = changed.read(Sample("x", {}, {"mood": "0.5", "site": site, "age": "30"}))
        for found in (changed.tell(person)["age"].answered, changed.by_set(person)["age"][-1]):
            assert float(found.high[0] - found.values[0, 0]) == pytest.approx(far)


def test_a_target_tells_no_subgroup_of_its_own() -> None:
    """Nor does a column of its domain: the set of a new person would be drawn around the truth."""
    blood = {"columns": {"iron": "number", "type": ["A", "B"]}}
    cohort = Cohort.model_validate(
        {
            "subgroups": ["gender", "type", "site"],
            "blocks": {"blood": blood, "mind": {"columns": {"mood": "number"}}},
            "targets": {
                "sex": {"kind": "binary", "column": "gender", "domain": "blood"},
                "age": {"kind": "continuous"},
            },
        }
    )
    assert cohort.own_columns("sex") == {"gender", "iron", "type"}
    assert (cohort.apart("sex"), cohort.apart("age")) == ("site", "gender")
    assert cohort.model_copy(update={"subgroups": ("gender",)}).apart("sex") is None


def test_a_table_of_people_has_a_row_and_a_page_for_each(run: Path, model: api.Model) -> None:
    """Who cannot be read fails alone, with one sentence."""
    table = run / "new.csv"
    rows = ["id,t1,connectivity,iron,type,mood", "a,t1-0.npy,,100,A,", "b,,,,,", "c,,,abc,,1"]
    rows += ["d,,,,,0.2", "e,gone.npy,,,,1", "f,,,,AB,1", "g,,,,,NaN"]
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    result = model.predict_batch([table], run / "out")
    told = {one.id: one.message for one in result.failures}
    assert sorted(told) == ["b", "c", "e", "f", "g"]
    assert "b: there is nothing to predict from: give at least one of t1, flair" in told["b"]
    assert "c: 'iron' must be a number or empty, but is 'abc'." in told["c"]
    assert "gone.npy" in told["e"]
    assert "'type' must be A, B or O or empty, but is 'AB'" in told["f"]
    assert "nothing to predict from" in told["g"]
    _, found = read_records(run / "out" / "predictions.csv")
    assert found[0]["age_used"] == "t1, blood"
    page = (run / "out" / "report" / "a.html").read_text(encoding="utf-8")
    for words in ("Told", "How unlike the people who trained", "Scans as the network saw them"):
        assert words in page
    assert "b: there is nothing" in (run / "out" / "report.html").read_text(encoding="utf-8")


def test_files_that_cannot_be_used_are_errors_and_no_absence(run: Path, model: api.Model) -> None:
    """One sentence each, which names the file."""
    small, broken, image = run / "small.npy", run / "broken.npy", run / "image.npy"
    np.save(small, np.eye(4, dtype=np.float32))
    broken.write_bytes(b"no array")
    np.save(image, np.zeros((5, 6, 7), np.float16))
    said = refused(model, connectivity=small, mood="1")
    assert "small.npy" in said
    assert "has 6 pairs of regions, but the model 'tiny' knows 10" in said
    assert "broken.npy" in refused(model, connectivity=broken, mood="1")
    np.save(broken, np.eye(4, dtype=complex))
    (run / "complex.csv").write_text("id,connectivity\na,broken.npy\n", encoding="utf-8")
    (failure,) = model.predict_batch([run / "complex.csv"], run / "complex").failures
    assert "broken.npy: expected numbers" in failure.message
    assert "its shape is [5, 6, 7]" in refused(model, t1=str(image), mood="1")
    assert "'t1' must be the path of a file, and got ndarray" in refused(model, t1=np.zeros(3))


def test_a_scan_is_prepared_on_its_way_and_its_doubts_are_kept(
    run: Path, model: api.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the T1w scan of the person; one that cannot be prepared is an error of the person."""
    scan, guide, asked = run / "f.nii.gz", run / "t1.nii.gz", list[ImageRow]()
    said: dict[str, Any] = {"reasons": ["the brain was hardly brought to the template"]}

    def prepare(rows: list[ImageRow], *_: object, **__: object) -> list[Any]:
        asked.extend(rows)
        return [Prepared(run / "t1-0.npy", said) for _ in rows]

    monkeypatch.setattr(preprocessing, "prepare_images", prepare)
    found = model.predict(t1=guide, flair=scan)
    assert [(row.path, row.reference) for row in asked] == [(guide, None), (scan, guide)]
    assert found.quality is not None
    assert found.quality.status == "check"
    assert "flair: the brain was hardly brought to the template" in found.quality.reasons
    monkeypatch.setattr(
        preprocessing, "prepare_images", lambda *_, **__: [InputError("f: no brain.")]
    )
    assert refused(model, flair=scan) == "f: no brain."


def test_who_is_unlike_all_who_trained_is_to_be_checked(run: Path, model: api.Model) -> None:
    """By the input that is unlike, which is named; the like are not."""
    usual = model.predict(iron="101", mood="0")
    assert usual.quality is not None
    assert usual.quality.status == "ok"
    strange = model.predict(iron="9000", mood="0")
    assert strange.quality is not None
    assert strange.quality.status == "check"
    assert "the blood is further from the mean" in strange.quality.reasons[0]
    assert strange.values["novelty_blood"] == strange.values["novelty"] == 100.0
    assert strange.values["novelty_t1"] is None
    halves = run / "halves.npy"
    np.save(halves, np.where(np.indices((16, 16, 16))[0] < 8, -1, 1).astype(np.float16))
    assert model.predict(t1=halves).values["novelty_t1"] == 100.0


def test_whom_the_model_has_learnt_from_is_said(
    run: Path, model: api.Model, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log, in the table and on the page."""
    result = model.predict_batch([run / "people.csv"], run / "known")
    assert {row["training_overlap"] for row in result.rows} == {"person"}
    assert "48 of 48 people were part of the training" in caplog.text
    page = (run / "known" / "report" / "p000.html").read_text(encoding="utf-8")
    assert "The model has learnt from this person" in page


def test_a_cell_far_from_all_others_carries_no_answer_off(run: Path, model: api.Model) -> None:
    """However far it is; it is marked."""
    far, further = (model.predict(iron=cell, mood="0") for cell in ("9999999", "1e30"))
    assert far.values["age"] == pytest.approx(further.values["age"])
    assert abs(far.values["age"]) < 20
    assert far.values["novelty_blood"] == further.values["novelty_blood"] == 100.0


def test_a_table_without_a_known_target_is_not_scored(run: Path) -> None:
    """Columns that are empty are as good as none."""
    rows = [
        {**row, "age": "", "sex": "", "anaemia": ""} for row in read_records(run / "people.csv")[1]
    ]
    write_records(rows, run / "unknown.csv")
    with pytest.raises(EncephalonError, match="of nobody any of the targets 'age'"):
        api.evaluate(run / "run", run / "unknown.csv", run / "nothing", threads=1)


def test_a_labelled_table_is_scored(
    run: Path, model: api.Model, caplog: pytest.LogCaptureFixture
) -> None:
    """Each target from each set of inputs, and from whatever there is."""
    result = api.evaluate(run / "run", run / "people.csv", run / "scored", threads=1)
    scores = {(row["target"], row["inputs"]): row for row in result.summary.scores}
    assert scores["age", "whatever there is"]["n"] == 48
    has = sum(bool(row["connectivity"]) for row in read_records(run / "people.csv")[1])
    assert scores["age", "connectivity"]["n"] == has
    truth = {row["id"]: float(row["age"]) for row in read_records(run / "people.csv")[1]}
    _, rows = read_records(run / "scored" / "predictions.csv")
    errors = [abs(float(row["age"]) - truth[row["id"]]) for row in rows]
    assert scores["age", "whatever there is"]["mae"] == pytest.approx(np.mean(errors))
    page = (run / "scored" / "report.html").read_text(encoding="utf-8")
    assert "All metrics of the model" in page
    assert "48 of 48 people were part of the training" in page
    assert "these scores flatter the model" in caplog.text
    write_records(read_records(run / "people.csv")[1][:1], run / "one.csv")
    alone = api.evaluate(run / "run", run / "one.csv", run / "alone", threads=1)
    assert {row["n"] for row in alone.summary.scores} <= {0, 1}
    plain = run / "unlabelled.csv"
    plain.write_text("id,mood\na,1\n", encoding="utf-8")
    with pytest.raises(EncephalonError, match="has none of the targets 'age'"):
        api.evaluate(run / "run", plain, run / "none", threads=1)


@pytest.mark.parametrize(
    ("lines", "said"), [(1, "has no rows"), (None, "result 1: .* is 17, which is not between")]
)
def test_a_cell_whose_scores_were_edited_is_left_out_by_the_name_of_its_file(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, lines: int | None, said: str
) -> None:
    """Nothing is left out unsaid, and no score that cannot be counts."""
    shutil.copytree(run / "run", tmp_path / "bad" / "run")
    path = tmp_path / "bad" / "run" / "evaluation" / "scores.csv"
    rows = read_records(path)[1]
    edited = [{**row, "balanced_accuracy": "17"} for row in rows]
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    if lines is None:
        path.unlink()
        write_records(edited, path)
    done, bad = (CellState("a", one, {}, "done", 1.0) for one in (run, tmp_path / "bad"))
    assert len(results_of_people([bad, done])) == len(results_of_people([done]))
    assert re.search(rf"bad is left out of the results: .*scores\.csv,? {said}", caplog.text)


def test_cells_are_results_of_each_target_and_set(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As the run itself scored them; predictions beside the model are those of its people."""
    done, gone = (CellState("a", path, {}, "done", 120.0) for path in (run, tmp_path / "gone"))
    found = results_of_people([gone, done])
    assert f"{tmp_path / 'gone'} is left out of the results" in caplog.text
    scores = read_records(run / "run" / "evaluation" / "scores.csv")[1]
    told = [row for row in scores if row["method"] == "model" and row["inputs"] != WHATEVER]
    assert found.frame["inputs"].tolist() == [row["inputs"] for row in told]
    assert found.score()[0] == pytest.approx(float(told[0][told[0]["main"]]))
    assert (found.targets, found.overview()["trainings"]) == ([*TARGETS], 1)
    assert set(found.where(target="anaemia").frame["domain"]) == {"blood"}
    path = found.write(tmp_path / "results.csv")
    pd.testing.assert_frame_equal(read_results(path).frame, found.frame)
    assert {each.method for each in best_inputs(read_results(path))} <= {"people", "errors"}
    one = found.where(target="sex", inputs="mind")
    shared = shared_people(one)["sex"]
    assert (shared.people, shared.scores[0]) == (one.frame["n"][0], pytest.approx(one.score()[0]))


def test_a_published_model_answers_complete_cases_alone(run: Path, tmp_path: Path) -> None:
    """One person at a time, as any; who lacks an input, or a column of one, is told so."""
    cohort = {
        "sources": {"connectivity": {"kind": "connectivity"}},
        "blocks": {"blood": {"columns": {"iron": "number", "mood": "number"}}},
        "targets": {"sex": {"kind": "binary", "classes": ["F", "M"]}},
    }
    rows = [row for row in read_records(run / "people.csv")[1] if row["iron"]]
    for number, row in enumerate(rows):
        row["connectivity"] = str(run / f"connectivity-{number}.npy")
    table = write_records(rows, tmp_path / "people.csv")
    (tmp_path / "cohort.toml").write_text(tomlkit.dumps(cohort), encoding="utf-8")
    changes = {"training.epochs": "1", "training.batch_size": "4"}
    changes["study.inputs"] = '["connectivity", "metadata"]'
    plain: dict[str, Any] = {"device": "cpu", "workers": 1, "threads": 1}
    path = api.train("legibility-published", table, tmp_path / "run", overrides=changes, **plain)
    published = api.load_model(path, threads=1)
    connectivity = run / "connectivity-0.npy"
    found = published.predict(connectivity=connectivity, iron=100, mood=0).values
    assert found["sex"] in {"F", "M"}
    assert found["sex_used"] == "connectivity + blood"
    said = refused(published, connectivity=connectivity, iron=100)
    assert "takes complete cases alone, but there is no blood" in said


def test_a_base_install_predicts(run: Path) -> None:
    """No torch is imported on the way from a table to the page."""
    lines = [
        "import sys",
        "from encephalon import api",
        f"model = api.load_model({str(run / 'run')!r}, threads=1)",
        f"model.predict_batch([{str(run / 'people.csv')!r}], {str(run / 'base')!r})",
        "assert 'torch' not in sys.modules",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


def test_what_is_fitted_comes_back_as_it_was(run: Path) -> None:
    """From the text of model.toml; what is broken is one sentence."""
    folder = open_model(run / "run" / "model")
    about, weights = folder.description, folder.tensors()
    cohort = Cohort.model_validate(about.recipe["study"]["cohort"])
    fitted = FittedState.from_dict(cohort, about.preprocessing, weights, "m")
    again = replace(about, preprocessing=fitted.as_dict())
    assert dump_description(again) == dump_description(about)
    broken = {**about.preprocessing, "readings": {"age": []}}
    with pytest.raises(ModelError, match=r"^m: its \[preprocessing\] is not that of a model of"):
        FittedState.from_dict(cohort, broken, weights, "m")


def test_a_target_is_drawn_as_it_is_among_who_train() -> None:
    """Counts of classes, or of parts between the ends; what is unknown does not count."""
    assert Spread.fit(np.array([0, 1, 1, np.nan]), 3).counts == (1, 2, 0)
    ages = Spread.fit(np.array([20.0, 30.0, np.nan, 40.0]), 1)
    assert (sum(ages.counts), ages.low, ages.high) == (3, 20.0, 40.0)


def test_a_target_cannot_have_the_name_of_a_column_of_its_table() -> None:
    """It would stand in the place of the verdict, say."""
    with pytest.raises((RecipeError, ValueError), match="a column of predictions"):
        Cohort.model_validate({**COHORT, "targets": {"quality": {"kind": "continuous"}}})

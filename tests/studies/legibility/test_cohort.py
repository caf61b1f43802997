# SPDX-License-Identifier: Apache-2.0
"""A cohort by one file: what is read of each layout, what the table tells, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.api import load_recipe
from encephalon.errors import InputError, OutputError, OutputExistsError, RecipeError
from encephalon.inference.workers import Workers
from encephalon.io.text import write_records
from encephalon.studies.legibility.cohort import load_cohort, resolve
from encephalon.studies.legibility.cohort_folder import (
    Preparing,
    counts,
    find_people,
    write_cohort,
)
from encephalon.studies.legibility.modes import legibility_settings
from encephalon.studies.legibility.preprocessing import ImageRow
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Columns
from encephalon.training.dataset import Prepared
from tests.studies.legibility.people import (
    CONNECTIVITY,
    MOOD,
    PEOPLE,
    REGIONS,
    TARGETS,
    matrices,
    refused,
    rows,
    touch,
    write_table,
    write_toml,
    written,
)


def test_the_table_tells_columns_of_patterns_kinds_and_classes(tmp_path: Path) -> None:
    path = write_table(tmp_path, rows())
    cohort = find_people(path).cohort
    assert cohort.blocks["mood"].columns == {
        "q_2": "number",
        "q_10": "number",
        "hand": ("A", "L", "R"),
    }
    assert cohort.targets["sex"].classes == ("F", "M")
    assert cohort.targets["age"].classes == ()


def test_a_pattern_takes_no_target_and_no_column_of_another_block(tmp_path: Path) -> None:
    text = '[blocks.all]\ncolumns = ["*"]\n[blocks.hands]\ncolumns = ["hand"]\n' + TARGETS
    cohort = find_people(write_table(tmp_path, rows(), text)).cohort
    assert tuple(cohort.blocks["all"].columns) == ("q_2", "q_10")


def test_what_is_written_is_read_again_as_it_was_and_tells_the_same(tmp_path: Path) -> None:
    given = write_cohort(write_table(tmp_path, rows()), tmp_path / "cohort").given
    again = load_cohort(tmp_path / "cohort" / "cohort.toml")
    table = read_table(tmp_path / "cohort" / "people.csv", Columns(id="id", inputs={}))
    assert resolve(again, table) == again
    assert (again.blocks, again.targets) == (given.cohort.blocks, given.cohort.targets)
    twice = write_cohort(tmp_path / "cohort" / "cohort.toml", tmp_path / "twice")
    assert twice.given.cohort == again
    name = "people.csv"
    assert (tmp_path / "twice" / name).read_bytes() == (tmp_path / "cohort" / name).read_bytes()


def test_who_lacks_a_source_has_an_empty_cell_and_who_has_nothing_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = matrices()
    full[3] = np.nan
    np.save(tmp_path / "fc.npy", full[:11])
    (tmp_path / "ids.txt").write_text("\n".join(PEOPLE[:11]), encoding="utf-8")
    table = rows()
    for number in (3, 11):
        table[number] |= dict.fromkeys(("q_2", "q_10", "hand"))
    table[3]["hand"] = "L"
    text = f'{CONNECTIVITY}array = "fc.npy"\nids = "ids.txt"\n{MOOD}{TARGETS}'
    given = write_cohort(write_table(tmp_path, table, text), tmp_path / "cohort").given
    assert counts(given) == {
        "sources": {"connectivity": 10},
        "blocks": {"mood": 11},
        "targets": {"age": 11, "sex": 11},
    }
    assert "left out 1 people who have nothing: p11." in caplog.text
    assert written(tmp_path / "cohort")["p03"]["connectivity"] == ""


def changed(change: dict[str, Any], row: int | None = None) -> list[dict[str, Any]]:
    """The rows, with other cells in all of them or in one."""
    return [
        {**one, **change} if row in (None, number) else one for number, one in enumerate(rows())
    ]


WORDS = [{**one, "hand": f"word {number}"} for number, one in enumerate(rows() * 2)]
for _number, _one in enumerate(WORDS):
    _one["id"] = f"p{_number:02}"


@pytest.mark.parametrize(
    ("table", "text", "sentence"),
    [
        (rows(), MOOD + TARGETS.replace("sex", "sux"), "no column 'sux'.*did you mean 'sex'"),
        (changed({"age": 30}), MOOD + TARGETS, "'age'.* is '30' for everybody"),
        (changed({"age": "NaN"}), MOOD + TARGETS, "'age'.* is empty in every row"),
        (changed({"age": "old"}, 4), MOOD + TARGETS, "row 6: 'age'.* is 'old' and no number"),
        (changed({"sex": "X"}, 4), MOOD + TARGETS, "'sex'.* has 3 different words, F, M, X"),
        (
            changed({"sex": "X"}, 4),
            MOOD + TARGETS.replace("binary", "multiclass"),
            "'sex'.* is 'X' in 1 of 12 rows, and a class needs 2",
        ),
        (
            changed({"sex": "X"}, 4),
            MOOD + TARGETS + 'classes = ["F", "M"]\n',
            "row 6: 'sex' is 'X', which is none of the classes",
        ),
        (
            changed({"q_2": "inf"}, 4),
            MOOD + TARGETS,
            "row 6: 'q_2'.* is 'inf', and a column is num",
        ),
        (
            [{**one, "sex": "1" if one["sex"] == "F" else "1.0"} for one in rows()],
            MOOD + TARGETS,
            "'sex'.* is '1' for everybody",
        ),
        (
            [{**one, "sex": ("1", "1.0", "2")[n % 3]} for n, one in enumerate(rows())],
            MOOD + TARGETS.replace("binary", "multiclass"),
            "'sex'.* is '1' in some rows and '1.0' in others, which is one number",
        ),
        (
            rows(),
            MOOD + TARGETS + 'domain = "mood"\n',
            "nothing to tell 'sex' from, as all that is used is of its own domain 'mood'",
        ),
        (rows(), MOOD + TARGETS.replace("binary", "ordinal"), "name its classes in their order"),
        (changed({"q_2": "n/a"}), MOOD + TARGETS, "'q_2', of the block 'mood', is empty in every"),
        (WORDS, MOOD + TARGETS, "row 2: 'hand', of the block 'mood', is 'word 0'.* not 24"),
        (rows(), MOOD.replace("q_*", "w_*") + TARGETS, r"no column 'w_\*'.* block 'mood'"),
        (rows(), 'site = "centre"\n' + MOOD + TARGETS, "no column 'centre', which `site`"),
        (rows(), 'person = "who"\n' + MOOD + TARGETS, "no column 'who', which `person`"),
        (rows(), 'subgroups = ["siet"]\n' + MOOD + TARGETS, "no column 'siet', which `subgroups`"),
        (rows(), 'confounds = ["siet"]\n' + MOOD + TARGETS, "no column 'siet', which `confounds`"),
        (rows() + rows()[:1], MOOD + TARGETS, "row 14, 'id': the id 'p00' is already"),
        (rows(), '[sources.t1]\nkind = "image"\n' + TARGETS, "no column 't1' for the source"),
        (
            rows(),
            '[sources.t1]\nkind = "image"\nfiles = "{id}.nii"\n' + TARGETS,
            "no file of anybody, such as .*p00.nii",
        ),
        (
            rows(),
            '[sources.t1]\nkind = "image"\nfilez = "{id}.nii"\n' + TARGETS,
            r"unknown key 'filez' in \[sources.t1\]; did you mean 'files'",
        ),
        (rows(), 'id = "who"\n' + MOOD + TARGETS, "has no column 'who'; it has id, age"),
        (
            rows(),
            '[sources.t1]\nkind = "image"\narray = "t1.npy"\n' + TARGETS,
            r"'t1' in \[sources\] has an array, which connectivity alone may",
        ),
        (rows(), 'tabel = "x"\n' + MOOD + TARGETS, "unknown key 'tabel'; did you mean 'table'"),
    ],
)
def test_a_table_that_does_not_suit_is_refused_in_a_sentence_that_names_what_is_wrong(
    tmp_path: Path, table: list[dict[str, Any]], text: str, sentence: str
) -> None:
    said = refused(write_table(tmp_path, table, text))
    assert re.search(sentence, said), said


def test_a_number_that_may_stand_for_no_value_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = changed({"age": 999, "q_2": 0, "q_10": 99}, 4)
    find_people(write_table(tmp_path, table, MOOD + TARGETS))
    assert "row 6: 'age' is 999, far from all others" in caplog.text
    assert "row 6: 'q_10' is 99, far from all others" in caplog.text
    assert "'q_2'" not in caplog.text


def test_an_input_whose_absence_tells_a_target_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = rows()
    for number, row in enumerate(table):
        row["q_2"] = None if row["sex"] == "F" else row["q_2"]
        row["q_10"] = None if number > 5 else row["q_10"]
    text = '[blocks.body]\ncolumns = ["hand"]\n[blocks.mood]\ncolumns = ["q_*"]\n' + TARGETS
    find_people(write_table(tmp_path, table, text))
    assert "'q_2' is known of nobody whose 'sex' is 'F'" in caplog.text
    assert "'q_10' is known of nobody whose 'age' is above 25" in caplog.text
    caplog.clear()
    find_people(write_table(tmp_path, table, f'{text}domain = "mood"\n'))
    assert "'sex'" not in caplog.text


@pytest.mark.parametrize(("place", "name"), [(0, "ds000228"), (1, "ds002748")])
def test_the_cohorts_of_the_page_are_found_in_their_datasets(
    tmp_path: Path, data: Path, place: int, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    page = Path(__file__).parents[3] / "docs" / "legibility.md"
    blocks = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for path in (data / "cohort" / name).iterdir():
        (tmp_path / path.name).symlink_to(path)
    given = find_people(write_toml(tmp_path, blocks[place]))
    people = {"ds000228": 155, "ds002748": 72}[name]
    assert given.cohort.name == name
    assert set(counts(given)["sources"].values()) == {people}
    assert not caplog.records


def test_a_cohort_that_is_there_is_kept_and_its_own_file_is_never_replaced(tmp_path: Path) -> None:
    path = write_table(tmp_path, rows())
    write_cohort(path, tmp_path / "cohort")
    with pytest.raises(OutputExistsError, match=r"cohort\.toml exists already"):
        write_cohort(path, tmp_path / "cohort")
    write_cohort(path, tmp_path / "cohort", overwrite=True)
    own = tmp_path / "cohort" / "cohort.toml"
    with pytest.raises(OutputError, match="is an input and would be replaced"):
        write_cohort(own, tmp_path / "cohort", overwrite=True)
    # As where a file system does not tell them apart.
    (tmp_path / "cohort.toml").hardlink_to(path)
    with pytest.raises(OutputError, match="is an input and would be replaced"):
        write_cohort(path, tmp_path, overwrite=True)


def prepared(
    asked: list[ImageRow], cache: Path, side: int, **how: Any
) -> list[Prepared | InputError]:
    """What preparing scans gives: that of p05 cannot be read."""
    assert how["workers"].jobs == 2
    cache.mkdir()
    return [
        InputError(f"{one.path}: no scan.")
        if one.path.name.startswith("p05")
        else Prepared(
            touch(cache / f"{one.path.stem}-{side}.npy"),
            {"brain_ml": 1200.5 + n, "scale": 0.8, "quality": "ok", "reasons": [one.reference]},
        )
        for n, one in enumerate(asked)
    ]


def test_scans_are_prepared_by_the_t1w_of_the_person_and_tell_the_size_of_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for person in PEOPLE[:10]:
        touch(tmp_path / f"{person}_flair.nii")
    for person in PEOPLE[:4]:
        touch(tmp_path / f"{person}_t1.nii")
    sources = "".join(
        f'[sources.{name}]\nkind = "image"\nfiles = "{{id}}_{name}.nii"\n'
        for name in ("flair", "t1")
    )
    asked: list[ImageRow] = []

    def prepare(rows: list[ImageRow], *args: Any, **how: Any) -> list[Prepared | InputError]:
        asked.extend(rows)
        return prepared(rows, *args, **how)

    monkeypatch.setattr("encephalon.studies.legibility.preprocessing.prepare_images", prepare)
    path = write_table(tmp_path, rows(), f'confounds = ["t1_brain_ml"]\n{sources}{TARGETS}')
    made = write_cohort(path, tmp_path / "cohort", Preparing(side=32, workers=Workers(jobs=2)))
    reference = {one.path.name: one.reference and one.reference.name for one in asked}
    assert reference["p01_flair.nii"] == "p01_t1.nii"
    assert reference["p05_flair.nii"] is None
    assert reference["p01_t1.nii"] is None
    assert made.failures == (f"{tmp_path / 'p05_flair.nii'}: no scan.",)
    # Of p05 nothing is left, and p10 and p11 had nothing.
    found = written(tmp_path / "cohort")
    assert list(found) == [one for one in PEOPLE[:10] if one != "p05"]
    assert found["p01"]["flair"] == "images/p01_flair-32.npy"
    assert found["p04"]["flair_brain_ml"] == "1204.5"
    assert found["p04"]["t1_brain_ml"] == ""
    again = write_cohort(tmp_path / "cohort" / "cohort.toml", tmp_path / "twice")
    assert again.failures == ()
    assert len(asked) == 14
    assert written(tmp_path / "twice")["p04"]["flair_brain_ml"] == "1204.5"


def test_a_column_that_preparing_scans_would_replace_is_refused(tmp_path: Path) -> None:
    for person in PEOPLE:
        touch(tmp_path / f"{person}.nii")
    text = '[sources.t1]\nkind = "image"\nfiles = "{id}.nii"\n' + MOOD + TARGETS
    path = write_table(tmp_path, changed({"t1_scale": "kg"}), text)
    assert "has a column 't1_scale', which preparing the scans of 't1' writes" in refused(path)
    write_cohort(path, tmp_path / "cohort", Preparing(images=False))
    assert written(tmp_path / "cohort")["p00"]["t1_scale"] == "kg"


def test_files_of_connectivity_are_not_replaced_by_what_is_made_of_them(tmp_path: Path) -> None:
    own = tmp_path / "out" / "connectivity"
    own.mkdir(parents=True)
    for person, matrix in zip(PEOPLE, matrices(), strict=True):
        np.save(own / f"{person}.npy", matrix)
    text = CONNECTIVITY + 'files = "out/connectivity/{id}.npy"\n' + TARGETS
    path = write_table(tmp_path, rows(), text)
    with pytest.raises(OutputError, match="connectivity is an input and would be replaced"):
        write_cohort(path, tmp_path / "out", overwrite=True)
    assert np.load(own / "p00.npy").shape == (REGIONS, REGIONS)
    write_cohort(path, tmp_path / "other")
    assert {one.name for one in (tmp_path / "other").iterdir()} == {
        "connectivity",
        "people.csv",
        "cohort.toml",
    }


RECIPE = """
name = "mine"
title = "Mine"
task = "regression"
[study]
name = "legibility"
targets = ["age"]
[network]
name = "masked-fusion"
"""


def recipe(folder: Path, more: str = "") -> Path:
    """A recipe that tells the age."""
    path = folder / "mine.toml"
    path.write_text(RECIPE + more, encoding="utf-8")
    return path


def test_a_recipe_takes_the_cohort_beside_its_table_and_only_what_it_asks_for(
    tmp_path: Path,
) -> None:
    write_cohort(write_table(tmp_path, rows()), tmp_path / "cohort")
    people = tmp_path / "cohort" / "people.csv"
    found = load_recipe(recipe(tmp_path), table=people)
    cohort = legibility_settings(found).cohort
    assert cohort is not None
    assert tuple(cohort.targets) == ("age",)
    assert found.table == cohort.columns()
    assert tuple(found.table.covariates) == ("q_2", "q_10", "hand")
    # Once more changes nothing, and neither does a cohort.toml that has gone.
    (tmp_path / "cohort" / "cohort.toml").unlink()
    assert load_recipe(found, table=people) == found


def test_a_recipe_may_declare_the_cohort_of_a_table_of_its_own(tmp_path: Path) -> None:
    write_records(rows(), tmp_path / "all.csv")
    own = """
[study.cohort.blocks.mood]
columns = ["q_*"]
[study.cohort.targets.age]
kind = "continuous"
"""
    found = load_recipe(recipe(tmp_path, own), table=tmp_path / "all.csv")
    assert tuple(found.table.covariates) == ("q_2", "q_10")
    with pytest.raises(RecipeError, match=r"no .*cohort\.toml that says what is in all\.csv"):
        load_recipe(recipe(tmp_path), table=tmp_path / "all.csv")
    wrong = own.replace("columns", "colums")
    with pytest.raises(RecipeError, match=r"unknown key 'colums' in \[study\.cohort\.blocks\.mood"):
        load_recipe(recipe(tmp_path, wrong))

# SPDX-License-Identifier: Apache-2.0
"""A cohort by one file: what is read of each layout, what the table tells, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.api import load_recipe
from encephalon.errors import EncephalonError, OutputError, OutputExistsError, RecipeError
from encephalon.io.text import read_records, write_records
from encephalon.studies.legibility.cohort import load_cohort, resolve
from encephalon.studies.legibility.cohort_folder import counts, find_people, write_cohort
from encephalon.studies.legibility.settings import legibility_settings
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Columns
from encephalon.transforms.connectivity import vectorise
from tests.studies.legibility.people import (
    MOOD,
    PEOPLE,
    TARGETS,
    matrices,
    rows,
    touch,
    write_table,
    write_toml,
)

CONNECTIVITY = '[sources.connectivity]\nkind = "connectivity"\n'


def written(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of people.csv by id."""
    return {next(iter(row.values())): row for row in read_records(folder / "people.csv")[1]}


def refused(path: Path) -> str:
    """Why the cohort of that file is not found."""
    with pytest.raises(EncephalonError) as caught:
        find_people(path)
    text = str(caught.value)
    assert "\n  and" not in text
    return text


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
    given = write_cohort(write_table(tmp_path, rows()), tmp_path / "cohort")
    again = load_cohort(tmp_path / "cohort" / "cohort.toml")
    table = read_table(tmp_path / "cohort" / "people.csv", Columns(id="id", inputs={}))
    assert resolve(again, table) == again
    assert (again.blocks, again.targets) == (given.cohort.blocks, given.cohort.targets)
    twice = write_cohort(tmp_path / "cohort" / "cohort.toml", tmp_path / "twice")
    assert twice.cohort == again
    name = "people.csv"
    assert (tmp_path / "twice" / name).read_bytes() == (tmp_path / "cohort" / name).read_bytes()


@pytest.mark.parametrize("form", ["npy", "npz", "upper", "lower", "csv", "files"])
def test_connectivity_of_any_form_becomes_one_upper_triangle_a_person(
    tmp_path: Path, form: str
) -> None:
    full = matrices().astype(np.float32)
    triangles, ids = vectorise(full, PEOPLE), "\n".join(reversed(PEOPLE))
    where = f'array = "fc.{form}"'
    if form == "npy":
        np.save(tmp_path / "fc.npy", full[::-1])
        (tmp_path / "ids.txt").write_text(f"{ids}\n", encoding="utf-8")
        where += '\nids = "ids.txt"'
    elif form == "npz":
        np.savez(tmp_path / "fc.npz", other=[1], fc=full)
        where = 'array = "fc.npz:fc"'
    elif form in {"upper", "lower"}:
        first, second = np.tril_indices(full.shape[1], -1)
        np.save(tmp_path / "fc.npy", triangles if form == "upper" else full[:, first, second])
        where = f'array = "fc.npy"\ntriangle = "{form}"'
    elif form == "csv":
        names = [f"pair{number}" for number in range(triangles.shape[1])]
        pairs = [dict(zip(names, map(str, row), strict=True)) for row in triangles]
        table = [{"id": one, **row} for one, row in zip(PEOPLE, pairs, strict=True)]
        write_records(table[::-1], tmp_path / "fc.csv")
    else:
        for person, matrix in zip(PEOPLE, full, strict=True):
            np.savetxt(tmp_path / f"{person}_fc.tsv", matrix, delimiter="\t")
        where = 'files = "{id}_fc.tsv"'
    path = write_table(tmp_path, rows(), f"{CONNECTIVITY}{where}\n{TARGETS}")
    write_cohort(path, tmp_path / "cohort")
    for person, triangle in zip(PEOPLE, triangles, strict=True):
        cell = written(tmp_path / "cohort")[person]["connectivity"]
        assert cell == f"connectivity/{person}.npy"
        found = np.load(tmp_path / "cohort" / cell)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, triangle, atol=1e-6)
    assert load_cohort(tmp_path / "cohort" / "cohort.toml").sources["connectivity"].array == ""


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
    given = write_cohort(write_table(tmp_path, table, text), tmp_path / "cohort")
    assert counts(given) == {"connectivity": 10, "mood": 11, "age": 11, "sex": 11}
    assert "left out 1 people who have nothing: p11." in caplog.text
    assert written(tmp_path / "cohort")["p03"]["connectivity"] == ""


def test_the_folders_of_the_published_study_become_one_table_with_its_split(tmp_path: Path) -> None:
    full = matrices()
    for part, some in (("train", slice(0, 8)), ("test", slice(8, 12))):
        folder, ids = tmp_path / part.upper(), PEOPLE[some]
        folder.mkdir()
        write_records(rows(ids, "biobank_id"), folder / f"metadata_{part}.csv")
        np.save(folder / f"imaging_fmri_{part}.npy", full[some])
        (folder / f"imaging_fmri_{part}.txt").write_text("\n".join(ids), encoding="utf-8")
        for person in ids[1:]:
            touch(folder / "T1" / f"{person}_t1.nii.gz")
    text = 'layout = "biobank"\n[sources.t1]\nkind = "image"\n' + CONNECTIVITY + MOOD + TARGETS
    given = write_cohort(write_toml(tmp_path, text), tmp_path / "cohort")
    assert counts(given) == {"t1": 10, "connectivity": 12, "mood": 12, "age": 12, "sex": 12}
    found = written(tmp_path / "cohort")
    assert list(found) == list(PEOPLE)
    assert [row["split"] for row in found.values()] == ["train"] * 8 + ["test"] * 4
    assert found["p01"]["t1"] == "../TRAIN/T1/p01_t1.nii.gz"
    assert found["p08"]["t1"] == ""
    assert load_cohort(tmp_path / "cohort" / "cohort.toml").split == "split"


def bids(folder: Path, sessions: tuple[str, ...] = ()) -> list[str]:
    """A dataset of people, the first of whom has no image; the ids."""
    people = [f"sub-{number:02}" for number in range(6)]
    write_records(rows(tuple(people), "participant_id"), folder / "participants.csv")
    text = (folder / "participants.csv").read_text(encoding="utf-8").replace(",", "\t")
    (folder / "participants.tsv").write_text(text, encoding="utf-8")
    for person in people[1:]:
        for session in sessions or ("",):
            place = folder / person / session / "anat"
            name = f"{person}_{session}" if session else person
            touch(place / f"{name}_T1w.nii.gz")
            touch(place / f"{name}_FLAIR.nii.gz")
    return people


def test_a_dataset_is_read_by_suffix_by_name_and_by_pattern(tmp_path: Path) -> None:
    people = bids(tmp_path)
    text = 'layout = "bids"\n[sources.t1]\nkind = "image"\n'
    text += '[sources.other]\nkind = "image"\nfiles = "{id}/anat/{id}_FLAIR.nii.gz"\n'
    text += '[sources.again]\nkind = "image"\nfiles = "FLAIR"\n'
    given = find_people(write_toml(tmp_path, text + MOOD + TARGETS))
    assert given.table.ids == people
    assert given.items["t1"][0] is None
    assert given.items["t1"][2] == tmp_path / "sub-02" / "anat" / "sub-02_T1w.nii.gz"
    assert given.items["other"] == given.items["again"]
    assert given.cohort.group == ""


def test_two_sessions_of_one_person_are_two_rows_of_one_group(tmp_path: Path) -> None:
    bids(tmp_path, ("ses-1", "ses-2"))
    text = 'layout = "bids"\n[sources.t1]\nkind = "image"\n[sources.flair]\nkind = "image"\n'
    text += 'files = "{participant_id}/{session}/anat/{id}_FLAIR.nii.gz"\n'
    write_cohort(write_toml(tmp_path, text + MOOD + TARGETS), tmp_path / "cohort")
    found = written(tmp_path / "cohort")
    assert len(found) == 1 + 2 * 5
    assert found["sub-03_ses-2"]["participant_id"] == "sub-03"
    assert found["sub-03_ses-2"]["t1"].endswith("ses-2/anat/sub-03_ses-2_T1w.nii.gz")
    assert found["sub-03_ses-2"]["flair"].endswith("sub-03_ses-2_FLAIR.nii.gz")
    cohort = load_cohort(tmp_path / "cohort" / "cohort.toml")
    assert (cohort.id, cohort.group) == ("id", "participant_id")


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
            "'sex'.* has 1 people of the class 'X'",
        ),
        (
            changed({"sex": "X"}, 4),
            MOOD + TARGETS + 'classes = ["F", "M"]\n',
            "row 6: 'sex' is 'X', which is none of the classes",
        ),
        (rows(), MOOD + TARGETS.replace("binary", "ordinal"), "name its classes in their order"),
        (changed({"q_2": "n/a"}), MOOD + TARGETS, "'q_2', of the block 'mood', is empty in every"),
        (WORDS, MOOD + TARGETS, "row 2: 'hand', of the block 'mood', is 'word 0'.* not 24"),
        (rows(), MOOD.replace("q_*", "w_*") + TARGETS, r"no column 'w_\*'.* block 'mood'"),
        (rows(), 'site = "centre"\n' + MOOD + TARGETS, "no column 'centre', which `site`"),
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
        (rows(), 'tabel = "x"\n' + MOOD + TARGETS, "unknown key 'tabel'; did you mean 'table'"),
    ],
)
def test_a_table_that_does_not_suit_is_refused_in_a_sentence_that_names_what_is_wrong(
    tmp_path: Path, table: list[dict[str, Any]], text: str, sentence: str
) -> None:
    said = refused(write_table(tmp_path, table, text))
    assert re.search(sentence, said), said


@pytest.mark.parametrize(
    ("ids", "count", "sentence"),
    [
        ((*PEOPLE[:11], "p99"), 12, "has the id 'p99', which is not in .*all.csv"),
        ((*PEOPLE[:11], "p00"), 12, "has the id 'p00' 2 times"),
        (PEOPLE, 11, "connectivity of 11 people, but there are 12 ids in ids.txt"),
        ((), 11, "connectivity of 11 people, but there are 12 rows in .*no ids"),
    ],
)
def test_ids_of_an_array_that_are_not_those_of_the_table_are_named(
    tmp_path: Path, ids: tuple[str, ...], count: int, sentence: str
) -> None:
    np.save(tmp_path / "fc.npy", matrices(count))
    where = 'array = "fc.npy"\n'
    if ids:
        (tmp_path / "ids.txt").write_text("\n".join(ids), encoding="utf-8")
        where += 'ids = "ids.txt"\n'
    said = refused(write_table(tmp_path, rows(), CONNECTIVITY + where + TARGETS))
    assert re.search(sentence, said), said


def spoilt(what: str) -> dict[str, Any]:
    """Connectivity of which that of p04 is spoilt, one file a person."""
    found = dict(zip(PEOPLE, matrices(), strict=True))
    if what == "asymmetric":
        found["p04"][0, 1] += 0.5
    elif what == "larger":
        found["p04"] = matrices(1, 7)[0]
    elif what == "text":
        found["p04"] = np.full((5, 5), "x")
    return found


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("asymmetric", "connectivity of p04 is not symmetric"),
        ("larger", "connectivity of p04 has 7 regions, but that of the first person has 5"),
        ("text", "p04.npy: expected numbers"),
    ],
)
def test_a_matrix_that_is_no_connectivity_is_refused_with_its_person(
    tmp_path: Path, what: str, sentence: str
) -> None:
    for person, matrix in spoilt(what).items():
        np.save(tmp_path / f"{person}.npy", matrix)
    path = write_table(tmp_path, rows(), CONNECTIVITY + 'files = "{id}.npy"\n' + TARGETS)
    with pytest.raises(EncephalonError, match=sentence):
        write_cohort(path, tmp_path / "cohort")
    assert not (tmp_path / "cohort" / "people.csv").exists()


def test_the_other_triangle_is_not_taken_in_silence(tmp_path: Path) -> None:
    # Correlations that are so strong that another order makes no matrix of them.
    strong = np.full((12, 8, 8), 0.0)
    strong[:, :4, :4] = strong[:, 4:, 4:] = 0.9
    np.save(tmp_path / "fc.npy", strong[:, *np.tril_indices(8, -1)])
    path = write_table(tmp_path, rows(), CONNECTIVITY + 'array = "fc.npy"\n' + TARGETS)
    assert 'set  triangle = "lower"' in refused(path)


def test_files_that_no_row_has_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for person in ("p01", "p99"):
        touch(tmp_path / person / f"{person}.nii.gz")
    text = '[sources.t1]\nkind = "image"\nfiles = "{id}/{id}.nii.gz"\n' + MOOD + TARGETS
    find_people(write_table(tmp_path, rows(), text))
    assert "left out 1 files of 't1' that no row of" in caplog.text
    assert "p99.nii.gz" in caplog.text


def test_a_cohort_that_is_there_is_kept_and_its_own_file_is_never_replaced(tmp_path: Path) -> None:
    path = write_table(tmp_path, rows())
    write_cohort(path, tmp_path / "cohort")
    with pytest.raises(OutputExistsError, match=r"cohort\.toml exists already"):
        write_cohort(path, tmp_path / "cohort")
    write_cohort(path, tmp_path / "cohort", overwrite=True)
    own = tmp_path / "cohort" / "cohort.toml"
    with pytest.raises(OutputError, match="is an input and would be replaced"):
        write_cohort(own, tmp_path / "cohort", overwrite=True)


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

# SPDX-License-Identifier: Apache-2.0
"""Where the data of a cohort lie: every layout and form is read, and ids that differ are named."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import EncephalonError
from encephalon.io.text import write_records
from encephalon.studies.legibility.cohort import load_cohort
from encephalon.studies.legibility.cohort_folder import (
    Preparing,
    counts,
    find_people,
    write_cohort,
)
from encephalon.transforms.connectivity import vectorise
from tests.studies.legibility.people import (
    CONNECTIVITY,
    MOOD,
    PEOPLE,
    TARGETS,
    matrices,
    refused,
    rows,
    touch,
    write_table,
    write_toml,
    written,
)


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
    made = write_cohort(write_toml(tmp_path, text), tmp_path / "cohort", Preparing(images=False))
    assert counts(made.given)["sources"] == {"t1": 10, "connectivity": 12}
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
    path = write_toml(tmp_path, text + MOOD + TARGETS)
    write_cohort(path, tmp_path / "cohort", Preparing(images=False))
    found = written(tmp_path / "cohort")
    assert len(found) == 1 + 2 * 5
    assert found["sub-03_ses-2"]["participant_id"] == "sub-03"
    assert found["sub-03_ses-2"]["t1"].endswith("ses-2/anat/sub-03_ses-2_T1w.nii.gz")
    assert found["sub-03_ses-2"]["flair"].endswith("sub-03_ses-2_FLAIR.nii.gz")
    cohort = load_cohort(tmp_path / "cohort" / "cohort.toml")
    assert (cohort.id, cohort.group) == ("id", "participant_id")


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


@pytest.mark.parametrize("where", ['files = "{id}.npy"', 'array = "all.npy"\nids = "ids.txt"'])
def test_people_are_found_however_their_accents_are_spelt(tmp_path: Path, where: str) -> None:
    """A table has José as keyboards write it, his file or the list of ids as macOS does."""
    names = [f"Jos\u00e9{number}" for number in range(len(PEOPLE))]
    found, full = [unicodedata.normalize("NFD", name) for name in names], matrices()
    for name, matrix in zip(found, full, strict=True):
        np.save(tmp_path / f"{name}.npy", matrix)
    np.save(tmp_path / "all.npy", full)
    (tmp_path / "ids.txt").write_text("\n".join(found), encoding="utf-8")
    people = [{**row, "id": name} for name, row in zip(names, rows(), strict=True)]
    path = write_table(tmp_path, people, f"{CONNECTIVITY}{where}\n{TARGETS}")
    write_cohort(path, tmp_path / "cohort")
    assert all(row["connectivity"] for row in written(tmp_path / "cohort").values())


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
    assert "The connectivity of p00 is no matrix" in refused(path)
    lacking = strong[:, *np.tril_indices(8, -1)]
    lacking[0] = np.nan
    np.save(tmp_path / "fc.npy", lacking)
    assert "The connectivity of p01 is no matrix" in refused(path)
    for person, row in zip(PEOPLE, lacking[1:], strict=False):
        np.save(tmp_path / f"{person}.npy", row)
    path = write_table(tmp_path, rows(), CONNECTIVITY + 'files = "{id}.npy"\n' + TARGETS)
    assert 'triangle = "lower"' in refused(path)


def test_a_flat_row_that_is_no_triangle_is_refused_with_its_person(tmp_path: Path) -> None:
    np.save(tmp_path / "fc.npy", np.zeros((12, 11)))
    path = write_table(tmp_path, rows(), CONNECTIVITY + 'array = "fc.npy"\n' + TARGETS)
    assert re.search(r"p00: Flat connectivity.* the shape is \(1, 11\)", refused(path))


def test_a_colon_parts_a_name_from_npz_alone(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    np.savez(tmp_path / "a:b" / "fc.npz", a=matrices(), b=matrices()[:3])
    np.save(tmp_path / "a:b" / "fc.npy", matrices())
    for array in ("a:b/fc.npz:a", "a:b/fc.npy"):
        text = CONNECTIVITY + f'array = "{array}"\n' + TARGETS
        assert len(find_people(write_table(tmp_path, rows(), text)).table) == len(PEOPLE)


@pytest.mark.parametrize("pattern", ["sub-{id}*_T1w.nii", "sub-{id}*/sub-{id}*_T1w.nii"])
def test_a_star_beside_a_number_takes_no_other_person(tmp_path: Path, pattern: str) -> None:
    for person in ("10", "2_run-1", "3"):
        folder = f"sub-{person}" if "/" in pattern else ""
        touch(tmp_path / folder / f"sub-{person}_T1w.nii")
    text = f'[sources.t1]\nkind = "image"\nfiles = "{pattern}"\n' + MOOD + TARGETS
    people = tuple(map(str, range(1, 12)))
    found = find_people(write_table(tmp_path, rows(people), text)).items["t1"]
    has = {p: one.name for p, one in zip(people, found, strict=True) if isinstance(one, Path)}
    assert has == {"2": "sub-2_run-1_T1w.nii", "3": "sub-3_T1w.nii", "10": "sub-10_T1w.nii"}


def test_files_that_no_row_has_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for person in ("p01", "p99"):
        touch(tmp_path / person / f"{person}.nii.gz")
    text = '[sources.t1]\nkind = "image"\nfiles = "{id}/{id}.nii.gz"\n' + MOOD + TARGETS
    find_people(write_table(tmp_path, rows(), text))
    assert "left out 1 files of 't1' that no row of" in caplog.text
    assert "p99.nii.gz" in caplog.text

# SPDX-License-Identifier: Apache-2.0
"""Data with a known answer, learning from parts of the people, and the most that can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon import api
from encephalon.errors import TableError
from encephalon.experiments.folds import Fold
from encephalon.io.text import read_records
from encephalon.studies.legibility.ceiling import ceilings
from encephalon.studies.legibility.data import People, load_image, prepare_people
from encephalon.studies.legibility.diagnosis import curve_folds, recoded
from encephalon.studies.legibility.settings import Cohort
from encephalon.tables.reading import read_table
from tests.studies.legibility.tiny_people import QUICK, write_people

COHORT: Mapping[str, Any] = {
    "group": "person",
    "person": "person",
    "sources": {"t1": {"kind": "image"}, "connectivity": {"kind": "connectivity"}},
    "blocks": {"blood": {"columns": {"iron": "number", "kind": ["a", "b"]}}},
    "targets": {
        "age": {"kind": "continuous"},
        "sex": {"kind": "binary", "classes": ["F", "M"]},
        "grade": {"kind": "ordinal", "classes": ["low", "middle", "high"]},
    },
}


@pytest.fixture
def people(tmp_path: Path) -> People:
    """Two sessions of twenty people, of whom some things are not known."""
    rng = np.random.default_rng(0)
    lines = ["id,person,t1,connectivity,iron,kind,age,sex,grade"]
    for row in range(40):
        person = row // 2
        image, matrix = f"t1-{row}.npy", f"c-{row}.npy"
        np.save(tmp_path / image, rng.normal(size=(16, 16, 16)).astype(np.float16))
        np.save(tmp_path / matrix, np.corrcoef(rng.normal(size=(4, 9))).astype(np.float32))
        cells = [f"s{row}", f"p{person}", image if row % 3 else "", matrix if row % 4 else ""]
        cells += [f"{rng.normal():.3f}" if row % 5 else "", "ab"[row % 2]]
        cells += ["" if row == 7 else f"{40 + 2 * person + rng.normal():.2f}"]
        cells += ["FM"[person % 2], ("low", "middle", "high")[person % 3]]
        lines.append(",".join(cells))
    table = tmp_path / "people.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    cohort = Cohort.model_validate(COHORT)
    return prepare_people(read_table(table, cohort.columns()), cohort, 16, tmp_path / "cache", 1)


def test_learnable_inputs_give_every_target_away(people: People, tmp_path: Path) -> None:
    """One code is in all that a person has, whoever has what; what is unknown stays unknown."""
    coded = recoded(people, "learnable", 16, tmp_path / "cache", seed=0)
    np.testing.assert_array_equal(coded.present, people.present)
    for name, values in coded.truth.items():
        np.testing.assert_array_equal(np.isfinite(values), np.isfinite(people.truth[name]))
    grade = coded.truth["grade"]
    assert set(grade) == {0, 1, 2}
    for name, values in coded.truth.items():
        for one in range(3):
            known = values[grade == one]
            assert len(np.unique(known[np.isfinite(known)])) == 1, name
    assert set(coded.truth["sex"]) == {0, 1}
    for row in range(len(people)):
        iron, flat = coded.values["blood"][row, 0], coded.connectivity["connectivity"][row]
        assert np.isnan(iron) or iron == grade[row] / 2
        assert np.isnan(flat).all() or np.allclose(flat, 0.4 * grade[row])
        if path := coded.images["t1"][row]:
            np.testing.assert_array_equal(load_image(path, 16), grade[row] - 1)


def test_shuffled_targets_are_the_same_of_other_people(people: People, tmp_path: Path) -> None:
    """Nobody's inputs change, and nothing is known of more people than before."""
    dealt = recoded(people, "shuffled", 16, tmp_path, seed=0)
    assert dealt.values is people.values
    for name, values in dealt.truth.items():
        before = people.truth[name]
        np.testing.assert_array_equal(np.isfinite(values), np.isfinite(before))
        np.testing.assert_array_equal(np.sort(values), np.sort(before))
        assert not np.array_equal(values, before, equal_nan=True)
    again = recoded(people, "shuffled", 16, tmp_path, seed=0)
    np.testing.assert_array_equal(again.truth["age"], dealt.truth["age"])


def test_each_part_of_a_learning_curve_has_all_of_the_one_before(people: People) -> None:
    """Sessions of a person stay together, and who is tested stays the same."""
    fold = Fold(0, np.arange(24), np.arange(24, 32), np.arange(32, 40))
    parts = curve_folds(people, fold, (0.5, 0.25), seed=3)
    assert [len(part.train) for part in parts] == [6, 12]
    assert set(parts[0].train) < set(parts[1].train) < set(fold.train)
    owners = people.table.texts("person")
    for part in parts:
        assert all(owners.count(owners[row]) == 2 for row in part.train)
        assert {row ^ 1 for row in part.train} == set(part.train)
        np.testing.assert_array_equal(part.test, fold.test)


def test_a_part_that_knows_nothing_of_a_target_is_refused_before_training(people: People) -> None:
    """With the share and the target."""
    fold = Fold(0, np.arange(24), np.arange(24, 32), np.arange(32, 40))
    with pytest.raises(TableError, match=r"the share 0\.05 of those who train, 2 people"):
        curve_folds(people, fold, (0.05, 0.5), seed=0)


def test_two_sessions_tell_the_most_of_each_target(people: People) -> None:
    """The correlation of an age that is measured with an error of 1, and classes without one."""
    found = {one.target: one for one in ceilings(people)}
    pairs = people.truth["age"].reshape(20, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    assert found["age"].value.value == pytest.approx(np.corrcoef(pairs.T)[0, 1])
    assert found["age"].people == 19
    assert found["sex"].value.value == 1.0
    assert {one.source for one in found.values()} == {"sessions"}


def test_a_reliability_that_is_told_counts(people: People) -> None:
    """Of one session each nothing is seen, and of other targets nothing is said."""
    sex = people.cohort.targets["sex"].model_copy(update={"reliability": 0.82})
    targets = {**people.cohort.targets, "sex": sex}
    cohort = people.cohort.model_copy(update={"targets": targets, "person": ""})
    (only,) = ceilings(replace(people, cohort=cohort))
    assert (only.target, only.source) == ("sex", "reliability")
    assert only.value.value == pytest.approx(0.9)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose answers are known, with the curve of two parts of its first fold."""
    pytest.importorskip("lightning")
    folder = tmp_path_factory.mktemp("run")
    changes = QUICK | {
        "study.diagnostic": "learnable",
        "study.learning_curve": "[0.5, 0.75]",
        "training.epochs": "10",
        "training.checkpoint_every": "100",
        "training.steps_per_epoch": "10",
        "training.learning_rate": "1e-2",
        "network.options.width": "16",
        "network.options.hidden": "16",
    }
    table = write_people(folder)
    api.train("legibility", table, folder / "run", overrides=changes, device="cpu", threads=1)
    return folder / "run"


def test_what_can_be_learnt_is_learnt(run: Path) -> None:
    """From the tables to the scores nothing is lost."""
    rows = read_records(run / "evaluation" / "diagnostic.csv")[1]
    assert {row["target"]: row["passed"] for row in rows} == {"age": "true", "sex": "true"}
    assert [row["score"] for row in rows if row["target"] == "sex"] == ["1"]


def test_a_learning_curve_has_a_network_for_each_part(run: Path) -> None:
    """Measured of each, the whole fold among them, and expected of more."""
    rows = read_records(run / "evaluation" / "learning_curve.csv")[1]
    train = read_records(run / "folds" / "0" / "table.csv")[1]
    whole = sum(row["split"] == "train" for row in train)
    measured = [float(row["people"]) for row in rows if row["kind"] == "measured"]
    assert len(measured) == 6
    assert max(measured) == whole
    assert len(list((run / "learning-curve").iterdir())) == 2
    expected = {row["people"] for row in rows if row["kind"] == "expected"}
    assert expected == {"inf", *(f"{whole * times}" for times in (2, 4, 10))}

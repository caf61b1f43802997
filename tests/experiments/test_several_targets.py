# SPDX-License-Identifier: Apache-2.0
"""Folds of people with several targets, and networks of any answers that are trained on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from encephalon.errors import TableError
from encephalon.experiments.cross_validation import (
    CrossValidation,
    CrossValidationRun,
    FoldResult,
    read_fold_result,
    write_fold_result,
)
from encephalon.experiments.folds import Fold, Rows, Splits, make_splits
from encephalon.recipes.loading import dump_recipe, load_recipe
from encephalon.recipes.schema import Recipe, Search, Validated
from encephalon.tables.schema import Columns, Table
from encephalon.tables.splits import Targets
from encephalon.training.runs import RunFolder, TrainingContext, write_history

TARGETS: Targets = {"age": "number", "sex": ("F", "M")}


def people(count: int = 60, **columns: list[str]) -> Table:
    """As many people of three sites, two sessions each, of whom some things are not known."""
    rng = np.random.default_rng(0)
    person = [f"p{row // 2}" for row in range(count)]
    frame = {
        "id": [f"s{row}" for row in range(count)],
        "person": person,
        "site": [f"site{row // 2 % 3}" for row in range(count)],
        "age": [f"{value:.1f}" for value in rng.uniform(20, 80, count)],
        "sex": ["FM"[row // 2 % 2] for row in range(count)],
    }
    frame["age"][3], frame["sex"][5] = "", ""
    frame["age"][8] = frame["sex"][8] = ""
    return Table(
        pd.DataFrame(frame | columns, dtype=object), Columns(inputs={}, group="person"), Path()
    )


def splits_of(table: Table, targets: Targets = TARGETS, folds: int = 5, **more: Any) -> Splits:
    """Folds that share the mixture of sex, age and site."""
    stratify = ("sex", "age", "site")
    return make_splits(table, Validated(folds=folds), targets, stratify=stratify, seed=1, **more)


def test_a_row_whose_targets_are_all_unknown_is_of_no_fold() -> None:
    """One known target is enough to learn from."""
    splits = splits_of(people())
    assert splits.others.tolist() == [8]
    tested = np.concatenate([fold.test for fold in splits.folds])
    assert sorted([*tested, 8]) == list(range(60))


def test_folds_are_stratified_by_quantiles_of_a_number_and_keep_people_whole() -> None:
    """No fold is of the young alone, and every fold has women and men."""
    table = people(240)
    splits = splits_of(table)
    ages, sex, who = table.numbers("age"), np.array(table.texts("sex")), table.texts("person")
    for fold in splits.folds:
        assert abs(np.nanmean(ages[fold.test]) - np.nanmean(ages)) < 6
        assert {"F", "M"} <= set(sex[fold.test])
        learnt = {who[row] for row in fold.train}
        assert not learnt & {who[row] for row in fold.unseen()}
    assert splits.audit.clean


def test_sites_are_held_out_whole() -> None:
    """The site of a fold's test rows is in no row that the fold learns or is judged by."""
    table = people()
    site = np.array(table.texts("site"))
    for fold in splits_of(table, folds=3, sites="site").folds:
        parts = [set(site[rows]) for rows in (fold.train, fold.validation, fold.test)]
        assert [len(part) for part in parts] == [1, 1, 1]
        assert len(set.union(*parts)) == 3


def test_a_person_of_two_sites_is_a_leak() -> None:
    """Folds of whole sites cannot keep such a person whole: it is named, and the way out."""
    sites = people().texts("site")
    sites[1] = "site2"
    with pytest.raises(TableError, match=r"'person' lie in more than one part: p0\..*allow_leak"):
        splits_of(people(site=sites), folds=3, sites="site")


def test_two_sessions_of_one_person_across_a_split_are_told() -> None:
    """A split of the user's own is audited."""
    table = people(split=["train", "validation", "test"] * 20)
    table = replace(table, columns=replace(table.columns, split="split"))
    with pytest.raises(TableError, match="rows share their 'person' with train rows"):
        splits_of(table, folds=0)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"age": ["42"] * 60}, "no two different numbers in 'age'"),
        ({"sex": ["F"] * 60}, "no row of the class 'M'"),
        ({"sex": ["M", *["F"] * 59]}, "the class 'M' is in 1 groups of 'person', too few for 5"),
    ],
)
def test_a_target_that_nothing_can_be_learnt_of_is_named(
    columns: dict[str, list[str]], sentence: str
) -> None:
    """A constant, an empty class, and a class with one member."""
    with pytest.raises(TableError, match=sentence):
        splits_of(people(**columns))


@dataclass(frozen=True)
class _People:
    table: Table


@dataclass(frozen=True)
class _Mean:
    """Answers the mean age of those who train, and NaN."""

    recipe: Recipe
    mean: float
    network: Any = None

    def answers(self, rows: Rows) -> Mapping[int, NDArray[np.float32]]:
        """The mean, and what nobody knows."""
        return {int(row): np.array([self.mean, np.nan], np.float32) for row in rows}


def _fit(
    recipe: Recipe, dataset: _People, fold: Fold, run: RunFolder, context: TrainingContext
) -> _Mean:
    (run.reopen if context.resume else run.begin)(dump_recipe(recipe), str(fold.number))
    # As good as the rate is near to 1e-3.
    gain = -abs(math.log10(recipe.training.learning_rate) + 3)
    write_history(run.history, [{"epoch": 1, "val_r2": gain}, {"epoch": 2, "val_r2": gain - 1}])
    return _Mean(recipe, float(np.nanmean(dataset.table.numbers("age")[fold.train])))


def _validation(folder: Path, settings: Validated | None = None) -> CrossValidation[_People, _Mean]:
    table = people()
    changes = {"training.monitor": "val_r2", "training.monitor_mode": "max"}
    settings = settings or Validated()
    splits = make_splits(table, settings, TARGETS, stratify=("sex",), seed=1)
    return CrossValidation(
        *(load_recipe("micrographs", changes), settings, splits, _People(table)),
        *(CrossValidationRun(folder), TrainingContext(), _fit, ["all/age", "all/sex=M"]),
    )


def test_a_network_of_any_answers_is_cross_validated(tmp_path: Path) -> None:
    """Each row is answered by the network that did not learn it; what is not answered is NaN."""
    cv = _validation(tmp_path)
    results = cv.train_folds()
    for fold, result in zip(cv.splits.folds, results, strict=True):
        ages = cv.dataset.table.numbers("age")[fold.train]
        found = result.of(fold.test, 2)
        np.testing.assert_allclose(found[:, 0], np.nanmean(ages), rtol=1e-6)
        assert np.isnan(found[:, 1]).all()
    final = cv.train_final(results)
    assert list(final.answers) == [8]
    assert cv.final_recipe(results).training.epochs == 1


def test_a_search_maximises_what_the_recipe_monitors(tmp_path: Path) -> None:
    """The rate nearest to the best is taken, in each fold by itself."""
    space: Any = {"training.learning_rate": [1e-1, 1e-3, 1e-5]}
    cv = _validation(tmp_path, Validated(search=Search(trials=8, space=space)))
    assert {cv.recipe_of(fold).training.learning_rate for fold in cv.splits.folds} == {1e-3}


def test_many_answers_of_a_row_come_back(tmp_path: Path) -> None:
    """As many as all sets of inputs make, some of them unknown, to ten digits."""
    run = RunFolder(tmp_path)
    run.begin("recipe", "table")
    write_history(run.history, [{"epoch": 1}])
    values = np.random.default_rng(0).normal(size=(20, 1600)).astype(np.float32)
    values[3, 5:9] = np.nan
    ids = [f"s{row}" for row in range(len(values))]
    write_fold_result(run, ids, dict(enumerate(values)), [f"o{k}" for k in range(1600)])
    found = read_fold_result(run, ids)
    assert isinstance(found, FoldResult)
    np.testing.assert_allclose(found.of(np.arange(20), 1600), values, rtol=1e-9)

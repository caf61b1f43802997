# SPDX-License-Identifier: Apache-2.0
"""Linear models of every set of inputs, beside the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encephalon.studies.legibility.data import People
from encephalon.studies.legibility.fitting import FittedPeople
from encephalon.studies.legibility.linear import FittedLinear, fit_linear
from encephalon.studies.legibility.task import LegibilityTask
from tests.studies.legibility.test_task import make_people, trained


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    """Sixty people, of whom nobody lacks anything."""
    return make_people(tmp_path_factory.mktemp("people"), 60, 0.0)


@pytest.fixture(scope="module")
def fitted(people: People, tmp_path_factory: pytest.TempPathFactory) -> FittedPeople:
    """A network that has hardly learnt, with linear models of its first twenty people."""
    return trained(people, tmp_path_factory.mktemp("run"))


def linear_answers(fitted: FittedPeople, rows: np.ndarray) -> np.ndarray:
    """What linear models say of people (B, sets, columns)."""
    found = fitted.answers(rows)
    return np.array([found[row].reshape(15, 8)[:, 4:] for row in rows])


def test_a_straight_line_is_told_where_the_network_has_not_learnt_it(
    fitted: FittedPeople, people: People
) -> None:
    """Age of images and of connectivity, and whose sex goes with it, of people it never saw."""
    rows = np.arange(20, 60)
    age, sets = people.truth["age"][rows], people.cohort.input_sets()
    said = linear_answers(fitted, rows)
    for inputs, least in ((("t1", "flair"), 0.98), (("connectivity",), 0.9), (sets[-1], 0.9)):
        told = said[:, sets.index(inputs)]
        assert np.corrcoef(told[:, 0], age)[0, 1] > least
        assert (told[:, 1][age > 0.5] > told[:, 1][age < -0.5].max()).all()  # log-odds of men
    assert np.std(said[:, sets.index(("mind",)), 0]) < 0.5 * np.std(age)


def test_who_validates_is_told_by_all_others(fitted: FittedPeople) -> None:
    """As of linear models that never saw them; those that ship have."""
    task, rows = fitted.task, np.array([17])
    others = np.setdiff1d(np.arange(20), rows)
    without = fit_linear(task, others).models
    *given, has = task.inputs(rows, task.people.present[rows])
    alone = without(dict(zip(task.cohort.inputs, given, strict=True)), has).numpy()
    said = linear_answers(fitted, rows)[0, -1]
    np.testing.assert_allclose(said[0], alone[0, 0], atol=0.15)
    assert fitted.linear is not None
    known = fitted.linear.models(dict(zip(task.cohort.inputs, given, strict=True)), has).numpy()
    assert abs(said[0] - known[0, 0]) > 1e-4


def test_those_of_one_family_are_left_out_together(people: People, fitted: FittedPeople) -> None:
    """Who is told by their own twin would be told too well."""
    twins = [f"f{row // 2}" for row in range(len(people))]
    cohort = people.cohort.model_copy(update={"group": "family"})
    table = people.table.with_column("family", twins)
    related = replace(people, table=table, cohort=cohort)
    task = fitted.task
    mine = LegibilityTask(
        related, task.encoding, task.train, task.validation, task.settings, task.training
    )
    rows = np.arange(20)
    together, alone = fit_linear(mine, rows), fit_linear(task, rows)
    assert isinstance(together, FittedLinear)
    assert not np.allclose(together.left_out, alone.left_out, equal_nan=True)


def test_the_same_people_give_the_same_lines(fitted: FittedPeople) -> None:
    """In any order of their rows."""
    first, second = (fit_linear(fitted.task, rows) for rows in (np.arange(20), np.arange(20)[::-1]))
    for name, one in first.models.state_dict().items():
        assert (one == second.models.state_dict()[name]).all()


def test_what_is_the_same_for_everybody_tells_nothing(tmp_path: Path) -> None:
    """Though rounding may leave a trace of a difference, as of a connectivity given to all."""
    people = make_people(tmp_path, missing=0)
    flat = np.full_like(people.connectivity["connectivity"], 0.1)
    flat[::2] += 1e-7
    task = trained(replace(people, connectivity={"connectivity": flat}), tmp_path / "run").task
    models = fit_linear(task, np.arange(20)).models
    assert all(one.isfinite().all() for one in models.state_dict().values())


def test_a_network_that_is_asked_once_has_no_linear_models(people: People, tmp_path: Path) -> None:
    """`fusion = "attention"` is the network alone."""
    fitted = trained(people, tmp_path, fusion="attention")
    assert fitted.linear is None
    assert len(fitted.answers(np.array([30]))[30]) == 15 * 4

# SPDX-License-Identifier: Apache-2.0
"""What an answer is made of: shares that sum to it, and the planted columns and edges found."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from encephalon.errors import ContentError, UsageError
from encephalon.experiments.folds import Fold
from encephalon.explanation.attribution import mean_gradient, shapley_values
from encephalon.studies.legibility.data import People
from encephalon.studies.legibility.explanation import ExplainedPerson, PeopleExplainer, Question
from encephalon.studies.legibility.fitting import FittedPeople, fit
from encephalon.studies.legibility.study import STUDY
from encephalon.training.runs import RunFolder, TrainingContext
from tests.studies.legibility.test_task import make, make_people, trained


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    """People of whom some lack something."""
    return make_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def fitted(people: People, tmp_path_factory: pytest.TempPathFactory) -> FittedPeople:
    """A network that has learnt for a moment."""
    return trained(people, tmp_path_factory.mktemp("run"))


def taught(folder: Path, inputs: tuple[str, ...], count: int, epochs: int) -> FittedPeople:
    """A network that has learnt age from some of what there is."""
    everyone = make_people(folder, count, 0.2)
    cohort = everyone.cohort.only(inputs, ("age", "sex"))
    kept = [everyone.cohort.inputs.index(name) for name in cohort.inputs]
    some = People(
        everyone.table,
        cohort,
        everyone.present[:, kept],
        {name: one for name, one in everyone.images.items() if name in inputs},
        {name: one for name, one in everyone.connectivity.items() if name in inputs},
        {name: one for name, one in everyone.values.items() if name in inputs},
        {name: everyone.truth[name] for name in cohort.targets},
    )
    rows = np.flatnonzero(some.present.any(axis=1))
    recipe = make()
    steps = {"epochs": epochs, "steps_per_epoch": 10, "batch_size": 32, "learning_rate": 1e-2}
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update=steps)})
    learn = len(rows) * 3 // 4
    fold = Fold(0, rows[:learn], rows[learn:learn], rows[learn:])
    context = TrainingContext(device="cpu", threads=1)
    return fit(recipe, some, fold, RunFolder(folder / "run"), context)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> FittedPeople:
    """A network that has learnt age, planted in `iron` and in the edge of regions 0 and 1."""
    folder = tmp_path_factory.mktemp("many")
    return taught(folder, ("connectivity", "blood", "mind"), 240, 30)


def explainer(
    fitted: FittedPeople, target: str | None = None, called: str | None = None, **how: Any
) -> PeopleExplainer:
    """Explains what a network tells."""
    question = Question.asked(fitted.task.cohort, target, called, "tiny")
    counts = [1] * question.target.count
    return PeopleExplainer(fitted.network, fitted.encoding, question, counts, **how)


def given(fitted: FittedPeople, row: int) -> dict[str, Any]:
    """What there is of a person, as the network is shown it."""
    present = fitted.task.people.present[[row]]
    *shown, _ = fitted.task.inputs(np.array([row]), present)
    named = zip(fitted.task.cohort.inputs, shown, strict=True)
    return {name: one[0].numpy() for name, one in named if one is not None}


def explain(fitted: FittedPeople, row: int, *asked: str | None) -> ExplainedPerson:
    """The explanation of one person."""
    return explainer(fitted, *asked).explain(f"p{row:03d}", given(fitted, row))


def test_shapley_values_of_a_game_are_those_of_its_inventor() -> None:
    """Two gloves make a pair: the only left one of three gloves is worth two thirds of it."""
    found = shapley_values(lambda sets: (sets[:, 0] & (sets[:, 1] | sets[:, 2])).astype(float), 3)
    np.testing.assert_allclose(found, [2 / 3, 1 / 6, 1 / 6])


def test_a_mean_gradient_times_the_change_is_what_a_function_changes() -> None:
    """Of a smooth function, and unknown numbers change nothing."""
    given, base = torch.tensor([1.0, -2.0]).double(), torch.zeros(2).double()
    found = mean_gradient(lambda x: torch.sin(x[:, 0]) * x[:, 1] ** 2 + x[:, 1], given, base)
    assert float(found @ given) == pytest.approx(np.sin(1.0) * 4 - 2)


@pytest.mark.parametrize("target", ["age", "sex", "anaemia"])
def test_what_inputs_add_sums_to_the_answer_less_the_base(
    fitted: FittedPeople, target: str
) -> None:
    """For whatever a person has, in the unit of the answer, without what is of its own domain."""
    rows = np.flatnonzero(fitted.task.people.answerable(target, fitted.task.people.present))[:6]
    said = fitted.task.answers(fitted.network, rows, "cpu")[:, -1]
    columns = fitted.network.columns[target]
    for row, answer in zip(rows.tolist(), said[:, columns], strict=True):
        one = explain(fitted, row, target)
        wanted = float(answer[0])
        if target == "age":
            wanted = float(fitted.encoding.natural("age", answer.astype(np.float64))[0])
        assert one.answer == pytest.approx(wanted, abs=1e-4)
        assert one.base + sum(one.adds.values()) == pytest.approx(one.answer)
        assert target != "anaemia" or "blood" not in one.adds
        assert set(one.adds) <= {"t1+flair", "t1", "flair", "connectivity", "blood", "mind"}


def test_a_network_asked_by_one_source_says_what_it_says_of_all(fitted: FittedPeople) -> None:
    """Along all ways from an image, its straight lines too."""
    row = int(np.flatnonzero(fitted.task.people.present.all(axis=1))[0])
    one = explain(fitted, row)
    assert {"t1", "flair", "connectivity", "blood", "mind"} == set(one.checked)
    with torch.no_grad():
        for checked in one.checked.values():
            assert float(checked.network(checked.given)) == pytest.approx(one.answer, rel=1e-4)


def test_what_numbers_add_sums_to_what_their_input_changes(fitted: FittedPeople) -> None:
    """Of edges in the tangent space with their regions, and of columns."""
    row = int(np.flatnonzero(fitted.task.people.present.all(axis=1))[0])
    one = explain(fitted, row)
    assert one.gap < 1e-3
    edges, checked = one.edges["connectivity"], one.checked["connectivity"]
    whole = edges[np.triu_indices(len(edges))].sum()
    assert checked.base is not None
    with torch.no_grad():
        change = float(checked.network(checked.given) - checked.network(checked.base[None]))
    assert whole == pytest.approx(change, rel=1e-2, abs=1e-5)
    np.testing.assert_allclose(edges, edges.T)
    assert one.maps["t1"].shape == one.maps["flair"].shape == (16, 16, 16)


def test_what_was_planted_is_ranked_first(many: FittedPeople) -> None:
    """The edge of regions 0 and 1, and `iron` among the columns, over people."""
    people = many.task.people
    rows = np.flatnonzero(people.present.all(axis=1) & np.isfinite(people.values["blood"][:, 0]))
    edges, iron, other, truth, told = [], [], [], [], []
    for row in rows[:20].tolist():
        one = explain(many, row)
        edges.append(np.abs(one.edges["connectivity"]))
        columns = one.columns["blood"] | one.columns["mind"]
        iron.append(abs(columns["iron"]))
        other.append(max(abs(columns.get(name, 0.0)) for name in ("type", "mood")))
        truth.append(people.truth["age"][row])
        told.append(one.answer)
    mean = np.mean(edges, axis=0)
    assert np.unravel_index(mean.argmax(), mean.shape) in {(0, 1), (1, 0)}
    assert mean[0, 1] > 3 * np.sort(mean[np.triu_indices(5)])[-2]
    assert np.mean(iron) > 2 * np.mean(other)
    assert np.corrcoef(truth, told)[0, 1] > 0.9


def test_what_an_image_adds_follows_what_was_planted_in_it(tmp_path: Path) -> None:
    """Its brightness, in people that the network has not learnt from."""
    fitted = taught(tmp_path, ("t1", "flair", "mind"), 80, 4)
    people, added, noise = fitted.task.people, [], []
    rows = [row for row in range(60, 80) if people.present[row, :2].any()]
    for row in rows:
        adds = explain(fitted, row).adds
        added.append(sum(one for name, one in adds.items() if name != "mind"))
        noise.append(abs(adds["mind"]))
    assert np.corrcoef(people.truth["age"][rows], added)[0, 1] > 0.6
    assert np.mean(np.abs(added)) > 1.5 * np.mean(noise)


def test_randomised_weights_change_what_edges_add(many: FittedPeople) -> None:
    """From the head to the encoder; the network keeps its own."""
    before = {name: value.clone() for name, value in many.network.state_dict().items()}
    rows = np.flatnonzero(many.task.people.present.all(axis=1))[:4].tolist()
    found = [explain(many, row).checked["connectivity"].similarities(row) for row in rows]
    assert next(iter(found[0])).startswith("head")
    assert list(found[0])[-1].startswith("encoder")
    assert np.mean([list(one.values())[-1] for one in found]) < 0.5
    assert all(
        torch.equal(before[name], value) for name, value in many.network.state_dict().items()
    )


def test_a_class_is_explained_by_its_own_odds(fitted: FittedPeople) -> None:
    """What speaks for one of two classes speaks against the other as much."""
    man, woman = explain(fitted, 0, "sex", "M"), explain(fitted, 0, "sex", "F")
    assert man.question.unit == "log-odds of M"
    assert man.answer == pytest.approx(-woman.answer)
    assert man.adds == pytest.approx({name: -added for name, added in woman.adds.items()}, abs=1e-6)
    assert explain(fitted, 0, "anaemia", "mild").question.unit == "log-odds of mild or above"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"target": "agee"}, "tells no 'agee'"),
        ({"target": "sex", "called": "X"}, "no class 'X' can be explained; name F or M"),
        ({"target": "age", "called": "M"}, "leave out the class"),
    ],
)
def test_what_is_not_told_is_named(fitted: FittedPeople, how: dict[str, Any], words: str) -> None:
    """With what there is."""
    with pytest.raises(UsageError, match=words):
        explainer(fitted, **how)


def test_who_has_nothing_of_what_tells_a_target_is_named(fitted: FittedPeople) -> None:
    """And what would do."""
    alone = {"blood": np.zeros(4, np.float32)}
    with pytest.raises(ContentError, match="p000 has none of t1, flair, connectivity, mind"):
        explainer(fitted, "anaemia").explain("p000", alone)


def test_maps_are_of_the_last_layer_that_still_tells_places(fitted: FittedPeople) -> None:
    """Eight cells along each side, of images with sixteen voxels."""
    explains = explainer(fitted, "age")
    row = int(np.flatnonzero(fitted.task.people.present[:, 0])[0])
    one = explains.explain("p", given(fitted, row))
    checked = one.checked["t1"]
    assert checked.shares().shape == (8, 8, 8)
    assert explains.layers["t1"].startswith("encoder.")


def test_a_published_network_is_not_explained() -> None:
    """It answers to one set of inputs, so nothing is without any of them."""
    model: Any = SimpleNamespace(
        name="mine", predictor=SimpleNamespace(model={"mode": "published"})
    )
    assert STUDY.explainable is not None
    with pytest.raises(UsageError, match="answers to one set of inputs alone"):
        STUDY.explainable(model)


def test_a_layer_that_there_is_not_is_named(fitted: FittedPeople) -> None:
    """With the nearest ones."""
    with pytest.raises(UsageError, match=r"no layer .* nearest are encoder\.layers"):
        explainer(fitted, "age", layer="encoder.layer9")

# SPDX-License-Identifier: Apache-2.0
"""What is learnt of people, and what the network says of each set of inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encephalon.errors import ContentError, RecipeError
from encephalon.experiments.folds import Fold
from encephalon.recipes.loading import make_recipe
from encephalon.studies.legibility.data import Encoding, People, load_image, prepare_people
from encephalon.studies.legibility.fitting import FittedPeople, fit
from encephalon.studies.legibility.settings import Cohort
from encephalon.studies.legibility.task import LegibilityTask
from encephalon.tables.reading import read_table
from encephalon.training.runs import RunFolder, TrainingContext

COHORT = {
    "name": "tiny",
    "together": [["t1", "flair"]],
    "sources": {
        "t1": {"kind": "image"},
        "flair": {"kind": "image"},
        "connectivity": {"kind": "connectivity", "representation": "tangent"},
    },
    "blocks": {"blood": {"columns": {"iron": "number", "type": ["A", "B", "O"]}}, "mind": ["mood"]},
    "targets": {
        "age": {"kind": "continuous"},
        "sex": {"kind": "binary", "classes": ["F", "M"]},
        "anaemia": {"kind": "ordinal", "classes": ["none", "mild", "severe"], "domain": "blood"},
    },
}
COHORT["blocks"]["mind"] = {"columns": {"mood": "number"}}  # type: ignore[index]


def make_people(folder: Path, count: int = 24, missing: float = 0.3) -> People:
    """People whose age is in their iron, connectivity and images; some lack some of it."""
    rng = np.random.default_rng(0)
    age = rng.normal(size=count)
    lines = ["id,t1,flair,connectivity,iron,type,mood,age,sex,anaemia"]
    for row in range(count):
        cells = [f"p{row:03d}"]
        for name in ("t1", "flair"):
            path = folder / f"{name}-{row}.npy"
            np.save(path, np.full((16, 16, 16), age[row] / 3, np.float16))
            cells.append(path.name if rng.random() > missing else "")
        path = folder / f"connectivity-{row}.npy"
        matrix = np.eye(5) + 0.1 * (1 - np.eye(5))
        matrix[0, 1] = matrix[1, 0] = 0.3 * np.tanh(age[row])
        np.save(path, matrix.astype(np.float32))
        cells.append(path.name if rng.random() > missing else "")
        cells.append(f"{age[row] * 10 + 100:.3f}" if rng.random() > missing else "")
        cells += [str(rng.choice(["A", "B", "O", ""])), f"{rng.normal():.3f}", f"{age[row]:.4f}"]
        cells += ["M" if age[row] > 0 else "F", ("none", "mild", "severe")[row % 3]]
        lines.append(",".join(cells))
    table = folder / "people.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    cohort = Cohort.model_validate(COHORT)
    samples = read_table(table, cohort.columns())
    return prepare_people(samples, cohort, 16, folder / "cache", 1)


def make(**study: Any) -> Any:
    """A recipe of a small network that learns for a moment."""
    return make_recipe(
        {
            "name": "tiny",
            "title": "Tiny",
            "task": "regression",
            "study": {"name": "legibility", "side": 16, **study},
            "network": {
                "name": "masked-fusion",
                "options": {"width": 8, "hidden": 8, "encoder_options": {"width": 2}},
            },
            "training": {
                "epochs": 2,
                "steps_per_epoch": 3,
                "batch_size": 8,
                "optimiser": "adamw",
                "learning_rate": 1e-3,
                "losses": [{"name": "targets"}],
            },
        },
        "tiny",
    )


def trained(people: People, run: Path, **study: Any) -> FittedPeople:
    """A network that learnt from two thirds of them."""
    rows = np.arange(len(people))
    fold = Fold(0, rows[:16], rows[16:20], rows[20:])
    context = TrainingContext(device="cpu", threads=1)
    return fit(make(**study), people, fold, RunFolder(run), context)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    """Twenty-four people."""
    return make_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def fitted(people: People, tmp_path_factory: pytest.TempPathFactory) -> FittedPeople:
    """A network of them."""
    return trained(people, tmp_path_factory.mktemp("run"))


def test_units_travel_together_and_every_set_of_them_is_scored(people: People) -> None:
    """Four units have fifteen sets, and no set has one image without the other."""
    sets = people.cohort.input_sets()
    assert len(sets) == 15
    assert sets[-1] == people.cohort.inputs == ("t1", "flair", "connectivity", "blood", "mind")
    assert all(("t1" in one) == ("flair" in one) for one in sets)


def test_who_has_none_of_the_inputs_that_are_used_teaches_nothing_and_is_told_nothing(
    people: People, tmp_path: Path
) -> None:
    """Some of them lack T1."""
    cohort = people.cohort.only(("t1",), ("sex",))
    few = replace(
        people, cohort=cohort, present=people.present[:, :1], truth={"sex": people.truth["sex"]}
    )
    few = replace(few, connectivity={}, values={})
    assert not few.present[:16].any(axis=1).all()
    network = trained(few, tmp_path / "run")
    assert few.present[network.task.train].any(axis=1).all()
    said = network.answers(np.arange(len(few)))
    known = np.array([np.isfinite(said[row]).any() for row in range(len(few))])
    assert (known == few.present.any(axis=1)).all()


def test_what_is_absent_is_absent(people: People) -> None:
    """No image, rows of NaN, and no known cell; a category that is empty is unknown, not "O"."""
    has = people.present[:, 2]
    assert np.isnan(people.connectivity["connectivity"][~has]).all()
    assert np.isfinite(people.connectivity["connectivity"][has]).all()
    types = people.values["blood"][:, 1:]
    assert set(np.nansum(types, axis=1)) == {0.0, 1.0}
    assert (np.isnan(types).all(axis=1) | (types.sum(axis=1) == 1)).all()


def test_a_set_says_nothing_of_who_has_none_of_it(fitted: FittedPeople, people: People) -> None:
    """And something of everybody else, whatever part of the set they have."""
    rows = np.arange(len(people))
    found = np.array([fitted.answers(rows)[row] for row in rows]).reshape(len(rows), 15, 8)
    inputs = people.cohort.inputs
    for place, names in enumerate(people.cohort.input_sets()):
        inside = np.array([name in names for name in inputs])
        some = (people.present & inside).any(axis=1)
        assert (np.isfinite(found[:, place, 0]) == some).all()


def test_no_feature_of_its_own_domain_reaches_a_target(
    fitted: FittedPeople, people: People
) -> None:
    """Answers are bit-identical when it changes, and others are not."""
    rows = np.flatnonzero(people.present[:, 3])
    before = fitted.task.answers(fitted.network, rows, "cpu")
    values = {**people.values, "blood": people.values["blood"] + 7.0}
    moved = LegibilityTask(
        People(**{**vars(people), "values": values}),
        fitted.encoding,
        rows,
        rows,
        fitted.task.settings,
        fitted.task.training,
    )
    after = moved.answers(fitted.network, rows, "cpu")
    for columns in (slice(2, 4), slice(6, 8)):  # of the network, and of linear models
        np.testing.assert_array_equal(before[:, :, columns], after[:, :, columns])
    for column in (0, 4):
        assert not np.array_equal(before[:, -1, column], after[:, -1, column])


def test_a_target_would_not_be_told_from_itself() -> None:
    """A column of a block that it sees is refused, with the domain to give it."""
    said = {**COHORT, "targets": {"iron": {"kind": "continuous"}}}
    with pytest.raises(ValueError, match="give the target the domain 'blood'"):
        Cohort.model_validate(said)


def test_answers_do_not_hang_on_who_else_is_asked(fitted: FittedPeople) -> None:
    """One person alone, and among others."""
    together = fitted.task.answers(fitted.network, np.arange(10), "cpu")
    alone = fitted.task.answers(fitted.network, np.array([4]), "cpu")
    np.testing.assert_allclose(together[4], alone[0], atol=1e-5)


def test_a_batch_is_told_by_its_number(fitted: FittedPeople) -> None:
    """Who is in it, what they lose, and what is asked of them."""
    task = fitted.task
    (first, wanted), (second, again) = task.batch(3), task.batch(3)
    assert torch.equal(first[-1], second[-1])
    torch.testing.assert_close(wanted, again, equal_nan=True)
    assert not torch.equal(first[-1], task.batch(4)[0][-1])


@pytest.mark.parametrize("how", ["undersample", "sampler"])
def test_classes_are_as_frequent_as_each_other(people: People, how: str) -> None:
    """Of the first target that has classes, over many batches."""
    train = np.flatnonzero((people.truth["sex"] == 1) | (np.arange(len(people)) % 4 == 0))
    task = LegibilityTask(
        people,
        Encoding.fit(people, train),
        train,
        train[:0],
        make(class_balance=how) and trained_settings(how),
        make().training,
    )
    drawn = np.concatenate([task.rows(number) for number in range(200)])
    assert abs(people.truth["sex"][drawn].mean() - 0.5) < 0.05
    assert abs(people.truth["sex"][train].mean() - 0.5) > 0.1


def trained_settings(how: str) -> Any:
    """The settings of a recipe that balances classes so."""
    from encephalon.studies.legibility.modes import legibility_settings

    return legibility_settings(make(class_balance=how))


def test_the_same_seed_gives_the_same_network(
    fitted: FittedPeople, people: People, tmp_path: Path
) -> None:
    """To the bit, in another folder."""
    again = trained(people, tmp_path / "again")
    for name, value in fitted.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name


def test_connectivity_without_a_tangent_is_refused_with_its_person(tmp_path: Path) -> None:
    for name, matrix in (("a", np.eye(3)), ("b", np.ones((3, 3)))):
        np.save(tmp_path / f"{name}.npy", matrix)
    table = tmp_path / "people.csv"
    table.write_text("id,fc,age\na,a.npy,1\nb,b.npy,2\n", encoding="utf-8")
    source = {"kind": "connectivity", "representation": "tangent", "shrinkage": 0.0}
    cohort = Cohort.model_validate(
        {"sources": {"fc": source}, "targets": {"age": {"kind": "continuous"}}}
    )
    with pytest.raises(ContentError, match=r"of b \(.*b\.npy\) is not positive definite"):
        prepare_people(read_table(table, cohort.columns()), cohort, 16, tmp_path / "cache", 1)


def test_a_tangent_is_made_of_those_who_train_alone(people: People) -> None:
    """Changing who is tested changes nothing that was fitted."""
    train = np.arange(12)
    known = Encoding.fit(people, train)
    flat = people.connectivity["connectivity"].copy()
    flat[12:] *= 0.5
    other = Encoding.fit(People(**{**vars(people), "connectivity": {"connectivity": flat}}), train)
    np.testing.assert_array_equal(known.centres["connectivity"], other.centres["connectivity"])


def test_an_unknown_input_is_named(people: People) -> None:
    """With the nearest that there is."""
    with pytest.raises(RecipeError, match="'flaire'"):
        people.cohort.only(("flaire",), ())


def test_images_are_varied_in_training_alone(people: People, tmp_path: Path) -> None:
    """Other weights come out, and the same person is answered alike every time."""
    varied = trained(people, tmp_path, augmentation={"probability": 1.0})
    rows = np.arange(4)
    np.testing.assert_array_equal(
        varied.task.answers(varied.network, rows, "cpu"),
        varied.task.answers(varied.network, rows, "cpu"),
    )
    still, again = (
        trained(people, tmp_path / str(n), augmentation=a)
        for n, a in ((0, None), (1, {"probability": 0.0}))
    )
    name = "encoders.t1.encoder.layers.0.0.weight"
    weights = [one.network.state_dict()[name] for one in (varied, still, again)]
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2])


@pytest.mark.parametrize("level", [np.nan, 1.5, 4000.0])
def test_an_image_that_was_not_prepared_is_refused_with_what_it_holds(
    tmp_path: Path, level: float
) -> None:
    image = np.full((16, 16, 16), 0.5, np.float32)
    image[3, 3, 3] = level
    np.save(tmp_path / "a.npy", image)
    with pytest.raises(ContentError, match="between -1 and 1, but this one reaches from"):
        load_image(tmp_path / "a.npy", 16)


def test_a_column_that_is_the_same_for_all_who_train_is_not_blown_up(tmp_path: Path) -> None:
    people = make_people(tmp_path, missing=0)
    values = dict(people.values)
    values["mind"] = np.full((len(people), 1), 0.1)
    values["mind"][-1] = 0.3
    changed = People(**{**vars(people), "values": values})
    for count in range(3, 20):
        encoding = Encoding.fit(changed, np.arange(count))
        assert abs(encoding.block("mind", values["mind"][-1:])[0, 0]) < 1

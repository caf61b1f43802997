# SPDX-License-Identifier: Apache-2.0
"""Explain a batch of people: files, tables, the checks of all, and their page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from encephalon.explanation.attribution import InputShares, mean_similarities
from encephalon.explanation.explainable import Asked
from encephalon.explanation.report import REPORT, TABLE, Explanations, source_of
from encephalon.inference.outputs import OutputLayout
from encephalon.inference.predictor import OutputKind
from encephalon.inference.runtimes import resolve_device, resolve_threads
from encephalon.io.atomic import atomic_path, refuse_existing
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.io.text import write_records
from encephalon.models.folder import open_model
from encephalon.networks.fusion import MaskedFusion
from encephalon.networks.registry import build_network
from encephalon.networks.torch_runtime import load_network
from encephalon.recipes.loading import make_recipe
from encephalon.reports.signed_maps import strongest
from encephalon.studies.legibility.explanation import (
    ExplainedPerson,
    PeopleExplainer,
    Question,
    Read,
)
from encephalon.studies.legibility.explanation_page import ExplanationPage
from encephalon.studies.legibility.input_sets import visible_sets, what_people_have
from encephalon.studies.legibility.linear import linear_options
from encephalon.studies.legibility.settings import MOST_UNITS
from encephalon.studies.legibility.task import network_options
from encephalon.tables.samples import Sample
from encephalon.transforms.template import mni_grid

if TYPE_CHECKING:
    from encephalon.inference.predictor import Prediction, Quality
    from encephalon.studies.legibility.predictor import PeoplePredictor, Person

__all__ = ["ExplainablePeople"]

EDGES, COLUMNS, MAPS = "edges.csv", "columns.csv", "maps"
#: People whose inputs are tried on randomised weights, and edges of a person in the table (ours).
_CHECKED, _STRONGEST = 4, 100
#: What the columns of predictions.csv of a target end in.
_ENDINGS = ("", "_p", "_set", "_low", "_high", "_used")


@dataclass(frozen=True)
class ExplainablePeople:
    """A model of people; see `explanation.explainable.Explains`."""

    predictor: PeoplePredictor

    @property
    def look(self) -> Callable[[Sample], Person]:
        """What there is of a person."""
        return self.predictor.read

    def begin(self, samples: Sequence[Sample], output: Path, asked: Asked) -> _Work:
        """The work on these people; raises UsageError for what is asked and not there."""
        predictor = self.predictor
        question = Question.asked(
            predictor.cohort, asked.target, asked.target_class, predictor.name
        )
        for name in (EDGES, COLUMNS):
            refuse_existing(output / name, asked.overwrite)
        torch.set_num_threads(resolve_threads(asked.threads))
        network = self._network().to(resolve_device(asked.device, needs_torch=True))
        fitted = predictor.fitted
        explainer = PeopleExplainer(
            network, fitted.encoding, question, fitted.truths[question.name].counts, asked.layer
        )
        return _Work(predictor, explainer, samples, Explanations(folder=output), asked.overwrite)

    def _network(self) -> MaskedFusion:
        predictor = self.predictor
        files = open_model(predictor.path)
        recipe = make_recipe(files.description.recipe, f"the model {predictor.name!r}")
        encoding = predictor.fitted.encoding
        options = network_options(recipe, encoding)
        options["linear"] = linear_options(encoding.cohort, files.tensors())
        network = load_network(files, lambda: build_network(recipe.network.name, options))
        return cast(MaskedFusion, network)


class _Work:
    """The work on one batch, see `ExplanationWork`."""

    def __init__(
        self,
        predictor: PeoplePredictor,
        explainer: PeopleExplainer,
        samples: Sequence[Sample],
        result: Explanations,
        overwrite: bool,
    ) -> None:
        self.predictor, self.explainer, self.result = predictor, explainer, result
        self.overwrite = overwrite
        self.page = ExplanationPage(predictor.describe(), explainer, result.folder)
        kinds = {
            name: OutputKind("", extension=".nii.gz" if source.kind == "image" else ".npy")
            for name, source in predictor.cohort.sources.items()
            if name in explainer.seen
        }
        planned = OutputLayout(result.folder / MAPS).plan(samples, kinds)
        self._planned = {id(one.sample): one for one in planned}
        self._checked: list[Mapping[str, InputShares]] = []
        self._edges: list[dict[str, Any]] = []
        self._columns: list[dict[str, Any]] = []

    def explain(self, sample: Sample, person: Person) -> None:
        """Explain a person, and write their maps and edges."""
        planned = self._planned[id(sample)]
        planned.require_free(self.overwrite)
        prediction = self.predictor.predict(person)
        told = _told(self.explainer.question.name, prediction)
        one = self._explained(person, told)
        for name, values in one.maps.items():
            grid = mni_grid(len(values))
            like = Image(values, grid.affine)
            write_image(values, planned.images[name], like, self.overwrite)
        for name, edges in one.edges.items():
            with atomic_path(planned.images[name], self.overwrite) as temporary:
                np.save(temporary, edges.astype(np.float32))
        row = _row(sample, told, prediction.quality, one)
        self.result.rows.append(row)
        self._edges += [
            {"id": sample.id, "source": name, **edge}
            for name, values in one.edges.items()
            for edge in strongest(values, _STRONGEST)
        ]
        columns = [
            {"id": sample.id, "block": block, "column": column,
             "value": sample.row.get(column), "adds": added}
            for block, some in one.columns.items() for column, added in some.items()
        ]  # fmt: skip
        self._columns += columns
        if len(self._checked) < _CHECKED:
            self._checked.append(one.checked)
        images = {name: person.given[name][0] for name in one.maps}
        self.page.add(told, row["reasons"], one, images, columns)

    def finish(self) -> Explanations:
        """Try randomised weights, and write the tables and the page."""
        similarity = mean_similarities(self._checked)
        self.result.sanity = {
            f"{name}: {stage}": value
            for name, some in similarity.items() for stage, value in some.items()
        }  # fmt: skip
        folder, rows = self.result.folder, self.result.rows
        for name, some in ((TABLE, rows), (EDGES, self._edges), (COLUMNS, self._columns)):
            if some:
                write_records(some, folder / name)
        self.page.write(folder / REPORT, self.result, similarity, self.overwrite)
        return self.result

    def _explained(self, person: Person, told: Mapping[str, Any]) -> ExplainedPerson:
        predictor, question = self.predictor, self.explainer.question
        classes = question.target.classes
        if question.place < 0 and told[question.name] in classes:
            question = replace(question, place=classes.index(told[question.name]))
        # Of more units not every set has been learnt to be read: then the network's own answer.
        read = self._read(person) if len(predictor.cohort.units) <= MOST_UNITS else None
        return self.explainer.explain(
            person.sample.id, person.given, read, question, self._linear(person)
        )

    def _linear(self, person: Person) -> float:
        """How much linear models count in what is told of a person."""
        cohort, name = self.predictor.cohort, self.explainer.question.name
        has = np.array([[one in person.given for one in cohort.inputs]])
        sets = list(visible_sets(cohort, name))
        place = int(what_people_have(cohort, sets, has)[0])
        return self.predictor.fitted.readings[name][sets[place]].share(len(sets))

    def _read(self, person: Person) -> Read:
        """The number as the model reads it, of sets of what the person has."""
        predictor, name = self.predictor, self.explainer.question.name
        cohort = predictor.cohort
        sets, answers = list(visible_sets(cohort, name)), predictor.answers(person)[name]
        has = np.array([one in person.given for one in cohort.inputs])

        def read(question: Question, present: NDArray[np.bool_]) -> NDArray[np.float64]:
            whole = present.copy()  # a unit is read as such, whatever the person has of it
            for unit in cohort.units:
                places = [cohort.inputs.index(one) for one in unit]
                whole[:, places] = present[:, places].any(axis=1, keepdims=True)
            seen = [one in self.explainer.seen for one in cohort.inputs]
            whole[(present == (has & seen)).all(axis=1)] = has  # as it is told to everybody
            chosen = what_people_have(cohort, sets, whole)
            readings = [predictor.fitted.readings[name][sets[place]] for place in chosen]
            return question.number(np.concatenate([one.values(answers) for one in readings]))

        return read


def _told(target: str, prediction: Prediction) -> dict[str, Any]:
    """What is predicted of a target, by the name of the target and the ending of each column."""
    prefix = "" if target in prediction.values else "target_"
    columns = {f"{target}{end}": f"{prefix}{target}{end}" for end in _ENDINGS}
    values = prediction.values
    return {name: values[column] for name, column in columns.items() if column in values}


def _row(
    sample: Sample, told: Mapping[str, Any], quality: Quality | None, one: ExplainedPerson
) -> dict[str, Any]:
    """A row of explanations.csv."""
    reserved = {"id", "source", "quality", "reasons", "unit", "base", "answer", "gap"}
    return {
        "id": sample.id,
        "source": source_of(sample),
        **{f"target_{name}" if name in reserved else name: cell for name, cell in told.items()},
        "quality": quality.status if quality else None,
        "reasons": "; ".join(quality.reasons) if quality else "",
        "unit": one.question.unit,
        "base": one.base,
        **{f"adds_{unit}": added for unit, added in one.adds.items()},
        "answer": one.answer,
        "gap": one.gap,
    }

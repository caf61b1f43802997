# SPDX-License-Identifier: Apache-2.0
"""A run: a network for each fold of a cohort, what they answer together, and the model that ships.

An answer of a row is what is said of the person from each set of inputs: all columns of all targets
from the first set, then from the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from encephalon.errors import RecipeError
from encephalon.experiments.cross_validation import (
    CrossValidation,
    CrossValidationRun,
    FoldResult,
)
from encephalon.experiments.folds import Splits, make_splits
from encephalon.networks.export import half_precision
from encephalon.networks.fusion import PRESENT
from encephalon.recipes.schema import Recipe
from encephalon.studies.legibility.data import (
    Encoding,
    People,
    block_names,
    prepare_people,
    target_scales,
)
from encephalon.studies.legibility.fitted import FittedState
from encephalon.studies.legibility.input_sets import Values, answers_of
from encephalon.studies.legibility.modes import legibility_settings
from encephalon.studies.legibility.predictions import shipped_readings
from encephalon.studies.legibility.published.data import split_as_published
from encephalon.studies.legibility.published.settings import PublishedSettings
from encephalon.studies.legibility.published.task import FittedPublished
from encephalon.studies.legibility.published.task import fit as fit_as_published
from encephalon.studies.legibility.settings import Cohort, LegibilitySettings, Target
from encephalon.studies.legibility.task import FittedPeople, fit, network_options, target_widths
from encephalon.tables.schema import Table
from encephalon.tables.splits import Targets
from encephalon.training.run import Expected, ModelFacts, open_run, write_model
from encephalon.training.run import check_network as check_shapes
from encephalon.training.runs import TrainingContext

__all__ = ["Validation", "answer_names", "check_network", "draw_splits", "train"]

Fitted = FittedPeople | FittedPublished
Validation = CrossValidation[People, Fitted]
#: Targets whose mixture the folds share: strata of more would hold hardly anybody (our choice).
STRATIFIED = 2
#: Pairs of regions of a network that is only checked, before any connectivity is read.
CONNECTIONS = 3


def train(recipe: Recipe, table: Table, output: Path, context: TrainingContext) -> Path:
    """Train in the run folder `output` by a complete recipe, and return the finished model folder.

    Raises TableError for people who cannot be parted, and what `open_run` and `fit` raise.
    """
    settings = legibility_settings(recipe)
    cohort = settings.cohort
    if cohort is None:
        raise RecipeError(f"{recipe.name}: no cohort says what people have: see [study.cohort].")
    published = recipe.mode == "published"
    if published and not settings.folds:
        table = split_as_published(table)
    splits = draw_splits(settings, cohort, table, recipe.training.seed)
    run = CrossValidationRun(output)
    models = {f"study.encoder_from.{key}": name for key, name in settings.encoder_from.items()}
    with open_run(run, recipe, splits.table, context, models=models) as placed:
        people = prepare_people(splits.table, cohort, settings.side, run.cache, context.workers)
        cv: Validation = CrossValidation(
            *(recipe, settings, splits, people, run, placed),
            fit_as_published if published else fit,
            answer_names(cohort),
        )
        folds = cv.train_folds()
        final = cv.train_final(folds)
        run.finishing()
        del final
        shipped = cv.shipped(folds)
        state = half_precision(shipped.network.state_dict())
        facts = _model_facts(cv, folds, shipped)
        return write_model(run.model, shipped.recipe, facts, shipped.graph, state)


def check_network(recipe: Recipe) -> None:
    """Raise RecipeError unless the network can be built; of no cohort there is nothing to check."""
    settings = legibility_settings(recipe)
    if settings.cohort is None:
        return
    if isinstance(settings, PublishedSettings):
        options = {**recipe.network.options, **settings.network_options(0)}
        network = recipe.network.model_copy(update={"options": options})
        check_shapes(recipe, network, [])
        return
    cohort, shapes = settings.cohort, dict[str, Sequence[int]]()
    for name, source in cohort.sources.items():
        image = source.kind == "image"
        shapes[name] = (2, 1, *[settings.side] * 3) if image else (2, CONNECTIONS)
    shapes |= {name: (2, len(block_names(block))) for name, block in cohort.blocks.items()}
    centres = {name: np.zeros(CONNECTIONS, np.float32) for name in cohort.sources}
    options = network_options(recipe, Encoding(cohort, {}, {}, centres=centres))
    expected = Expected(
        inputs=(*shapes.values(), (2, len(shapes))),
        output=(2, sum(target_widths(cohort))),
        to="answer with as many numbers as the targets have",
    )
    network = recipe.network.model_copy(update={"options": options})
    check_shapes(recipe, network, [expected])


def draw_splits(settings: LegibilitySettings, cohort: Cohort, table: Table, seed: int) -> Splits:
    """The folds of the people of a table, or its own split, as `make_splits` does it.

    They share the mixture of the first targets and of the sites.
    """
    kinds: Targets = {
        target.column or name: "number" if target.kind == "continuous" else target.classes
        for name, target in cohort.targets.items()
    }
    shared = list(kinds)[:STRATIFIED]
    if cohort.site and not settings.hold_out_sites:
        shared.append(cohort.site)
    sites = cohort.site if settings.hold_out_sites else None
    return make_splits(table, settings, kinds, stratify=shared, seed=seed, sites=sites)


def answer_names(cohort: Cohort) -> list[str]:
    """The name of each number of an answer, such as "t1+flair/age" and "t1+flair/sex=M"."""
    columns = [
        f"{name}{what}" for name, target in cohort.targets.items() for what in _columns(target)
    ]
    return [f"{'+'.join(some)}/{column}" for some in cohort.input_sets() for column in columns]


def _columns(target: Target) -> Sequence[str]:
    if target.kind == "continuous":
        return [""]
    if target.kind == "ordinal":
        return [f">{name}" for name in target.classes[:-1]]
    shown = target.classes[1:] if target.kind == "binary" else target.classes
    return [f"={name}" for name in shown]


def fold_answers(cv: Validation, results: Sequence[FoldResult]) -> list[dict[str, Values]]:
    """Of each fold, by target, what its network says of everybody; see `predictions.Answers`."""
    found = []
    for fold, result in zip(cv.splits.folds, results, strict=True):
        flat = np.full((len(cv.dataset), len(cv.outputs)), np.nan)
        for row, answer in result.answers.items():
            flat[row] = answer
        scales = target_scales(cv.dataset, fold.train)
        encoding = Encoding(cv.dataset.cohort, {}, scales)
        found.append(answers_of(flat, cv.dataset.cohort, encoding.natural))
    return found


def _model_facts(cv: Validation, results: Sequence[FoldResult], shipped: Fitted) -> ModelFacts:
    """What the study says of the network that ships; how it is read, all validation rows say."""
    settings = legibility_settings(cv.recipe)
    answers = fold_answers(cv, results)
    readings = shipped_readings(cv.dataset, cv.splits.folds, answers, settings)
    fitted = FittedState.fit(cv.dataset, cv.seen, shipped.encoding, readings)
    cohort, splits = cv.dataset.cohort, cv.splits
    has = cv.dataset.present[cv.seen].sum(axis=0)
    data = {"people": len(cv.seen), "folds": len(splits.folds)}
    data |= {f"people_{n}": int(count) for n, count in zip(cohort.inputs, has, strict=True)}
    data |= shipped.balance if isinstance(shipped, FittedPublished) else {}
    findings = " ".join(splits.audit.sentences())
    leak = f"The scores flatter the model, because its split leaks. {findings}"
    return ModelFacts(
        preprocessing=fitted.as_dict(),
        training_data=data,
        card={} if splits.audit.clean else {"caveats": leak},
        example=_example(cv, shipped),
        inputs=(*cohort.inputs, PRESENT),
    )


def _example(cv: Validation, shipped: Fitted) -> tuple[Tensor, ...]:
    """The inputs of two people, with somebody's in place of what they do not have."""
    present, rows = cv.dataset.present, cv.seen
    whole = []
    for place in range(present.shape[1]):
        some = rows[present[rows, place]][:1].repeat(2)
        whole.append(shipped.task.inputs(some, present[some])[place])
    has = torch.from_numpy(present[rows[:2]])
    return (*whole, has.float())

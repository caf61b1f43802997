# SPDX-License-Identifier: Apache-2.0
"""A run: a network for each fold of a cohort, what they answer together, and what ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from encephalon.errors import RecipeError
from encephalon.experiments.cross_validation import CrossValidationRun, FoldResult
from encephalon.io.text import write_records
from encephalon.networks.export import half_precision
from encephalon.networks.fusion import PRESENT
from encephalon.recipes.schema import Recipe
from encephalon.statistics.learning_curve import LearningCurve
from encephalon.studies.legibility.baselines import baseline_predictions
from encephalon.studies.legibility.ceiling import ceilings
from encephalon.studies.legibility.data import Encoding, block_names, prepare_people
from encephalon.studies.legibility.diagnosis import (
    ceiling_blocks,
    curve_blocks,
    curve_folds,
    curve_records,
    diagnostic_blocks,
    learning_curves,
    recoded,
    verdicts,
    whole_scores,
)
from encephalon.studies.legibility.evaluation import Evaluation, Record, evaluate
from encephalon.studies.legibility.evaluation_page import evaluation_page, write_tables
from encephalon.studies.legibility.external import external_predictions, read_programs
from encephalon.studies.legibility.fitted import FittedState
from encephalon.studies.legibility.fitting import fit
from encephalon.studies.legibility.folds import (
    Fitted,
    Validation,
    answer_names,
    draw_splits,
    fold_answers,
)
from encephalon.studies.legibility.modes import legibility_settings
from encephalon.studies.legibility.power import power_blocks, power_records
from encephalon.studies.legibility.predictions import (
    Answers,
    model_predictions,
    shipped_readings,
)
from encephalon.studies.legibility.published.data import split_as_published
from encephalon.studies.legibility.published.settings import PublishedSettings
from encephalon.studies.legibility.published.task import FittedPublished
from encephalon.studies.legibility.published.task import fit as fit_as_published
from encephalon.studies.legibility.task import network_options, target_widths
from encephalon.tables.schema import Table
from encephalon.training.run import Expected, ModelFacts, open_run, write_model
from encephalon.training.run import check_network as check_shapes
from encephalon.training.runs import TrainingContext

__all__ = ["check_network", "train"]

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
    models |= {f"study.external.{key}": file for key, file in settings.external.items()}
    programs = read_programs(settings, cohort, splits.table)
    with open_run(run, recipe, splits.table, context, models=models) as placed:
        people = prepare_people(splits.table, cohort, settings.side, run.cache, context.workers)
        seed = recipe.training.seed
        if settings.diagnostic:
            people = recoded(people, settings.diagnostic, settings.side, run.cache, seed)
        cv = Validation(
            *(recipe, settings, splits, people, run, placed),
            fit_as_published if published else fit,
            answer_names(cohort, linear=not published and settings.fusion == "stacked"),
        )
        parts = curve_folds(people, splits.folds[0], settings.learning_curve, seed)
        folds = cv.train_folds()
        cv.train_final(folds)
        curves = learning_curves(cv, parts, folds[0]) if parts else {}
        run.finishing()
        answers = fold_answers(cv, folds)
        said = model_predictions(people, splits.folds, answers, settings)
        threads = torch.get_num_threads()
        simple = baseline_predictions(people, splits.folds, settings, seed=seed, workers=threads)
        others = external_predictions(
            people, splits.folds, programs, recalibrate=settings.recalibrate
        )
        known = [*said, *others, *simple]
        found = evaluate(people, splits.folds, known, settings.alpha, threads)
        _write_evaluation(cv, found, folds, curves)
        shipped = cv.shipped(folds)
        state = half_precision(shipped.network.state_dict())
        facts = _model_facts(cv, found, answers, shipped)
        return write_model(run.model, shipped.recipe, facts, shipped.graph, state)


def _write_evaluation(
    cv: Validation,
    found: Evaluation,
    folds: Sequence[FoldResult],
    curves: Mapping[str, LearningCurve],
) -> None:
    """Write all that is known of the answers as tables, and the page of the run."""
    settings = cv.settings
    write_tables(cv.run.evaluation, found)
    histories = {f"fold {number}": one.history for number, one in enumerate(folds)}
    page = evaluation_page(found, histories, cv.recipe.title or cv.recipe.name)
    tables: dict[str, Sequence[Record]] = {
        "ceilings": [one.record() for one in ceilings(cv.dataset)],
        "learning_curve": curve_records(curves),
        "power": power_records(cv.dataset) if settings.power else [],
    }
    if settings.diagnostic:
        told = verdicts(found, settings.diagnostic)
        tables["diagnostic"] = told
        page.section("Data with a known answer", *diagnostic_blocks(told, settings.diagnostic))
    if curves:
        page.section("More people", *curve_blocks(curves))
    if tables["ceilings"]:
        page.section("The most that can be told", *ceiling_blocks(tables["ceilings"]))
    if tables["power"]:
        page.section("What this cohort could have shown", *power_blocks(tables["power"]))
    for name, rows in tables.items():
        if rows:
            write_records(rows, cv.run.evaluation / f"{name}.csv")
    page.write(cv.run.report, overwrite=True)


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


def _model_facts(
    cv: Validation, found: Evaluation, answers: Answers, shipped: Fitted
) -> ModelFacts:
    """What the study says of the network that ships; how it is read, all validation rows say."""
    readings = shipped_readings(cv.dataset, cv.splits.folds, answers, cv.settings)
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
        scores={str(row["target"]): _score(row) for row in whole_scores(found)},
        training_data=data,
        card={} if splits.audit.clean else {"caveats": leak},
        example=_example(cv, shipped),
        inputs=(*cohort.inputs, PRESENT),
    )


def _example(cv: Validation, shipped: Fitted) -> tuple[Tensor, ...]:
    """The inputs of two people, with somebody's in place of what they do not have."""
    present = cv.dataset.present
    rows = cv.seen[present[cv.seen].any(axis=1)]
    whole = []
    for place in range(present.shape[1]):
        some = rows[present[rows, place]][:1].repeat(2)
        whole.append(shipped.task.inputs(some, present[some])[place])
    has = torch.from_numpy(present[rows[:2]])
    return (*whole, has.float())


def _score(row: Record) -> Record:
    """The main metric of a target with its interval, where there is one."""
    main = str(row["main"])
    ends = {end: float(row[f"{main}{end}"]) for end in ("", "_low", "_high")}
    return {f"{main}{end}": round(one, 4) for end, one in ends.items() if np.isfinite(one)}

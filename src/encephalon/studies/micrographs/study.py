# SPDX-License-Identifier: Apache-2.0
"""The micrograph study: classes of brain micrographs, one constant `STUDY`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import UsageError
from encephalon.studies.base import OpenModel, Study, Trainable
from encephalon.studies.micrographs.commands import SIMULATORS, TABLES
from encephalon.studies.micrographs.settings import (
    MicrographSettings,
    PredictOptions,
    check_recipe,
    micrograph_settings,
)

if TYPE_CHECKING:
    from encephalon.api.model import Model
    from encephalon.evaluation.run import Scorable
    from encephalon.experiments.classifiers import ClassNetwork, ClassValidation
    from encephalon.experiments.grid_choice import Scored
    from encephalon.experiments.grid_folder import CellState
    from encephalon.experiments.report import CrossValidationResult
    from encephalon.explanation.explainable import Explainable
    from encephalon.inference.predictor import Predictor
    from encephalon.recipes.schema import Recipe
    from encephalon.reports.batch import BatchReport
    from encephalon.statistics.intervals import Interval
    from encephalon.tables.schema import Table
    from encephalon.training.run import ModelFacts
    from encephalon.training.runs import TrainingContext

__all__ = ["STUDY"]

#: Percentiles of the facts of the training images between which another image is like them.
USUAL = (1.0, 99.0)


class _Training(Trainable):
    def check_recipe(self, recipe: Recipe) -> None:
        check_recipe(recipe)

    def check_network(self, recipe: Recipe) -> None:
        from encephalon.studies.micrographs.task import check_network

        check_network(recipe)

    def check_table(self, table: Table) -> Table:
        from encephalon.tables.checks import checked

        return checked(table, audited=True)

    def total_steps(self, recipe: Recipe) -> int:
        """Of all networks: one a fold, the one that ships, and the baseline."""
        settings = micrograph_settings(recipe)
        networks = settings.folds + 1 if settings.folds else 1
        networks += "shuffled" in settings.baselines
        return networks * super().total_steps(recipe)

    def train(self, recipe: Recipe, table: Table, output: Path, context: TrainingContext) -> Path:
        from encephalon.evaluation.traffic_light import TrafficLight
        from encephalon.experiments.classifiers import ClassValidation, class_splits
        from encephalon.experiments.cross_validation import CrossValidationRun
        from encephalon.experiments.run import cross_validate
        from encephalon.networks.export import half_precision
        from encephalon.recipes.schema import class_names
        from encephalon.studies.micrographs.data import PUBLISHED_SPLIT, prepare_dataset
        from encephalon.studies.micrographs.preprocessing import Preprocessing, picture_content
        from encephalon.studies.micrographs.task import fit
        from encephalon.training.run import open_run, write_model

        if context.devices > 1:
            raise UsageError(
                "Networks of micrographs are small and train on one device, not "
                f"{context.devices}: leave out --devices."
            )
        # The table knows which columns the name patterns of the recipe ("fc_*") stand for.
        named = {name: getattr(table.columns, name) for name in ("covariates", "optional")}
        recipe = recipe.model_copy(update={"table": replace(recipe.table, **named)})
        settings = micrograph_settings(recipe)
        hold_out = PUBLISHED_SPLIT if recipe.mode == "published" else None
        splits = class_splits(recipe, settings, table, hold_out)
        run = CrossValidationRun(output)
        models = {"study.encoder_weights": settings.encoder_weights}
        with open_run(
            run, recipe, splits.table, context, content=picture_content, models=models
        ) as placed:
            preprocessing = Preprocessing(settings, recipe.mode)
            dataset = prepare_dataset(splits.table, preprocessing, run.cache, context.workers)
            cv = ClassValidation(
                *(recipe, settings, splits, dataset, run, placed, fit),
                outputs=[f"logit_{name}" for name in class_names(recipe)],
                rule=TrafficLight(**dict(settings.thresholds)),
                classical_features=dataset.texture,
                about={"Picture": f"{settings.size} × {settings.size} pixels"},
            )
            result, shipped = cross_validate(cv)
            facts, state = _model_facts(cv, result, shipped), shipped.network.state_dict()
            return write_model(
                run.model, shipped.recipe, facts, shipped.network, half_precision(state)
            )


def _model_facts(
    cv: ClassValidation, result: CrossValidationResult, shipped: ClassNetwork
) -> ModelFacts:
    """What the study says of the network that ships, of which `result` is known."""
    from encephalon.models.fitted import LAST_STAGE, FittedState
    from encephalon.studies.micrographs.preprocessing import Preprocessing
    from encephalon.training.run import ModelFacts

    point, splits = result.point, cv.splits
    pair = point.rule and point.rule.thresholds
    state = FittedState(
        classes=cv.classes,
        covariates=tuple(cv.recipe.table.covariates),
        scaling=shipped.scaling,
        calibration=point.calibration,
        thresholds=(pair.green, pair.amber) if pair else None,
        score=point.score,
        layer=shipped.layer or LAST_STAGE,
        ranges=_ranges(cv),
        key=Preprocessing(micrograph_settings(cv.recipe), cv.recipe.mode).key,
    )
    # How many images the network has seen, of how many groups, and of which classes.
    table, seen = cv.dataset.table, cv.seen
    counts = Counter(cv.dataset.truth[seen].tolist())
    data: dict[str, Any] = {"images": len(seen), "folds": len(splits.folds)}
    data |= {f"images_{name}": counts[number] for number, name in enumerate(cv.classes)}
    if table.columns.group:
        owners = table.texts(table.columns.group)
        data["groups"] = len({owners[row] for row in seen})
    findings = " ".join(splits.audit.sentences())
    leak = f"The scores flatter the model, because its split leaks. {findings}"
    return ModelFacts(
        labels=dict(enumerate(cv.classes)),
        preprocessing=state.as_dict(),
        training_data=data,
        scores={name: _metric(value) for name, value in result.assessment.figures.items()},
        card={} if splits.audit.clean else {"caveats": leak},
        example=tuple(each.cpu() for each in shipped.inputs(splits.learnt[:2])),
        inputs=("image", "covariates"),
        packages=("encephalon", "torch", "lightning", "monai", "numpy", "scipy", "onnx"),
    )


def _ranges(cv: ClassValidation) -> dict[str, tuple[float, float]]:
    """The range of each fact of the images that were learnt, where it is known of any."""
    import numpy as np

    from encephalon.studies.micrographs.preprocessing import FACTS

    ranges = {}
    for name in FACTS:
        values = np.array([cv.dataset.facts[row][name] for row in cv.seen])
        known = values[np.isfinite(values)]
        if known.size:
            low, high = np.percentile(known, USUAL).tolist()
            ranges[name] = (low, high)
    return ranges


def _metric(value: Interval) -> dict[str, float | str]:
    """The value, and the interval with its name where there is one."""
    named = ("value",) if value.method == "none" else ("value", "low", "high")
    figures = {name: round(float(getattr(value, name)), 4) for name in named}
    return {**figures, "interval": value.method}


def _load(model: OpenModel) -> Predictor:
    from encephalon.studies.micrographs.predictor import make_micrograph_predictor

    return make_micrograph_predictor(model)


def _page(about: Mapping[str, Any]) -> BatchReport:
    from encephalon.studies.micrographs.report import batch_report

    return batch_report(about)


def _scoring(model: Model, table: Path) -> Scorable[Any, Any]:
    from encephalon.studies.micrographs.evaluation import ClassEvaluation

    return ClassEvaluation(model, table)


def _explaining(model: Model) -> Explainable:
    from encephalon.explanation.explainable import Explainable
    from encephalon.studies.micrographs.quality import confidence_bins

    predictor: Any = model.predictor
    if predictor.settings.inputs == "covariates":
        raise UsageError(
            f"The model {model.name!r} sees covariates alone: there is no image to explain."
        )
    return Explainable(
        predictor,
        predictor.classes,
        model.columns,
        look=predictor.look,
        network=predictor.torch_network,
        layer=predictor.layer,
        bins=confidence_bins(predictor.classes, predictor.mode),
        by_logit=predictor.mode == "published",
        probabilities=predictor.probabilities,
    )


def _main_score(cell: CellState) -> Scored:
    """Balanced accuracy; of a cross-validation its own, as in the end it has seen every image."""
    from encephalon.evaluation.run import read_summary
    from encephalon.experiments.grid_choice import Scored

    crossed = cell.folder / "run" / "evaluation"
    found = read_summary(crossed)["model"] if crossed.is_dir() else None
    found = found or read_summary(cell.evaluation)["assessment"]
    return Scored.of("balanced accuracy", found["figures"]["balanced_accuracy"], found["n"])


STUDY = Study(
    name="micrographs",
    kind="picture",
    settings={"default": MicrographSettings, "published": MicrographSettings},
    options={"default": PredictOptions, "published": PredictOptions},
    load=_load,
    page=_page,
    trainable=_Training(),
    scorable=_scoring,
    main_score=_main_score,
    explainable=_explaining,
    simulators=SIMULATORS,
    tables=TABLES,
)

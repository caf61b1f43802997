# SPDX-License-Identifier: Apache-2.0
"""The extraction study as the verbs see it: predict, train, evaluate, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import ModelError
from encephalon.models.folder import ModelFolder
from encephalon.models.published import PublishedFile

if TYPE_CHECKING:
    from encephalon.inference.predictor import Predictor
    from encephalon.models.graph import Graph
    from encephalon.recipes.schema import Recipe
    from encephalon.studies.extraction.report import BatchReport
    from encephalon.tables.schema import Table

#: The model that finds brains for every other one.
LOCATOR = "brain-extraction"
RESEARCH_ONLY = "For research only: not for diagnosis or treatment."


def make_predictor(model: ModelFolder | PublishedFile, options: Mapping[str, Any]) -> Predictor:
    """The predictor of a sound model folder, a legacy one or a published weights file.

    `options` has `device`, `threads` and what the user asked for. Raises UsageError for an
    option that the model's mode does not know, ModelError for a model that cannot run.
    """
    if isinstance(model, PublishedFile) or model.description.mode == "legacy":
        from encephalon.studies.extraction.published.predictor import make_legacy_predictor

        return make_legacy_predictor(model, options)
    return _sound(model, options)


def _sound(model: ModelFolder, options: Mapping[str, Any]) -> Predictor:
    from encephalon.inference.runtimes import open_runtime
    from encephalon.models.registry import find_model
    from encephalon.recipes.schema import ask
    from encephalon.studies.extraction.predictor import SoundPredictor
    from encephalon.studies.extraction.settings import PredictOptions

    chosen = dict(options)
    device, threads = chosen.pop("device", "auto"), chosen.pop("threads", None)
    asked = ask(PredictOptions, chosen, model.name)
    settings = _settings(model)
    lesion = settings.target == "lesion"
    locator = find_model(LOCATOR) if lesion else None
    return SoundPredictor(
        model.describe(),
        open_runtime(_graph(model), device, threads),
        settings,
        asked,
        locator=open_runtime(_graph(locator), device, threads) if locator else None,
        notice=RESEARCH_ONLY if lesion else "",
    )


def _graph(model: ModelFolder | PublishedFile) -> Graph:
    if isinstance(model, PublishedFile) or model.graph is None:
        raise ModelError(f"{model.path}: the model has no exported graph: train or get it again.")
    return model.graph


def _settings(model: ModelFolder) -> Any:
    from encephalon.recipes import make_recipe, make_settings
    from encephalon.studies.extraction.settings import ExtractionSettings

    recipe = make_recipe(model.description.recipe, source=f"the model {model.name!r}")
    return make_settings(ExtractionSettings, recipe.study.settings, f"the model {model.name!r}")


def check_recipe(recipe: Recipe) -> None:
    """Raise RecipeError unless the study's own settings in `recipe` are right."""
    from encephalon.recipes import make_settings
    from encephalon.studies.extraction.settings import ExtractionSettings

    if recipe.mode == "legacy":
        from encephalon.studies.extraction.published.settings import LegacySettings

        make_settings(LegacySettings, recipe.study.settings, recipe.name)
        return
    make_settings(ExtractionSettings, recipe.study.settings, recipe.name)


def check_network(recipe: Recipe) -> None:
    """Raise RecipeError unless the network of `recipe` can be built and suits it; needs torch."""
    from encephalon.studies.extraction.fitting import check_network as check

    check(recipe)


def train(
    recipe: Recipe,
    table: Table,
    output: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    devices: int = 1,
    workers: int = 2,
    threads: int | None = None,
    report: Callable[[Any, Mapping[str, float]], None] | None = None,
) -> Path:
    """Train as `recipe` says, in the run folder `output`, and return the finished model folder."""
    from encephalon.studies.extraction.finishing import finish
    from encephalon.studies.extraction.fitting import fit
    from encephalon.training.opening import open_run
    from encephalon.training.runs import RunFolder

    run = RunFolder(output)
    lesion = recipe.study.settings.get("target") == "lesion"
    with open_run(
        run,
        recipe,
        table,
        resume=resume,
        device=device,
        threads=threads,
        workers=workers,
        models={"the brain model": LOCATOR if lesion else None},
    ) as place:
        fitted = fit(
            recipe,
            table,
            run,
            resume=resume,
            device=place,
            devices=devices,
            workers=workers,
            report=report,
        )
        run.finishing()
        return finish(recipe, table, run, fitted)


def evaluate(
    model: Any, table: Path, output: Path, overwrite: bool = False, progress: Any = None
) -> Any:
    """Score a loaded model on a table of scans and masks; see `studies.extraction.evaluate`."""
    from encephalon.studies.extraction.evaluation import evaluate_table

    return evaluate_table(model, table, output, overwrite=overwrite, progress=progress)


def make_report(about: Mapping[str, Any]) -> BatchReport:
    """The page that shows a batch of predictions; `about` is `Predictor.describe()`."""
    from encephalon.studies.extraction.report import BatchReport

    return BatchReport(about, "tumour" if about.get("notice") else "brain")

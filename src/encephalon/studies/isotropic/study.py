# SPDX-License-Identifier: Apache-2.0
"""The isotropic study as the verbs see it: predict, train, evaluate, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.models.folder import ModelFolder
from encephalon.models.published import PublishedFile

if TYPE_CHECKING:
    from encephalon.inference.predictor import Predictor
    from encephalon.recipes.schema import Recipe
    from encephalon.tables.schema import Table


def make_predictor(model: ModelFolder | PublishedFile, options: Mapping[str, Any]) -> Predictor:
    """The predictor of a sound model folder, a legacy one or a published weights file.

    `options` has `device`, `threads` and what the user asked for. Raises UsageError for an
    option that the model's mode does not know, ModelError for a model that cannot run.
    """
    if isinstance(model, PublishedFile) or model.description.mode == "legacy":
        from encephalon.studies.isotropic.published.predictor import make_legacy_predictor

        return make_legacy_predictor(model, options)
    from encephalon.studies.isotropic.predictor import make_sound_predictor

    return make_sound_predictor(model, options)


def check_recipe(recipe: Recipe) -> None:
    """Raise RecipeError unless the study's own settings in `recipe` are right."""
    if recipe.mode == "legacy":
        from encephalon.studies.isotropic.published.settings import check_legacy_recipe

        check_legacy_recipe(recipe)
        return
    from encephalon.recipes import make_settings
    from encephalon.studies.isotropic.settings import IsotropicSettings

    make_settings(IsotropicSettings, recipe.study.settings, recipe.name)


def check_network(recipe: Recipe) -> None:
    """Raise RecipeError unless the network of `recipe` can be built and suits it; needs torch."""
    from encephalon.studies.isotropic.fitting import check_network as check

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
    from encephalon.studies.isotropic.finishing import finish
    from encephalon.training.opening import open_run
    from encephalon.training.runs import RunFolder

    if recipe.mode == "legacy":
        from encephalon.studies.isotropic.published.data import split_as_published

        table = split_as_published(table)
    run = RunFolder(output)
    with open_run(
        run, recipe, table, resume=resume, device=device, threads=threads, workers=workers
    ) as place:
        fitted = _fit(recipe)(
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


def _fit(recipe: Recipe) -> Callable[..., Any]:
    if recipe.mode == "legacy":
        from encephalon.studies.isotropic.published.task import fit_legacy

        return fit_legacy
    from encephalon.studies.isotropic.fitting import fit

    return fit


def evaluate(
    model: Any, table: Path, output: Path, overwrite: bool = False, progress: Any = None
) -> Any:
    """Score a loaded model on a table of scans; see `studies.isotropic.evaluate`."""
    from encephalon.studies.isotropic.evaluation.run import evaluate_table

    return evaluate_table(model, table, output, overwrite=overwrite, progress=progress)


def make_report(about: Mapping[str, Any]) -> Any:
    """The page that shows a batch of predictions; `about` is `Predictor.describe()`."""
    from encephalon.studies.isotropic.report import BatchReport

    return BatchReport(about)

# SPDX-License-Identifier: Apache-2.0
"""The micrograph study as the verbs see it: predict, train, evaluate, explain, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import UsageError
from encephalon.studies.micrographs.settings import check_recipe, micrograph_settings

if TYPE_CHECKING:
    from encephalon.inference.predictor import Predictor
    from encephalon.models.folder import ModelFolder
    from encephalon.models.published import PublishedFile
    from encephalon.recipes.schema import Recipe
    from encephalon.tables.samples import Sample
    from encephalon.tables.schema import Table

__all__ = ["KIND", "check_network", "check_recipe", "check_samples", "evaluate", "explain"]
__all__ += ["make_predictor", "make_report", "total_steps", "train"]

KIND = "picture"
"""A sample is an image in a file of its own, and not a volume."""


def make_predictor(model: ModelFolder | PublishedFile, options: Mapping[str, Any]) -> Predictor:
    """The predictor of a model folder or of a published weights file."""
    from encephalon.studies.micrographs.predictor import make_micrograph_predictor

    return make_micrograph_predictor(model, options)


def check_samples(table: Table) -> Table:
    """The table itself, checked; raises TableError with its faults.

    Groups that straddle its split are no fault yet: a cross-validation draws its own, and
    otherwise the audit refuses them unless `study.allow_leakage`.
    """
    from encephalon.tables.checks import checked

    columns = table.columns
    for looked_at in (replace(columns, split=None), replace(columns, group=None)):
        checked(replace(table, columns=looked_at))
    return table


def check_network(recipe: Recipe) -> None:
    """Raise RecipeError unless the network of `recipe` can be built and suits it; needs torch."""
    from encephalon.studies.micrographs.fitting import check_network as check

    check(recipe)


def total_steps(recipe: Recipe) -> int:
    """Steps of all networks of a run, at most: one a fold, the one that ships, and the baseline."""
    settings = micrograph_settings(recipe)
    networks = settings.folds + 1 if settings.folds else 1
    networks += "shuffled" in settings.baselines
    return networks * recipe.training.epochs * recipe.training.steps_per_epoch


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
    """Train as `recipe` says, in the run folder `output`, and return the finished model folder.

    Raises RecipeError, TableError, RunError or ModelError for what cannot be trained.
    """
    from encephalon.experiments.crossval import CrossedRun, Crossing
    from encephalon.experiments.folds import draw_plan
    from encephalon.experiments.reporting import finish
    from encephalon.studies.micrographs.data import picture_content, prepare_cohort
    from encephalon.studies.micrographs.fitting import Means
    from encephalon.studies.micrographs.preprocessing import Preprocessing
    from encephalon.training.opening import open_run

    if devices > 1:
        raise UsageError(
            f"Networks of micrographs are small and train on one device, not {devices}: "
            "leave out --devices."
        )
    # The table knows which columns the name patterns of the recipe ("fc_*") stand for.
    named = {name: getattr(table.columns, name) for name in ("covariates", "optional")}
    recipe = recipe.model_copy(update={"table": replace(recipe.table, **named)})
    settings, plan, run = micrograph_settings(recipe), draw_plan(recipe, table), CrossedRun(output)
    with open_run(
        run,
        recipe,
        plan.table,
        resume=resume,
        device=device,
        threads=threads,
        workers=workers,
        content=picture_content,
        models={"study.encoder_weights": settings.encoder_weights},
    ) as place:
        preprocessing = Preprocessing(settings, recipe.mode)
        cohort = prepare_cohort(plan.table, preprocessing, run.cache, workers)
        crossing = Crossing(recipe, plan, cohort, run, Means(resume, place, report))
        outcomes = crossing.train_folds()
        final = crossing.train_final(outcomes)
        run.finishing()
        return finish(crossing, outcomes, final)


def evaluate(
    model: Any, table: Path, output: Path, overwrite: bool = False, progress: Any = None
) -> Any:
    """Score a loaded model on a table of images and classes; see `studies.micrographs.evaluate`."""
    from encephalon.studies.micrographs.evaluation import evaluate_table

    return evaluate_table(model, table, output, overwrite=overwrite, progress=progress)


def make_report(about: Mapping[str, Any]) -> Any:
    """The page that shows a batch of predictions; `about` is `Predictor.describe()`."""
    from encephalon.studies.micrographs.report import BatchReport

    return BatchReport(about)


def explain(model: Any, samples: Sequence[Sample], output: Path, **options: Any) -> Any:
    """Show where a loaded model looked in each image; see `studies.micrographs.explain`."""
    from encephalon.explanation.run import explain as explain_batch

    return explain_batch(model, samples, output, **options)

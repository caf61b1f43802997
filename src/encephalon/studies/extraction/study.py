# SPDX-License-Identifier: Apache-2.0
"""The extraction study: masks of brains and of lesions, one constant `STUDY`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.recipes import make_settings
from encephalon.studies.base import OpenModel, Study, Trainable
from encephalon.studies.extraction.published.settings import PublishedOptions, PublishedSettings
from encephalon.studies.extraction.settings import LOCATOR, ExtractionSettings, PredictOptions

if TYPE_CHECKING:
    from encephalon.api.model import Model
    from encephalon.inference.batch import Progress
    from encephalon.inference.predictor import Predictor
    from encephalon.recipes.schema import Recipe
    from encephalon.reports.batch import BatchReport
    from encephalon.tables.schema import Table
    from encephalon.training.runs import Means

__all__ = ["STUDY"]


def _load(model: OpenModel) -> Predictor:
    if model.mode == "published":
        from encephalon.studies.extraction.published.predictor import make_published_predictor

        return make_published_predictor(model)
    from encephalon.studies.extraction.predictor import make_extraction_predictor

    return make_extraction_predictor(model)


def _page(about: Mapping[str, Any]) -> BatchReport:
    from encephalon.studies.extraction.report import batch_report

    return batch_report(about)


class _Training(Trainable):
    def check_recipe(self, recipe: Recipe) -> None:
        make_settings(STUDY.settings[recipe.mode], recipe.study.settings, recipe.name)

    def check_network(self, recipe: Recipe) -> None:
        from encephalon.studies.extraction.fitting import check_network

        check_network(recipe)

    def train(self, recipe: Recipe, table: Table, output: Path, means: Means) -> Path:
        from encephalon.studies.extraction.finishing import finish
        from encephalon.studies.extraction.fitting import fit
        from encephalon.training.opening import open_run
        from encephalon.training.runs import RunFolder

        run = RunFolder(output)
        lesion = recipe.study.settings.get("target") == "lesion"
        models = {"the brain model": LOCATOR if lesion else None}
        with open_run(run, recipe, table, means, models=models) as placed:
            fitted = fit(recipe, table, run, placed)
            run.finishing()
            return finish(recipe, table, run, fitted)


class _Scoring:
    def evaluate(
        self, model: Model, table: Path, output: Path, overwrite: bool, progress: Progress | None
    ) -> Any:
        from encephalon.evaluation.run import evaluate
        from encephalon.studies.extraction.evaluation import MaskEvaluation

        study = MaskEvaluation(model, table)
        return evaluate(study, output, overwrite=overwrite, progress=progress)


STUDY = Study(
    name="extraction",
    settings={"default": ExtractionSettings, "published": PublishedSettings},
    options={"default": PredictOptions, "published": PublishedOptions},
    load=_load,
    page=_page,
    trainable=_Training(),
    scorable=_Scoring(),
)

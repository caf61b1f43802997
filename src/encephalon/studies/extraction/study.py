# SPDX-License-Identifier: Apache-2.0
"""The extraction study: masks of brains and of lesions, one constant `STUDY`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.studies.base import OpenModel, Study, Trainable
from encephalon.studies.extraction.published.settings import PublishedOptions, PublishedSettings
from encephalon.studies.extraction.settings import ExtractionSettings, PredictOptions

if TYPE_CHECKING:
    from encephalon.api.model import Model
    from encephalon.evaluation.run import Scorable
    from encephalon.experiments.grid_choice import Scored
    from encephalon.experiments.grid_folder import CellState
    from encephalon.inference.predictor import Predictor
    from encephalon.recipes.schema import Recipe
    from encephalon.reports.batch import BatchReport
    from encephalon.training.run import Learner

__all__ = ["STUDY"]


class _Training(Trainable):
    def learner(self, recipe: Recipe) -> Learner[Any]:
        from encephalon.studies.extraction.published.task import PublishedLearner
        from encephalon.studies.extraction.task import ExtractionLearner

        return PublishedLearner(recipe) if recipe.mode == "published" else ExtractionLearner(recipe)


def _load(model: OpenModel) -> Predictor:
    if model.mode == "published":
        from encephalon.studies.extraction.published.predictor import make_published_predictor

        return make_published_predictor(model)
    from encephalon.studies.extraction.predictor import make_extraction_predictor

    return make_extraction_predictor(model)


def _page(about: Mapping[str, Any]) -> BatchReport:
    from encephalon.studies.extraction.report import batch_report

    return batch_report(about)


def _scoring(model: Model, table: Path) -> Scorable[Any, Any]:
    from encephalon.studies.extraction.evaluation import MaskEvaluation

    return MaskEvaluation(model, table)


def _main_score(cell: CellState) -> Scored:
    from encephalon.evaluation.run import read_summary
    from encephalon.experiments.grid_choice import Scored

    found = read_summary(cell.evaluation)["overall"]["dice"]
    return Scored.of("median Dice", found["median_interval"], found["n"])


STUDY = Study(
    name="extraction",
    settings={"default": ExtractionSettings, "published": PublishedSettings},
    options={"default": PredictOptions, "published": PublishedOptions},
    load=_load,
    page=_page,
    columns={
        "volume_ml": "Volume of the mask.",
        "agreement_mirror": "Dice of the mask with what is found in the mirrored scan.",
        "agreement_turn": "Dice of the mask with what is found in the scan turned by ten degrees.",
        "slope_error": "How far the slope of the distance map departs from 1 near the border.",
    },
    trainable=_Training(),
    scorable=_scoring,
    main_score=_main_score,
)

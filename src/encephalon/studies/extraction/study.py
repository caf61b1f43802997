# SPDX-License-Identifier: Apache-2.0
"""The extraction study: masks of brains and of lesions, one constant `STUDY`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from encephalon.studies.base import Study, Trainable, late
from encephalon.studies.extraction.published.settings import PublishedOptions, PublishedSettings
from encephalon.studies.extraction.settings import ExtractionSettings, PredictOptions

if TYPE_CHECKING:
    from encephalon.recipes.schema import Recipe
    from encephalon.training.run import Learner

__all__ = ["STUDY"]


class _Training(Trainable):
    def learner(self, recipe: Recipe) -> Learner[Any]:
        from encephalon.studies.extraction.published.task import PublishedLearner
        from encephalon.studies.extraction.task import ExtractionLearner

        return PublishedLearner(recipe) if recipe.mode == "published" else ExtractionLearner(recipe)


STUDY = Study(
    name="extraction",
    settings={"default": ExtractionSettings, "published": PublishedSettings},
    options={"default": PredictOptions, "published": PublishedOptions},
    load=late(
        "encephalon.studies.extraction.predictor:make_extraction_predictor",
        published="encephalon.studies.extraction.published.predictor:make_published_predictor",
    ),
    page=late("encephalon.studies.extraction.report:batch_report"),
    trainable=_Training(),
    scorable=late("encephalon.studies.extraction.evaluation:MaskEvaluation"),
)

# SPDX-License-Identifier: Apache-2.0
"""The isotropic study: isotropic scans of thick slices, one constant `STUDY`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.studies.base import Study, Trainable, late
from encephalon.studies.isotropic.commands import SIMULATORS
from encephalon.studies.isotropic.published.settings import (
    PublishedOptions,
    PublishedSettings,
    check_published_recipe,
)
from encephalon.studies.isotropic.settings import IsotropicSettings, PredictOptions

if TYPE_CHECKING:
    from encephalon.recipes.schema import Recipe
    from encephalon.training.run import Learner

__all__ = ["STUDY"]


def _demo(folder: Path, overwrite: bool) -> None:
    from encephalon.studies.isotropic.synthetic import write_heads

    write_heads(folder, subjects=1, overwrite=overwrite)


class _Training(Trainable):
    def check_recipe(self, recipe: Recipe) -> None:
        if recipe.mode == "published":
            check_published_recipe(recipe)

    def learner(self, recipe: Recipe) -> Learner[Any]:
        from encephalon.studies.isotropic.published.task import PublishedLearner
        from encephalon.studies.isotropic.task import IsotropicLearner

        return PublishedLearner(recipe) if recipe.mode == "published" else IsotropicLearner(recipe)


STUDY = Study(
    name="isotropic",
    settings={"default": IsotropicSettings, "published": PublishedSettings},
    options={"default": PredictOptions, "published": PublishedOptions},
    load=late(
        "encephalon.studies.isotropic.predictor:make_isotropic_predictor",
        published="encephalon.studies.isotropic.published.predictor:make_published_predictor",
    ),
    page=late("encephalon.studies.isotropic.report:batch_report"),
    trainable=_Training(),
    scorable=late("encephalon.studies.isotropic.evaluation.run:ReconstructionEvaluation"),
    simulators=SIMULATORS,
    demo=_demo,
)

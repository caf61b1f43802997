# SPDX-License-Identifier: Apache-2.0
"""The isotropic study: isotropic scans of thick slices, one constant `STUDY`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.studies.base import Demo, OpenModel, Study, Trainable
from encephalon.studies.isotropic.commands import SIMULATORS
from encephalon.studies.isotropic.published.settings import (
    PublishedOptions,
    PublishedSettings,
    check_published_recipe,
)
from encephalon.studies.isotropic.settings import IsotropicSettings, PredictOptions

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


def _head(folder: Path, overwrite: bool) -> Path:
    from encephalon.studies.isotropic.synthetic import write_heads

    if overwrite or not (folder / "table.csv").exists():  # which is written last
        write_heads(folder, subjects=1, overwrite=overwrite)
    return folder


class _Training(Trainable):
    def check_recipe(self, recipe: Recipe) -> None:
        if recipe.mode == "published":
            check_published_recipe(recipe)

    def learner(self, recipe: Recipe) -> Learner[Any]:
        from encephalon.studies.isotropic.published.task import PublishedLearner
        from encephalon.studies.isotropic.task import IsotropicLearner

        return PublishedLearner(recipe) if recipe.mode == "published" else IsotropicLearner(recipe)


def _load(model: OpenModel) -> Predictor:
    if model.mode == "published":
        from encephalon.studies.isotropic.published.predictor import make_published_predictor

        return make_published_predictor(model)
    from encephalon.studies.isotropic.predictor import make_isotropic_predictor

    return make_isotropic_predictor(model)


def _page(about: Mapping[str, Any]) -> BatchReport:
    from encephalon.studies.isotropic.report import batch_report

    return batch_report(about)


def _scoring(model: Model, table: Path) -> Scorable[Any, Any]:
    from encephalon.studies.isotropic.evaluation.run import ReconstructionEvaluation

    return ReconstructionEvaluation(model, table)


def _main_score(cell: CellState) -> Scored:
    """PSNR of the model, which is the first of all methods, within the head."""
    from encephalon.evaluation.run import read_summary
    from encephalon.experiments.grid_choice import Scored

    first = read_summary(cell.evaluation)["overall"][0]
    found = first["metrics"]["psnr_foreground"]
    told = {"value": found["mean"], "low": found["interval"][0]}
    return Scored.of("mean PSNR", told, first["n"])


STUDY = Study(
    name="isotropic",
    settings={"default": IsotropicSettings, "published": PublishedSettings},
    options={"default": PredictOptions, "published": PublishedOptions},
    load=_load,
    page=_page,
    columns={
        "guide": "What became of the T1w: used, untrusted or absent.",
        "coverage_share": "Share of the head that the T1w shows.",
        "distance_mm": "From the middle of a slice to that of the next.",
        "thickness_mm": "Thickness of a slice.",
        "ratio": "Voxels of the result from one slice to the next: the anisotropy factor.",
        "inconsistency": "Data-consistency residual: the result sliced again, minus the slices.",
        "uncertain_share": "Share of the head where the standard deviation is large.",
        "disagreement": "RMS difference to the guided method, as a share of the range.",
    },
    trainable=_Training(),
    scorable=_scoring,
    main_score=_main_score,
    simulators=SIMULATORS,
    demo=Demo(_head),
)

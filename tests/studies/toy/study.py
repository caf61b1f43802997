# SPDX-License-Identifier: Apache-2.0
"""A whole study in as few words as any: which voxels of a scan are bright."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from encephalon.evaluation.cases import Case, read_cases
from encephalon.evaluation.run import CaseResult, EvaluationResult, Scorable
from encephalon.inference.predictor import OutputImage, OutputKind, Prediction
from encephalon.inference.runtimes import Runtime, open_runtime
from encephalon.io.image import Image
from encephalon.io.reading import read_image, read_labels
from encephalon.metrics.segmentation import overlap
from encephalon.recipes import make_settings
from encephalon.recipes.schema import Recipe, Section
from encephalon.reports.batch import BatchReport, Column
from encephalon.reports.markup import Html
from encephalon.reports.page import Page
from encephalon.studies.base import OpenModel, Study, Trainable
from encephalon.tables.sample import Sample

if TYPE_CHECKING:
    from encephalon.training.run import Learner

Row = dict[str, Any]


class Settings(Section):
    """Voxels that are drawn from a scan for a batch."""

    voxels: int = Field(default=512, gt=0)


class Options(Section):
    """What a bright voxel is more likely than."""

    threshold: float = Field(default=0.5, gt=0, lt=1)


@dataclass
class Predictor:
    """A mask of the bright voxels."""

    model: Mapping[str, Any]
    runtime: Runtime
    options: Options
    outputs: Mapping[str, OutputKind] = field(
        default_factory=lambda: {"mask": OutputKind("mask", "bright")}
    )

    @property
    def name(self) -> str:
        return str(self.model["name"])

    def describe(self) -> Row:
        return {"model": dict(self.model), "threshold": self.options.threshold}

    def read(self, sample: Sample) -> Image:
        return read_image(sample.file("image"))

    def predict(self, loaded: Image) -> Prediction:
        (logits,) = self.runtime.run(loaded.data[None, None].astype(np.float32))
        mask = (1 / (1 + np.exp(-logits[0, 0])) > self.options.threshold).astype(np.uint8)
        image = OutputImage(mask, loaded, "bright", may_be_empty=True)
        return Prediction({"mask": image}, {"voxels": int(mask.sum())})


class Evaluation(Scorable[Case, float]):
    """Dice of each mask, and the mean."""

    def __init__(self, model: Any, table: Path) -> None:
        self.predictor = model.predictor
        self.found = read_cases(table, model.columns, [model.columns.target])

    def cases(self) -> Sequence[Case]:
        return self.found.cases

    def score(self, case: Case) -> CaseResult:
        made = self.predictor.predict(self.predictor.read(case.sample)).images["mask"].data
        assert case.reference is not None
        dice = overlap(made > 0, read_labels(case.reference).data > 0).dice
        return CaseResult([{"id": case.name, "dice": dice}])

    def summarise(self, rows: list[Row]) -> float | None:
        return float(np.mean([row["dice"] for row in rows])) if rows else None

    def lines(self, summary: float) -> list[str]:
        return [f"dice {summary:.3f}"]

    def told(self, summary: float) -> Row:
        return {"dice": summary}

    def page(self, result: EvaluationResult[float], failures: Sequence[Html]) -> Page:
        return Page("Bright voxels", "Evaluation", result.lines[0]).add(*failures)


class _Training(Trainable):
    def check_recipe(self, recipe: Recipe) -> None:
        make_settings(Settings, recipe.study.settings, recipe.name)

    def learner(self, recipe: Recipe) -> Learner[Any]:
        from tests.studies.toy.task import BrightLearner

        return BrightLearner(recipe)


def _load(model: OpenModel) -> Predictor:
    runtime = open_runtime(model.graph, model.device, model.threads)
    return Predictor(model.files.describe(), runtime, model.asked(Options))


def _page(about: Mapping[str, Any]) -> BatchReport:
    return BatchReport(about, "Bright voxels", [Column("Bright", "voxels")], lambda *_: [])


STUDY = Study(
    "bright",
    settings={"default": Settings},
    options={"default": Options},
    load=_load,
    page=_page,
    trainable=_Training(),
    scorable=Evaluation,
)

# SPDX-License-Identifier: Apache-2.0
"""A whole study in as few words as any: which voxels of a scan are bright."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from encephalon.evaluation.cases import Case, read_cases
from encephalon.evaluation.run import CaseResult, Scorable
from encephalon.inference.predictor import OutputImage, OutputKind, Prediction
from encephalon.inference.runtimes import Runtime
from encephalon.io.image import Image
from encephalon.io.reading import read_image, read_labels
from encephalon.metrics.segmentation import dice
from encephalon.recipes.schema import Flag, Recipe, Section
from encephalon.reports.batch import BatchReport, Column
from encephalon.studies.base import OpenModel, Study, Trainable
from encephalon.tables.samples import Sample

BRIGHT = Column("Bright", "voxels")


class Options(Section):
    """What a bright voxel is more likely than."""

    brightness: Annotated[float, Flag("--brightness", "least probability of a bright voxel")] = (
        Field(default=0.5, gt=0, lt=1)
    )


@dataclass
class Predictor:
    """A mask of the bright voxels."""

    name: str
    model: dict[str, str]
    runtime: Runtime
    options: Options
    outputs: ClassVar = {"mask": OutputKind("mask", "bright")}

    def describe(self) -> dict[str, Any]:
        return {"model": self.model, "brightness": self.options.brightness}

    def read(self, sample: Sample) -> Image:
        return read_image(sample.file("image"))

    def predict(self, loaded: Image) -> Prediction:
        (logits,) = self.runtime.run(loaded.data[None, None].astype(np.float32))
        mask = (1 / (1 + np.exp(-logits[0, 0])) > self.options.brightness).astype(np.uint8)
        image = OutputImage(mask, loaded, "bright", may_be_empty=True)
        return Prediction({"mask": image}, {"voxels": int(mask.sum())})


class Evaluation(Scorable[Case, dict[str, float]]):
    """Dice of each mask, and the mean."""

    def __init__(self, model: Any, table: Path) -> None:
        self.predictor = model.predictor
        self.found = read_cases(table, model.columns, [model.columns.target])

    def cases(self) -> Sequence[Case]:
        return self.found.cases

    def score(self, case: Case) -> CaseResult:
        made = self.predictor.predict(self.predictor.read(case.sample)).images["mask"].data
        return CaseResult([{"id": case.name, "dice": dice(made, read_labels(case.reference).data)}])

    def summarise(self, rows: list[dict[str, Any]]) -> dict[str, float] | None:
        return {"dice": float(np.mean([row["dice"] for row in rows]))} if rows else None


class _Training(Trainable):
    def learner(self, recipe: Recipe) -> Any:
        from tests.studies.toy.task import BrightLearner

        return BrightLearner(recipe)


def _load(model: OpenModel) -> Predictor:
    return Predictor(model.name, model.files.describe(), model.runtime(), model.asked(Options))


STUDY = Study(
    "bright",
    settings={"default": Section},
    options={"default": Options},
    load=_load,
    page=lambda about: BatchReport(about, "Bright voxels", [BRIGHT], lambda *_: []),
    trainable=_Training(),
    scorable=Evaluation,
)

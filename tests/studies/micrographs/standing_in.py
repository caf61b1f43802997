# SPDX-License-Identifier: Apache-2.0
"""A loaded classifier that needs no training: dark grains are what makes an image aged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tifffile
import torch
from torch import Tensor, nn

from encephalon.errors import UsageError
from encephalon.explanation.explainable import Look
from encephalon.inference.predictor import Prediction, Quality
from encephalon.studies.micrographs.predictor import MicrographPredictor
from encephalon.studies.micrographs.preprocessing import Preprocessing
from encephalon.studies.micrographs.settings import MicrographSettings
from encephalon.tables.samples import Sample
from encephalon.tables.schema import Columns

SIZE = 64
BOX = ("box_x", "box_y", "box_w", "box_h")
COLUMNS = Columns(
    target="class",
    target_kind=("Young", "Aged"),
    covariates={"sex": ("F", "M")},
    group="animal",
)


class Grains(nn.Module):
    """Two channels, dark and bright: one for each class; being male speaks for class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential()
        self.encoder.add_module("layer4", nn.Conv2d(1, 2, 4, 4))
        self.head = nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            kernel = torch.full((1, 4, 4), 1 / 16)
            self.encoder.layer4.weight[:] = torch.stack([-kernel, kernel])
            self.encoder.layer4.bias[:] = torch.tensor([-1.0, 0.0])
            self.head.weight[:] = torch.tensor([[0.0, 9.0, 0.0, 0.0], [300.0, 0.0, -0.5, 0.5]])

    def forward(self, image: Tensor, covariates: Tensor) -> Tensor:
        features = torch.relu(self.encoder(image)).mean(dim=(2, 3))
        logits: Tensor = self.head(torch.cat([features, covariates], dim=1))
        return logits


@dataclass
class StandIn:
    """What a predictor of micrographs offers to `explain`."""

    mode: str = "default"
    settings: MicrographSettings = field(
        default_factory=lambda: MicrographSettings(size=SIZE, box=BOX, percentiles=(0, 100))
    )
    name: str = "stand-in"
    classes: tuple[str, ...] = ("Young", "Aged")
    columns: Columns = COLUMNS
    layer: str = "encoder.layer4"
    readers: int = 2
    calibration: Any = None
    network: nn.Module = field(default_factory=Grains)

    def describe(self) -> dict[str, Any]:
        return {"model": {"name": self.name, "version": "1.0.0", "mode": self.mode}}

    def torch_network(self) -> nn.Module:
        return self.network.eval()

    def check(self, samples: list[Sample]) -> None:
        if not any(sample.row for sample in samples):
            raise UsageError("The model sees sex beside each image: give a table.")

    def read(self, sample: Sample) -> Any:
        picture = Preprocessing(self.settings).read(sample.inputs["image"])
        male = np.float32(sample.row.get("sex") == "M")
        covariates = np.array([[1 - male, male]])
        return SimpleNamespace(sample=sample, picture=picture, covariates=covariates)

    def look(self, sample: Sample) -> Look:
        standing_in: Any = self
        return MicrographPredictor.look(standing_in, sample)

    def probabilities(self, logits: Any) -> Any:
        return torch.from_numpy(logits).softmax(dim=1).numpy()

    def predict(self, loaded: Any) -> Prediction:
        given = (torch.from_numpy(loaded.picture.image[None]), torch.from_numpy(loaded.covariates))
        with torch.no_grad():
            p = self.network(*given).softmax(dim=1)[0].tolist()
        light = "Green" if p[1] <= 0.25 else "Amber" if p[1] <= 0.75 else "Red"
        names = dict(zip(("p_Young", "p_Aged"), p, strict=True))
        said = self.classes[int(np.argmax(p))]
        odd = loaded.sample.id.startswith("odd")
        quality = Quality("check", ("its contrast is odd",)) if odd else Quality("ok")
        return Prediction(
            values={"predicted": said, "light": light, "likelihood": p[1], **names},
            quality=quality,
        )


def model(**changes: Any) -> Any:
    """A loaded model as `encephalon.load_model` gives it."""
    predictor = StandIn(**changes)
    return SimpleNamespace(predictor=predictor, columns=predictor.columns, name=predictor.name)


def picture(rng: np.random.Generator, box: tuple[float, ...] | None, shape: tuple[int, int]) -> Any:
    """A grey plane (rows, columns) uint8, and dark grains in the box."""
    data = rng.normal(150, 4, shape)
    data[:2, :2], data[:2, 2:4] = 255, 0  # every image has the same range
    if box is not None:
        x, y, width, height = box
        rows, columns = shape
        down = slice(round((y - height / 2) * rows), round((y + height / 2) * rows))
        across = slice(round((x - width / 2) * columns), round((x + width / 2) * columns))
        data[down, across] = 10
    return np.clip(data, 0, 255).astype(np.uint8)


def write_samples(
    folder: Path, rng: np.random.Generator, count: int = 6, shape: tuple[int, int] = (96, 128)
) -> list[Sample]:
    """Write `count` images, every second one aged, and return them as rows of a table."""
    samples = []
    for number in range(count):
        aged = number % 2 == 1
        box = (rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8), 0.25, 0.25) if aged else None
        name = f"S{number}"
        path = folder / f"{name}.tif"
        tifffile.imwrite(path, picture(rng, box, shape))
        cells = dict(zip(BOX, map(str, box), strict=True)) if box else dict.fromkeys(BOX)
        words = {"class": "Aged" if aged else "Young", "sex": "FM"[number // 2 % 2]}
        row = {"id": name, "image": path.name, **words, "animal": f"A{number // 3}", **cells}
        samples.append(Sample(name, {"image": path}, row))
    return samples

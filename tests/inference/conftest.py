# SPDX-License-Identifier: Apache-2.0
"""A predictor without a network: it calls bright voxels the mask."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.geometry.affine import Affine
from encephalon.inference.batch import BatchResult, run_batch
from encephalon.inference.outputs import OutputLayout, Work
from encephalon.inference.predictor import (
    OutputImage,
    OutputKind,
    Prediction,
    Predictor,
    Quality,
)
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from encephalon.tables.samples import Sample

SPACING = (1.0, 2.0, 1.5)


@dataclass
class BrightVoxels:
    """Everything above `threshold` is the mask; notes which thread did what, and what is alive."""

    threshold: float = 50.0
    status: str = "ok"
    fail_on: str | None = None
    outputs: Mapping[str, OutputKind] = field(
        default_factory=lambda: {
            "mask": OutputKind("mask", "brain", description="Bright voxels.", content="Brain"),
            "brain": OutputKind("", "brain"),
        }
    )
    name: str = "bright"
    threads: dict[str, set[int]] = field(default_factory=lambda: {"read": set(), "predict": set()})
    alive: list[Any] = field(default_factory=list)
    most_alive: int = 0

    def describe(self) -> dict[str, Any]:
        model = {"name": self.name, "version": "1.0", "sha256": "ab" * 32, "mode": "default"}
        return {"model": model, "device": "cpu", "threshold": self.threshold}

    def read(self, sample: Sample) -> Image:
        self.threads["read"].add(threading.get_ident())
        image = read_image(sample.inputs["image"])
        self.alive.append(weakref.ref(image))
        gc.collect()
        self.most_alive = max(self.most_alive, sum(ref() is not None for ref in self.alive))
        return image

    def predict(self, loaded: Image) -> Prediction:
        self.threads["predict"].add(threading.get_ident())
        if self.fail_on and self.fail_on in loaded.name:
            raise ZeroDivisionError("planted")
        mask = loaded.data > self.threshold
        images = {
            "mask": OutputImage(mask, loaded, "brain", "mask"),
            "brain": OutputImage(np.where(mask, loaded.data, 0), loaded, "brain", "T1w"),
        }
        values = {"volume_ml": float(mask.sum() * loaded.volume_ml_per_voxel)}
        quality = Quality(self.status, () if self.status == "ok" else ("looks odd",))
        return Prediction({key: images[key] for key in self.outputs}, values, quality)


def predict_all(
    predictor: Predictor,
    samples: Sequence[Sample],
    layout: OutputLayout,
    overwrite: bool = False,
    **told: Any,
) -> BatchResult:
    """Plan where the results of the samples go, and run the batch."""
    planned = layout.plan(samples, predictor.outputs)
    return run_batch(predictor, Work(layout, planned, overwrite), **told)


@pytest.fixture
def bright() -> type[BrightVoxels]:
    """The class of the predictor, to be built with what the test needs."""
    return BrightVoxels


@pytest.fixture
def scan(tmp_path: Path) -> Callable[..., Path]:
    """Write a small scan whose brightest voxels have the value `peak`; return its path."""

    def make(name: str = "scan.nii.gz", peak: float = 100.0, folder: Path | None = None) -> Path:
        path = (folder or tmp_path / "in") / name
        data = np.zeros((8, 9, 10), np.float32)
        data[2:6, 3:7, 4:8] = peak
        data[0, 0, 0] = 1
        path.parent.mkdir(parents=True, exist_ok=True)
        like = Image(data, Affine.from_spacing(SPACING, (-3.0, 4.0, 5.0)))
        return write_image(data, path, like)

    return make


@pytest.fixture
def samples(scan: Callable[..., Path]) -> Callable[..., list[Sample]]:
    """Return one sample for each of the names, each with a scan of its own."""

    def make(*names: str) -> list[Sample]:
        return [Sample(name, {"image": scan(f"{name}.nii.gz")}) for name in names]

    return make

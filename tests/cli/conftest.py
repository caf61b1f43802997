# SPDX-License-Identifier: Apache-2.0
"""The command line called in this process, a scan on disk, and a stand-in for a loaded model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon import api
from encephalon.cli.main import main
from encephalon.inference.predictor import OutputImage, OutputKind, Prediction, Quality
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from encephalon.tables.samples import Sample
from encephalon.tables.schema import Columns
from tests.studies.calls import plain_study


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call `encephalon` with these words, its models kept in a folder of the test's own."""
    monkeypatch.setenv("ENCEPHALON_HOME", str(tmp_path / "home"))

    def call(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return call


@dataclass
class Threshold:
    """A predictor of bright voxels; a scan whose name has `odd` in it is to be checked."""

    name: str = "stand-in"
    outputs: dict[str, OutputKind] = field(
        default_factory=lambda: {"mask": OutputKind("mask", "brain")}
    )

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "version": "1.0.0", "sha256": "0" * 64}

    def read(self, sample: Sample) -> tuple[str, Image]:
        return sample.id, read_image(sample.inputs["image"])

    def predict(self, loaded: tuple[str, Image]) -> Prediction:
        name, image = loaded
        mask = (image.data > 600).astype(np.uint8)
        status = "check" if "odd" in name else "ok"
        reasons = ("it looks odd",) if "odd" in name else ()
        return Prediction(
            {"mask": OutputImage(mask, image, desc="brain")},
            {"volume_ml": 12.5},
            Quality(status, reasons),  # type: ignore[arg-type]
        )


class Asked(list[dict[str, Any]]):
    """The arguments of every call of `load_model`."""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Replace `load_model`; what it was asked for is in the list."""
    asked = Asked()

    def load(model: str, **arguments: Any) -> api.Model:
        asked.append({"model": model, **arguments})
        return api.Model(Threshold(), plain_study(columns={"volume_ml": "Volume."}), Columns())

    monkeypatch.setattr(api, "load_model", load)
    return asked


@pytest.fixture
def scan(tmp_path: Path, head: Image) -> Path:
    """`head` as a NIfTI file."""
    return write_image(head.data, tmp_path / "scan.nii.gz", head)

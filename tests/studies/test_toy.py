# SPDX-License-Identifier: Apache-2.0
"""A study from elsewhere, found by its entry point, does what every study does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from tests.cli.conftest import Run, run  # noqa: F401  a fixture
from tests.studies.contract import StudyContract

TOY = Path(__file__).parent / "toy"


@pytest.fixture(autouse=True, scope="module")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The study as a distribution of its own, for this process and those that it starts."""
    place = tmp_path_factory.mktemp("site")
    about = place / "toy_study-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-study\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[encephalon.studies]\nbright = tests.studies.toy.study:STUDY\n"
        "[encephalon.networks]\nconvolution = torch.nn:Conv3d\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        patch.setenv("PYTHONPATH", f"{place}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        yield


def write_scans(folder: Path, parts: tuple[str, ...]) -> Path:
    """Scans of noise with masks of what is bright, one for each part, and their table."""
    rng, lines = np.random.default_rng(0), ["id,image,mask,group,split"]
    for number, part in enumerate(parts):
        scan = rng.uniform(-1, 1, (8, 9, 10)).astype(np.float32)
        for name, data in (("scan", scan), ("mask", (scan > 0.2).astype(np.uint8))):
            like = Image(data, Affine.from_spacing(1.0))
            write_image(data, folder / f"{name}{number}.nii.gz", like)
        lines.append(f"s{number},scan{number}.nii.gz,mask{number}.nii.gz,g{number},{part}")
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class TestToy(StudyContract):
    """The smallest study."""

    recipe = str(TOY / "bright.toml")
    steps = 5

    @classmethod
    def learnt(cls, folder: Path) -> Path:
        return write_scans(folder, ("train", "train", "validation"))

    @classmethod
    def scored(cls, folder: Path) -> Path:
        return write_scans(folder, ("test", "test"))


def test_it_works_through_the_command_line(run: Run, tmp_path: Path) -> None:  # noqa: F811
    """Check, train, predict, evaluate: with its own words, tables and pages."""
    table = write_scans(tmp_path, ("train", "train", "validation", "test"))
    recipe, model = TOY / "bright.toml", tmp_path / "run"
    assert run("recipes", "check", recipe).code == 0
    assert run("train", recipe, "-t", table, "-o", model, "--device", "cpu").code == 0
    made = run("predict", model, tmp_path / "scan3.nii.gz", "-o", tmp_path / "out")
    assert made.code == 0, made.err
    assert (tmp_path / "out" / "scan3_mask.nii.gz").is_file()
    assert "Bright voxels" in (tmp_path / "out" / "report.html").read_text("utf-8")
    scored = run("evaluate", model, "-t", table, "-o", tmp_path / "scores")
    assert scored.code == 0, scored.err
    assert scored.out.startswith("dice ")

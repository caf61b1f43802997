# SPDX-License-Identifier: Apache-2.0
"""Every study, in both modes, does what every study must do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from encephalon import api
from encephalon.errors import UsageError
from encephalon.geometry.affine import Affine
from encephalon.recipes.loading import load_recipe
from tests.studies.contract import StudyContract
from tests.studies.extraction import tiny_heads
from tests.studies.isotropic import tiny_isotropic, tiny_published
from tests.studies.legibility import tiny_people
from tests.studies.micrographs import tiny
from tests.studies.microtomography import tiny_tiles

pytest.importorskip("lightning")


class TestExtraction(StudyContract):
    """Masks, learnt as distances."""

    recipe = "brain-extraction"
    changes = tiny_heads.DEFAULT
    judged = False

    @classmethod
    def learnt(cls, folder: Path) -> Path:
        tiny_heads.pair_table(folder, load_recipe(cls.recipe))
        return folder / "heads.csv"

    @classmethod
    def scored(cls, folder: Path) -> Path:
        scans = tiny_heads.pair_table(folder, load_recipe(cls.recipe))
        path = folder / "scans.csv"
        path.write_text(scans.frame[["id", "image", "labels"]].iloc[:1].to_csv(index=False))
        return path


class TestPublishedExtraction(TestExtraction):
    """Masks, learnt as published."""

    recipe = "brain-extraction-published"
    changes = tiny_heads.PUBLISHED | {"training.checkpoint_every": "1"}
    options: ClassVar[dict[str, Any]] = {"conform": "never"}
    processes = None


class TestIsotropic(StudyContract):
    """Isotropic scans, learnt as corrections."""

    recipe = "isotropic"
    changes = tiny_isotropic.QUICK
    options: ClassVar[dict[str, Any]] = {"axes": "axial", "thicknesses": 4}

    @classmethod
    def learnt(cls, folder: Path) -> Path:
        return tiny_isotropic.write_table(folder)

    @classmethod
    def scored(cls, folder: Path) -> Path:
        tiny_isotropic.write_table(folder)
        path = folder / "pairs.csv"
        path.write_text("id,t2w,t1w\nb,t2w.nii.gz,t1w.nii.gz\n", encoding="utf-8")
        return path

    @classmethod
    def predicted(cls, folder: Path) -> list[Path]:
        thick, place = tiny_isotropic.pair()[0][..., ::4], Affine.from_spacing((1, 1, 4))
        return [tiny_heads.write(thick, folder / "thick_T2w.nii.gz", place)]


class TestPublishedIsotropic(StudyContract):
    """Isotropic scans, learnt as published."""

    recipe = "isotropic-published"
    changes = tiny_published.CHANGES | {"training.checkpoint_every": "2"}
    processes = None

    @classmethod
    def learnt(cls, folder: Path) -> Path:
        parts = ("train", "train", "validation")
        tiny_published.head_table(folder, tiny_published.published_recipe(), parts)
        return folder / "heads.csv"

    @classmethod
    def scored(cls, folder: Path) -> Path:
        tiny_published.head_table(folder, tiny_published.published_recipe(), ("test",))
        return folder / "heads.csv"

    def test_a_model_is_scored_and_scores_stay(self, whole: Path, tmp_path: Path) -> None:
        """It is refused: a published model knows its atlas grid alone."""
        with pytest.raises(UsageError, match="cannot be put to these tests"):
            api.evaluate(whole, self.scored(tmp_path), tmp_path / "out", device="cpu")


class TestMicrographs(StudyContract):
    """Classes, learnt by the networks of a cross-validation."""

    recipe = "micrographs"
    changes = tiny.QUICK
    steps = 9
    processes = False

    @classmethod
    def learnt(cls, folder: Path) -> Path:
        return tiny.write_images(folder)

    scored = learnt


class TestRegions(StudyContract):
    """Regions of tiles."""

    recipe = "region-supervised"
    changes = tiny_tiles.QUICK

    @classmethod
    def learnt(cls, folder: Path) -> Path:
        return tiny_tiles.write_table(folder)

    scored = learnt


class TestRepresentations(TestRegions):
    """Representations of tiles, learnt from views and neighbours."""

    recipe = "myow"
    changes = tiny_tiles.QUICK | tiny_tiles.CROPS | {"network.options.hidden": "16"}
    processes = None
    validated = False


class TestStructures(TestRegions):
    """Structures of the pixels of tiles."""

    recipe = "microstructure"
    changes = tiny_tiles.QUICK | {"network.options.width": "4"}
    processes = None


class TestLegibility(StudyContract):
    """Targets of people, learnt by the networks of a cross-validation."""

    recipe = "legibility"
    changes = tiny_people.QUICK
    processes = None
    steps = 9

    @classmethod
    def learnt(cls, folder: Path) -> Path:
        return tiny_people.write_people(folder)

    @classmethod
    def scored(cls, folder: Path) -> Path:
        return tiny_people.write_people(folder, missing=0.0)


class TestOneNetworkOfPeople(TestLegibility):
    """The same, learnt by one network, of a table that is split."""

    changes = tiny_people.QUICK | {"study.folds": "0"}
    processes = True
    steps = 3

    @classmethod
    def learnt(cls, folder: Path) -> Path:
        return tiny_people.split_people(tiny_people.write_people(folder))

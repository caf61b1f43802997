# SPDX-License-Identifier: Apache-2.0
"""Native scans reach the published network on its atlas, and what it says comes back to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import ContentError
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.studies.isotropic.published.atlas import bring_to_atlas
from encephalon.studies.isotropic.published.predictor import PublishedPredictor
from encephalon.studies.isotropic.published.settings import PublishedOptions, PublishedSettings
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_slices
from encephalon.studies.isotropic.synthetic import SHAPE, HeadPair, head_pair
from encephalon.tables.samples import Sample
from encephalon.transforms.registration import moved
from tests.studies.calls import FakeRuntime
from tests.transforms.heads import placed, turned

#: The smaller grid of the test's atlas.
SETTINGS = PublishedSettings(shape=SHAPE, padded=(128, 160, 128), patch=32, stride=32)
#: How the head of the T2w lies against that of the atlas, and that of the T1w against the T2w's.
MOTION, MOVED = turned(8, 12, 6), turned(3, 2, 4)


@pytest.fixture(scope="module")
def head() -> HeadPair:
    """A head where the atlas has it, without noise."""
    return head_pair(codes="LAS", t1w_codes="LAS", noise=0.0)


@pytest.fixture(scope="module")
def native(head: HeadPair) -> tuple[Image, Image]:
    """T1w and T2w as a scanner gives them: turned, apart, the T2w in slices of 4 mm."""
    t2w = simulate_slices(placed(head.t2w, MOTION), SliceSettings("axial", 4.0))
    return placed(head.t1w, MOVED @ MOTION), t2w


def test_a_known_rigid_motion_to_the_atlas_is_found(
    head: HeadPair, native: tuple[Image, Image]
) -> None:
    """Within a millimetre, T1w and T2w; the scans come to lie on the voxels of the atlas."""
    t1w, t2w, placement = bring_to_atlas(*native, head.t1w)
    brain = placed(head.t2w, MOTION).affine.apply(np.argwhere(head.mask))
    assert moved(placement.matrix, MOTION.inverse, brain) < 0.5
    assert placement.doubts == ()
    assert t1w.grid.shape == t2w.grid.shape == head.t1w.shape
    inside = head.mask > 0
    assert np.corrcoef(t1w.data[inside], head.t1w.data[inside])[0, 1] > 0.99
    assert np.corrcoef(t2w.data[inside], head.t2w.data[inside])[0, 1] > 0.9


def test_the_result_is_back_in_the_frame_of_the_native_scan(
    head: HeadPair, native: tuple[Image, Image], tmp_path: Path
) -> None:
    """From native to the atlas and back, with a network that gives the T2w back: in its place."""
    t1w, t2w = native
    names = {role: tmp_path / f"{role}.nii.gz" for role in ("t1w", "t2w", "atlas")}
    for path, image in zip(names.values(), (t1w, t2w, head.t1w), strict=True):
        write_image(image.data, path, image)
    asked = PublishedOptions(atlas=str(names.pop("atlas")))
    network = FakeRuntime(lambda batch: batch[:, 1:])
    reader = PublishedPredictor({"name": "fake"}, network, asked, SETTINGS)
    made = reader.predict(reader.read(Sample("a", dict(names))))
    result = made.images["t2w"]
    truth = placed(head.t2w, MOTION)
    assert result.like.grid.shape == truth.grid.shape
    np.testing.assert_allclose(result.like.affine.matrix, truth.affine.matrix, atol=1e-4)
    inside = head.mask > 0
    assert np.corrcoef(result.data[inside], truth.data[inside])[0, 1] > 0.9
    assert made.quality is None or made.quality.status == "check"


def test_an_atlas_on_another_grid_is_refused(head: HeadPair, tmp_path: Path) -> None:
    """By its name, before any scan is read."""
    path = write_image(head.t1w.data, tmp_path / "atlas.nii.gz", head.t1w)
    network, asked = FakeRuntime(lambda batch: batch), PublishedOptions(atlas=str(path))
    reader = PublishedPredictor({}, network, asked, PublishedSettings())
    with pytest.raises(ContentError, match=r"atlas\.nii\.gz: .*182 x 218 x 182 voxels"):
        reader.read(Sample("a", {"t1w": tmp_path / "a.nii", "t2w": tmp_path / "b.nii"}))

# SPDX-License-Identifier: Apache-2.0
"""The brain-extraction model that ships, on real heads."""

from __future__ import annotations

from itertools import chain, cycle, permutations, product, repeat
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import encephalon
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import read_image, read_labels
from encephalon.metrics.segmentation import dice
from encephalon.synthetic.head import head_phantom

HEADS = (
    "ds000011/sub-01/anat/sub-01_T1w.nii.gz",
    "ds000011/sub-03/anat/sub-03_inplaneT2.nii.gz",
    "ds000011/sub-08/anat/sub-08_T1w.nii.gz",
    "hippodeep/example_brain_t1.nii.gz",
    "pumi/sub-001_T1w.nii.gz",
)


@pytest.fixture(scope="module")
def model() -> encephalon.Model:
    """The packaged model, loaded once."""
    return encephalon.load_model("brain-extraction", device="cpu", threads=2)


@pytest.mark.data
@pytest.mark.parametrize("contrast", ["T1W", "T2W", "FLAIR"])
def test_thick_clinical_slices_of_three_contrasts_reach_dice_095(
    model: encephalon.Model, data: Path, contrast: str
) -> None:
    """Against the masks that come with the scans, each on its own grid."""
    folder = data / "heads" / "openms-patient01"
    truth = read_labels(folder / f"derived_brainmask_{contrast}.nii.gz").data > 0
    mask = model.predict(folder / f"study1_{contrast}.nii.gz").images["mask"].data > 0
    assert dice(mask, truth) >= 0.95


@pytest.mark.data
@pytest.mark.parametrize("name", HEADS)
def test_a_real_head_has_a_human_brain_that_is_not_refused(
    model: encephalon.Model, data: Path, name: str
) -> None:
    """Adults of several scanners, whole heads and thick slabs, defaced or not."""
    prediction = model.predict(data / "heads" / name)
    assert prediction.quality is not None
    assert prediction.quality.status != "fail", prediction.quality.reasons
    assert 700 < float(str(prediction.values["volume_ml"])) < 1900


@pytest.mark.data
def test_orientations_of_a_real_scan_agree(model: encephalon.Model, data: Path) -> None:
    """Axis swaps and flips, stored with their affine, move the mask by next to nothing.

    Of the 48 each order of axes twice, and each set of flips at least once.
    """
    scan = read_image(data / "heads" / "pumi" / "sub-001_T1w.nii.gz")
    reference = model.predict(scan).images["mask"].data > 0
    orders, flips = permutations(range(3)), cycle(product((1, -1), repeat=3))
    for order in chain.from_iterable(repeat(order, 2) for order in orders):
        turned, undo = reoriented(scan, order, next(flips))
        mask = model.predict(turned).images["mask"].data > 0
        assert dice(undo(mask), reference) >= 0.99


def reoriented(scan: Image, order: tuple[int, ...], flips: tuple[int, ...]):  # type: ignore[no-untyped-def]
    """The same scan stored with its axes in another order and direction, and the way back."""
    steps = tuple(slice(None, None, flip) for flip in flips)
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3)[:, list(order)] * np.array(flips)
    for axis, flip in zip(order, flips, strict=True):
        matrix[axis, 3] = scan.shape[axis] - 1 if flip < 0 else 0
    data = np.ascontiguousarray(scan.data.transpose(order)[steps])
    turned = Image(data, Affine(scan.affine.matrix @ matrix))
    return turned, lambda mask: mask[steps].transpose(np.argsort(order))


@pytest.mark.data
@pytest.mark.parametrize("contrast", ["T1w", "T2w"])
def test_a_newborn_s_brain_without_its_skull_is_outlined_as_it_is(
    model: encephalon.Model, data: Path, contrast: str
) -> None:
    """Nothing of it is shaved off, and the mask says that it is all that is left."""
    scan = read_image(data / "infants" / f"month00_{contrast}.nii.gz")
    found = model.predict(scan)
    left = np.count_nonzero(scan.data) * scan.volume_ml_per_voxel
    assert found.values["volume_ml"] == pytest.approx(left, rel=0.01)
    assert found.quality is not None
    assert "the skull was taken away before" in found.quality.reasons[0]


def test_doubt_lies_on_the_border_and_changes_no_mask(model: encephalon.Model) -> None:
    """Variance and entropy of a phantom, on its grid."""
    phantom = head_phantom((80, 100, 60), (2.4, 2.4, 3.2), detail=2.0)
    plain = model.predict(phantom.image).images["mask"].data
    asked = {"device": "cpu", "threads": 2, "save": "mask,variance,entropy"}
    doubting = encephalon.load_model("brain-extraction", **asked)
    images = doubting.predict(phantom.image).images
    assert np.array_equal(images["mask"].data, plain)
    deep = ndimage.binary_erosion(plain, iterations=4)
    border = plain.astype(bool) & ~ndimage.binary_erosion(plain)
    for name, most in (("variance", 0.25), ("entropy", np.log(2))):
        values = images[name].data
        assert values.shape == plain.shape
        assert 0 <= values.min() + 1e-6 <= values.max() <= most + 1e-6
        assert values[border].mean() > 5 * values[deep].mean()


def test_the_phantom_s_brain_is_found(model: encephalon.Model) -> None:
    """The demo's head: not a measure of accuracy, but the mask is its brain."""
    phantom = head_phantom((96, 120, 120), (2.0, 2.0, 2.0), detail=2.0)
    prediction = model.predict(phantom.image)
    assert dice(prediction.images["mask"].data > 0, phantom.mask > 0) > 0.9


@pytest.mark.parametrize("contrast", ["t1", "t2", "flair"])
def test_the_brain_of_a_phantom_of_thick_slices_is_found(
    model: encephalon.Model, contrast: str
) -> None:
    """Slices of 5 mm in three contrasts; a head so unlike one may be told to be looked at."""
    phantom = head_phantom((96, 120, 40), (2.0, 2.0, 5.0), contrast=contrast, detail=2.0)
    prediction = model.predict(phantom.image)
    assert dice(prediction.images["mask"].data > 0, phantom.mask > 0) > 0.93
    assert prediction.quality is not None
    assert prediction.quality.status != "fail", prediction.quality.reasons


def test_orientations_of_a_phantom_agree(model: encephalon.Model) -> None:
    """An axis swap, a turn of all three and flips, stored with their affine."""
    phantom = head_phantom((80, 100, 60), (2.4, 2.4, 3.2), detail=2.0)
    reference = model.predict(phantom.image).images["mask"].data > 0
    for order, flips in (((1, 0, 2), (1, 1, 1)), ((2, 0, 1), (-1, 1, -1)), ((0, 1, 2), (-1,) * 3)):
        turned, undo = reoriented(phantom.image, order, flips)
        mask = model.predict(turned).images["mask"].data > 0
        assert dice(undo(mask), reference) >= 0.99


def test_noise_without_a_head_is_refused(model: encephalon.Model) -> None:
    """No brain, no "ok"."""
    noise = np.random.default_rng(0).normal(100, 20, (64, 64, 64)).astype(np.float32)
    quality = model.predict(Image(noise, Affine.from_spacing((3.0, 3.0, 3.0)))).quality
    assert quality is not None
    assert quality.status == "fail"

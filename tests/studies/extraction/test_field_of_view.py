# SPDX-License-Identifier: Apache-2.0
"""Where the field of view cuts the brain: asked of a network that rounds off at every face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import encephalon
from encephalon.geometry.affine import Affine, Grid, bounding_box, orient
from encephalon.inference.predictor import Prediction
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.studies.extraction.segmentation.localisation import (
    BrainLocation,
    Float,
    Network,
    areas_across,
    areas_on_faces,
    larger_areas,
    view_on,
)
from encephalon.synthetic.head import head_phantom

#: Grey value of the brain, and of the skin around it with a dark skull between them.
BRAIN, SKIN = 0.9, 0.4
RADIUS = 60.0


def head(top: float, skull: float = 8.0) -> Image:
    """A ball of brain of 60 mm around 0, in skull and skin, in a field that ends `top` mm above."""
    spacing, low = 3.0, -99.0
    sizes = (67, 67, int((top - low) // spacing) + 1)
    affine = Affine.from_spacing(spacing, (low, low, low))
    places = [low + spacing * np.arange(size) for size in sizes]
    radius = np.sqrt(sum(axis**2 for axis in np.ix_(*places)))
    values = np.select([radius < RADIUS, radius < RADIUS + skull, radius < 75], [BRAIN, 0, SKIN])
    return Image(values.astype(np.float32), affine)


def rounding(image: Float) -> Float:
    """A network that finds what is bright, but never within three voxels of nothing at all."""
    nothing = ndimage.minimum_filter(image, 3, mode="nearest") == image.min()
    edge = np.zeros(image.shape, bool)
    edge[0], edge[-1], edge[:, 0], edge[:, -1], edge[..., 0], edge[..., -1] = (True,) * 6
    emptiness = ndimage.binary_propagation(edge & nothing, mask=nothing)
    bright = ndimage.binary_erosion((image > 0.7) & ~emptiness, iterations=1)
    shy = bright & (ndimage.distance_transform_edt(~emptiness) > 3)
    return np.where(shy, 1.0, -1.0)[None].astype(np.float32)


def found_in(image: Image) -> BrainLocation:
    """The coarse view of that network."""
    grid = Grid((40, 40, 40), Affine.from_spacing(5.0, (-97.5, -97.5, -97.5)))
    view = view_on(image, grid)
    return BrainLocation(view, rounding(view.image))


@pytest.mark.parametrize("top", [0.0, 20.0, 36.0])
def test_a_cut_brain_goes_on_in_its_mirror_image(top: float) -> None:
    """The area across the face is that of the ball's section, whatever the mask rounds off."""
    found = found_in(head(top))
    on_face = areas_on_faces(found.mask & found.view.inside, found.view.grid)
    assert "top" not in on_face, "the network must hide the cut, or this proves nothing"
    areas = areas_across(found, Network(rounding))
    assert set(areas) == {"top"}
    section = np.pi * (RADIUS**2 - top**2) / 100
    assert areas["top"] == pytest.approx(section, rel=0.4)


@pytest.mark.parametrize("top", [69.0, 78.0, 96.0])
def test_a_whole_brain_ends_before_its_mirror_image(top: float) -> None:
    """Skull lies between the two, even where the field ends within the scalp."""
    assert areas_across(found_in(head(top)), rounding) == {}


def test_nothing_found_is_not_cut() -> None:
    """Without a brain there is no area."""
    found = found_in(head(20.0))
    empty = BrainLocation(found.view, np.full_like(found.distances, -1))
    assert areas_across(empty, rounding) == {}


def test_areas_on_faces_are_square_centimetres_by_side_of_the_body() -> None:
    """Whatever the order and direction of the axes, and also where they lean."""
    mask = np.zeros((10, 12, 14), bool)
    mask[0, 2:7, 3:7] = True
    mask[4, -1, 5] = True
    grid = Grid(mask.shape, Affine.from_spacing((2, 3, 5)))
    assert areas_on_faces(mask, grid) == pytest.approx({"left": 20 * 0.15, "front": 0.1})
    turned = Affine.from_parts([[0, 0, 1], [-1, 0, 0], [0, 1, 0]], (2, 3, 5), (0, 0, 0))
    assert set(areas_on_faces(mask, Grid(mask.shape, turned))) == {"front", "top"}
    leaning = np.diag([2.0, 3.0, 5.0, 1.0])
    leaning[1, 2] = 4.0
    areas = areas_on_faces(mask, Grid(mask.shape, Affine(leaning)))
    assert areas["left"] == pytest.approx(20 * 0.15)
    assert areas["front"] == pytest.approx(2 * np.hypot(5, 4) / 100)


def test_each_side_has_the_larger_of_two_areas() -> None:
    """In a fixed order of sides."""
    merged = larger_areas({"top": 3.0, "left": 1.0}, {"left": 2.0, "bottom": 9.0})
    assert list(merged.items()) == [("left", 2.0), ("top", 3.0), ("bottom", 9.0)]


SUBJECTS = ("01", "03", "04", "06", "07", "08")
#: Heads whose brain is whole in their field of view.
WHOLE = (
    *(f"ds000011/sub-{subject}/anat/sub-{subject}_T1w.nii.gz" for subject in SUBJECTS),
    *(f"ds000011/sub-{subject}/anat/sub-{subject}_inplaneT2.nii.gz" for subject in SUBJECTS[1:]),
    "hippodeep/example_brain_t1.nii.gz",
    "pumi/sub-001_T1w.nii.gz",
    "openms-patient01/study1_T2W.nii.gz",
    "openms-patient01/study1_FLAIR.nii.gz",
)
#: Millilitres of brain that the shipped model finds in them, whatever is asked of the cut.
VOLUMES = (1520, 1060, 1256, 1441, 1630, 1299, 998, 1214, 1438, 1580, 1257, 1420, 1405, 1316, 1248)


@pytest.fixture(scope="module")
def model() -> encephalon.Model:
    """The packaged model, loaded once."""
    return encephalon.load_model("brain-extraction", device="cpu", threads=2)


def cut_reasons(prediction: Prediction) -> list[str]:
    """What the verdict says of the field of view."""
    assert prediction.quality is not None
    return [reason for reason in prediction.quality.reasons if "cuts the brain" in reason]


def without(image: Image, mask: np.ndarray, side: str, share: float) -> Image:
    """`image` cut at a `share` of its brain's extent from its first voxel on; `side` is lost."""
    data, affine = orient(image.data, image.affine, "RAS")
    axis = ("left", "back", "bottom", "right", "front", "top").index(side) % 3
    part = bounding_box(orient(mask, image.affine, "RAS")[0])[axis]
    place = part.start + round(share * (part.stop - part.start))
    first = side in ("left", "back", "bottom")
    kept: list[slice] = [slice(None)] * 3
    kept[axis] = slice(place, None) if first else slice(None, place)
    offset = np.zeros(3)
    offset[axis] = place if first else 0
    return Image(np.ascontiguousarray(data[tuple(kept)]), affine.shifted(offset))


@pytest.mark.parametrize(("side", "share"), [("bottom", 0.45), ("top", 0.8)])
def test_a_cut_phantom_is_said_to_be_cut(model: encephalon.Model, side: str, share: float) -> None:
    """The shipped network, without a real scan."""
    phantom = head_phantom((96, 120, 120), (2.0, 2.0, 2.0))
    reasons = cut_reasons(model.predict(without(phantom.image, phantom.mask > 0, side, share)))
    assert f"the field of view cuts the brain at the {side} (" in reasons[0]


def test_a_whole_phantom_is_not_said_to_be_cut(model: encephalon.Model) -> None:
    """Its brain ends within the field of view."""
    assert not cut_reasons(model.predict(head_phantom((96, 120, 120), (2.0, 2.0, 2.0)).image))


@pytest.mark.data
@pytest.mark.parametrize("subject", SUBJECTS)
def test_real_heads_cut_below_and_above_are_said_to_be_cut(
    model: encephalon.Model, data: Path, subject: str
) -> None:
    """Six heads, the bottom off at 45 % of the brain's height or the top at 80 %: 12 of 12."""
    scan = read_image(data / f"heads/ds000011/sub-{subject}/anat/sub-{subject}_T1w.nii.gz")
    mask = model.predict(scan).images["mask"].data > 0
    for side, share in (("bottom", 0.45), ("top", 0.8), ("front", 0.75)):
        prediction = model.predict(without(scan, mask, side, share))
        assert f"at the {side} (" in " ".join(cut_reasons(prediction)), (side, share)


@pytest.mark.data
@pytest.mark.parametrize(("name", "volume"), [*zip(WHOLE, VOLUMES, strict=True)])
def test_whole_real_heads_keep_their_mask_and_are_not_said_to_be_cut(
    model: encephalon.Model, data: Path, name: str, volume: int
) -> None:
    """Fifteen heads of five scanners; the mask is that of the weights, with or without the flag."""
    prediction = model.predict(data / "heads" / name)
    assert not cut_reasons(prediction)
    assert prediction.values["volume_ml"] == pytest.approx(volume, rel=0.005)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("openms-patient01/study1_T1W.nii.gz", "top"),
        ("ds000011/sub-01/anat/sub-01_inplaneT2.nii.gz", "bottom"),
    ],
)
def test_real_scans_that_end_in_the_brain_are_said_to_be_cut(
    model: encephalon.Model, data: Path, name: str, side: str
) -> None:
    """As they came from the scanner."""
    assert f"at the {side} (" in " ".join(cut_reasons(model.predict(data / "heads" / name)))

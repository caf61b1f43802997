# SPDX-License-Identifier: Apache-2.0
"""The head phantom looks like a head, is the same for the same seed, and knows its own brain."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from encephalon.errors import GeometryError, UsageError
from encephalon.geometry.affine import Affine, orient
from encephalon.metrics.segmentation import dice, volume_ml
from encephalon.synthetic.head import CONTRASTS, Phantom, Tissue, head_phantom
from encephalon.synthetic.shapes import (
    Ellipsoid,
    Space,
    Tube,
    inside,
    soft_union,
    waves,
)

SHAPE, SPACING = (64, 80, 80), (3.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """A coarse phantom, made once for this module."""
    return head_phantom(SHAPE, SPACING, detail=3.0)


@pytest.fixture(scope="module")
def fine() -> Phantom:
    """A phantom in which thin layers are to be seen, made once for this module."""
    return head_phantom((96, 120, 120), (2.0, 2.0, 2.0), detail=2.0)


def coarse(**options: object) -> Phantom:
    """A coarse phantom with other options."""
    return head_phantom(SHAPE, SPACING, detail=3.0, **options)  # type: ignore[arg-type]


def mean_of(phantom: Phantom, *tissues: Tissue) -> float:
    """Mean intensity of tissues."""
    return float(phantom.image.data[np.isin(phantom.labels, tissues)].mean())


def test_the_brain_has_a_human_volume(phantom: Phantom) -> None:
    """Adult brains with their sulci and ventricles hold 1.1 to 1.7 litres."""
    assert 1250 < volume_ml(phantom.mask, SPACING) < 1550


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_seed_draws_another_brain_of_human_volume(phantom: Phantom, seed: int) -> None:
    """Folds and shape change with the seed, the size stays plausible."""
    other = coarse(seed=seed)
    assert 1250 < volume_ml(other.mask, SPACING) < 1550
    assert not np.array_equal(other.labels, phantom.labels)
    assert dice(other.mask, phantom.mask) < 1.0


def test_the_same_seed_gives_the_same_scan(phantom: Phantom) -> None:
    """Nothing but the seed is random."""
    np.testing.assert_array_equal(coarse().image.data, phantom.image.data)


def test_the_brain_is_one_piece_without_holes(phantom: Phantom) -> None:
    """The true mask is what a mask should be."""
    _, pieces = ndimage.label(phantom.mask)
    assert pieces == 1
    filled = ndimage.binary_fill_holes(phantom.mask)
    assert np.count_nonzero(filled) - np.count_nonzero(phantom.mask) < 30


def test_every_tissue_is_there(fine: Phantom) -> None:
    """All labels but the smallest occur, and grey and white matter are of like size."""
    assert set(np.unique(fine.labels)) == set(Tissue)
    grey = np.count_nonzero(fine.labels == Tissue.CORTEX)
    white = np.count_nonzero(fine.labels == Tissue.WHITE)
    assert 0.5 < grey / white < 2.0


def test_the_brain_is_within_bone_within_skin(fine: Phantom) -> None:
    """Going up from the middle of the brain one meets cortex, bone, skin and air, in this order."""
    i, j, k = (int(place.mean()) for place in np.nonzero(fine.mask))
    column = fine.labels[i + 12, j, k:]
    first = {tissue: int(np.argmax(column == tissue)) for tissue in np.unique(column)}
    assert first[Tissue.CORTEX] < first[Tissue.BONE] < first[Tissue.SKIN] < first[Tissue.AIR]
    assert column[-1] == Tissue.AIR


def test_contrasts_look_as_they_should() -> None:
    """White matter is brighter than cortex in T1w, fluid is bright in T2w and dark in FLAIR."""
    t1, t2, flair = (coarse(contrast=name) for name in ("t1", "t2", "flair"))
    assert mean_of(t1, Tissue.WHITE) > 1.2 * mean_of(t1, Tissue.CORTEX)
    assert mean_of(t2, Tissue.VENTRICLE) > 1.5 * mean_of(t2, Tissue.WHITE)
    assert mean_of(flair, Tissue.VENTRICLE) < 0.5 * mean_of(flair, Tissue.WHITE)
    np.testing.assert_array_equal(t1.mask, t2.mask)


def test_a_random_contrast_is_another_for_every_seed() -> None:
    """It has no fixed order of tissues."""
    first, second = coarse(contrast="random", seed=4), coarse(contrast="random", seed=5)
    ratios = [
        mean_of(each, Tissue.WHITE) / mean_of(each, Tissue.MUSCLE) for each in (first, second)
    ]
    assert ratios[0] != pytest.approx(ratios[1], rel=0.05)


def test_contrasts_name_every_tissue() -> None:
    """No tissue was forgotten in a table of intensities."""
    for levels in CONTRASTS.values():
        assert set(levels) == {tissue.name for tissue in Tissue if tissue != Tissue.AIR}


@pytest.mark.parametrize("codes", ["LIA", "PSR", "LPS"])
def test_another_order_of_axes_is_the_same_head(phantom: Phantom, codes: str) -> None:
    """Turned back, scan, mask and labels are the same, voxel for voxel."""
    turned = coarse(codes=codes)
    assert turned.image.affine.codes == codes
    for mine, other in (
        (phantom.image.data, turned.image.data),
        (phantom.mask, turned.mask),
        (phantom.labels, turned.labels),
    ):
        back, affine = orient(other, turned.image.affine, "RAS")
        np.testing.assert_array_equal(np.asarray(back), mine)
        assert affine.is_close(phantom.image.affine)


def test_thick_slices_keep_the_brain() -> None:
    """A clinical scan of 5 mm slices holds the same brain within 3 %."""
    thin = head_phantom((96, 120, 120), (2.0, 2.0, 2.0), detail=3.0)
    thick = head_phantom((120, 150, 48), (1.6, 1.6, 5.0), detail=3.0)
    assert thick.image.spacing == pytest.approx((1.6, 1.6, 5.0))
    expected = volume_ml(thin.mask, thin.image.spacing)
    assert volume_ml(thick.mask, thick.image.spacing) == pytest.approx(expected, rel=0.03)


def test_a_small_field_of_view_cuts_the_head() -> None:
    """Fewer slices leave a brain that touches the edge."""
    cut = head_phantom((64, 80, 20), SPACING, detail=3.0)
    assert cut.mask[..., 0].any()
    assert cut.mask[..., -1].any()


def test_noise_and_bias_can_be_switched_off() -> None:
    """Without them the signal of air is zero; the defaults change every voxel."""
    clean = coarse(noise=0.0, bias=0.0)
    outside = ndimage.distance_transform_edt(clean.labels == Tissue.AIR) > 3
    assert float(clean.image.data[outside].max()) < 1.0
    assert float(coarse().image.data[outside].mean()) > 5.0
    assert clean.image.data.dtype == np.float32
    assert np.isfinite(clean.image.data).all()


def test_another_take_is_another_scan_of_the_same_head(phantom: Phantom) -> None:
    """Noise and intensities are drawn anew, folds and shape are not."""
    other = coarse(take=2)
    np.testing.assert_array_equal(other.labels, phantom.labels)
    np.testing.assert_array_equal(other.mask, phantom.mask)
    assert not np.array_equal(other.image.data, phantom.image.data)


def test_a_posed_head_lies_where_it_was_put(phantom: Phantom) -> None:
    """Moved by two voxels, every label is found two voxels further on; the grid stays."""
    shift = np.eye(4)
    shift[0, 3] = 2 * SPACING[0]
    moved = coarse(pose=Affine(shift))
    assert moved.image.affine == phantom.image.affine
    np.testing.assert_array_equal(moved.labels[2:], phantom.labels[:-2])
    # Where the brain fills just half of a voxel, rounding decides.
    assert np.count_nonzero(moved.mask[2:] != phantom.mask[:-2]) < 10


def test_infants_have_dark_white_matter_in_t1w() -> None:
    """Before myelination it swaps its order with the grey nuclei in T1w and T2w."""
    t1, t2 = (coarse(contrast=f"infant-{name}") for name in ("t1", "t2"))
    assert mean_of(t1, Tissue.WHITE) < 0.85 * mean_of(t1, Tissue.DEEP)
    assert mean_of(t2, Tissue.WHITE) > 1.15 * mean_of(t2, Tissue.DEEP)


def test_wrong_wishes_are_refused() -> None:
    """An unknown contrast is named with those there are; impossible grids are geometry errors."""
    with pytest.raises(UsageError, match=r"'pd'.*t1, t2, flair, .*random"):
        coarse(contrast="pd")
    with pytest.raises(GeometryError):
        head_phantom((0, 80, 80), SPACING, detail=3.0)
    with pytest.raises(GeometryError):
        coarse(codes="RAX")


def test_solids_have_their_volumes() -> None:
    """An ellipsoid, its mirror image and a tube fill as much as geometry says."""
    space = Space((-40, -40, -40), (40, 40, 40), 1.0)
    ellipsoid = Ellipsoid((0, 0, 0), (10, 20, 15))
    exact = 4 / 3 * np.pi * 10 * 20 * 15
    assert inside(space, ellipsoid).sum() == pytest.approx(exact, rel=0.02)
    pair = Ellipsoid((20, 0, 0), (8, 8, 8), both=True)
    assert inside(space, pair).sum() == pytest.approx(2 * 4 / 3 * np.pi * 8**3, rel=0.03)
    tube = Tube([(0, 0, -20), (0, 0, 20)], [6, 6])
    exact = np.pi * 6**2 * 40 + 4 / 3 * np.pi * 6**3
    assert inside(space, tube).sum() == pytest.approx(exact, rel=0.05)


def test_a_soft_union_only_adds() -> None:
    """It holds both solids and fills the seam between them."""
    space = Space((-30, -30, -30), (30, 30, 30), 1.0)
    first = Ellipsoid((-8, 0, 0), (10, 10, 10)).distance(space)
    second = Ellipsoid((8, 0, 0), (10, 10, 10)).distance(space)
    soft = soft_union(first, second, blend=8.0)
    hard = np.minimum(first, second)
    assert (soft <= hard + 1e-5).all()
    assert (soft < 0).sum() > (hard < 0).sum()


def test_a_field_is_the_same_at_any_detail() -> None:
    """One seed gives one field, however finely it is looked at."""
    fine = waves(Space((0, 0, 0), (60, 60, 60), 1.0), 30.0, np.random.default_rng(3))
    rough = waves(Space((0, 0, 0), (60, 60, 60), 3.0), 30.0, np.random.default_rng(3))
    np.testing.assert_allclose(fine[::3, ::3, ::3], rough, atol=1e-4)
    assert abs(float(fine.mean())) < 0.6

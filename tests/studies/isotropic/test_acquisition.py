# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import ContentError, GeometryError, InputError
from encephalon.geometry.affine import Affine, orient
from encephalon.io.image import Image
from encephalon.studies.isotropic.acquisition.slices import find_acquisition, output_spacing
from encephalon.studies.isotropic.settings import PredictOptions
from tests.studies.isotropic.scans import head, scan

NONE = PredictOptions()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_lie_across_the_coarsest_axis(axis: int) -> None:
    """However the file is stored; distance and pixels follow."""
    spacing = [0.9, 1.1]
    spacing.insert(axis, 3.3)
    found = find_acquisition(scan((spacing[0], spacing[1], spacing[2])), NONE)
    assert (found.axis, found.distance) == (axis, pytest.approx(3.3))
    assert found.in_plane == pytest.approx((0.9, 1.1))
    assert found.slices == len(found.measured) == head().shape[axis]


@pytest.mark.parametrize("codes", ["RAS", "LPI", "SRA", "ASL"])
def test_a_plane_is_found_in_any_orientation(codes: str) -> None:
    """`--slice-plane axial` is the axis that runs from foot to head, here not the coarsest."""
    data, affine = orient(head(), Affine.from_spacing((5.0, 1.0, 4.0)), codes)
    image = Image(data, affine)
    found = find_acquisition(image, PredictOptions(axis="axial"))
    assert codes[found.axis] in "SI"


def test_a_plane_is_found_in_an_oblique_scan(oblique: Affine) -> None:
    """The nearest axis counts."""
    image = Image(head(), oblique)
    assert find_acquisition(image, NONE).axis == 2
    with pytest.raises(GeometryError, match="across axis i there is nothing to reconstruct"):
        find_acquisition(image, PredictOptions(axis="axial"))


def test_an_axis_that_the_voxels_contradict_is_named() -> None:
    """The way out is another word, not another scan."""
    with pytest.raises(
        GeometryError, match=r"give another --slice-plane than axial, .* across axis j"
    ):
        find_acquisition(scan((1.0, 4.0, 1.0)), PredictOptions(axis="axial"))


def test_two_coarse_axes_need_a_word() -> None:
    """Nothing tells which one the slices lie across."""
    image = scan((1.0, 3.0, 3.0))
    with pytest.raises(GeometryError, match=r"1 x 3 x 3 mm, equally coarse .*--slice-plane"):
        find_acquisition(image, NONE)
    assert find_acquisition(image, PredictOptions(axis="j")).axis == 1


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 1.15), (0.5, 0.5, 0.75)])
def test_an_isotropic_scan_is_refused(spacing: tuple[float, float, float]) -> None:
    """There is nothing to reconstruct, and the voxels say so."""
    with pytest.raises(GeometryError, match="nothing to reconstruct: give a scan of thick slices"):
        find_acquisition(scan(spacing), NONE)


def test_fine_scans_can_be_asked_for_finer_voxels() -> None:
    """0.75 mm slices are no finer than the result, unless that is made finer."""
    image = scan((0.4, 0.4, 0.75))
    with pytest.raises(GeometryError, match=r"--spacing 0\.4"):
        find_acquisition(image, NONE)
    assert find_acquisition(image, PredictOptions(spacing=0.4)).distance == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("in_plane", "spacing"),
    [
        ((0.9, 0.9), 0.9),
        ((1.2, 0.8), 0.8),
        ((0.5, 0.5), 0.7),
        ((3.0, 3.0), 1.5),
        ((1.5625, 1.5625), 1.5625),
        ((0.6875, 0.6875), 0.6875),
    ],
)
def test_the_result_has_the_spacing_of_the_plane(
    in_plane: tuple[float, float], spacing: float
) -> None:
    """Within 0.7 and 1.5 mm, and what is all but there is not interpolated."""
    assert output_spacing(in_plane, NONE) == pytest.approx(spacing)
    assert output_spacing(in_plane, PredictOptions(spacing=1.1)) == 1.1


@pytest.mark.parametrize(
    ("asked", "header", "thickness", "words"),
    [
        ({}, {"SliceThickness": 3.0}, 3.0, "gaps of 1 mm between them"),
        ({}, {"SliceThickness": "3.0"}, 3.0, "gaps of 1 mm between them"),
        ({"thickness": 3.5}, {"SliceThickness": 3.0}, 3.5, "3 mm thick, but 3.5 mm was asked"),
        ({"gap": 0.5}, {"SliceThickness": 3.0}, 3.5, "3 mm thick, but 3.5 mm was asked"),
        ({"gap": 0.0}, {}, 4.0, ""),
        ({"thickness": 3.0, "gap": 1.1}, {}, 3.0, "gaps of 1 mm"),
        ({}, {"SliceThickness": 6.0}, 6.0, "overlap, 4 mm apart"),
    ],
)
def test_thickness_is_asked_for_or_told_or_the_distance(
    asked: dict[str, float], header: dict[str, object], thickness: float, words: str
) -> None:
    """In this order, and a note says which."""
    found = find_acquisition(scan(), PredictOptions(**asked), header)  # type: ignore[arg-type]
    assert found.thickness == pytest.approx(thickness)
    assert words in " ".join(found.notes)
    assert not found.warnings


@pytest.mark.parametrize("told", [{}, *({"SliceThickness": x} for x in (None, [1], math.nan))])
def test_a_thickness_that_nothing_says_deserves_a_look(told: dict[str, object]) -> None:
    """All of the result rests on the assumption, so it is a warning and no note."""
    found = find_acquisition(scan(), PredictOptions(), told)
    assert (found.distance, found.thickness, found.notes) == (4.0, 4.0, ())
    assert "there is no SliceThickness in its header or sidecar" in found.warnings[0]
    assert "give --slice-thickness or --slice-gap" in found.warnings[0]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"thickness": 4.0, "gap": 1.0}, "would lie 5 mm apart, but in the file .* 4 mm apart"),
        ({"thickness": 2.0, "gap": 1.0}, "would lie 3 mm apart"),
        ({"gap": 4.0}, "a smaller --slice-gap"),
        ({"thickness": 40.0}, "slices of 40 mm were asked for"),
    ],
)
def test_sizes_that_contradict_the_file_are_refused(asked: dict[str, float], words: str) -> None:
    """One sentence that says what to do."""
    with pytest.raises(InputError, match=words) as caught:
        find_acquisition(scan(), PredictOptions(**asked))  # type: ignore[arg-type]
    assert str(caught.value).count(". ") == 0


@pytest.mark.parametrize(
    ("asked", "header", "words"),
    [
        ({}, {"SliceThickness": 1.5}, "gaps of 2.5 mm are wider than the slices of 1.5 mm"),
        ({"gap": 0.0}, {"SliceThickness": 400}, "SliceThickness of 400 mm cannot be true"),
        ({"gap": 0.0}, {"SliceThickness": 0.005}, "SliceThickness of 0.005 mm cannot be true"),
        ({"gap": 0.0}, {"SpacingBetweenSlices": 5.0}, "5 mm apart, but the voxels are 4 mm"),
    ],
)
def test_doubtful_headers_are_warnings(
    asked: dict[str, float], header: dict[str, float], words: str
) -> None:
    """The reconstruction goes on, and deserves a look."""
    options = PredictOptions(**asked)  # type: ignore[arg-type]
    (warning,) = find_acquisition(scan(), options, header).warnings
    assert words in warning


def test_repairs_of_the_reading_are_warnings() -> None:
    """Left and right unknown, for one."""
    image = scan(warnings=("x.nii: neither qform nor sform is set, so ...",))
    assert find_acquisition(image, PredictOptions(gap=0.0)).warnings == image.warnings


def test_unequal_pixels_are_noted() -> None:
    """They become equal in the result."""
    found = find_acquisition(scan((0.8, 1.2, 4.0)), NONE)
    assert any("0.8 x 1.2 mm" in note for note in found.notes)


def test_slices_of_zeros_are_not_measured() -> None:
    """At the ends they are left out, between others they are interpolated, which is a warning."""
    data = head()
    data[..., [0, 4, 5, 9]] = 0
    found = find_acquisition(scan(data=data), PredictOptions(gap=0.0))
    assert found.measured == (1, 2, 3, 6, 7, 8)
    assert found.slices == 10
    (warning,) = found.warnings
    assert "slices 5, 6 of 10 are nothing but zeros and interpolated" in warning
    assert any("slices 1, 10 of 10" in note for note in found.notes)


def test_air_beyond_the_end_of_a_head_is_measured() -> None:
    """A brain without skull tapers off, and the zeros above it are as true as its voxels."""
    data = np.zeros((20, 20, 9), np.float32)
    data[4:16, 4:16, 3:6] = head((12, 12, 3))
    data[9:11, 9:11, 2] = data[9:11, 9:11, 6] = 300
    assert find_acquisition(scan(data=data), NONE).measured == tuple(range(9))


def test_a_scan_needs_two_slices() -> None:
    """One is no volume, whatever lies around it."""
    data = head()
    data[..., 1:] = 0
    with pytest.raises(ContentError, match="only 1 of its 10 slices"):
        find_acquisition(scan(data=data), NONE)
    with pytest.raises(GeometryError, match="a single slice"):
        find_acquisition(scan(data=head()[..., :1]), NONE)


@given(
    spacing=st.tuples(*[st.floats(0.5, 1.4)] * 2, st.floats(2.0, 9.0)),
    order=st.permutations([0, 1, 2]),
)
def test_storage_changes_nothing(spacing: tuple[float, float, float], order: list[int]) -> None:
    """Swapped axes are the same acquisition."""
    plain = find_acquisition(scan(spacing), NONE)
    image = scan(spacing)
    matrix = image.affine.matrix.copy()
    matrix[:3, :3] = matrix[:3, order]
    turned = find_acquisition(
        replace(image, data=image.data.transpose(order), affine=Affine(matrix)), NONE
    )
    assert order[turned.axis] == plain.axis == 2
    assert (turned.distance, turned.thickness) == (plain.distance, plain.thickness)
    assert turned.measured == plain.measured

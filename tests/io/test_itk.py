# SPDX-License-Identifier: Apache-2.0
"""NRRD and MetaImage: the same voxels in the same place, told from files that others wrote."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from encephalon.errors import (
    ContentError,
    EncephalonError,
    GeometryError,
    MissingFileError,
    UnreadableFileError,
)
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.itk import write_transform
from encephalon.io.reading import read_image, write_image

SUFFIXES = (".nrrd", ".mha")
VOXELS = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)


def nrrd(path: Path, *fields: str, voxels: np.ndarray = VOXELS, packed: bool = False) -> Path:
    """A file written by the letter of the format (teem.sourceforge.net/nrrd/format.html)."""
    content = voxels.astype("<i2").tobytes(order="F")
    lines = ["NRRD0004", "type: short", "endian: little", *fields]
    lines.append(f"encoding: {'gzip' if packed else 'raw'}")
    content = gzip.compress(content) if packed else content
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + content)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("space", "signs"),
    [("left-posterior-superior", (-1, -1)), ("right-anterior-superior", (1, 1))],
)
def test_a_nrrd_lies_where_its_header_says(
    tmp_path: Path, space: str, signs: tuple[int, int], packed: bool
) -> None:
    """Axes of known directions, an origin of each sign, whichever way the file counts."""
    fields = ("dimension: 3", "sizes: 2 3 4", f"space: {space}")
    place = ("space directions: (0,2,0) (3,0,0) (0,0,-4)", "space origin: (10,-20,30)")
    image = read_image(nrrd(tmp_path / "a.nrrd", *fields, *place, packed=packed))
    right, front = signs
    expected = [[0, 3 * right, 0, 10 * right], [2 * front, 0, 0, -20 * front], [0, 0, -4, 30]]
    np.testing.assert_allclose(image.affine.matrix[:3], expected)
    np.testing.assert_array_equal(image.data, VOXELS)
    assert image.warnings == ()


def test_a_metaimage_lies_where_its_header_says(tmp_path: Path) -> None:
    """MetaImage counts as ITK does: towards the left and the back."""
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
    ]
    lines += ["TransformMatrix = 0 1 0 1 0 0 0 0 -1", "Offset = 10 -20 30", "DimSize = 2 3 4"]
    lines += ["ElementSpacing = 2 3 4", "ElementType = MET_SHORT", "ElementDataFile = LOCAL"]
    path = tmp_path / "a.mha"
    path.write_bytes(("\n".join(lines) + "\n").encode() + VOXELS.tobytes(order="F"))
    image = read_image(path)
    expected = [[0, -3, 0, -10], [-2, 0, 0, 20], [0, 0, -4, 30]]
    np.testing.assert_allclose(image.affine.matrix[:3], expected)
    np.testing.assert_array_equal(image.data, VOXELS)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint32, np.float32])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str, kind: type) -> None:
    """Oblique axes, anisotropic voxels, every type; ITK itself finds the same place."""
    turned = Affine.from_parts(
        [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, -1]], (0.5, 1.25, 3.0), (-5.5, 7.0, 11.0)
    )
    data = VOXELS.astype(kind)
    path = write_image(data, tmp_path / f"a{suffix}", Image(data, turned))
    image = read_image(path)
    np.testing.assert_allclose(image.affine.matrix, turned.matrix, atol=1e-6)
    np.testing.assert_array_equal(image.data, data)
    assert image.data.dtype == kind
    point = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint((1, 2, 3))
    np.testing.assert_allclose(np.array([-1, -1, 1]) * point, turned.apply([1, 2, 3]), atol=1e-5)


def test_the_place_is_that_of_the_same_volume_in_nifti(tmp_path: Path) -> None:
    """As ITK reads both."""
    turned = Affine.from_parts([[0, 0, 1], [-1, 0, 0], [0, 1, 0]], (1, 2, 3), (4, 5, 6))
    like = Image(VOXELS, turned)
    places = [
        sitk.ReadImage(
            str(write_image(VOXELS, tmp_path / f"a{suffix}", like))
        ).TransformIndexToPhysicalPoint((1, 1, 1))
        for suffix in (".nii.gz", *SUFFIXES)
    ]
    np.testing.assert_allclose(places, [places[0]] * 3, atol=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_than_one_volume_of_numbers_is_refused(tmp_path: Path, suffix: str) -> None:
    """Four dimensions, colours, and a single slice, as of NIfTI."""
    path = tmp_path / f"a{suffix}"
    for values, colours in (((2, 4, 3, 5), False), ((4, 3, 5, 3), True), ((3, 5), False)):
        sitk.WriteImage(
            sitk.GetImageFromArray(np.ones(values, np.int16), isVector=colours), str(path)
        )
        with pytest.raises((ContentError, GeometryError), match=r"expected (one|a) 3-D volume"):
            read_image(path)


def test_a_list_of_volumes_is_refused(tmp_path: Path) -> None:
    """As 3D Slicer writes sequences and segmentations in layers."""
    fields = ("dimension: 4", "sizes: 2 2 3 4", "kinds: list domain domain domain")
    place = ("space: left-posterior-superior", "space directions: none (1,0,0) (0,1,0) (0,0,1)")
    voxels = np.ones((2, 2, 3, 4), np.int16)
    with pytest.raises(ContentError, match="every voxel has 2 values"):
        read_image(nrrd(tmp_path / "a.nrrd", *fields, *place, voxels=voxels))


def test_a_nrrd_that_does_not_say_its_space_is_taken_with_a_warning(tmp_path: Path) -> None:
    """Left and right are a guess then."""
    image = read_image(nrrd(tmp_path / "a.nrrd", "dimension: 3", "sizes: 2 3 4", "spacings: 1 2 3"))
    assert "LPS assumed" in image.warnings[0]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep", [3, 60, -20])
def test_a_cut_file_is_one_sentence(tmp_path: Path, suffix: str, keep: int) -> None:
    """Within its header or its voxels."""
    data = np.random.default_rng(0).integers(0, 9999, (9, 9, 9)).astype(np.int16)
    path = write_image(data, tmp_path / f"a{suffix}", Image(data, Affine.from_spacing(1)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UnreadableFileError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_packed_file_is_refused(tmp_path: Path, suffix: str) -> None:
    """ITK alone would take what comes out of a MetaImage."""
    data = np.random.default_rng(0).integers(0, 9999, (20, 20, 20)).astype(np.int16)
    path = write_image(data, tmp_path / f"a{suffix}", Image(data, Affine.from_spacing(1)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.nrrd", "NRRD0004\ntype: short\ndata file: b.raw\n\n"),
        ("a.mha", "ObjectType = Image\nNDims = 3\nElementDataFile = b.raw\n"),
    ],
)
def test_voxels_of_another_file_are_refused(tmp_path: Path, name: str, text: str) -> None:
    """What a result was made from would not be known by its file."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableFileError, match="another file"):
        read_image(tmp_path / name)


def test_a_header_that_promises_more_than_there_can_be_is_refused(tmp_path: Path) -> None:
    """Before anything of that size is asked for."""
    path = nrrd(tmp_path / "a.nrrd", "dimension: 3", "sizes: 90000 90000 90000", "spacings: 1 1 1")
    with pytest.raises(UnreadableFileError, match="truncated"):
        read_image(path)


def test_leaning_axes_are_not_written(tmp_path: Path) -> None:
    """Neither format has words for them that ITK reads again."""
    matrix = np.eye(4)
    matrix[1, 2] = 0.3
    with pytest.raises(GeometryError, match="write NIfTI"):
        write_image(VOXELS, tmp_path / "a.nrrd", Image(VOXELS, Affine(matrix)))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """As for every format."""
    with pytest.raises(MissingFileError):
        read_image(tmp_path / "no.nrrd")
    (tmp_path / "text.mha").write_text("no image\n", encoding="utf-8")
    with pytest.raises(EncephalonError, match=r"text\.mha"):
        read_image(tmp_path / "text.mha")


def test_a_unit_other_than_millimetres_is_refused(tmp_path: Path) -> None:
    """ITK passes over it, so that a section of tissue would be taken for a head."""
    fields = ("dimension: 3", "sizes: 2 3 4", "space: RAS")
    place = ("space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (0,0,0)")
    mm = nrrd(tmp_path / "a.nrrd", *fields, *place, 'space units: "mm" "mm" "mm"')
    assert read_image(mm).warnings == ()
    other = nrrd(tmp_path / "b.nrrd", *fields, *place, 'space units: "um" "um" "um"')
    with pytest.raises(GeometryError, match="counts in um"):
        read_image(other)
    path = tmp_path / "c.mha"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), path)
    path.write_bytes(path.read_bytes().replace(b"NDims = 3", b"NDims = 3\nDistanceUnits = um"))
    with pytest.raises(GeometryError, match="counts in um"):
        read_image(path)


def test_a_space_that_is_no_way_of_axes_is_taken_with_a_warning(tmp_path: Path) -> None:
    """ITK takes each for LPS."""
    fields = ("dimension: 3", "sizes: 2 3 4", "space: scanner-xyz")
    place = ("space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (0,0,0)")
    assert "LPS assumed" in read_image(nrrd(tmp_path / "a.nrrd", *fields, *place)).warnings[0]


def test_a_transform_takes_points_of_itk_where_the_matrix_takes_ours(tmp_path: Path) -> None:
    """ITK counts towards the left and the back."""
    matrix = np.array([[0.8, -0.6, 0, 3], [0.6, 0.8, 0, -5], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    write_transform(matrix, tmp_path / "moved.tfm")
    read = sitk.ReadTransform(str(tmp_path / "moved.tfm"))
    point, lps = np.array([10.0, 20.0, 30.0]), np.array([-1.0, -1.0, 1.0])
    expected = matrix[:3, :3] @ point + matrix[:3, 3]
    found = np.array(read.TransformPoint((lps * point).tolist())) * lps
    np.testing.assert_allclose(found, expected)

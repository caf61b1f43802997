# SPDX-License-Identifier: Apache-2.0
"""NIfTI: the same voxels and places as nibabel, the grid kept to the bit on the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from encephalon.errors import ContentError, GeometryError, UnreadableFileError
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image


def saved(path: Path, data: np.ndarray, affine: Any = None, **fields: Any) -> Path:
    """A file written by nibabel, with header fields set by hand afterwards."""
    image = nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine)
    nibabel.save(image, path)
    if fields:
        content = bytearray(path.read_bytes())
        header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
        for name, value in fields.items():
            header[name] = value
        content[:348] = header.binaryblock
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["u1", "i2", ">i2", "u2", "i4", "f4", ">f4", "f8", "i1"])
@pytest.mark.parametrize("version", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_every_type_and_version_reads_as_nibabel_reads_it(
    tmp_path: Path, kind: str, version: Any, oblique: Affine, rng: np.random.Generator
) -> None:
    """Integers keep their type, floats become float32, in native byte order."""
    data = rng.integers(0, 100, (4, 5, 6)).astype(kind)
    path = tmp_path / "a.nii.gz"
    header = version.header_class(endianness=">" if kind.startswith(">") else "<")
    header.set_data_dtype(kind)
    nibabel.save(version(data, oblique.matrix, header), path)
    image = read_image(path)
    assert np.array_equal(image.data, data)
    assert image.data.dtype == (
        np.dtype(kind).newbyteorder("=") if "i" in kind or "u" in kind else np.dtype("f4")
    )
    assert image.affine.is_close(oblique, 1e-5)
    assert image.source == path
    assert not image.warnings


def test_scaled_integers_become_float32(tmp_path: Path) -> None:
    """slope * stored + intercept, as the header asks; a slope of 1 leaves the integers alone."""
    data = np.arange(-30, 30, dtype=np.int16).reshape(3, 4, 5)
    scaled = read_image(saved(tmp_path / "a.nii", data, scl_slope=0.25, scl_inter=-3.0))
    assert scaled.data.dtype == np.float32
    assert np.allclose(scaled.data, data * 0.25 - 3.0)
    for slope in (1.0, 0.0, np.nan):
        plain = read_image(saved(tmp_path / "b.nii", data, scl_slope=slope, scl_inter=0.0))
        assert plain.data.dtype == np.int16


def test_written_images_keep_both_forms_and_their_codes(tmp_path: Path, oblique: Affine) -> None:
    """qform, sform and codes of a mask are those of its scan, bit for bit; values are its own."""
    data = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    source = nibabel.Nifti1Image(data, oblique.matrix)
    source.set_sform(oblique.matrix, 4)
    source.set_qform(np.diag([2.0, 2.0, 2.0, 1.0]), 2)
    source.header["cal_max"] = 1234
    nibabel.save(source, tmp_path / "scan.nii.gz")
    like = read_image(tmp_path / "scan.nii.gz")
    write_image(like.data > 30, tmp_path / "mask.nii.gz", like)
    scan, mask = (nibabel.load(tmp_path / name) for name in ("scan.nii.gz", "mask.nii.gz"))
    for field in ("qform_code", "sform_code", "srow_x", "quatern_b", "qoffset_z", "pixdim"):
        assert np.array_equal(mask.header[field], scan.header[field])
    assert np.array_equal(mask.affine, scan.affine)
    assert mask.get_data_dtype() == np.uint8
    assert mask.header["cal_max"] == 0
    assert np.array_equal(np.asanyarray(mask.dataobj), data > 30)


def test_a_resampled_image_does_not_keep_the_old_place(tmp_path: Path) -> None:
    """When the grid has changed since reading, both forms are written anew."""
    like = read_image(saved(tmp_path / "a.nii", np.arange(60.0).reshape(3, 4, 5)))
    moved = Image(like.data, Affine.from_spacing(2.0, (1, 2, 3)), like.source, like.header)
    written = nibabel.load(write_image(moved.data, tmp_path / "b.nii", moved))
    assert np.allclose(written.affine, moved.affine.matrix)
    assert np.allclose(written.get_qform(), moved.affine.matrix)
    assert written.header.get_zooms() == (2.0, 2.0, 2.0)


def test_equal_content_gives_equal_bytes(tmp_path: Path, head: Image) -> None:
    """No time stamp gets into the file, so that hashes mean something."""
    one = write_image(head.data, tmp_path / "a.nii.gz", head)
    other = write_image(head.data, tmp_path / "b.nii.gz", head)
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_does_not_change_the_file(tmp_path: Path, order: Any) -> None:
    """Voxels land where they belong from either order and from a flipped view."""
    data = np.array(np.arange(24).reshape(2, 3, 4)[::-1], np.int16, order=order)
    like = Image(data, Affine.from_spacing(1.0))
    assert np.array_equal(read_image(write_image(data, tmp_path / "a.nii", like)).data, data)


@pytest.mark.parametrize(
    ("shape", "error", "words"),
    [
        ((4, 4, 4, 3), ContentError, r"shape is \(4, 4, 4, 3\), 3 volumes in one file"),
        ((4, 4), GeometryError, r"shape is \(4, 4\), a single slice"),
        ((4, 4, 1), GeometryError, r"shape is \(4, 4, 1\), a single slice"),
        ((1, 4, 4), GeometryError, "at least two voxels along each axis"),
        ((4, 0, 4), GeometryError, "holds no voxels"),
    ],
)
def test_only_one_volume_is_a_volume(
    tmp_path: Path, shape: tuple[int, ...], error: type[Exception], words: str
) -> None:
    """Series, slices and nothing at all are refused with their shape."""
    with pytest.raises(error, match=f"a.nii.*{words}"):
        read_image(saved(tmp_path / "a.nii", np.ones(shape, np.float32)))


def test_a_fourth_axis_of_one_is_dropped(tmp_path: Path) -> None:
    """Many converters write 3-D scans as a series of one."""
    path = saved(tmp_path / "a.nii", np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1))
    assert read_image(path).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((3, 3, 3)), "every voxel is 0: the image is empty"),
        (np.full((3, 3, 3), 7.5), "every voxel is 7.5: the image is constant"),
        (np.full((3, 3, 3), np.nan), "all voxels are NaN or infinite"),
        (np.full((3, 3, 3), 1e300), "all voxels are NaN or infinite"),
    ],
)
def test_useless_voxels_are_refused(tmp_path: Path, values: np.ndarray, words: str) -> None:
    """Empty, constant and not finite each have their sentence; the check can be left out."""
    path = saved(tmp_path / "a.nii", values)
    with pytest.raises(ContentError, match=words):
        read_image(path)
    assert read_image(path, check=False).shape == (3, 3, 3)


def test_colours_and_complex_values_are_refused(tmp_path: Path) -> None:
    """More than one number a voxel is not a scan."""
    colours = np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for values in (colours, np.zeros((3, 3, 3), np.complex64)):
        with pytest.raises(ContentError, match="one real number a voxel"):
            read_image(saved(tmp_path / "a.nii", values))


DATA = np.arange(27, dtype=np.float32).reshape(3, 3, 3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pixdim": [1, 1, 0, 1, 0, 0, 0, 0]}, "must be positive, but pixdim is 1 x 0 x 1"),
        ({"pixdim": [1, 1, np.nan, 1, 0, 0, 0, 0]}, "must be positive"),
        ({"srow_x": [0, 0, 0, 0]}, "voxel size must be positive, but it is 0 x 1 x 1 mm"),
        ({"srow_x": [0, 1, 0, 0]}, "voxel size must be positive"),
        ({"srow_x": [1, 1, 0, 0], "srow_y": [1, 1, 0, 0]}, "affine is singular"),
        ({"srow_x": [np.inf, 0, 0, 0]}, "not finite"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 3.0}, "makes no sense"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(
    tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    """Zero, NaN and infinite voxel sizes, singular forms and impossible rotations are named."""
    with pytest.raises(GeometryError, match=f"a.nii.*{words}"):
        read_image(saved(tmp_path / "a.nii", DATA, **fields))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"srow_x": [1, 0.2, 0, 0]}, "away from right angles"),
        ({"pixdim": [1, 1, 3, 1, 0, 0, 0, 0]}, "pixdim is 1 x 3 x 1 mm, the affine has"),
        ({"sform_code": 0, "qform_code": 0}, "left and right are not known"),
    ],
)
def test_repairs_are_made_aloud(
    tmp_path: Path, fields: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What can be read after a repair carries a warning, in the image and in the log."""
    image = read_image(saved(tmp_path / "a.nii", DATA, **fields))
    assert len(image.warnings) == 1
    assert words in image.warnings[0]
    assert words in caplog.text
    written = nibabel.load(write_image(DATA > 3, tmp_path / "b.nii", image))
    assert np.array_equal(written.affine, nibabel.load(tmp_path / "a.nii").affine)


def test_a_tilted_scan_keeps_its_place_on_the_way_out(tmp_path: Path) -> None:
    """The leaning affine is the image's own, and the mask has it in all formats that hold one."""
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[1, 2] = 0.7
    image = read_image(saved(tmp_path / "a.nii", DATA, matrix))
    assert np.allclose(image.affine.matrix, matrix)
    assert image.volume_ml_per_voxel == pytest.approx(0.008)
    for name in ("b.nii.gz", "b.mgz", "b.npz"):
        write_image(DATA > 3, tmp_path / name, image)
        assert np.allclose(read_image(tmp_path / name).affine.matrix, matrix, atol=1e-5)
    write_image(DATA > 3, tmp_path / "c.nii", Image(DATA, image.affine))
    written = nibabel.load(tmp_path / "c.nii")
    assert np.allclose(written.affine, matrix)
    assert int(written.header["qform_code"]) == 0, "a rotation cannot hold it"


def qform_only(path: Path, affine: Any = None, **fields: Any) -> Path:
    """A file whose place is in its qform alone, with other fields set by hand."""
    return saved(path, DATA, affine, **{"sform_code": 0, "qform_code": 1, **fields})


@pytest.mark.parametrize("first", [0.0, 1.0, 3.0, np.nan])
def test_a_qform_without_its_sign_is_right_handed(tmp_path: Path, first: float) -> None:
    """The standard's own reader takes a pixdim[0] that is not negative for 1."""
    pixdim = [first, 2, 2, 3, 0, 0, 0, 0]
    path = qform_only(tmp_path / "a.nii", np.diag([2.0, 2, 3, 1]), pixdim=pixdim)
    image = read_image(path)
    assert np.allclose(image.affine.matrix, np.diag([2.0, 2, 3, 1]))
    written = nibabel.load(write_image(DATA > 3, tmp_path / "b.nii", image))
    assert np.allclose(written.affine, image.affine.matrix)


def test_a_negative_sign_of_a_qform_mirrors_the_third_axis(tmp_path: Path) -> None:
    """Left-handed axes stay left-handed; negative voxel sizes are taken without their sign."""
    for sizes in ([2, 2, 3], [-2, 2, -3]):
        path = qform_only(tmp_path / "a.nii", pixdim=[-1, *sizes, 0, 0, 0, 0])
        assert np.allclose(np.diag(read_image(path).affine.matrix), [2, 2, -3, 1])


@pytest.mark.parametrize("beyond", [1e-7, 2e-7, 1e-6, 9e-6])
def test_a_quaternion_too_long_by_rounding_is_a_half_turn(tmp_path: Path, beyond: float) -> None:
    """Programs that chain rotations in float32 write b² + c² + d² a little above 1."""
    path = qform_only(tmp_path / "a.nii", quatern_c=np.float32(1 + beyond))
    image = read_image(path)
    assert np.allclose(image.affine.matrix[:3, :3], np.diag([-1, 1, -1]), atol=1e-6)
    nibabel.load(write_image(DATA > 3, tmp_path / "b.nii", image))


def test_a_sform_of_zeros_gives_way_to_the_qform(tmp_path: Path) -> None:
    """Some programs set its code and nothing else; without a qform it stays refused."""
    nothing = {"srow_x": 0, "srow_y": 0, "srow_z": 0, "sform_code": 1}
    path = qform_only(tmp_path / "a.nii", pixdim=[1, 2, 2, 3, 0, 0, 0, 0], **nothing)
    image = read_image(path)
    assert np.allclose(image.affine.matrix, np.diag([2, 2, 3, 1]))
    written = nibabel.load(write_image(DATA > 3, tmp_path / "b.nii", image))
    assert np.allclose(written.affine, image.affine.matrix)


def test_a_fourth_axis_of_nothing_is_one_volume(tmp_path: Path) -> None:
    """Some programs write dim[0] = 4 and dim[4] = 0."""
    path = saved(tmp_path / "a.nii", DATA, dim=[4, 3, 3, 3, 0, 0, 0, 0])
    assert np.array_equal(read_image(path).data, DATA)


def test_a_quaternion_beyond_all_numbers_is_refused(tmp_path: Path) -> None:
    """Those of NIfTI-2 are double precision, whose squares need not be numbers."""
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti2Image(DATA, np.eye(4)), path)
    content = bytearray(path.read_bytes())
    header = nibabel.Nifti2Header(bytes(content[:540]), check=False)
    header["sform_code"], header["qform_code"], header["quatern_b"] = 0, 1, 1e300
    content[:540] = header.binaryblock
    path.write_bytes(content)
    with pytest.raises(GeometryError, match="makes no sense"):
        read_image(path)


def test_forms_that_disagree_on_left_and_right_are_said(tmp_path: Path) -> None:
    """The sform is used, as everywhere; a turn or a shift between the two is no disagreement."""
    mirrored, turned, moved = np.diag([-1.0, 1, 1, 1]), np.eye(4), np.eye(4)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    moved[:3, 3] = 30
    for sform, expected in ((mirrored, 1), (turned, 0), (moved, 0)):
        path = saved(tmp_path / "a.nii", DATA, sform)
        picture = nibabel.load(path)
        picture.set_qform(np.eye(4), 1)
        nibabel.save(picture, tmp_path / "b.nii")
        image = read_image(tmp_path / "b.nii")
        assert np.allclose(image.affine.matrix, sform)
        assert len([w for w in image.warnings if "disagree on left and right" in w]) == expected


def test_micrometres_that_must_be_millimetres_are_named(tmp_path: Path) -> None:
    """A head of a quarter of a millimetre has a wrong unit; 3 voxels of 2 µm are 0.002 mm."""
    image = read_image(saved(tmp_path / "a.nii", DATA, np.diag([2.0, 2, 2, 1]), xyzt_units=3))
    assert "a voxel of 0.002 x 0.002 x 0.002 mm" in image.warnings[0]
    path = saved(tmp_path / "b.nii", DATA, np.diag([5000.0, 5000, 2000, 1]), xyzt_units=3)
    assert not read_image(path).warnings


def test_micrometres_are_turned_into_millimetres_and_back(tmp_path: Path) -> None:
    """A microscope's units are honoured: 500 µm are 0.5 mm, and the header stays as it was."""
    path = saved(tmp_path / "a.nii", DATA, np.diag([500.0, 500, 250, 1]), xyzt_units=3)
    image = read_image(path)
    assert image.spacing == (0.5, 0.5, 0.25)
    written = nibabel.load(write_image(DATA, tmp_path / "b.nii", image))
    assert written.header.get_zooms() == (500, 500, 250)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dim": [3, 3, -3, 3, 1, 1, 1, 1]}, "header is damaged"),
        ({"dim": [99, 3, 3, 3, 1, 1, 1, 1]}, "header is damaged"),
        ({"dim": [3, 30, 30, 30, 1, 1, 1, 1]}, "promises 27,000 voxels, but only 27 are there"),
        ({"sizeof_hdr": 12345}, "expected a NIfTI file"),
        ({"magic": b"ni1"}, "voxels are in another file"),
        ({"magic": b"xyz"}, "this is not NIfTI"),
        ({"vox_offset": np.nan}, "its vox_offset is nan"),
        ({"vox_offset": -16.0}, "its vox_offset is -16"),
        ({"vox_offset": 16.0}, "its vox_offset is 16"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    """Impossible sizes and foreign headers are one sentence each."""
    with pytest.raises(UnreadableFileError, match=words):
        read_image(saved(tmp_path / "a.nii", DATA, **fields))


def test_a_header_without_an_offset_is_followed_by_its_voxels(tmp_path: Path) -> None:
    """Programs that write vox_offset 0 mean the end of the header."""
    path = saved(tmp_path / "a.nii", DATA, vox_offset=0)
    assert np.array_equal(read_image(path).data, DATA)


def test_a_file_shorter_than_a_header_says_how_short(tmp_path: Path) -> None:
    """Its first bytes would look like NIfTI."""
    path = saved(tmp_path / "a.nii", DATA)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UnreadableFileError, match="there are only 200 bytes in it"):
        read_image(path)


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    """A voxel type that NIfTI does not know has its own sentence."""
    with pytest.raises(ContentError, match="voxel type 77 is not known"):
        read_image(saved(tmp_path / "a.nii", DATA, datatype=77))


def test_reading_leaves_one_copy_of_the_voxels(tmp_path: Path, head: Image) -> None:
    """The array is a view into the unpacked file, and may be written to."""
    image = read_image(write_image(head.data, tmp_path / "a.nii.gz", head))
    assert image.data.base is not None
    assert image.data.flags.writeable
    assert image.data.flags.f_contiguous


def test_the_real_heads_read_as_nibabel_reads_them(data: Path) -> None:
    """Every scan of the data folder has nibabel's voxels, shape and affine."""
    for path in sorted((data / "heads").rglob("*.nii.gz")):
        image, reference = read_image(path), nibabel.load(path)
        assert np.allclose(image.affine.matrix, reference.affine)
        assert np.allclose(image.data, np.asanyarray(reference.dataobj).reshape(image.shape))

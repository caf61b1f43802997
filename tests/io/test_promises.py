# SPDX-License-Identifier: Apache-2.0
"""What a file holds is held against what its header promises, and what is not read has a name."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

from encephalon.errors import ContentError, GeometryError, InputError, UnreadableFileError
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.micrograph import read_micrograph
from encephalon.io.reading import read_image, write_image
from encephalon.tables.samples import collect_samples


@pytest.fixture
def volume(rng: np.random.Generator) -> Image:
    """(6, 7, 5) int16."""
    return Image(rng.integers(1, 99, (6, 7, 5)).astype(np.int16), Affine.from_spacing(2.0))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("more", [0, 1, 2, 5000])
def test_voxels_behind_the_promised_ones_make_a_doubt(
    tmp_path: Path, volume: Image, packed: bool, more: int
) -> None:
    """From one voxel of two bytes on; the promised ones are read as ever."""
    path = write_image(volume.data, tmp_path / "a.nii", volume)
    content = path.read_bytes() + bytes(more)
    path.write_bytes(gzip.compress(content) if packed else content)
    image = read_image(path)
    np.testing.assert_array_equal(image.data, volume.data)
    assert len(image.doubts) == (more >= 2)
    assert all("dim may be wrong" in doubt for doubt in image.doubts)


def test_notes_behind_a_volume_of_freesurfer_are_no_doubt(tmp_path: Path, volume: Image) -> None:
    """They are checked by gzip all the same."""
    path = write_image(volume.data, tmp_path / "a.mgz", volume)
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()) + b"mri_convert a b" * 9))
    path.write_bytes(content)
    assert read_image(path).doubts == ()
    content[-6] ^= 1  # a byte of the checksum
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match="gzip"):
        read_image(path)


@pytest.mark.parametrize(("code", "word"), [(1, "single bits"), (0, "unknown"), (1536, "128-bit")])
def test_a_type_of_voxels_that_is_not_read_is_named(
    tmp_path: Path, volume: Image, code: int, word: str
) -> None:
    """And the file is not called truncated."""
    path = write_image(volume.data, tmp_path / "a.nii", volume)
    content = bytearray(path.read_bytes())
    content[70:72] = code.to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(ContentError, match=f"of type {code} .{word}.*not read"):
        read_image(path)


@pytest.mark.parametrize("kind", [2, 5, 6, 10, -1])
def test_a_type_of_mgh_that_is_not_read_is_named(tmp_path: Path, volume: Image, kind: int) -> None:
    """Its header is not called damaged."""
    path = write_image(volume.data, tmp_path / "a.mgh", volume)
    content = bytearray(path.read_bytes())
    content[20:24] = kind.to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    with pytest.raises(ContentError, match=f"MGH's type {kind}, and only the types 0, 1, 3, 4"):
        read_image(path)


def test_a_leading_axis_of_one_is_not_counted_as_volumes(tmp_path: Path) -> None:
    """Channels first, as arrays of networks are; trailing ones are left out as ever."""
    np.save(tmp_path / "a.npy", np.ones((1, 6, 7, 8)))
    with pytest.raises(ContentError, match=r"\(1, 6, 7, 8\), whose first axis has a single voxel"):
        read_image(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.ones((6, 7, 8, 3)))
    with pytest.raises(ContentError, match="3 volumes in one file"):
        read_image(tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", np.arange(336.0).reshape(6, 7, 8, 1, 1))
    assert read_image(tmp_path / "c.npy").shape == (6, 7, 8)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<i2", ">i2", "<f8", ">f4", "|u1", "|b1"])
def test_arrays_of_any_order_are_read(tmp_path: Path, order: Any, kind: str) -> None:
    """From both kinds of file."""
    data = np.asarray(np.arange(60).reshape(3, 4, 5) % 7, dtype=kind, order=order)
    np.save(tmp_path / "a.npy", data)
    np.savez_compressed(tmp_path / "b.npz", data=data, affine=np.diag([2.0, 2, 2, 1]))
    for name in ("a.npy", "b.npz"):
        np.testing.assert_array_equal(read_image(tmp_path / name).data, data)


def test_arrays_are_refused_by_their_headers(tmp_path: Path) -> None:
    """Of text, of objects, of another shape, cut, and an affine that is none."""
    whole = np.ones((3, 4, 5))
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "text": ({"data": np.full((3, 4, 5), "x")}, "one real number"),
        "affine of text": ({"data": whole, "affine": np.full((4, 4), "x")}, "expected an affine"),
        "affine of a line": ({"data": whole, "affine": np.ones(16)}, "expected an affine"),
        "affine of nothing": ({"data": whole, "affine": np.full((4, 4), np.nan)}, "finite"),
        "flat": ({"data": np.ones((4, 5)), "affine": np.eye(4)}, "a single slice"),
        "two": ({"first": whole, "second": whole}, "named 'data' and 'affine'"),
    }
    for name, (arrays, words) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(InputError, match=words):
            read_image(tmp_path / f"{name}.npz")
    np.save(tmp_path / "a.npy", whole)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-8])
    with pytest.raises(UnreadableFileError, match="480 bytes are promised, 472 there"):
        read_image(tmp_path / "a.npy")


def test_what_is_no_regular_file_is_said_so(tmp_path: Path) -> None:
    """A pipe that nobody writes to, given as input or beside a picture; a name too long."""
    os.mkfifo(tmp_path / "a.nii")
    os.mkfifo(tmp_path / "a")
    for name in ("a.nii", "a"):
        with pytest.raises(UnreadableFileError, match="expected a regular file"):
            collect_samples([tmp_path / name])
    with pytest.raises(UnreadableFileError, match="expected a regular file"):
        read_image(tmp_path / "a.nii")
    with pytest.raises(InputError, match="too long"):
        read_image(tmp_path / ("x" * 300 + ".nii"))


def test_a_sidecar_that_cannot_be_read_is_not_an_absent_one(tmp_path: Path) -> None:
    """The pixel size would silently be another."""
    picture, sidecar = tmp_path / "a.png", tmp_path / "a.json"
    Picture.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(picture)
    for content in ("{", "[" * 5000, '{"PixelSize": [1' + "0" * 400 + ", 1]}"):
        sidecar.write_text(content, encoding="utf-8")
        with pytest.raises(UnreadableFileError, match=r"a\.json"):
            read_micrograph(picture)
    sidecar.unlink()
    os.mkfifo(sidecar)
    with pytest.raises(UnreadableFileError, match=r"a\.json: expected a regular file"):
        read_micrograph(picture)
    sidecar.unlink()
    for content in ("[]", "{}", '{"PixelSize": "1", "PixelSizeUnits": "um"}', "3"):
        sidecar.write_text(content, encoding="utf-8")
        assert read_micrograph(picture).pixel_size_nm is None


def test_an_offset_that_no_header_needs_is_damage(tmp_path: Path, volume: Image) -> None:
    """Some GiB of zeros would be unpacked on the way to the voxels."""
    image = nibabel.Nifti1Image(volume.data, np.eye(4))
    image.to_filename(tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[108:112] = np.float32(3e9).tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(UnreadableFileError, match="vox_offset"):
        read_image(tmp_path / "a.nii")
    with pytest.raises((GeometryError, ContentError)):
        read_image(np.ones((2, 1)))

# SPDX-License-Identifier: Apache-2.0
"""DICOM whose files contradict themselves or one another: nothing is read that they do not say."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import ContentError, GeometryError, InputError, UnreadableFileError
from encephalon.io.reading import read_image
from tests.io.dicom_writer import dicom_bytes, element, frames_bytes, slice_tags, write_series

HUGE = "1e200\\1e200\\0\\1e200\\-1e200\\0"
ORIENTATION, PIXELS, FRAMES = (0x0020, 0x0037), (0x0028, 0x0030), (0x0028, 0x0008)


@pytest.fixture
def voxels(rng: np.random.Generator) -> np.ndarray:
    """Different in every voxel, (6, 7, 12)."""
    return rng.permutation(6 * 7 * 12).reshape(6, 7, 12).astype(np.uint16)


def series(folder: Path, voxels: np.ndarray, **odd: Any) -> Path:
    """A series whose sixth slice has the tags `odd`, by name."""
    write_series(folder, voxels)
    tags = {**slice_tags(5, 15.0), **{globals()[name]: value for name, value in odd.items()}}
    (folder / "0005.dcm").write_bytes(dicom_bytes(voxels[:, :, 5].T, tags))
    return folder


def test_slices_whose_pixels_differ_in_size_are_not_one_volume(
    tmp_path: Path, voxels: np.ndarray
) -> None:
    """Read as one, all would be as large as the first."""
    odd = series(tmp_path / "odd", voxels, PIXELS=("DS", "1\\1"))
    with pytest.raises(ContentError, match="other pixels"):
        read_image(odd)
    rounded = series(tmp_path / "rounded", voxels, PIXELS=("DS", "2.0000001\\2"))
    assert np.array_equal(read_image(rounded).data, voxels)


@pytest.mark.parametrize("size", ["-2\\2", "0\\0"])
def test_pixels_of_no_positive_size_are_refused(
    tmp_path: Path, voxels: np.ndarray, size: str
) -> None:
    """A negative one would turn left into right."""
    write_series(tmp_path / "s", voxels, tags={PIXELS: ("DS", size)})
    with pytest.raises(GeometryError, match="sizes are positive"):
        read_image(tmp_path / "s")


@pytest.mark.parametrize("ways", ["0\\0\\0\\0\\0\\0", "1\\0\\0\\1\\1\\0", "1\\0\\0\\1\\0\\0", HUGE])
def test_directions_that_are_none_are_refused(
    tmp_path: Path, voxels: np.ndarray, ways: str
) -> None:
    """Zeros, and rows and columns that are not at right angles, which is no gantry tilt."""
    write_series(tmp_path / "s", voxels, tags={ORIENTATION: ("DS", ways)})
    with pytest.raises(GeometryError, match="no directions at right angles"):
        read_image(tmp_path / "s")


def test_a_slice_beside_the_others_is_refused(tmp_path: Path, voxels: np.ndarray) -> None:
    """At its height, but shifted within its plane: no grid holds it."""
    write_series(tmp_path / "s", voxels)
    tags = {**slice_tags(5, None), (0x0020, 0x0032): ("DS", "5\\-20\\15")}
    (tmp_path / "s" / "0005.dcm").write_bytes(dicom_bytes(voxels[:, :, 5].T, tags))
    with pytest.raises(GeometryError, match=r"up to 15.00 mm beside"):
        read_image(tmp_path / "s")


def test_pixels_that_are_fewer_than_promised_are_refused(
    tmp_path: Path, voxels: np.ndarray
) -> None:
    """What lies in the memory behind them is no image."""
    write_series(tmp_path / "s", voxels)
    content = dicom_bytes(voxels[:, :, 5].T, slice_tags(5, 15.0))
    size = voxels[:, :, 5].nbytes
    assert content[-size - 4 : -size] == struct.pack("<I", size)
    cut = content[: -size - 4] + struct.pack("<I", size - 20) + content[-size:-20]
    (tmp_path / "s" / "0005.dcm").write_bytes(cut)
    with pytest.raises(UnreadableFileError, match="fewer pixels than its header says"):
        read_image(tmp_path / "s")


@pytest.mark.parametrize("count", [11, 13])
def test_a_number_of_frames_that_is_not_theirs_is_refused(
    tmp_path: Path, voxels: np.ndarray, count: int
) -> None:
    """One too few lost a slice and the places of all, one too many made one up."""
    content = frames_bytes(voxels, [3.0 * k for k in range(12)])
    right, wrong = (element(FRAMES, "IS", n) for n in (12, count))
    (tmp_path / "IM1.dcm").write_bytes(content.replace(right, wrong))
    with pytest.raises(UnreadableFileError, match=r"fewer pixels|gives the position of 12"):
        read_image(tmp_path / "IM1.dcm")


@pytest.mark.parametrize("slopes", [[2.0] * 12, [0.5 + k for k in range(12)], [2.0, *[3.0] * 11]])
def test_every_frame_has_a_scale_of_its_own(
    tmp_path: Path, voxels: np.ndarray, slopes: list[float]
) -> None:
    """GDCM gives all of them that of the first."""
    intercepts = [-10.0 * k for k in range(12)]
    scales = list(zip(slopes, intercepts, strict=True))
    content = frames_bytes(voxels, [3.0 * k for k in range(12)], scales)
    (tmp_path / "IM1.dcm").write_bytes(content)
    expected = voxels * np.array(slopes) + intercepts
    np.testing.assert_allclose(read_image(tmp_path / "IM1.dcm").data, expected, rtol=1e-5)


def test_a_scale_beyond_all_numbers_is_a_doubt(tmp_path: Path, voxels: np.ndarray) -> None:
    """What it makes of the voxels is no number."""
    scales = [(1.0, 0.0), *[(1e300, 0.0)] * 11]
    content = frames_bytes(voxels + 1, [3.0 * k for k in range(12)], scales)
    (tmp_path / "IM1.dcm").write_bytes(content)
    (doubt,) = read_image(tmp_path / "IM1.dcm").doubts
    assert "voxels were NaN or infinite" in doubt


def test_series_of_one_number_are_told_apart_by_their_uids(
    tmp_path: Path, voxels: np.ndarray
) -> None:
    """What the sentence names, chooses."""
    named = {(0x0008, 0x103E): ("LO", "T1"), (0x0020, 0x0011): ("IS", 4)}
    write_series(tmp_path / "s", voxels, name="a{:04d}", tags=named)
    other = {**named, (0x0020, 0x000E): ("UI", "1.2.3.6")}
    write_series(tmp_path / "s", voxels[::-1], name="b{:04d}", tags=other)
    for wanted in ("", "T1", "4"):
        with pytest.raises(InputError, match=r"UID 1\.2\.3\.5.*UID 1\.2\.3\.6"):
            read_image(tmp_path / "s", series=wanted)
    assert np.array_equal(read_image(tmp_path / "s", series="1.2.3.6").data, voxels[::-1])


def test_pixels_of_an_unread_compression_are_named(tmp_path: Path, voxels: np.ndarray) -> None:
    """To export such a file again as it is helps nobody."""
    syntax = "1.2.840.10008.1.2.4.110"  # JPEG XL
    fragments = b"".join(
        struct.pack("<HHI", 0xFFFE, tag, len(content)) + content
        for tag, content in ((0xE000, b""), (0xE000, bytes(64)), (0xE0DD, b""))
    )
    head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    for k in range(3):
        tags = {**slice_tags(k, 3.0 * k), (0x0028, 0x0010): ("US", 7), (0x0028, 0x0011): ("US", 6)}
        content = dicom_bytes(None, tags, syntax=syntax, more=head + fragments)
        (tmp_path / f"{k}.dcm").write_bytes(content)
    with pytest.raises(UnreadableFileError, match=f"compressed .transfer syntax {syntax}"):
        read_image(tmp_path)


def test_an_index_given_for_a_series_is_called_so(tmp_path: Path, voxels: np.ndarray) -> None:
    """DICOMDIR is what a CD shows first; it is not damaged."""
    write_series(tmp_path / "s", voxels)
    tags = {(0x0008, 0x0016): ("UI", "1.2.840.10008.1.3.10"), (0x0020, 0x000E): None}
    (tmp_path / "s" / "DICOMDIR").write_bytes(dicom_bytes(None, tags))
    with pytest.raises(ContentError, match="holds no image, but an index or a report"):
        read_image(tmp_path / "s" / "DICOMDIR")
    assert np.array_equal(read_image(tmp_path / "s").data, voxels)

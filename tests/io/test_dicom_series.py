# SPDX-License-Identifier: Apache-2.0
"""Folders of DICOM as scanners, archives and anonymisers leave them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import (
    ContentError,
    GeometryError,
    InputError,
    MissingFileError,
    UnreadableFileError,
)
from encephalon.geometry.affine import Affine
from encephalon.io.dicom_header import begins_like_dicom, read_header
from encephalon.io.dicom_series import is_dicom
from encephalon.io.reading import read_image
from encephalon.tables.samples import collect_samples
from tests.io.dicom_writer import (
    MR,
    dicom_bytes,
    element,
    frames_bytes,
    sequence,
    slice_tags,
    write_series,
)

#: Where the voxels of a series lie, RAS mm.
PLACE = Affine([[-2, 0, 0, 10], [0, -2, 0, 20], [0, 0, 3, 0], [0, 0, 0, 1]])
UID, NUMBER, DESCRIPTION = (0x0020, 0x000E), (0x0020, 0x0011), (0x0008, 0x103E)
ECHO, SPACING, THICKNESS = (0x0018, 0x0081), (0x0018, 0x0088), (0x0018, 0x0050)


@pytest.fixture
def voxels(rng: np.random.Generator) -> np.ndarray:
    """Different in every voxel, (6, 7, 12)."""
    return rng.permutation(6 * 7 * 12).reshape(6, 7, 12).astype(np.uint16)


def is_read(path: Path, voxels: np.ndarray, series: str = "") -> bool:
    """Whether `path` is read as these voxels at their places, without a doubt."""
    image = read_image(path, series=series)
    assert not image.doubts
    return np.array_equal(image.data, voxels) and image.affine.is_close(PLACE, 1e-9)


# --- one test of what a DICOM file is ---


@pytest.mark.parametrize("name", ["{:04d}.dcm", "{:04d}.IMA", "I{:04d}", "MR.1.2.{:04d}"])
@pytest.mark.parametrize("preamble", [True, False])
def test_a_series_is_read_whatever_its_names_and_first_bytes(
    tmp_path: Path, voxels: np.ndarray, name: str, preamble: bool
) -> None:
    """With the preamble or without, with a suffix or without, as a folder and by one file."""
    files = write_series(tmp_path / "s", voxels, name=name, preamble=preamble)
    assert all(map(is_dicom, files))
    assert is_read(tmp_path / "s", voxels)
    assert is_read(files[3], voxels)
    assert [one.inputs["image"] for one in collect_samples([tmp_path / "s"])] == [tmp_path / "s"]


def test_other_files_are_no_dicom(tmp_path: Path) -> None:
    """Text, pictures, zeros, volumes; a hidden file and a pipe are none whatever their name."""
    for content in (
        b"\x08\x00 text",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 300,
        b"\0" * 400,
        b"\x5c\1\0\0",
    ):
        assert not begins_like_dicom(content)
        (tmp_path / "a").write_bytes(content)
        assert not is_dicom(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "._1.dcm").write_bytes(b"\0\5\x16\7")
    assert not is_dicom(tmp_path / "pipe.dcm")
    assert not is_dicom(tmp_path / "._1.dcm")
    assert not is_dicom(tmp_path / ("x" * 300))


def test_sequences_say_nothing_of_the_file_itself(tmp_path: Path, voxels: np.ndarray) -> None:
    """The series of another image, and the size of an icon, stand in sequences before its own."""
    other = element(UID, "UI", "9.9.9") + element((0x0020, 0x0032), "DS", "7\\7\\7")
    nested = sequence((0x0008, 0x1115), sequence((0x0008, 0x1140), other) + other)
    icon = element((0x0028, 0x0010), "US", 64) + element((0x7FE0, 0x0010), "OW", b"\0" * 32)
    content = dicom_bytes(
        voxels[:, :, 0].T, slice_tags(0, 0.0), more=sequence((0x0088, 0x200), icon)
    )
    start = content.index(element((0x0008, 0x0016), "UI", MR))
    (tmp_path / "1.dcm").write_bytes(content[:start] + nested + content[start:])
    header = read_header(tmp_path / "1.dcm")
    assert header.fault == ""
    assert (header.text("series_uid"), header.text("rows")) == ("1.2.3.5", "7")
    assert [list(place) for place in header.positions] == [[-10, -20, 0]]
    assert header.has_pixels


# --- what is left out, and what must not be ---


def test_files_that_hold_no_image_are_left_out_and_said(
    tmp_path: Path, voxels: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    """Indices of media, presentation states, links to devices; hidden files go without a word."""
    folder = tmp_path / "s"
    write_series(folder, voxels)
    (folder / "DIRFILE").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 200)
    media = element((2, 2), "UI", "1.2.840.10008.1.3.10") + element((4, 0x1130), "CS", "DISK")
    (folder / "INDEX").write_bytes(b"\0" * 128 + b"DICM" + media)
    state = {(0x0008, 0x0016): ("UI", "1.2.840.10008.5.1.4.1.1.11.1")}
    (folder / "PS1.dcm").write_bytes(dicom_bytes(None, state))  # type: ignore[arg-type]
    (folder / "zero.dcm").symlink_to("/dev/zero")
    (folder / "._0000.dcm").write_bytes(b"\0\5\x16\7" * 30)
    (folder / "notes.txt").write_text("as sent")
    assert is_read(folder, voxels)
    (said,) = [one for one in caplog.messages if "left out" in one]
    assert "left out, as no image is in it: " in said
    assert all(name in said for name in ("DIRFILE", "INDEX", "PS1.dcm", "zero.dcm"))


def test_twenty_hidden_files_do_not_hide_a_series(tmp_path: Path, voxels: np.ndarray) -> None:
    """A folder copied by a Mac has one beside each slice, and they come first."""
    for file in write_series(tmp_path / "s", np.tile(voxels, (1, 1, 2))):
        (file.parent / f"._{file.name}").write_bytes(b"\0\5\x16\7")
    assert len(collect_samples([tmp_path / "s"])) == 1


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda content: content[: len(content) // 2], "ends"),
        (lambda content: content[:-30], "ends before its last pixel"),
        (lambda content: content[:200], "ends"),
        (lambda _: b"\0" * 900, "no DICOM elements"),
        (lambda _: b"damaged" * 99, "ends"),
    ],
)
def test_a_damaged_slice_is_not_left_out(
    tmp_path: Path, voxels: np.ndarray, damage: object, why: str
) -> None:
    """The first slice, whose loss opens no gap; given the folder, and given another slice."""
    files = write_series(tmp_path / "s", voxels)
    files[0].write_bytes(damage(files[0].read_bytes()))  # type: ignore[operator]
    for path in (tmp_path / "s", files[5]):
        with pytest.raises(UnreadableFileError, match=rf"0000\.dcm \(.*{why}.*\); export"):
            read_image(path)


def test_a_slice_that_was_not_fetched_is_said(tmp_path: Path, voxels: np.ndarray) -> None:
    """A link to nothing, as datasets have them before they are fetched."""
    files = write_series(tmp_path / "s", voxels)
    files[0].unlink()
    files[0].symlink_to("../.git/annex/objects/x")
    with pytest.raises(MissingFileError, match=r"0000\.dcm: the link points to"):
        read_image(tmp_path / "s")


def test_a_damaged_file_of_another_series_does_no_harm(tmp_path: Path, voxels: np.ndarray) -> None:
    """Of which series it is, its header still tells."""
    files = write_series(tmp_path / "s", voxels)
    write_series(tmp_path / "s", voxels, name="other{}.dcm", tags={UID: ("UI", "1.2.3.6")})
    other = tmp_path / "s" / "other3.dcm"
    other.write_bytes(other.read_bytes()[:-30])
    assert is_read(files[0], voxels)


def test_copies_of_slices_are_left_out_and_said(
    tmp_path: Path, voxels: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    """The same bytes under another name are the same slice."""
    for file in write_series(tmp_path / "s", voxels):
        shutil.copy(file, file.with_name(f"copy of {file.name}"))
    assert is_read(tmp_path / "s", voxels)
    assert "copies of slices were left out: 12" in caplog.text


def test_pixels_that_are_not_as_compressed_as_is_said_are_refused_at_once(
    tmp_path: Path, voxels: np.ndarray
) -> None:
    """A decoder would search them for seconds a slice."""
    write_series(tmp_path / "s", voxels, syntax="1.2.840.10008.1.2.4.70")
    with pytest.raises(UnreadableFileError, match="says that its pixels are compressed, but they"):
        read_image(tmp_path / "s")


def test_an_unknown_class_of_object_is_named(tmp_path: Path, voxels: np.ndarray) -> None:
    """Anonymisers that replace every UID leave files that no reader takes; they are not damaged."""
    write_series(tmp_path / "s", voxels, tags={(0x0008, 0x0016): ("UI", "2.25.77")})
    with pytest.raises(UnreadableFileError, match=r"class 2\.25\.77, which no standard knows"):
        read_image(tmp_path / "s")


# --- where slices lie ---


@pytest.mark.parametrize(
    ("tags", "distance", "word"),
    [
        ({}, 3.0, "3 mm apart as Spacing Between Slices"),
        ({SPACING: None}, 2.5, "2.5 mm apart as Slice Thickness"),
        ({SPACING: ("DS", "-3")}, 3.0, "Spacing Between Slices"),
    ],
)
def test_slices_without_a_position_are_as_far_apart_as_the_tags_say(
    tmp_path: Path,
    voxels: np.ndarray,
    tags: dict[tuple[int, int], object],
    distance: float,
    word: str,
) -> None:
    """In the order of their numbers, with a warning that asks for a check; never 1 mm."""
    write_series(tmp_path / "s", voxels, places=[None] * 12, tags=tags)  # type: ignore[arg-type]
    image = read_image(tmp_path / "s")
    assert np.array_equal(image.data, voxels)
    assert image.spacing == (2.0, 2.0, distance)
    assert word in image.doubts[0]
    assert word in image.warnings[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({SPACING: None, THICKNESS: None}, "the slices have no position"),
        ({(0x0020, 0x0013): ("IS", "1")}, "the slices have no position"),
        ({(0x0028, 0x0030): None}, "how large a pixel is"),
    ],
)
def test_a_distance_that_nobody_tells_is_not_made_up(
    tmp_path: Path, voxels: np.ndarray, change: dict[tuple[int, int], object], words: str
) -> None:
    """Neither between slices, nor their order, nor between pixels."""
    write_series(tmp_path / "s", voxels, places=[None] * 12, tags=change)  # type: ignore[arg-type]
    with pytest.raises(GeometryError, match=words):
        read_image(tmp_path / "s")


def test_some_slices_without_a_position_are_refused(tmp_path: Path, voxels: np.ndarray) -> None:
    """Where they belong among the others is not known."""
    places: list[float | None] = [3.0 * k for k in range(12)]
    places[4] = None
    write_series(tmp_path / "s", voxels, places=places)
    with pytest.raises(GeometryError, match="1 of 12 slices have no position"):
        read_image(tmp_path / "s")


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([3] * 5 + [6] + [3] * 5, "3.00 to 6.00 mm apart, so at least one is missing"),
        ([3] * 5 + [9] + [3] * 5, "3.00 to 9.00 mm apart, so at least one is missing"),
        ([5] * 6 + [10] * 5, "5.00 to 10.00 mm apart, so their distance varies"),
        ([3, 3, 3.4, 4, 5, 6, 7, 7, 6, 5, 1.1], "1.10 to 7.00 mm apart, so their distance varies"),
    ],
)
def test_a_distance_that_varies_is_not_a_missing_slice(
    tmp_path: Path, voxels: np.ndarray, steps: list[float], words: str
) -> None:
    """One gap of whole steps is a lost slice; a head that was cut finer below is none."""
    places = [float(place) for place in np.cumsum([0, *steps])]
    write_series(tmp_path / "s", voxels, places=[*places])
    with pytest.raises(GeometryError, match=words):
        read_image(tmp_path / "s")


# --- several volumes ---


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("times", [("20", "80"), ("30", "30")])
def test_two_volumes_in_a_series_are_said_and_chosen(
    tmp_path: Path, voxels: np.ndarray, interleaved: bool, times: tuple[str, str]
) -> None:
    """Echoes or repetitions, their names one block after the other or in turns."""
    other = voxels[::-1]
    for number, (data, time) in enumerate(zip((voxels, other), times, strict=True)):
        name = f"{{:04d}}-{number}.dcm" if interleaved else f"{number}-{{:04d}}.dcm"
        write_series(tmp_path / "s", data, name=name, first=100 * number, tags={ECHO: ("DS", time)})
    told = "echo times of 20, 80 ms" if times[0] != times[1] else "repetitions or copies"
    with pytest.raises(ContentError, match=rf"every slice is there 2 times \(.*{told}.*:1 to :2"):
        read_image(tmp_path / "s")
    assert is_read(tmp_path / "s", voxels, ":1")
    assert is_read(tmp_path / "s", other, ":2")
    with pytest.raises(InputError, match="volume 3 of the series was asked for, of 2"):
        read_image(tmp_path / "s", series=":3")


def test_a_localiser_of_three_planes_is_not_one_volume(tmp_path: Path, voxels: np.ndarray) -> None:
    """Slices of several directions are told and chosen like any others."""
    ways = {"a": "1\\0\\0\\0\\1\\0", "b": "1\\0\\0\\0\\0\\-1", "c": "0\\1\\0\\0\\0\\-1"}
    for number, (name, way) in enumerate(ways.items()):
        for k in range(3):
            place = ("0\\0\\{}", "0\\{}\\0", "{}\\0\\0")[number].format(5 * k)
            tags = {
                **slice_tags(10 * number + k, None),
                (0x0020, 0x0032): ("DS", place),
                (0x0020, 0x0037): ("DS", way),
            }
            content = dicom_bytes(voxels[:, :, k].T, tags)
            (tmp_path / f"{name}{k}.dcm").write_bytes(content)
    with pytest.raises(ContentError, match=r"3 volumes, of 3, 3, 3 slices.*a localiser"):
        read_image(tmp_path)
    assert read_image(tmp_path, series=":2").shape == (6, 7, 3)


def test_a_series_is_chosen_by_number_description_or_uid(
    tmp_path: Path, voxels: np.ndarray
) -> None:
    """Two of one description are told apart by number, and one file chooses its own."""
    files = {}
    for number in (4, 5):
        tags = {
            UID: ("UI", f"1.2.3.{number}"),
            NUMBER: ("IS", number),
            DESCRIPTION: ("LO", "t2 tse" if number < 6 else "t1"),
        }
        data = voxels if number == 4 else voxels[::-1]
        files[number] = write_series(
            tmp_path / "s", data, name=f"{number}-{{}}", tags=tags, first=50 * number
        )
    listed = r"t2 tse \(12 files, number 4, such as 4-0\); t2 tse \(12 files, number 5"
    for series in ("", "T2 TSE"):
        with pytest.raises(InputError, match=listed):
            read_image(tmp_path / "s", series=series)
    with pytest.raises(InputError, match="no DICOM series in it is called '6'"):
        read_image(tmp_path / "s", series="6")
    for series in ("5", "1.2.3.5", "5:1"):
        assert is_read(tmp_path / "s", voxels[::-1], series)
    assert is_read(files[5][7], voxels[::-1])


def test_one_file_each_of_two_series_are_two_samples(tmp_path: Path, voxels: np.ndarray) -> None:
    """The advice to give one file of the series can be followed for several at once."""
    first = write_series(tmp_path / "s", voxels, name="I{:04d}")
    second = write_series(
        tmp_path / "s", voxels[::-1], name="J{:04d}.dcm", tags={UID: ("UI", "1.2.3.6")}
    )
    samples = collect_samples([first[3], second[3]])
    assert [one.inputs["image"] for one in samples] == [first[3], second[3]]
    assert is_read(samples[0].inputs["image"], voxels)
    assert is_read(samples[1].inputs["image"], voxels[::-1])
    assert len(collect_samples([*first, *second])) == 2
    assert len(collect_samples(first)) == 1


def test_all_files_of_a_folder_are_that_folder(tmp_path: Path, voxels: np.ndarray) -> None:
    """`series/*` is one sample, named after the folder."""
    files = write_series(tmp_path / "head", voxels)
    (sample,) = collect_samples(files)
    assert (sample.id, sample.inputs["image"]) == ("head", tmp_path / "head")


# --- multi-frame ---


def test_a_multi_frame_image_lies_where_its_frames_say(tmp_path: Path, voxels: np.ndarray) -> None:
    """Whatever their order in the file."""
    order = [5, 0, 11, 3, 1, 2, 4, 6, 7, 8, 9, 10]
    content = frames_bytes(voxels[:, :, order], [3.0 * k for k in order])
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "IM1.dcm").write_bytes(content)
    assert is_read(tmp_path / "s", voxels)
    assert is_read(tmp_path / "s" / "IM1.dcm", voxels)


def test_echoes_in_one_multi_frame_image_are_chosen(tmp_path: Path, voxels: np.ndarray) -> None:
    """Frames at one place are as many volumes, in the order of the file."""
    both = np.concatenate([voxels, voxels[::-1]], axis=2)
    (tmp_path / "IM1.dcm").write_bytes(frames_bytes(both, [3.0 * (k % 12) for k in range(24)]))
    with pytest.raises(ContentError, match="every slice is there 2 times"):
        read_image(tmp_path / "IM1.dcm")
    assert is_read(tmp_path / "IM1.dcm", voxels[::-1], ":2")


@pytest.mark.parametrize("cut", [100, 1000])
def test_a_cut_multi_frame_image_is_refused(tmp_path: Path, voxels: np.ndarray, cut: int) -> None:
    """Its last frames are missing."""
    content = frames_bytes(voxels, [3.0 * k for k in range(12)])
    (tmp_path / "IM1.dcm").write_bytes(content[:-cut])
    with pytest.raises(UnreadableFileError, match="before its last pixel"):
        read_image(tmp_path / "IM1.dcm")

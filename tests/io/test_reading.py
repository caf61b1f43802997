# SPDX-License-Identifier: Apache-2.0
"""One function in and one out, whatever the format; masks; arrays; FreeSurfer's format.

One policy for voxels that are no number: few or air become 0 and a doubt, more are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from encephalon.errors import (
    ContentError,
    GeometryError,
    InputError,
    OutputError,
    OutputExistsError,
    UnreadableFileError,
)
from encephalon.geometry.affine import Affine
from encephalon.io.image import IMAGE_SUFFIXES, Image, image_stem, image_suffix
from encephalon.io.reading import read_image, read_labels, with_finite_voxels, write_image

WRITABLE = [suffix for suffix in IMAGE_SUFFIXES if suffix not in (".dcm", ".ima")]


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_every_format_gives_back_what_was_written(
    tmp_path: Path, suffix: str, kind: Any, oblique: Affine, rng: np.random.Generator
) -> None:
    """Voxels, type and place survive a round trip; .npy holds no place and says so."""
    data = (rng.integers(0, 2, (4, 5, 6)) * 90).astype(kind)
    path = write_image(data, tmp_path / f"a{suffix}", Image(data, oblique))
    image = read_image(path)
    assert np.array_equal(image.data, data)
    assert image.data.dtype == {"b": np.uint8, "f": np.float32}.get(np.dtype(kind).kind, kind)
    if suffix == ".npy":
        assert "1 mm voxels in RAS order assumed" in image.warnings[0]
    else:
        assert image.affine.is_close(oblique, 1e-4)
        assert not image.warnings


def test_nibabel_agrees_about_freesurfer_files(tmp_path: Path, oblique: Affine) -> None:
    """nibabel reads our .mgz, and we read nibabel's."""
    data = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    ours = nibabel.load(write_image(data, tmp_path / "a.mgz", Image(data, oblique)))
    assert np.array_equal(np.asanyarray(ours.dataobj), data)
    assert np.allclose(ours.affine, oblique.matrix, atol=1e-4)
    nibabel.save(nibabel.MGHImage(data, oblique.matrix), tmp_path / "b.mgz")
    theirs = read_image(tmp_path / "b.mgz")
    assert np.array_equal(theirs.data, data)
    assert theirs.affine.is_close(oblique, 1e-4)


def test_a_freesurfer_file_without_a_place_is_coronal(tmp_path: Path, oblique: Affine) -> None:
    """Without the flag, 1 mm coronal slices are assumed, aloud."""
    data = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    path = write_image(data, tmp_path / "a.mgh", Image(data, oblique))
    content = bytearray(path.read_bytes())
    content[28:30] = b"\0\0"
    path.write_bytes(content)
    image = read_image(path)
    assert image.affine.codes == "LIA"
    assert "coronal slices assumed" in image.warnings[0]


@pytest.mark.parametrize("suffix", [".mgh", ".nii", ".npy", ".npz"])
def test_missing_voxels_are_noticed_in_every_format(
    tmp_path: Path, head: Image, suffix: str
) -> None:
    """A file cut in the middle is refused by name."""
    path = write_image(head.data, tmp_path / f"a{suffix}", head)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableFileError, match=f"a{suffix}"):
        read_image(path)


def test_integers_too_large_for_freesurfer_are_refused(tmp_path: Path) -> None:
    """Wide integers that fit are narrowed; those that do not are refused, nothing is written."""
    data = np.arange(8, dtype=np.int64).reshape(2, 2, 2)
    like = Image(data, Affine.from_spacing(1.0))
    assert read_image(write_image(data, tmp_path / "a.mgz", like)).data.dtype == np.uint8
    with pytest.raises(ContentError, match="MGH cannot hold integers"):
        write_image(data + 2**40, tmp_path / "b.mgz", like)
    assert not (tmp_path / "b.mgz").exists()


def test_an_archive_may_name_its_only_array_as_it_likes(tmp_path: Path) -> None:
    """One array besides `affine` is the volume; two are a question that is asked back."""
    data = np.arange(24).reshape(2, 3, 4)
    np.savez(tmp_path / "one.npz", volume=data)
    np.savez(tmp_path / "two.npz", first=data, second=data)
    assert np.array_equal(read_image(tmp_path / "one.npz").data, data)
    with pytest.raises(UnreadableFileError, match=r"expected arrays named.*'first', 'second'"):
        read_image(tmp_path / "two.npz")


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    """An object array, which could run code, is refused."""
    np.save(tmp_path / "a.npy", np.array([[[{}]]], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableFileError, match=r"a\.npy: the NumPy file could not be read"):
        read_image(tmp_path / "a.npy")


def test_arrays_and_nibabel_images_are_images_too(head: Image, oblique: Affine) -> None:
    """An Image passes as it is, an array gets the affine given, a nibabel image brings its own."""
    assert read_image(head) is head
    assert read_image(head.data, affine=oblique).affine == oblique
    assert "no affine came with the array" in read_image(head.data).warnings[0]
    image = read_image(nibabel.Nifti1Image(head.data[..., None], oblique.matrix))
    assert image.shape == head.shape
    assert image.affine.is_close(oblique, 1e-5)


def test_a_damaged_file_behind_a_nibabel_image_is_named(tmp_path: Path, head: Image) -> None:
    """nibabel reads late, so its error surfaces here."""
    path = write_image(head.data, tmp_path / "a.nii", head)
    lazy = nibabel.load(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UnreadableFileError, match=r"a\.nii: the voxels could not be read"):
        read_image(lazy)


def test_the_properties_of_an_image_agree(head: Image) -> None:
    """Grid, spacing and voxel volume all come from data and affine."""
    assert head.grid.shape == head.shape == (24, 28, 20)
    assert head.spacing == (2.0, 1.5, 2.5)
    assert head.volume_ml_per_voxel == pytest.approx(0.0075)
    assert head.name == "the array"


def test_outputs_are_not_replaced_unasked(tmp_path: Path, head: Image) -> None:
    """An existing file is kept, and replaced only with overwrite."""
    path = write_image(head.data, tmp_path / "a.nii.gz", head)
    with pytest.raises(OutputExistsError, match=r"a\.nii\.gz exists already"):
        write_image(head.data * 2, path, head)
    write_image(head.data * 2, path, head, overwrite=True)
    assert np.array_equal(read_image(path).data, head.data * 2)


def test_an_output_must_fit_its_grid_and_have_a_known_name(tmp_path: Path, head: Image) -> None:
    """A wrong shape and a wrong suffix are sentences, and nothing is written."""
    with pytest.raises(GeometryError, match=r"shape \(24, 28, 20\).*but it is \(23, 28, 20\)"):
        write_image(head.data[1:], tmp_path / "a.nii", head)
    for name in ("a.tiff", "a.dcm", "a"):
        with pytest.raises(OutputError, match=r"must end in one of \.nii\.gz"):
            write_image(head.data, tmp_path / name, head)
    assert not list(tmp_path.iterdir())


def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    """The sentence lists what can be read."""
    (tmp_path / "a.xyz").write_bytes(b"\0")
    with pytest.raises(UnreadableFileError, match=r"\.nii\.gz.*DICOM.*'\.xyz'"):
        read_image(tmp_path / "a.xyz")


@pytest.mark.parametrize(
    ("name", "suffix", "stem"),
    [
        ("scan.nii.gz", ".nii.gz", "scan"),
        ("Scan.v2.NII.GZ", ".nii.gz", "Scan.v2"),
        ("a.mgz", ".mgz", "a"),
        ("readme.txt", None, "readme"),
    ],
)
def test_suffix_and_stem_know_double_suffixes(name: str, suffix: str | None, stem: str) -> None:
    """.nii.gz is one suffix, in any case."""
    assert image_suffix(Path("folder.nii") / name) == suffix
    assert image_stem(name) == stem


def test_masks_of_any_type_become_small_whole_numbers(tmp_path: Path, head: Image) -> None:
    """Truth values, floats and scaled integers that are whole are labels; empty masks too."""
    mask = head.data > 600
    for data in (mask, mask.astype(np.float64), np.zeros_like(head.data)):
        labels = read_labels(write_image(data, tmp_path / "m.nii.gz", head, overwrite=True))
        assert labels.data.dtype == np.uint8
        assert np.array_equal(labels.data, data)
    wide = read_labels(np.where(mask, 1005, 0), affine=head.affine)
    assert wide.data.dtype == np.uint16


@pytest.mark.parametrize(
    ("value", "words"), [(0.5, "not whole"), (-1.0, "from -1 to"), (np.nan, "not whole")]
)
def test_what_is_no_label_map_is_refused(head: Image, value: float, words: str) -> None:
    """Fractions, negative numbers and NaN are not labels."""
    data = np.zeros(head.shape, np.float32)
    data[0, 0, 0] = value
    with pytest.raises(ContentError, match=f"expected labels.*{words}"):
        read_labels(data, affine=head.affine)


def test_a_damaged_freesurfer_header_is_refused(tmp_path: Path, head: Image) -> None:
    """An unknown voxel type and impossible sizes are one sentence each."""
    path = write_image(head.data, tmp_path / "a.mgh", head)
    good = path.read_bytes()
    for where, value in ((20, 99), (4, 0x7FFFFFFF), (4, 0x80000000)):
        path.write_bytes(good[:where] + value.to_bytes(4, "big") + good[where + 4 :])
        with pytest.raises(InputError, match=r"a\.mgh"):
            read_image(path)


@pytest.mark.parametrize("kind", [">i2", ">f4"])
def test_an_array_of_the_other_byte_order_is_left_as_it_was(tmp_path: Path, kind: str) -> None:
    """Its voxels belong to the caller, whether it is read, wrapped by nibabel or written."""
    data = np.arange(27).reshape(3, 3, 3).astype(kind)
    image = read_image(data)
    wrapped = read_image(nibabel.Nifti1Image(data, np.eye(4)))
    write_image(data, tmp_path / "a.nii", image)
    assert np.array_equal(data, np.arange(27).reshape(3, 3, 3))
    assert np.array_equal(image.data, data)
    assert np.array_equal(wrapped.data, data)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_damaged_numpy_file_is_refused_whatever_numpy_makes_of_it(
    tmp_path: Path, head: Image, suffix: str
) -> None:
    """A bracket or a high byte anywhere in the header: other voxels, or one sentence."""
    path = write_image(head.data, tmp_path / f"a{suffix}", head)
    content = path.read_bytes()
    for place in range(128):
        for byte in (b"(", b"\xff"):
            path.write_bytes(content[:place] + byte + content[place + 1 :])
            try:
                read_image(path, check=False)
            except InputError as error:
                assert path.name in str(error)  # noqa: PT017  most of them raise, some need not


def test_a_good_image_is_left_alone(head: Image) -> None:
    """The very same image comes back, and nothing is said."""
    assert with_finite_voxels(head) is head


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.ones((4, 4)), "expected a 3-D volume"),
        (np.ones((4, 4, 4, 2)), "2 volumes in one file"),
        (np.ones((4, 4, 4), dtype=object), "convert them to numbers"),
        ("no array", "expected a 3-D volume"),
    ],
)
def test_an_image_that_was_made_by_hand_is_checked_like_an_array(data: Any, words: str) -> None:
    """And one made of lists is an image."""
    with pytest.raises(InputError, match=words):
        read_image(Image(data, Affine.from_spacing(1.0)))
    listed: Any = np.arange(27).reshape(3, 3, 3).tolist()
    assert read_image(Image(listed, Affine.from_spacing(1.0))).shape == (3, 3, 3)


def test_nan_around_a_head_is_air(head: Image, caplog: pytest.LogCaptureFixture) -> None:
    """Programs that cut a brain out write it so; one voxel is infinite as well."""
    data = head.data.copy()
    data[data < 50] = np.nan
    data[0, 0, 0] = np.inf
    image = read_image(Image(data, head.affine))
    assert image.data.min() == 0
    assert np.array_equal(image.data[np.isfinite(data)], data[np.isfinite(data)])
    assert len(image.doubts) == len(image.warnings) == 1
    assert image.doubts[0].startswith("voxels were NaN or infinite and are now 0: ")
    assert "of the air" in caplog.text
    assert np.isnan(data).any(), "the caller's array is not changed"


def test_a_few_nan_in_a_head_are_mended(head: Image) -> None:
    """One failed voxel costs no scan."""
    data = head.data.copy()
    data[12, 10, 9] = np.nan
    image = with_finite_voxels(Image(data, head.affine))
    assert image.data[12, 10, 9] == 0
    assert "now 0: 1 amid the others" in image.doubts[0]


def test_many_nan_are_refused(head: Image) -> None:
    """What was there is gone: amid the head, or nearly everywhere."""
    data = head.data.copy()
    data[4:20, 4:24, 4:16] = np.nan
    with pytest.raises(ContentError, match=r"3,840 of 13,440 voxels .* amid the others, too many"):
        with_finite_voxels(Image(data, head.affine))
    data[:] = np.nan
    with pytest.raises(ContentError, match="all voxels are NaN or infinite, too many"):
        with_finite_voxels(Image(data, head.affine))
    data[12, 12, 12] = 1
    with pytest.raises(ContentError, match="too many to be mended"):
        with_finite_voxels(Image(data, head.affine))


def test_what_is_constant_beside_nan_is_refused() -> None:
    """There is nothing to see in it."""
    data = np.zeros((8, 8, 8), np.float32)
    data[0] = np.nan
    with pytest.raises(ContentError, match="the image is empty"):
        read_image(data)

# SPDX-License-Identifier: Apache-2.0
"""DICOM: one series becomes one volume in the right place, or a sentence says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from encephalon.errors import (
    ContentError,
    GeometryError,
    InputError,
    UnreadableFileError,
)
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image

PLACE = Affine.from_parts([[0, 0, -1], [-1, 0, 0], [0, -1, 0]], (0.9, 1.1, 3.0), (30, 40, 50))


def written(
    folder: Path,
    data: np.ndarray,
    affine: Affine = PLACE,
    *,
    series: str = "1",
    steps: list[float] | None = None,
    slope: float = 1.0,
) -> list[Path]:
    """The slices of `data` (I, J, K) int16 as DICOM files, written by SimpleITK."""
    folder.mkdir(exist_ok=True)
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine.matrix
    direction = matrix[:3, :3] / affine.spacing
    normal = np.cross(direction[:, 0], direction[:, 1])
    turned = np.column_stack([direction[:, :2], normal])
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    files = []
    for n in range(data.shape[2]):
        plane = SimpleITK.GetImageFromArray(data[:, :, n : n + 1].T)
        plane.SetSpacing(affine.spacing)
        position = matrix[:3, 3] + matrix[:3, 2] * (steps[n] if steps else n)
        tags = {
            "0008|0060": "MR",
            "0008|103e": f"t1 sagittal {series}",
            "0020|000e": f"1.2.826.0.1.3680043.2.1125.{series}",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.0",
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.{series}.{n + 1}",
            "0020|0013": str(n),
            "0020|0032": "\\".join(f"{x:.6f}" for x in position),
            "0020|0037": "\\".join(f"{x:.6f}" for x in turned[:, :2].T.ravel()),
            "0028|1053": str(slope),
            "0028|1052": "0",
        }
        for key, value in tags.items():
            plane.SetMetaData(key, value)
        # The names run backwards: slices must be sorted by place, not by name.
        files.append(folder / f"{series}-{99 - n}.dcm")
        writer.SetFileName(str(files[-1]))
        writer.Execute(plane)
    return files


@pytest.fixture
def voxels(rng: np.random.Generator) -> np.ndarray:
    """Different in every voxel, small enough for DICOM, int16."""
    return rng.permutation(6 * 7 * 5).reshape(6, 7, 5).astype(np.int16)


def at(image: Image, point: np.ndarray) -> float:
    """The value of the voxel at `point`, mm."""
    i, j, k = np.rint(image.affine.inverse.apply(point)).astype(int)
    return float(image.data[i, j, k])


@pytest.mark.parametrize("codes", ["ras", "oblique", "sagittal"])
def test_a_series_lies_where_its_slices_say(
    tmp_path: Path, voxels: np.ndarray, oblique: Affine, codes: str
) -> None:
    """Every voxel has its value at its place in the world, whatever the slice direction."""
    ras = Affine.from_spacing((0.5, 0.7, 5.0), (-3, 5, 7))
    affine = {"ras": ras, "oblique": oblique, "sagittal": PLACE}[codes]
    written(tmp_path / "series", voxels, affine)
    image = read_image(tmp_path / "series")
    assert sorted(image.spacing) == pytest.approx(sorted(affine.spacing), abs=1e-4)
    assert not image.warnings
    for index in ((0, 0, 0), (5, 0, 4), (2, 6, 1)):
        assert at(image, affine.apply(index)) == voxels[index]


def test_one_file_stands_for_its_series(tmp_path: Path, voxels: np.ndarray) -> None:
    """Given any slice, the whole series it belongs to is read, past other series beside it."""
    files = written(tmp_path / "study", voxels)
    written(tmp_path / "study", voxels[:, :, :3], series="2")
    assert read_image(files[2]).shape == (6, 7, 5)


def test_several_series_are_listed(tmp_path: Path, voxels: np.ndarray) -> None:
    """The sentence names each series with its description and number of files."""
    written(tmp_path / "study", voxels)
    written(tmp_path / "study", voxels[:, :, :3], series="2")
    with pytest.raises(InputError, match=r"2: t1 sagittal 1 \(5 files.*; t1 sagittal 2 \(3 files"):
        read_image(tmp_path / "study")


def test_stored_values_are_rescaled(tmp_path: Path, voxels: np.ndarray) -> None:
    """Files that store half of each value, with a rescale slope of 2, give the values."""
    files = written(tmp_path / "series", 2 * voxels, slope=2.0)
    stored = np.frombuffer(files[0].read_bytes()[-6 * 7 * 2 :], "<i2")
    assert sorted(stored) == sorted(voxels[:, :, 0].ravel())
    assert sorted(read_image(tmp_path / "series").data.ravel()) == sorted(2 * voxels.ravel())


@pytest.mark.parametrize(
    ("steps", "error", "words"),
    [
        ([0, 1, 2, 4, 5], GeometryError, r"3\.00 to 6\.00 mm apart, so at least one is missing"),
        ([0, 1, 1, 2, 3], ContentError, "several slices lie at the same place"),
    ],
)
def test_gaps_and_repeats_are_refused(
    tmp_path: Path,
    voxels: np.ndarray,
    steps: list[float],
    error: type[Exception],
    words: str,
) -> None:
    """A missing slice and a time series are not one volume."""
    written(tmp_path / "series", voxels, steps=steps)
    with pytest.raises(error, match=words):
        read_image(tmp_path / "series")


def test_a_damaged_slice_is_not_left_out_silently(tmp_path: Path, voxels: np.ndarray) -> None:
    """The first slice, whose loss opens no gap, is missed all the same."""
    files = written(tmp_path / "series", voxels)
    files[0].write_bytes(files[0].read_bytes()[:200])
    with pytest.raises(UnreadableFileError, match="could not be read"):
        read_image(tmp_path / "series")


def test_a_gantry_tilt_keeps_its_true_place(tmp_path: Path, voxels: np.ndarray) -> None:
    """Slices that slide sideways stay where they are, in the image and in what is written."""
    tilted = Affine.from_spacing((1.0, 1.0, 2.0)).matrix.copy()
    tilted[1, 2] = 0.6
    written(tmp_path / "series", voxels, Affine(tilted))
    image = read_image(tmp_path / "series")
    assert "right angles" in image.warnings[0]
    assert image.volume_ml_per_voxel == pytest.approx(0.002)
    mask = read_image(write_image(image.data > 9, tmp_path / "mask.nii.gz", image))
    for index in ((0, 0, 0), (5, 0, 4), (2, 6, 1)):
        place = tilted[:3, :3] @ index
        assert at(image, place) == voxels[index]
        assert at(mask, place) == (voxels[index] > 9)


def test_a_folder_without_a_series_says_where_one_is(tmp_path: Path, voxels: np.ndarray) -> None:
    """An empty folder, and one level too high, are told apart."""
    with pytest.raises(InputError, match="no DICOM series in this folder; check the path"):
        read_image(tmp_path)
    written(tmp_path / "inner", voxels)
    with pytest.raises(InputError, match=r"give the folder .*inner"):
        read_image(tmp_path)


def test_elements_of_another_transfer_syntax_are_refused_at_once(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """GDCM would read them, after seconds and with a GiB for each slice."""
    data = rng.integers(0, 900, (6, 5, 4)).astype(np.int16)
    for file in written(tmp_path / "s", data):
        content = file.read_bytes()
        meta, named = content.index(b"\x02\0\0\0UL\x04\0"), content.index(b"\x02\0\x10\0UI")
        length = int.from_bytes(content[meta + 8 : meta + 12], "little")
        value = int.from_bytes(content[named + 6 : named + 8], "little")
        assert content[named + 8 : named + 8 + value] == b"1.2.840.10008.1.2\0"  # implicit
        syntax = b"1.2.840.10008.1.2.1\0"
        longer = (length + len(syntax) - value).to_bytes(4, "little")
        file.write_bytes(
            content[: meta + 8]
            + longer
            + content[meta + 12 : named + 6]
            + len(syntax).to_bytes(2, "little")
            + syntax
            + content[named + 8 + value :]
        )
    with pytest.raises(UnreadableFileError, match="transfer syntax is another"):
        read_image(tmp_path / "s")

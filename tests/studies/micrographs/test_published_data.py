# SPDX-License-Identifier: Apache-2.0
"""The arrays of the published preprocessing: into a table and out again without a bit lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from encephalon.errors import EncephalonError
from encephalon.io.micrograph import read_micrograph
from encephalon.recipes.loading import load_recipe
from encephalon.studies.micrographs.preprocessing import Preprocessing
from encephalon.studies.micrographs.published.data import arrays_of_table, table_of_arrays
from encephalon.studies.micrographs.published.preprocessing import foreground, network_input
from encephalon.studies.micrographs.settings import MicrographSettings
from encephalon.tables.checks import checked
from encephalon.tables.encoding import encode_classes, encode_covariates
from encephalon.tables.reading import read_table

COLUMNS = load_recipe("micrographs-published").table
STEPS = Preprocessing(MicrographSettings(), "published").silhouette
LABELS = np.array([1, 0, 1])
FEATURES = np.array([[1, 0, 0, 1, 0], [0, 1, 1, 0, 0], [1, 0, 0, 0, 1]], np.float32)


def _images() -> list[np.ndarray]:
    return [np.random.default_rng(n).random((256, 260), np.float32) for n in range(3)]


def write_arrays(
    folder: Path,
    images: list[np.ndarray],
    labels: np.ndarray | None,
    features: np.ndarray | None,
) -> None:
    """Write the three files as the published code does, or fewer."""
    folder.mkdir(exist_ok=True)
    arrays = {"np_images": np.stack(images), "labels": labels, "features": features}
    for name, array in arrays.items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)


def test_arrays_become_a_table_that_says_the_same(tmp_path: Path) -> None:
    """Images, classes and covariates come back from the table bit for bit."""
    write_arrays(tmp_path / "binary", _images(), LABELS, FEATURES)
    file = table_of_arrays(tmp_path / "binary", tmp_path / "table.csv", COLUMNS)
    table = checked(read_table(file, COLUMNS))
    assert encode_classes(table).tolist() == LABELS.tolist()
    rows = table.frame.to_dict(orient="records")
    assert np.array_equal(encode_covariates(rows, COLUMNS), FEATURES)
    for cell, image in zip(table.texts("image"), _images(), strict=True):
        assert np.array_equal(read_micrograph(table.path(cell)).data, image)


@pytest.mark.parametrize("labels", [LABELS, None])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_arrays_come_back_from_their_table_byte_for_byte(
    tmp_path: Path, labels: np.ndarray | None, suffix: str
) -> None:
    """The files are those that NumPy writes; no classes make no labels, and keep no old ones."""
    write_arrays(tmp_path / "binary", _images(), labels, FEATURES)
    file = table_of_arrays(tmp_path / "binary", tmp_path / f"table{suffix}", COLUMNS)
    silhouette = Preprocessing(MicrographSettings(silhouettes=True), "published").silhouette
    write_arrays(tmp_path / "again", _images(), LABELS, FEATURES)
    table = read_table(file, COLUMNS)
    assert arrays_of_table(table, silhouette, tmp_path / "again", overwrite=True) == 3
    first, again = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("binary", "again")
    )
    assert first == again
    assert len(first) == (3 if labels is not None else 2)


def test_a_table_of_micrographs_becomes_what_the_published_steps_make_of_them(
    tmp_path: Path,
) -> None:
    """16-bit levels to the share of white around each eighth pixel; F, M, CC, HC, PFC."""
    rng = np.random.default_rng(4)
    planes = [rng.integers(0, 60000, (64, 80), np.uint16) for _ in range(2)]
    for number, plane in enumerate(planes):
        tifffile.imwrite(tmp_path / f"{number}.tif", plane)
    rows = "id,image,class,sex,region,animal\na,0.tif,Aged,F,HC,x\nb,1.tif,Young,M,PFC,y\n"
    (tmp_path / "table.csv").write_text(rows, "utf-8")
    table = read_table(tmp_path / "table.csv", COLUMNS)
    arrays_of_table(table, STEPS, tmp_path / "out")
    images, labels, features = (
        np.load(tmp_path / "out" / f"{name}.npy") for name in ("np_images", "labels", "features")
    )
    assert images.shape == (2, 8, 10)
    assert np.array_equal(images, [foreground(plane) for plane in planes])
    assert labels.tolist() == [1, 0]
    assert features.tolist() == [[1, 0, 0, 1, 0], [0, 1, 0, 0, 1]]


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ("a,0.tif,Aged\nb,0.tif,Middle age\n", "row 3: there is no class that is learnt"),
        ("a,0.tif,Aged\nb,1.tif,Young\n", "expected 8 x 8 pixels as of the other images"),
        ("a,0.tif,Old\n", "is none of the classes"),
    ],
)
def test_tables_that_arrays_cannot_hold_are_refused(
    tmp_path: Path, cells: str, sentence: str
) -> None:
    """Classes of some rows alone, two sizes, a strange class: one sentence, and no array."""
    for number in range(2):
        grain = np.random.default_rng(number).integers(0, 255, (64, 64 + 16 * number), np.uint8)
        tifffile.imwrite(tmp_path / f"{number}.tif", grain)
    (tmp_path / "table.csv").write_text(f"id,image,class\n{cells}", "utf-8")
    table = read_table(tmp_path / "table.csv", replace(COLUMNS, covariates={}))
    with pytest.raises(EncephalonError, match=sentence):
        arrays_of_table(table, STEPS, tmp_path / "out")
    assert not list(tmp_path.glob("out/*.npy"))


def test_binary_images_enter_the_network_as_they_are(tmp_path: Path) -> None:
    """With `silhouettes` only the evaluation transform is left to do."""
    write_arrays(tmp_path, _images(), None, None)
    file = table_of_arrays(tmp_path, tmp_path / "unlabelled.csv", COLUMNS)
    path = tmp_path / "unlabelled" / "image0001.tif"
    settings = MicrographSettings(silhouettes=True)
    picture = Preprocessing(settings, "published")(read_micrograph(path))
    assert np.array_equal(picture.image, network_input(_images()[1])[0])
    assert "class" not in file.read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("labels", "features", "sentence"),
    [
        (np.array([0, 1]), FEATURES, "expected 3 classes from 0 to 1"),
        (np.array([0, 1, 2]), FEATURES, "expected 3 classes from 0 to 1"),
        (LABELS, FEATURES[:, :4], r"expected \(3, 5\), a column for each category"),
        (LABELS, np.zeros((3, 5), np.float32), "expected one 1 and otherwise 0 for 'sex'"),
    ],
)
def test_arrays_that_do_not_match_are_refused(
    tmp_path: Path, labels: np.ndarray, features: np.ndarray, sentence: str
) -> None:
    """Too few labels, unknown classes, missing categories: one sentence, and no table."""
    write_arrays(tmp_path, _images(), labels, features)
    with pytest.raises(EncephalonError, match=sentence):
        table_of_arrays(tmp_path, tmp_path / "table.csv", COLUMNS)
    assert not (tmp_path / "table.csv").exists()


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    """An array of objects, which would be unpickled, is refused."""
    np.save(tmp_path / "np_images.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(EncephalonError, match="expected a NumPy array of numbers"):
        table_of_arrays(tmp_path, tmp_path / "table.csv", COLUMNS)

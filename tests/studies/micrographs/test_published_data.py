# SPDX-License-Identifier: Apache-2.0
"""The arrays of the published preprocessing: into a table without a bit lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import EncephalonError
from encephalon.io.micrograph import read_micrograph
from encephalon.recipes.loading import load_recipe
from encephalon.studies.micrographs.preprocessing import Preprocessing
from encephalon.studies.micrographs.published.data import table_of_arrays
from encephalon.studies.micrographs.published.preprocessing import network_input
from encephalon.studies.micrographs.settings import MicrographSettings
from encephalon.tables.checks import checked
from encephalon.tables.encoding import encode_classes, encode_covariates
from encephalon.tables.reading import read_table

COLUMNS = load_recipe("micrographs-published").table
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

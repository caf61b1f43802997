# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from encephalon.errors import ContentError, RecipeError, TableError
from encephalon.tables.checks import verify_labels
from encephalon.tables.encoding import map_labels
from encephalon.tables.schema import Columns, Table

LABELS = np.array([[[0, 2, 3], [41, 42, 1035]]], dtype=np.int16)


def test_keep_changes_no_value_but_takes_the_smallest_type() -> None:
    """1,035 needs two bytes, 200 one."""
    kept = map_labels(LABELS, "keep")
    assert kept.dtype == np.uint16
    np.testing.assert_array_equal(kept, LABELS)
    assert map_labels(np.array([200.0]), "keep").dtype == np.uint8


def test_nonzero_is_one_wherever_there_is_a_label() -> None:
    """The published target: any label of aparc+aseg."""
    binary = map_labels(LABELS, "nonzero")
    assert binary.dtype == np.uint8
    np.testing.assert_array_equal(binary, LABELS > 0)


def test_a_mapping_sends_every_other_label_to_zero() -> None:
    """Also labels above all that it names, and names above all that are there."""
    mapped = map_labels(LABELS, {"2": 1, "41": 1, "3": 2, "9999": 7})
    np.testing.assert_array_equal(mapped, [[[0, 1, 2], [1, 0, 0]]])


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=50), st.integers(0, 300))
def test_a_mapping_agrees_with_a_dictionary(labels: list[int], value: int) -> None:
    """Voxel by voxel, whatever the labels."""
    rule = {str(labels[0]): value}
    mapped = map_labels(np.array(labels), rule)
    assert mapped.tolist() == [value if label == labels[0] else 0 for label in labels]


@pytest.mark.parametrize(
    ("labels", "words"),
    [([0.5], "whole numbers"), ([np.nan], "whole numbers"), ([-1], "0 or more.*-1")],
)
def test_what_is_no_label_is_refused(labels: list[float], words: str) -> None:
    """Fractions come from a mask that was resampled with interpolation."""
    with pytest.raises(ContentError, match=words):
        map_labels(np.array(labels), "keep")


@pytest.mark.parametrize("rule", [{"a": 1}, {"1": -1}, "binary"])
def test_a_rule_that_is_none_is_refused(rule: object) -> None:
    """A recipe's mapping goes from whole numbers to whole numbers from 0."""
    with pytest.raises(RecipeError, match="label"):
        map_labels(LABELS, rule)  # type: ignore[arg-type]


def save(folder: Path, name: str, data: NDArray[np.generic], shift: float = 0.0) -> str:
    import nibabel

    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[0, 3] = shift
    image: Any = nibabel.nifti1.Nifti1Image
    nibabel.save(image(data, affine), folder / name)
    return name


def table_of(folder: Path, labels: str | None, image: str | None = "image.nii") -> Table:
    frame = pd.DataFrame({"id": ["a"], "image": [image], "mask": [labels]}, dtype=object)
    return Table(frame, Columns(optional=("image",), target="mask"), folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path, "image.nii", np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    return tmp_path


def test_labels_on_the_grid_of_their_image_are_verified(folder: Path) -> None:
    """Same shape, same affine, integers from 0; whole floats will do."""
    good = save(folder, "good.nii", np.ones((3, 4, 5), np.uint8))
    assert verify_labels(table_of(folder, good)) == []
    floats = save(folder, "floats.nii", np.full((3, 4, 5), 2, np.float32))
    assert verify_labels(table_of(folder, floats)) == []
    assert verify_labels(table_of(folder, good, None)) == []


@pytest.mark.parametrize(
    ("data", "shift", "words"),
    [
        (np.ones((3, 4, 6), np.uint8), 0.0, "shape (3, 4, 6) but 'image' has (3, 4, 5)"),
        (np.ones((3, 4, 5), np.uint8), 0.5, "by up to 0.5 mm"),
        (np.full((3, 4, 5), -1, np.int16), 0.0, "-1"),
        (np.full((3, 4, 5), 0.5, np.float32), 0.0, "whole"),
    ],
)
def test_labels_that_do_not_fit_are_told_with_their_row(
    folder: Path, data: NDArray[np.generic], shift: float, words: str
) -> None:
    """One fault, in the row and column of the label image."""
    (fault,) = verify_labels(table_of(folder, save(folder, "bad.nii", data, shift)))
    assert (fault.row, fault.column) == (2, "mask")
    assert words in fault.message


def test_unreadable_and_missing_label_images_are_faults(folder: Path) -> None:
    """The other rows are still looked at."""
    (folder / "text.nii.gz").write_text("not an image", encoding="utf-8")
    (fault,) = verify_labels(table_of(folder, "text.nii.gz"))
    assert "text.nii.gz" in fault.message
    (fault,) = verify_labels(table_of(folder, None))
    assert "names no label image" in fault.message
    good = save(folder, "good.nii", np.ones((3, 4, 5), np.uint8))
    (fault,) = verify_labels(table_of(folder, good, "gone.nii"))
    assert "gone.nii" in fault.message


def test_a_table_without_label_images_has_nothing_to_verify(folder: Path) -> None:
    """A class name is no image."""
    table = Table(pd.DataFrame({"id": ["a"]}), Columns(), folder)
    with pytest.raises(TableError, match="no label images"):
        verify_labels(table)


@pytest.mark.data
def test_the_masks_of_a_real_patient_fit_their_images(data: Path) -> None:
    """Three contrasts, each with a brain mask on its own grid."""
    root = data / "heads/openms-patient01"
    rows = [
        {"id": kind, "image": f"study1_{kind}.nii.gz", "mask": f"derived_brainmask_{kind}.nii.gz"}
        for kind in ("T1W", "T2W", "FLAIR")
    ]
    table = Table(pd.DataFrame(rows, dtype=object), Columns(target="mask"), root)
    assert verify_labels(table) == []

# SPDX-License-Identifier: Apache-2.0
"""Rows of numbers come from NumPy files, CSV and TSV, with their ids where there are ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import InputError
from encephalon.io.rows import read_rows

ROWS = np.array([[0.5, -1.25, np.nan], [1e-3, 0.0, 2.0]])


def text(path: Path, content: str) -> Path:
    """A text file."""
    path.write_text(content, encoding="utf-8")
    return path


def test_an_array_is_mapped_and_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    found, ids = read_rows(tmp_path / "a.npy")
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, ROWS)
    assert ids == []


def test_the_only_array_of_several_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", a=ROWS)
    np.testing.assert_array_equal(read_rows(tmp_path / "one.npz")[0], ROWS)
    np.savez(tmp_path / "two.npz", first=ROWS, second=ROWS[:1])
    assert len(read_rows(tmp_path / "two.npz", "second")[0]) == 1
    with pytest.raises(InputError, match=r"no array '', named as in two\.npz:NAME; it has first"):
        read_rows(tmp_path / "two.npz")
    with pytest.raises(InputError, match="did you mean 'second'"):
        read_rows(tmp_path / "two.npz", "secnd")


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        ("0.5,-1.25,nan\n1e-3,0,2\n", []),
        ("a,b,c\n0.5,-1.25,\n0.001,0,2\n", []),
        ("a,id,b,c\n0.5, p1 ,-1.25,NA\n0.001,007,0,2\n", ["p1", "007"]),
        ("a;b;c\n0.5;-1.25;n/a\n0.001;0;2\n", []),
    ],
)
def test_text_is_read_with_a_header_or_without_and_an_id_stays_as_it_is(
    tmp_path: Path, content: str, ids: list[str]
) -> None:
    found, names = read_rows(text(tmp_path / "a.csv", content), id_column="id")
    np.testing.assert_array_equal(found, ROWS)
    assert names == ids


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("1,2\n3\n", "row 2 of its numbers: expected 2 numbers"),
        ("1,2\n3,much\n", "row 2 of its numbers: expected 2 numbers"),
        ("a,b\n", "expected numbers"),
    ],
)
def test_text_that_is_no_numbers_is_refused_with_its_row(
    tmp_path: Path, content: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        read_rows(text(tmp_path / "a.csv", content))


def test_objects_are_never_unpickled_and_damage_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    text(tmp_path / "b.npz", "PK and no more")
    for name in ("a.npy", "b.npz"):
        with pytest.raises(InputError, match=f"{name}: the NumPy file could not be read"):
            read_rows(tmp_path / name)


def test_what_a_numpy_file_holds_counts_and_not_its_suffix(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=ROWS)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    np.testing.assert_array_equal(read_rows(tmp_path / "a.npy")[0], ROWS)


def test_a_row_that_ends_before_its_id_is_refused(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", "a,b,id\n1,2,p1\n1\n")
    with pytest.raises(InputError, match="row 2 of its numbers: expected 2 numbers"):
        read_rows(path, id_column="id")

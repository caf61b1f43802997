# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import InputError, MissingFileError, UnreadableFileError
from encephalon.transforms.slices import make_profile, read_profile


def written(folder: Path, text: str) -> Path:
    path = folder / "profile.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["box", "gaussian"])
def test_profiles_have_names(name: str) -> None:
    """These need no file."""
    assert make_profile(name, 4.0).kind == name


@pytest.mark.parametrize("separator", [" ", "\t", ",", " ; "])
def test_a_measured_profile_is_read_in_units_of_the_thickness(
    tmp_path: Path, separator: str
) -> None:
    """Headings and comments are passed over; half of the sensitivity lies below the middle."""
    rows = [("mm", "sensitivity"), ("-2", "0"), ("0", "1.5"), ("2", "0")]
    text = "# by hand\n" + "\n".join(separator.join(row) for row in rows) + "\n\n"
    path = written(tmp_path, text.removeprefix("# by hand\n"))
    profile = make_profile(str(path), 4.0)
    assert profile.offsets == (-0.5, 0.0, 0.5)
    assert profile.sensitivity == (0.0, 1.5, 0.0)
    np.testing.assert_allclose(profile.cumulative([-2.0, 0.0, 2.0], 4.0), [0, 0.5, 1], atol=1e-3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mm x\n-1 0\n0 one\n1 0\n", r"profile\.txt, row 3: expected two numbers"),
        ("-1 0\n0 1 2\n", "row 2: expected two numbers"),
        ("-1 0\n0 nan\n", "row 2: expected two numbers"),
        ("-1 0\n1 0\n", "none below 0 and not all 0"),
        ("1 1\n-1 1\n", "rising offsets"),
        ("0 1\n", "two or more"),
        ("", "empty"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """With its name, and the row."""
    with pytest.raises(InputError, match=words) as caught:
        read_profile(written(tmp_path, text), 4.0)
    assert "profile.txt" in str(caught.value)


def test_names_and_bytes_that_are_none_are_refused(tmp_path: Path) -> None:
    """A slip in a name says what there is."""
    with pytest.raises(MissingFileError, match="no slice profile 'gaus': give box, gaussian"):
        make_profile("gaus", 4.0)
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UnreadableFileError, match="UTF-8"):
        make_profile(str(tmp_path / "x"), 4.0)

# SPDX-License-Identifier: Apache-2.0
"""Public images from a server on this machine: by hash, once, with their table and masks."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import InputError, OutputExistsError, TableError, UsageError
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from encephalon.io.text import read_records
from encephalon.tables.public_data import get_public_set, public_sets
from tests.file_server import Server, server

__all__ = ["server"]


@pytest.fixture
def listed(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of two heads with labels, of which one sha256 is published, and their server."""
    monkeypatch.setenv("ENCEPHALON_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ENCEPHALON_MIRROR", raising=False)
    lines = []
    for number in (1, 2):
        values = np.zeros((6, 7, 8), np.int16)
        values[2:4, 2:4, 2:4] = 17 * number
        like = Image(values, Affine(np.eye(4)))
        for column, name in (("image", "T1.mgz"), ("mask", "aparc+aseg.mgz")):
            path = write_image(values, tmp_path / f"{number}{name}", like)
            place = f"sub-{number}/mri/{name}"
            server.contents[place.replace("+", "%2B")] = path.read_bytes()
            known = f', sha256 = "{sha256(path.read_bytes()).hexdigest()}"' if number == 1 else ""
            lines.append(
                f'{{ row = "sub-{number}", column = "{column}", path = "{place}"{known} }},'
            )
    text = [
        "[[set]]",
        'name = "heads"\ntitle = "Heads"\nlicence = "CC0"\nsource = "a test"',
        f'address = "{server.address}"\nfiles = [',
        *lines,
        "]",
    ]
    (tmp_path / "heads.toml").write_text("\n".join(text), encoding="utf-8")
    return tmp_path / "heads.toml"


def test_a_set_is_fetched_once_with_its_table_and_masks(
    listed: Path, server: Server, tmp_path: Path
) -> None:
    """Masks are 1 where there is any label; the second time nobody is asked, even offline."""
    table = get_public_set(str(listed), tmp_path / "heads")
    columns, rows = read_records(table)
    assert columns == ["id", "image", "mask"]
    assert rows[1] == {"id": "sub-2", "image": "sub-2/mri/T1.mgz", "mask": "sub-2_mask.nii.gz"}
    mask = read_image(table.parent / "sub-2_mask.nii.gz").data
    assert (mask.sum(), mask.max()) == (8, 1)
    assert len(server.asked) == 4
    assert get_public_set(str(listed), tmp_path / "heads", offline=True) == table
    assert len(server.asked) == 4


def test_a_file_that_changed_since_the_first_fetch_is_refused(
    listed: Path, server: Server, tmp_path: Path
) -> None:
    """In another folder, too: what was recorded holds for the address."""
    get_public_set(str(listed), tmp_path / "heads")
    for place in [one for one in server.contents if one.startswith("sub-2")]:
        server.contents[place] = server.contents[place][:-1] + b"!"
    with pytest.raises(InputError, match=r"recorded on .* at the first fetch .* what came has"):
        get_public_set(str(listed), tmp_path / "again")
    assert not (tmp_path / "again" / "table.csv").exists()


def test_an_earlier_folder_is_a_mirror(listed: Path, server: Server, tmp_path: Path) -> None:
    """A stick with the folder of the set's name serves a machine without a network."""
    get_public_set(str(listed), tmp_path / "stick" / "heads")
    asked = len(server.asked)
    get_public_set(str(listed), tmp_path / "there", mirror=str(tmp_path / "stick"), offline=True)
    assert len(server.asked) == asked
    with pytest.raises(InputError, match=r"not to be used: .* as heads/sub-1/mri/T1.mgz with"):
        get_public_set(str(listed), tmp_path / "elsewhere", offline=True)


def test_files_of_the_user_are_never_replaced(listed: Path, tmp_path: Path) -> None:
    """Another table, or another file under the name of one of the set, is named."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "table.csv").write_text("id\n1\n", encoding="utf-8")
    with pytest.raises(OutputExistsError, match=r"table\.csv"):
        get_public_set(str(listed), tmp_path / "mine")
    (tmp_path / "mine" / "table.csv").unlink()
    scan = tmp_path / "mine" / "sub-1" / "mri" / "T1.mgz"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match=r"T1\.mgz"):
        get_public_set(str(listed), tmp_path / "mine")
    assert scan.read_bytes() == b"mine"
    get_public_set(str(listed), tmp_path / "mine", overwrite=True)


@pytest.mark.parametrize(
    ("was", "now", "where"),
    [
        ("sub-1/mri/T1.mgz", "../T1.mgz", "path"),
        ("sub-1/mri/T1.mgz", "/etc/passwd", "path"),
        ("sub-1/mri/T1.mgz", "sub-1/.ssh/keys", "path"),
        ('row = "sub-1"', 'row = "a/b"', "row"),
        ('licence = "CC0"', "", "licence"),
        ("title", "titel", "title"),
    ],
)
def test_a_list_is_taken_by_the_letter(
    listed: Path, tmp_path: Path, was: str, now: str, where: str
) -> None:
    """No file lands above its folder or hidden in it; a slip is named with its place."""
    listed.write_text(listed.read_text(encoding="utf-8").replace(was, now), encoding="utf-8")
    with pytest.raises(TableError, match=rf"heads\.toml: expected sets .*{where}"):
        get_public_set(str(listed), tmp_path / "heads")


def test_the_sets_that_ship_are_whole() -> None:
    """Each over https, with a row and a column of its own for each file; a slip is answered."""
    sets = public_sets()
    assert {"ds000114", "ds000248", "ds000011"} <= set(sets)
    for one in sets.values():
        assert one.address.startswith("https://")
        assert len({(file.row, file.column) for file in one.files}) == len(one.files)
    mask = sets["ds000248"].files[1]
    assert sets["ds000248"].remote(mask).address == (
        "https://s3.amazonaws.com/openneuro.org/ds000248/derivatives/freesurfer/subjects/sub-01/"
        "mri/aparc%2Baseg.mgz?versionId=2Wx7w.fCYeGzGWLnW9sxWsPdztl.2HL0"
    )
    with pytest.raises(UsageError, match="ds000114"):
        get_public_set("ds00114", "anywhere")


def test_a_list_of_a_file_has_one_set(listed: Path, tmp_path: Path) -> None:
    """None, and one of several that would be passed over, are answered."""
    text = listed.read_text(encoding="utf-8")
    for wrong in ("set = []\n", f"{text}\n" + text.replace('"heads"', '"more"')):
        listed.write_text(wrong, encoding="utf-8")
        with pytest.raises(TableError, match="expected one set of public files"):
            get_public_set(str(listed), tmp_path / "heads")

# SPDX-License-Identifier: Apache-2.0
"""`data list | get`, and a yardstick from the fetch to its scores."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from encephalon.io.reading import write_image
from encephalon.synthetic.head import head_phantom
from tests.cli.conftest import Run
from tests.file_server import Server, server

__all__ = ["server"]


def test_public_images_are_listed(run: Run) -> None:
    """With what is known of each."""
    found = {one["name"]: one for one in json.loads(run("data", "list", "--json").out)}
    assert (found["ds000114"]["rows"], found["ds000114"]["sha256"]) == (10, "published")
    assert found["ds000248"]["sha256"] == "of first fetch"
    assert "ds000114" in run("data", "list").out
    slip = run("data", "get", "ds00114", "-o", "heads")
    assert (slip.code, "ds000114" in slip.err) == (2, True)


def test_a_public_list_is_fetched_and_scored(run: Run, server: Server, tmp_path: Path) -> None:
    """By hash from a server, with masks of published labels; median, mean and minimum are told."""
    phantom = head_phantom((48, 60, 60), (4, 4, 4), detail=3)
    scan, labels = tmp_path / "scan.nii.gz", tmp_path / "labels.nii.gz"
    write_image(phantom.image.data, scan, phantom.image)
    write_image(phantom.mask.astype("int16") * 17, labels, phantom.image)
    lines = []
    for column, path in (("image", scan), ("mask", labels)):
        content = server.contents[path.name] = path.read_bytes()
        lines.append(
            f'{{ row = "one", column = "{column}", path = "{path.name}", size = {len(content)}, '
            f'sha256 = "{sha256(content).hexdigest()}" }},'
        )
    text = '[[set]]\nname = "heads"\ntitle = "A head"\nlicence = "CC0"\nsource = "a test"\n'
    text += f'address = "{server.address}"\nfiles = [\n' + "\n".join(lines) + "\n]\n"
    (tmp_path / "heads.toml").write_text(text, encoding="utf-8")
    got = run("data", "get", tmp_path / "heads.toml", "-o", tmp_path / "heads")
    assert got.code == 0, got.err
    table = tmp_path / "heads" / "table.csv"
    scored = run("evaluate", "brain-extraction", "-t", table, "-o", tmp_path / "scores")
    assert scored.code == 0, scored.err
    assert "Dice: median 0.9" in scored.out
    assert "minimum 0.9" in scored.out

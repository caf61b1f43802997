# SPDX-License-Identifier: Apache-2.0
"""`encephalon simulate`: images whose answer is known."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.cli.conftest import Run


def test_the_command_writes_a_row_an_image(run: Run, tmp_path: Path) -> None:
    """`simulate micrographs` writes the images that its sheet names, half of them aged."""
    words = ("--animals", "4", "--images", "2", "--size", "64")
    result = run("simulate", "micrographs", "-o", str(tmp_path / "trial"), *words)
    assert result.code == 0
    with (tmp_path / "trial" / "sheet.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["Class"] for row in rows].count("Aged") == 4
    assert all((tmp_path / "trial" / f"{row['Image ID']}_phantom.tif").exists() for row in rows)

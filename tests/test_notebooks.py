# SPDX-License-Identifier: Apache-2.0
"""Every notebook runs from a clean folder, without network, and is kept without output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from encephalon.studies.registry import list_studies

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TRAINING = {"micrographs", "microtomography", "legibility"}


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_each_study_has_a_notebook() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(list_studies())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_output(path: Path) -> None:
    """What it gives is seen on the site, which is made anew each time."""
    for cell in read(path)["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    """As one program: what Jupyter would display is evaluated, and not shown."""
    if path.stem in TRAINING:
        pytest.importorskip("torch")
    cells = [cell for cell in read(path)["cells"] if cell["cell_type"] == "code"]
    code = "\n".join("".join(cell["source"]) for cell in cells)
    place = {"PYTHONPATH": str(ROOT / "src"), "ENCEPHALON_OFFLINE": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **place, "ENCEPHALON_HOME": str(tmp_path / "home")},
        capture_output=True,
        encoding="utf-8",  # another test may have changed the locale of this process
        check=False,
    )
    assert done.returncode == 0, done.stderr

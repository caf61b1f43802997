# SPDX-License-Identifier: Apache-2.0
"""What users of other tools try: -V, completion, a log file, a file of flags, names of a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import encephalon
from tests.cli.conftest import Asked, Run


def test_v_is_the_version(run: Run) -> None:
    """As --version."""
    assert run("-V").out == f"{encephalon.__version__}\n"


@pytest.mark.parametrize(
    ("typed", "word"), [("encephalon iso", "isotropic"), ("encephalon brain --bo", "--border")]
)
def test_shells_complete_commands_and_flags(typed: str, word: str) -> None:
    """Of the command that stands there."""
    asked = {"_ENCEPHALON_COMPLETE": "complete_bash", "COMP_WORDS": typed}
    done = subprocess.run(
        [sys.executable, "-m", "encephalon"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | asked | {"COMP_CWORD": str(len(typed.split()) - 1)},
    )
    assert done.stdout.split() == [word]


def test_a_log_file_keeps_what_was_said(
    run: Run, stand_in: Asked, scan: Path, tmp_path: Path
) -> None:
    """With times, whether it was shown or not, and after what is there already."""
    log = tmp_path / "log.txt"
    for name in ("one", "two"):
        words = ("-o", tmp_path / name, "--log-file", log, "-q")
        assert run("brain", scan, *words, "--save", "mask", "--option", "x=1").code == 2
        assert run("predict", "any", scan, *words).code == 0
    lines = log.read_text(encoding="utf-8").splitlines()
    assert sum("INFO ok  scan  12.5 mL" in line for line in lines) == 2
    assert sum("INFO model: name stand-in" in line for line in lines) >= 2
    assert any(" ERROR " in line for line in lines)


def test_flags_may_come_from_a_file(run: Run, stand_in: Asked, scan: Path, tmp_path: Path) -> None:
    """Those of the command line win; a flag that the command lacks is named."""
    file = tmp_path / "flags.toml"
    file.write_text("border = 2\ncsf = false\nthreads = 3\n", encoding="utf-8")
    run("brain", "-i", scan, "-m", tmp_path / "m.nii.gz", "--config", file, "--threads", "1")
    assert {"border": 2.0, "csf": False, "threads": 1}.items() <= stand_in[-1].items()
    file.write_text("bordre = 2\n", encoding="utf-8")
    result = run("brain", "-i", scan, "-m", tmp_path / "m.nii.gz", "--config", file)
    assert (result.code, "did you mean 'border'?" in result.err) == (2, True)


def test_a_pattern_chooses_and_looks_into_sub_folders(
    run: Run, stand_in: Asked, scan: Path, tmp_path: Path
) -> None:
    """Files of one name are told apart by their folders."""
    folder = tmp_path / "all"
    for name in ("a/x_T1w.nii.gz", "b/x_T1w.nii.gz", "b/x_FLAIR.nii.gz", ".git/x_T1w.nii.gz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scan, folder / name)
    words = ("predict", "any", folder, "-o", tmp_path / "out", "--dry-run", "--json")
    assert "pattern such as '**/*'" in run(*words).err
    found = json.loads(run(*words, "--pattern", "**/*T1w.nii.gz").out)["planned"]
    assert [one["id"] for one in found] == ["a_x_T1w", "b_x_T1w"]
    assert len(json.loads(run(*words, "--pattern", "**/*").out)["planned"]) == 3
    result = run(*words, "--pattern", "/x")
    assert (result.code, "The pattern '/x'" in result.err) == (2, True)


def test_a_log_goes_into_no_file_of_another_kind(
    run: Run, stand_in: Asked, scan: Path, tmp_path: Path
) -> None:
    """Such as the scan: a line of text at its end would spoil it. A folder is made for a log."""
    before = scan.read_bytes()
    result = run("predict", "any", scan, "-o", tmp_path / "one", "--log-file", scan)
    assert (result.code, "give a name that is free" in result.err) == (2, True)
    assert scan.read_bytes() == before
    log = tmp_path / "new" / "log.txt"
    assert run("predict", "any", scan, "-o", tmp_path / "one", "--log-file", log).code == 0
    assert log.is_file()


def test_a_file_of_flags_is_named_where_a_value_is_none(
    run: Run, stand_in: Asked, scan: Path, tmp_path: Path
) -> None:
    """And takes a list for several words, and one word where there may be several."""
    file = tmp_path / "flags.toml"
    words = ("brain", "-m", tmp_path / "m.nii.gz", "--config", file)
    file.write_text('border = "two"\n', encoding="utf-8")
    result = run(*words, "-i", scan)
    assert (result.code, "flags.toml: border = 'two': " in result.err) == (2, True)
    file.write_text(f'input = {json.dumps(str(scan))}\nsave = ["mask", "mask"]\n', encoding="utf-8")
    assert run(*words).code == 0
    assert stand_in[-1]["save"] == ["mask"]


def test_a_pattern_that_nothing_fits_is_named(
    run: Run, stand_in: Asked, scan: Path, tmp_path: Path
) -> None:
    """And one where there is no folder to choose from."""
    words = ("-o", tmp_path / "out", "--pattern", "*FLAIR*")
    assert "fits the pattern '*FLAIR*'" in run("predict", "any", scan.parent, *words).err
    assert "drop it, or give the folder" in run("predict", "any", scan, *words).err

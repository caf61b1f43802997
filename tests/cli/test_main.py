# SPDX-License-Identifier: Apache-2.0
"""The entry point: help, exit codes, and what errors look like."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import encephalon
from encephalon import errors
from encephalon.cli.main import VERBS
from tests.cli.conftest import Run

HEAVY = ("torch", "numpy", "pandas", "scipy", "nibabel", "pydantic", "rich", "onnxruntime")


def _modules_after(*words: str) -> set[str]:
    """The top-level modules that a command has imported when it ends."""
    code = (
        "import sys; from encephalon.cli.main import main; code = main(sys.argv[1:]);"
        "print(code, *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    code_text, *names = done.stderr.split()
    assert code_text == "0"
    return set(names)


@pytest.mark.parametrize("words", [("--help",), ("models", "list"), ("recipes", "list")])
def test_help_and_lists_import_nothing_heavy(words: tuple[str, ...]) -> None:
    """Help and listings start none of the packages that take long to import."""
    assert not _modules_after(*words) & set(HEAVY)


def test_help_names_every_verb(run: Run) -> None:
    """Each verb has a line in the help."""
    result = run("--help")
    assert result.code == 0
    assert all(f"\n  {name} " in result.out for name in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(run: Run, verb: str) -> None:
    """`VERB --help` ends with 0 and says what the verb does."""
    result = run(verb, "--help")
    assert result.code == 0
    assert VERBS[verb] in " ".join(result.out.split())


def test_version_is_the_package_version(run: Run) -> None:
    """`--version` prints it and nothing else."""
    result = run("--version")
    assert (result.code, result.out) == (0, f"{encephalon.__version__}\n")


def test_no_arguments_show_the_help_and_exit_2(run: Run) -> None:
    """A bare `encephalon` is a wrong argument that explains itself."""
    result = run()
    assert result.code == 2
    assert "Usage:" in result.err


def test_unknown_verb_names_the_nearest(run: Run) -> None:
    """A slip of the finger is answered with what was meant."""
    result = run("predit")
    assert result.code == 2
    assert "did you mean 'predict'?" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "--no-such-flag"),
        ("predict",),
        ("predict", "model", "scan.nii.gz"),
        ("models", "no-such-verb"),
        ("table", "split", "a.csv", "-o", "b.csv", "--folds", "one"),
    ],
)
def test_wrong_arguments_are_one_sentence_and_exit_2(run: Run, words: tuple[str, ...]) -> None:
    """Wrong arguments point at the help of their verb."""
    result = run(*words)
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert f"encephalon {words[0]} --help" in result.err
    assert "Traceback" not in result.err


def test_an_error_is_one_sentence_and_exit_1(run: Run) -> None:
    """Errors of the package show no traceback."""
    result = run("recipes", "show", "no-such-recipe")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "no-such-recipe" in result.err


def test_very_verbose_adds_the_traceback(run: Run) -> None:
    """-vv shows where an error was raised, before its sentence."""
    result = run("recipes", "check", "no-such-recipe", "-vv")
    assert "Traceback" in result.err
    assert result.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (errors.UsageError("Wrong words."), 2, "Wrong words."),
        (errors.ContentError("Bad voxels."), 1, "Bad voxels."),
        (OSError("No space left on device"), 1, "No space left"),
        (PermissionError(13, "Permission denied", "in/x"), 1, "in/x: Permission denied; check"),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (ZeroDivisionError("by zero"), 1, "Unexpected ZeroDivisionError: by zero"),
    ],
)
def test_exit_code_follows_the_kind_of_error(
    run: Run, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, words: str
) -> None:
    """0 done, 1 failed, 2 wrong arguments; even a fault of the package is a sentence."""

    def fail() -> None:
        raise raised

    monkeypatch.setattr("encephalon.models.catalogue.list_models", fail)
    result = run("models", "list")
    assert result.code == code
    assert words in result.err
    assert "Traceback" not in result.err


def test_underscores_in_flags_are_accepted(run: Run) -> None:
    """Both spellings live in the field."""
    dashed = run("recipes", "check", "brain-extraction", "--no-such-flag")
    under = run("recipes", "check", "brain-extraction", "--no_such_flag")
    assert run("predict", "--dry_run").err == run("predict", "--dry-run").err
    assert dashed.code == under.code == 2


def test_python_m_runs_the_same_command() -> None:
    """`python -m encephalon` needs no script on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "encephalon", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == encephalon.__version__


def test_a_closed_pipe_ends_quietly() -> None:
    """`encephalon recipes show NAME | head -1` leaves no traceback."""
    show = f"{sys.executable} -m encephalon recipes show brain-extraction | head -1"
    done = subprocess.run(
        ["/bin/sh", "-c", show], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "any", "scan.nii.gz", "-o", ""),
        ("predict", "any", "", "-o", "out"),
        ("predict", "any", "scan.nii.gz", "--output="),
        ("predict-bids", "study", "", "participant"),
        ("evaluate", "any", "-t", "", "-o", "out"),
    ],
)
def test_an_empty_argument_is_not_the_working_folder(
    run: Run, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a variable of a script is not set: nothing is done anywhere."""
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.code == 2
    assert "is empty, as where a variable is not set" in result.err
    assert list(tmp_path.iterdir()) == []

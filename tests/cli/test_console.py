# SPDX-License-Identifier: Apache-2.0
"""What is printed, where, and in which form."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from encephalon.cli import console
from encephalon.cli.console import Console, table
from encephalon.inference.predictor import stage


class Terminal(io.StringIO):
    """Standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Row:
    """Something to print."""

    path: Path
    score: float


def test_json_holds_paths_arrays_and_dataclasses(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a result is made of comes out as JSON."""
    data = {"row": Row(Path("a/b"), 0.5), "array": np.arange(2), "scalar": np.float32(2), "t": (1,)}
    Console(as_json=True).result(data, "unused")
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "row": {"path": "a/b", "score": 0.5},
        "array": [0, 1],
        "scalar": 2.0,
        "t": [1],
    }


def test_quiet_keeps_results_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    """--quiet silences remarks, not what was asked for and not what failed."""
    quiet = Console(quiet=True)
    quiet.say("a remark")
    quiet.note("another")
    quiet.result(None, "the result")
    console.error("the error")
    said = capsys.readouterr()
    assert said.out == "the result\n"
    assert said.err == "error: the error\n"


@pytest.mark.parametrize(("verbose", "shown"), [(0, False), (1, True)])
def test_verbose_shows_the_log(
    capsys: pytest.CaptureFixture[str], verbose: int, shown: bool
) -> None:
    """Information is for -v; warnings are always shown."""
    Console(verbose=verbose)
    logging.getLogger("encephalon.somewhere").info("a detail")
    logging.getLogger("encephalon.somewhere").warning("a warning")
    said = capsys.readouterr()
    assert ("a detail" in said.err) is shown
    assert "warning: a warning" in said.err
    assert said.out == ""


def test_python_warnings_wait_for_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    """A third party's warning is no business of the user's, unless asked for."""
    for verbose in (0, 1):
        Console(verbose=verbose)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(False)
            logging.captureWarnings(True)
            warnings.warn("old habits", stacklevel=1)
            logging.captureWarnings(False)
        assert ("old habits" in capsys.readouterr().err) is bool(verbose)


def test_columns_are_aligned() -> None:
    """A table has a heading, and cells start under it."""
    text = table([{"name": "a", "size": 1.23456}, {"name": "longer", "size": None}])
    assert text.splitlines() == ["name    size", "a       1.235", "longer"]


def test_a_name_that_the_terminal_cannot_show_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Letters outside its alphabet, and bytes that are no letters, are spelt out."""
    for encoding, shown in (("ascii", r"\xe9 \udcff"), ("utf-8", r"é \udcff")):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        Console().say("é \udcff")
        assert stream.buffer.getvalue().decode(encoding) == f"{shown}\n"  # type: ignore[attr-defined]


def test_a_reader_that_leaves_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`encephalon predict ... | head -1` does the whole batch, and its report has every scan."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        for word in ("one", "two"):
            Console().say(word)


def test_an_empty_table_says_so() -> None:
    """Nothing to list is a sentence, not an empty line."""
    assert table([]) == "nothing to list"


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color_is_respected(
    monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    """NO_COLOR leaves escape codes out, on a terminal too."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("NO_COLOR", no_color)
    console.error("red")
    assert ("\x1b[" in terminal.getvalue()) is coloured


def test_pipes_get_no_progress_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bar is for a terminal."""
    monkeypatch.setattr(console, "PATIENCE", 0.0)
    with Console().progress(2, "work") as advance:
        advance(1, None, "one")
    assert capsys.readouterr().err == ""


def test_short_work_shows_no_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that ends before the patience does leaves the terminal alone."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Console().progress(2, "work") as advance:
        advance(2, None, "two")
    assert terminal.getvalue() == ""


def test_long_work_shows_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar appears once the patience is over, and knows what was done before."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = console._Bar(3, "work")
    bar.advance(1, 3, "first.nii.gz")
    bar._show()
    bar.advance(2, 3, "second.nii.gz")
    bar.close()
    assert "work" in terminal.getvalue()
    assert "1/3" in terminal.getvalue()


NAME = "a\x1b]0;x\x07\nerror: forged\x9b31m\u202egpj.nii\x7f"


def test_names_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escapes, line breaks and marks that turn letters round are written out, wherever they are."""
    loud = Console(verbose=2)
    loud.say(NAME)
    loud.note(NAME)
    loud.result(None, table([{"id": NAME}]))
    loud.result(None, f"two\nlines of {NAME.splitlines()[0]}")
    console.error(NAME)
    logging.getLogger("encephalon.x").warning("%s", NAME)
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert not set("\x1b\x07\x9b\u202e\x7f") & set(text)
        assert "\nerror: forged" not in text
    assert "a\\u001b]0;x\\u0007\\u000aerror: forged" in said.out
    assert "two\nlines of a" in said.out


def test_json_stays_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    """What is written out of a name is read back from JSON."""
    Console(as_json=True).result({"id": NAME}, "")
    said = capsys.readouterr().out
    assert not set("\x1b\x9b\u202e\x7f") & set(said)
    assert json.loads(said) == {"id": NAME}


def test_a_list_of_faults_stays_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Its lines are indented, which no name at their beginning can be."""
    console.error("t.csv has 2 faults:\n  row 2\n  row 3")
    assert capsys.readouterr().err == "error: t.csv has 2 faults:\n  row 2\n  row 3\n"


def test_the_error_of_a_sample_has_its_traceback_with_vv(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As the sentence promises; without -vv there is none."""
    logger = logging.getLogger("encephalon.x")
    for verbose, shown in ((2, True), (1, False), (0, False)):
        Console(verbose=verbose)
        try:
            raise ZeroDivisionError("planted")
        except ZeroDivisionError as error:
            logger.debug("scan failed", exc_info=error)
        assert ("ZeroDivisionError: planted" in capsys.readouterr().err) == shown


def test_a_name_in_brackets_is_no_markup_of_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown as it is, and the bar goes on."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(console, "PATIENCE", 0.0)
    with Console().progress(2, "[/model]") as advance:
        advance(1, 2, "[/red] x\x1b[2J")
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join()  # which shows the bar
        advance(2, 2, "[bold]")
    assert "[/model]" in terminal.getvalue()
    assert "[bold]" in terminal.getvalue()
    assert "Error" not in terminal.getvalue()
    assert "\x1b[2J" not in terminal.getvalue()


def test_a_bar_shows_the_stage_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is being done to the present sample, from wherever it is done."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(console, "PATIENCE", 0.0)
    with Console().progress(2, "work") as advance:
        advance(1, 2, "scan")
        deadline = time.monotonic() + 10
        while "registering" not in screen.getvalue() and time.monotonic() < deadline:
            stage("registering")
            time.sleep(0.05)
    assert "1/2" in screen.getvalue()
    assert "left" in screen.getvalue()
    stage("nobody listens now")
